"""Where and when: how large an effect is, on which side of its subject, from when to when, and what moves how."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64

from ...arrays import Mask, Rgb

Side = Literal["left", "right", "above", "below", "lower left", "lower right", "sides", "around"]
Heading = Literal["left", "right", "up", "down", "nowhere"]
Path = Float64[np.ndarray, "T 2"]  # x and y in pixels; NaN in frames where there is nothing
STAYS = 0.06
"""As a share of the picture's width: what moves less, bending its neck say, stays where it is."""
WHOLE = 0.7
"""Of an effect's area in one piece, for its length to be said: scattered pieces make any outline long."""
WIDE = 240
"""The camera's movement is measured on pictures of at most this width."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How large an effect is and when it is there."""

    share: float
    """Of the picture, mean over the frames in which it is seen."""
    to_subject: float | None
    """Its area as a multiple of the subject's; None without a subject."""
    length: float
    """How elongated it is: length by width of the ellipse that has its moments."""
    begins: float
    """When it is first seen, as a share of the clip; 0 from the first frame on, or from its subject's first."""
    ends: float
    """When it is last seen; 1 up to the last frame, or its subject's last."""
    growth: float
    """Its area in the last third of the time it is seen by that in the first; 1 if it stays, or goes up and down."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How camera, subject and effect move. Shares are of the picture's width."""

    camera: Literal["still", "handheld", "panning left", "panning right", "tilting"] | None
    """None where it cannot be told."""
    across: Heading
    """Where the subject goes on the picture."""
    through: Heading
    """Where it goes through the scene, the camera's movement taken out."""
    stays: bool
    """Does it stay at its place in the scene all the time, whatever it does there?"""
    together: bool
    """Does the effect's middle go where the subject's goes?"""


