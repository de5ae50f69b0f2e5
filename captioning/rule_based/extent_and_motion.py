"""Measures of a clip: an effect's size, side, time and opacity, and how subject, effect and camera move."""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64

from ...arrays import Mask, Rgb
from ..interface.captioner import ClipContext
from .opacity_fit import OpacityFit, fit_opacity, measure_edge_width, outside_subject

Side = Literal["left", "right", "above", "below", "lower left", "lower right", "sides", "around"]
Heading = Literal["left", "right", "up", "down", "nowhere"]
CameraMotion = Literal["still", "handheld", "panning left", "panning right", "tilting"]
Path = Float64[np.ndarray, "T 2"]  # x and y in pixels; NaN in frames where there is nothing
STAY_WIDTH = 0.06
"""Share of the picture's width below which a subject's movement (a neck that bends, say) leaves it in place."""
MAIN_PIECE = 0.7
"""Share of an effect's area in one piece, for its length to count: scattered pieces make any outline long."""
TRACKING_WIDTH = 240
"""Largest width of the pictures on which the camera's movement is measured."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Size and time of an effect."""

    share: float
    """Share of the picture, as a mean over the frames in which the effect is visible."""
    subject_ratio: float | None
    """Its area as a multiple of the subject's; None without a subject."""
    elongation: float
    """Length by width of the ellipse that has its moments."""
    start: float
    """First moment as a share of the clip; 0 from the first frame on, or from its subject's first."""
    end: float
    """Last moment; 1 up to the last frame, or its subject's last."""
    growth: float
    """Its area in the last third of its time by that in the first; 1 if it stays, or goes up and down."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """Movement of camera, subject and effect."""

    camera: CameraMotion | None
    """None where it cannot be measured."""
    picture_heading: Heading
    """Direction of the subject on the picture."""
    scene_heading: Heading
    """Direction of the subject through the scene, without the camera's movement."""
    stays: bool
    """Whether the subject stays at its place in the scene, whatever it does there."""
    follows_subject: bool
    """Whether the effect's centre goes where the subject's goes."""


@dataclass(frozen=True, kw_only=True)
class ClipMeasures:
    """Measures of one clip or effect; None for what the clip does not show, or where a layer is missing."""

    fit: OpacityFit | None = None
    edge_width: float | None = None
    """Width of the effect's border, as a share of the picture's shorter side."""
    extent: Extent | None = None
    side: Side | None = None
    movement: Movement | None = None
    subject_pieces: int = 1
    """Number of separate pieces of the subject, in most frames."""
    shorter_side_px: int = 0
    """The picture's shorter side; on small pictures every edge is soft."""


def measure_clip(clip: ClipContext) -> ClipMeasures:
    """Measure what the layers allow; frames alone, as of an unpaired clip, give nothing."""
    subject = _subject_of(clip)
    pieces = 1 if subject is None else count_pieces(subject)
    measures = ClipMeasures(subject_pieces=pieces, shorter_side_px=min(clip.gt.shape[1:3]))
    if clip.effect_mask is None:
        return measures
    effect = outside_subject(clip.effect_mask, clip.subject_mask)
    if subject is not None:
        video = clip.gt if clip.over is None else clip.over
        measures = replace(measures, movement=measure_movement(video, subject, effect))
    return _measure_effect(clip, effect, effect, measures)


def measure_single_effect(clip: ClipContext, word: str, measures: ClipMeasures) -> ClipMeasures:
    """Measure one of several effects by its own mask, if there is one, and its pixels where it is alone."""
    mask = clip.effect_masks.get(word)
    if mask is None:
        return ClipMeasures()
    neighbours = [neighbour for name, neighbour in clip.effect_masks.items() if name != word]
    effect = outside_subject(mask, clip.subject_mask)
    alone = effect & ~np.logical_or.reduce(neighbours) if neighbours else effect
    return _measure_effect(clip, effect, alone, replace(measures, fit=None, edge_width=None, extent=None, side=None))


def _measure_effect(clip: ClipContext, effect: Mask, alone: Mask, measures: ClipMeasures) -> ClipMeasures:
    subject = _subject_of(clip)
    extent = measure_extent(effect, subject)
    if extent is None:
        return measures
    return replace(
        measures,
        fit=None if clip.over is None else fit_opacity(clip.gt, clip.over, alone),
        edge_width=None if clip.over is None or alone is not effect else measure_edge_width(clip.gt, clip.over, effect),
        extent=extent,
        side=None if subject is None else find_side(effect, subject),
    )