def measure_extent(effect: Mask, subject: Mask | None) -> Extent | None:
    """Size and time of an effect; None where it is never seen."""
    area = effect.reshape(len(effect), -1).sum(axis=1).astype(np.float64)
    if area.max() < 30:
        return None
    seen = np.flatnonzero(area >= 0.15 * np.percentile(area, 90))
    third = max(1, len(seen) // 3)
    size = area[seen]
    bodies = None if subject is None else subject.reshape(len(subject), -1).sum(axis=1)[seen]
    begins, ends = _span(seen, subject, len(effect))
    return Extent(
        share=float(size.mean() / effect[0].size),
        to_subject=float(np.median(size / np.maximum(bodies, 1))) if bodies is not None and bodies.any() else None,
        length=float(np.median([_elongation(effect[frame]) for frame in seen[:: max(1, len(seen) // 8)]])),
        begins=begins,
        ends=ends,
        growth=float(size[-third:].mean() / max(size[:third].mean(), 1)) if _steady(size) else 1.0,
    )


def _span(seen: np.ndarray, subject: Mask | None, frames: int) -> tuple[float, float]:
    """First and last moment as shares of the clip; what comes and goes with its subject is there all the time."""
    last = max(frames - 1, 1)
    there = seen if subject is None else np.flatnonzero(subject.reshape(frames, -1).any(axis=1))
    if not len(there):
        there = seen
    late, early = seen[0] - there[0] > 1, there[-1] - seen[-1] > 1
    begins = float(seen[0] / last) if late or subject is None else 0.0
    return begins, float(seen[-1] / last) if early or subject is None else 1.0


def find_side(effect: Mask, subject: Mask) -> Side | None:
    """On which side of the subject most of the effect lies in most frames, in the picture; None where that changes."""
    votes: dict[Side | None, int] = {}
    for frame in range(0, len(effect), max(1, len(effect) // 24)):
        rows, columns = np.nonzero(subject[frame])
        y, x = np.nonzero(effect[frame])
        if len(rows) and len(y):
            u = (x - (columns.min() + columns.max()) / 2) / max(np.ptp(columns) / 2, 1)
            v = (y - (rows.min() + rows.max()) / 2) / max(np.ptp(rows) / 2, 1)
            level = np.abs(u) >= np.abs(v)
            lots = (level & (u < 0), level & (u >= 0), ~level & (v < 0), ~level & (v >= 0))
            voted = _side_of(*(float(lot.mean()) for lot in lots))
            votes[voted] = votes.get(voted, 0) + 1
    best = max(votes, key=votes.__getitem__, default=None)
    return best if best is not None and votes[best] >= 0.55 * sum(votes.values()) else None


def count_pieces(subject: Mask) -> int:
    """How many separate pieces of some size a mask has, in the middle of a few frames' counts."""
    counts = []
    for picture in subject[:: max(1, len(subject) // 8)]:
        _, _, stats, _ = cv2.connectedComponentsWithStats(picture.astype(np.uint8))
        areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
        if len(areas):
            counts.append(int((areas > 0.2 * areas[0]).sum()))
    return int(np.median(counts)) if counts else 1


def centroids(mask: Mask) -> Path:
    """The middle of a mask in every frame."""
    path = np.full((len(mask), 2), np.nan)
    for frame, picture in enumerate(mask):
        rows, columns = np.nonzero(picture)
        if len(rows):
            path[frame] = columns.mean(), rows.mean()
    return path


def measure_movement(video: Rgb, subject: Mask, effect: Mask) -> Movement:
    """How everything moves, from the frames and the two masks."""
    width = video.shape[2]
    drift = camera_path(video, subject)
    own, other = centroids(subject), centroids(effect)
    seen = np.isfinite(own[:, 0])
    through: Heading = "nowhere"
    across = _going(own[seen], width)
    path = own if drift is None else own - drift
    if drift is not None:
        through = _going(path[seen], width)
    return Movement(
        camera=None if drift is None else _camera(drift, width),
        across=across,
        through=through if drift is not None else across,
        stays=drift is not None and len(path[seen]) > 1 and float(np.ptp(path[seen], axis=0).max()) < STAYS * width,
        together=_together(own, other, width),
    )


def camera_path(video: Rgb, subject: Mask) -> Path | None:
    """How the ground slides over the picture, in pixels since the first frame; None where that cannot be followed."""
    scale = min(1.0, WIDE / video.shape[2])
    path = np.zeros((len(video), 2))
    before = _small(video[0], scale)
    for frame in range(1, len(video)):
        now = _small(video[frame], scale)
        ground = (_shrunk(subject[frame - 1] | subject[frame], scale) == 0).astype(np.uint8) * 255
        step = _slide(before, now, cv2.erode(ground, np.ones((9, 9), np.uint8)))
        if step is None:
            return None
        path[frame] = path[frame - 1] + step / scale
        before = now
    return path


def _slide(before: np.ndarray, now: np.ndarray, ground: np.ndarray) -> np.ndarray | None:
    """The median movement of the ground between two frames; None if it does not move as one."""
    corners = cv2.goodFeaturesToTrack(before, 120, 0.01, 5, mask=ground)
    if corners is None or len(corners) < 8:
        return None
    found, good, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None, winSize=(15, 15), maxLevel=3)
    moved = (found - corners)[good.ravel() > 0].reshape(-1, 2)
    if len(moved) < 8:
        return None
    middle = np.median(moved, axis=0)
    return np.asarray(middle) if np.median(np.abs(moved - middle)) < 1.5 else None


def _small(frame: np.ndarray, scale: float) -> np.ndarray:
    return _resized(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), scale)


def _shrunk(mask: np.ndarray, scale: float) -> np.ndarray:
    return _resized(mask.astype(np.uint8), scale)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _camera(drift: Path, width: int) -> Literal["still", "handheld", "panning left", "panning right", "tilting"]:
    x, y = drift[-1] / width
    if max(abs(x), abs(y)) > 0.08:
        return ("panning left" if x > 0 else "panning right") if abs(x) >= abs(y) else "tilting"
    return "still" if np.ptp(drift, axis=0).max() < max(0.006 * width, 1.2) else "handheld"


def _going(path: Path, width: int) -> Heading:
    if len(path) < 2:
        return "nowhere"
    ends = max(1, len(path) // 8)
    x, y = (path[-ends:].mean(axis=0) - path[:ends].mean(axis=0)) / width
    if max(abs(x), abs(y)) < 0.07:
        return "nowhere"
    return ("right" if x > 0 else "left") if abs(x) >= abs(y) else ("down" if y > 0 else "up")


def _together(own: Path, other: Path, width: int) -> bool:
    both = np.isfinite(own[:, 0]) & np.isfinite(other[:, 0])
    if both.sum() < 4:
        return False
    a, b = own[both] - own[both].mean(axis=0), other[both] - other[both].mean(axis=0)
    if np.abs(a).max() < 0.03 * width:
        return False
    return bool((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-6) > 0.8)


def _steady(size: Float64[np.ndarray, "T"]) -> bool:
    """Does it go one way, rather than up and down?"""
    return bool(len(size) > 3 and size.std() > 0 and abs(np.corrcoef(np.arange(len(size)), size)[0, 1]) > 0.75)


def _elongation(mask: np.ndarray) -> float:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < max(5, WHOLE * areas.sum()):
        return 1.0
    rows, columns = np.nonzero(labels == 1 + int(areas.argmax()))
    small, large = np.linalg.eigvalsh(np.cov(np.stack([columns, rows])))
    return float(np.sqrt(large / max(small, 0.1)))


def _side_of(left: float, right: float, above: float, below: float) -> Side | None:
    """From the shares of an effect's pixels on the four sides."""
    if min(left, right) >= 0.2 and above + below >= 0.15 and max(left, right, above, below) < 0.6:
        return "around" if above >= 0.08 else "sides" if below < 0.3 else "below"
    if min(left, right) >= 0.3:
        return "sides"
    if max(below, above) >= 0.55:
        return "below" if below > above else "above"
    if below >= 0.25 and max(left, right) >= 0.3:
        return "lower left" if left > right else "lower right"
    if max(left, right) >= 0.5:
        return "left" if left > right else "right"
    return None