def _subject_of(clip: ClipContext) -> Mask | None:
    if clip.subject_mask is None:
        return None
    subject: Mask = clip.subject_mask > 128
    return subject if subject.any() else None


def measure_extent(effect: Mask, subject: Mask | None) -> Extent | None:
    """Measure size and time of an effect; None where it is never visible."""
    areas = _areas(effect)
    if areas.max() < 30:
        return None
    frames = np.flatnonzero(areas >= 0.15 * np.percentile(areas, 90))
    third = max(1, len(frames) // 3)
    sizes = areas[frames]
    subject_sizes = None if subject is None else _areas(subject)[frames]
    last = max(len(effect) - 1, 1)
    # An effect that comes and goes with its subject spans the clip.
    subject_frames = frames if subject is None else np.flatnonzero(subject.any(axis=(1, 2)))
    if not len(subject_frames):
        subject_frames = frames
    is_late, is_early = frames[0] - subject_frames[0] > 1, subject_frames[-1] - frames[-1] > 1
    ratio = None
    if subject_sizes is not None and subject_sizes.any():
        ratio = float(np.median(sizes / np.maximum(subject_sizes, 1)))
    # It goes one way, rather than up and down.
    is_steady = len(sizes) > 3 and sizes.std() > 0 and abs(np.corrcoef(np.arange(len(sizes)), sizes)[0, 1]) > 0.75
    return Extent(
        share=float(sizes.mean() / effect[0].size),
        subject_ratio=ratio,
        elongation=float(np.median([_elongation(effect[frame]) for frame in frames[:: max(1, len(frames) // 8)]])),
        start=float(frames[0] / last) if is_late or subject is None else 0.0,
        end=float(frames[-1] / last) if is_early or subject is None else 1.0,
        growth=float(sizes[-third:].mean() / max(sizes[:third].mean(), 1)) if is_steady else 1.0,
    )


def _areas(mask: Mask) -> Float64[np.ndarray, "T"]:
    return np.asarray(mask.reshape(len(mask), -1).sum(axis=1), np.float64)


def find_side(effect: Mask, subject: Mask) -> Side | None:
    """Return the subject's side on which most of the effect is in most frames; None where that changes."""
    votes: dict[Side | None, int] = {}
    for frame in range(0, len(effect), max(1, len(effect) // 24)):
        rows, columns = np.nonzero(subject[frame])
        y, x = np.nonzero(effect[frame])
        if len(rows) and len(y):
            u = (x - (columns.min() + columns.max()) / 2) / max(np.ptp(columns) / 2, 1)
            v = (y - (rows.min() + rows.max()) / 2) / max(np.ptp(rows) / 2, 1)
            is_beside = np.abs(u) >= np.abs(v)
            sectors = (is_beside & (u < 0), is_beside & (u >= 0), ~is_beside & (v < 0), ~is_beside & (v >= 0))
            side = _side_of_shares(*(float(sector.mean()) for sector in sectors))
            votes[side] = votes.get(side, 0) + 1
    winner = max(votes, key=votes.__getitem__, default=None)
    return winner if winner is not None and votes[winner] >= 0.55 * sum(votes.values()) else None


def _side_of_shares(to_left: float, to_right: float, above: float, below: float) -> Side | None:
    """Return the side for the shares of an effect's pixels in the four sectors."""
    if min(to_left, to_right) >= 0.2 and above + below >= 0.15 and max(to_left, to_right, above, below) < 0.6:
        return "around" if above >= 0.08 else "sides" if below < 0.3 else "below"
    if min(to_left, to_right) >= 0.3:
        return "sides"
    if max(below, above) >= 0.55:
        return "below" if below > above else "above"
    if below >= 0.25 and max(to_left, to_right) >= 0.3:
        return "lower left" if to_left > to_right else "lower right"
    if max(to_left, to_right) >= 0.5:
        return "left" if to_left > to_right else "right"
    return None


def count_pieces(subject: Mask) -> int:
    """Count the larger separate pieces of a mask: the median over a few frames."""
    counts = []
    for picture in subject[:: max(1, len(subject) // 8)]:
        _, _, stats, _ = cv2.connectedComponentsWithStats(picture.astype(np.uint8))
        areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
        if len(areas):
            counts.append(int((areas > 0.2 * areas[0]).sum()))
    return int(np.median(counts)) if counts else 1


def measure_movement(video: Rgb, subject: Mask, effect: Mask) -> Movement:
    """Measure all movement from the frames and the two masks."""
    width = video.shape[2]
    drift = camera_path(video, subject)
    subject_path, effect_path = _centroids(subject), _centroids(effect)
    visible = np.isfinite(subject_path[:, 0])
    picture_heading = _heading(subject_path[visible], width)
    scene_heading, stays = picture_heading, False
    camera: CameraMotion | None = None
    if drift is not None:
        scene_path = (subject_path - drift)[visible]
        scene_heading = _heading(scene_path, width)
        stays = len(scene_path) > 1 and float(np.ptp(scene_path, axis=0).max()) < STAY_WIDTH * width
        x, y = drift[-1] / width
        camera = "still" if np.ptp(drift, axis=0).max() < max(0.006 * width, 1.2) else "handheld"
        if max(abs(x), abs(y)) > 0.08:
            camera = ("panning left" if x > 0 else "panning right") if abs(x) >= abs(y) else "tilting"
    return Movement(
        camera=camera,
        picture_heading=picture_heading,
        scene_heading=scene_heading,
        stays=stays,
        follows_subject=_move_together(subject_path, effect_path, width),
    )


def camera_path(video: Rgb, subject: Mask) -> Path | None:
    """Return how the ground slides over the picture, in pixels since the first frame; None where tracking fails."""
    scale = min(1.0, TRACKING_WIDTH / video.shape[2])
    path = np.zeros((len(video), 2))

    def small(picture: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))

    previous = small(cv2.cvtColor(video[0], cv2.COLOR_RGB2GRAY))
    for frame in range(1, len(video)):
        current = small(cv2.cvtColor(video[frame], cv2.COLOR_RGB2GRAY))
        is_ground = small((subject[frame - 1] | subject[frame]).astype(np.uint8)) == 0
        step = _ground_step(previous, current, cv2.erode(is_ground.astype(np.uint8) * 255, np.ones((9, 9), np.uint8)))
        if step is None:
            return None
        path[frame] = path[frame - 1] + step / scale
        previous = current
    return path


def _ground_step(previous: np.ndarray, current: np.ndarray, ground: np.ndarray) -> np.ndarray | None:
    """Return the median movement of the ground between two frames; None if it does not move as one."""
    corners = cv2.goodFeaturesToTrack(previous, 120, 0.01, 5, mask=ground)
    if corners is None or len(corners) < 8:
        return None
    tracked, status, _ = cv2.calcOpticalFlowPyrLK(previous, current, corners, None, winSize=(15, 15), maxLevel=3)
    steps = (tracked - corners)[status.ravel() > 0].reshape(-1, 2)
    if len(steps) < 8:
        return None
    median = np.median(steps, axis=0)
    return np.asarray(median) if np.median(np.abs(steps - median)) < 1.5 else None


def _heading(path: Path, width: int) -> Heading:
    if len(path) < 2:
        return "nowhere"
    count = max(1, len(path) // 8)
    x, y = (path[-count:].mean(axis=0) - path[:count].mean(axis=0)) / width
    if max(abs(x), abs(y)) < 0.07:
        return "nowhere"
    return ("right" if x > 0 else "left") if abs(x) >= abs(y) else ("down" if y > 0 else "up")


def _centroids(mask: Mask) -> Path:
    path = np.full((len(mask), 2), np.nan)
    for frame, picture in enumerate(mask):
        rows, columns = np.nonzero(picture)
        if len(rows):
            path[frame] = columns.mean(), rows.mean()
    return path


def _move_together(first: Path, second: Path, width: int) -> bool:
    common = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
    if common.sum() < 4:
        return False
    a, b = first[common] - first[common].mean(axis=0), second[common] - second[common].mean(axis=0)
    if np.abs(a).max() < 0.03 * width:
        return False
    return bool((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-6) > 0.8)


def _elongation(mask: np.ndarray) -> float:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < max(5, MAIN_PIECE * areas.sum()):
        return 1.0
    rows, columns = np.nonzero(labels == 1 + int(areas.argmax()))
    small, large = np.linalg.eigvalsh(np.cov(np.stack([columns, rows])))
    return float(np.sqrt(large / max(small, 0.1)))
