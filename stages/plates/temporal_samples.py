"""Samples of a region from other frames: selected, warped into the target frame, matched in exposure."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ...arrays import Image, Mask, Matte, Rgb
from .registration import CameraPath

Window = tuple[slice, slice]
"""Rows and columns of the target frame that are looked up."""
Samples = UInt8[np.ndarray, "S H W 3"]
Ranks = UInt8[np.ndarray, "S H W"]
"""Clearance of the samples: 0 where they do not count."""
TONE_GROUPS = 8
BORDER_PX = 3
"""Outermost pixels of a frame, which encoders and cameras spoil, are not used elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ReferenceFrames:
    """A clip whose frames serve as references for each other."""

    frames: Rgb
    clearance: Matte
    """0 where a pixel must not be used elsewhere (subjects, known effects, the frame's rim); else the subject's
    distance as a rank from 1 to 255."""
    camera: CameraPath

    @staticmethod
    def from_clip(frames: Rgb, blocked: Mask, camera: CameraPath) -> "ReferenceFrames":
        """Reference frames in which every pixel counts alike that is neither blocked nor at the frame's rim."""
        inner = np.s_[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
        clearance = np.zeros(blocked.shape, np.uint8)
        clearance[inner] = np.where(blocked[inner], np.uint8(0), np.uint8(255))
        return ReferenceFrames(frames=frames, clearance=clearance, camera=camera)

    def with_distance_ranks(self, subject: Mask) -> "ReferenceFrames":
        """Copy with clearance by the distance from the subject, in hundredths of its larger side."""
        ranks = np.stack([_distance_ranks(body) for body in subject])
        return replace(self, clearance=np.minimum(ranks, self.clearance))

    def resized(self, factor: float, blur_px: float) -> "ReferenceFrames":
        """The same footage at another size, and then smoothed, each pixel by the clear ones around it."""
        clear = _resize_frames(self.clearance, factor) == 255
        frames = _resize_frames(self.frames, factor)
        frames = np.stack([smooth_clear(*pair, blur_px) for pair in zip(frames, clear, strict=True)])
        return ReferenceFrames.from_clip(frames, ~clear, self.camera.scaled(factor))


def smooth_clear(frame: Image, clear: Bool[np.ndarray, "H W"], sigma_px: float) -> Image:
    """Gaussian smoothing in which only clear pixels count; far from all of them the frame stays as it is."""
    weight = clear.astype(np.float32)[..., None]
    total = cv2.GaussianBlur(np.concatenate([frame * weight, weight], axis=2), (0, 0), sigma_px)
    share = total[..., 3:]
    mean = np.rint(total[..., :3] / np.maximum(share, 1e-3)).clip(0, 255).astype(np.uint8)
    return np.where(share > 0.01, mean, frame)


def _resize_frames(frames: np.ndarray, factor: float) -> np.ndarray:
    resized = [cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(resized)


def _distance_ranks(subject: Bool[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    if not subject.any():
        return np.full(subject.shape, 255, np.uint8)
    rows, columns = np.nonzero(subject)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    distance = cv2.distanceTransform((~subject).view(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.clip(100 * distance / side, 1, 255), np.uint8)


def evenly_spaced_frames(footage: ReferenceFrames, target: int, count: int) -> list[int]:
    """Up to count frames that overlap the target, evenly spread over the clip."""
    overlapping = [
        frame for frame in range(len(footage.frames)) if frame != target and _overlaps(footage, frame, target)
    ]
    picks = np.linspace(0, len(overlapping) - 1, min(count, len(overlapping))).round().astype(int)
    return [overlapping[pick] for pick in sorted(set(picks.tolist()))]


def nearest_frames(footage: ReferenceFrames, target: int, region: Bool[np.ndarray, "H W"], count: int) -> list[int]:
    """Up to count frames for the region's pixels of the target.

    First come frames ever farther apart in time, on both sides (neighbours alone would all see one passing object);
    then, for pixels that fewer than three of them saw, whichever frames see most of those.
    """
    order = [target + sign * step * (step + 1) // 2 for step in range(1, len(footage.frames)) for sign in (-1, 1)]
    order = [frame for frame in order if 0 <= frame < len(footage.frames)]
    remaining = sorted(set(range(len(footage.frames))) - {target, *order}, key=lambda frame: abs(frame - target))
    lacking = np.full(int(region[::4, ::4].sum()), 3)
    selected: list[int] = []
    for frame in order + remaining:
        if len(selected) >= count and not lacking.any():
            break
        observed = _observed_pixels(footage, frame, target, region)
        useful = observed.sum() > 0.02 * len(observed) if len(selected) < count and frame in order else False
        if useful or (observed & (lacking > 0)).sum() > 0.01 * len(observed):
            selected.append(frame)
            lacking -= np.minimum(observed, lacking)
        if len(selected) >= 2 * count:
            break
    return selected


def gather_samples(
    footage: ReferenceFrames, target: int, sources: list[int], window: Window, flags: int
) -> tuple[Samples, Ranks]:
    """Warp the sources, and their clearance, into a window of the target; flags is OpenCV's interpolation."""
    x, y = window[1].start, window[0].start
    size = (window[1].stop - x, window[0].stop - y)
    target_patch = footage.frames[target][window]
    target_clear = footage.clearance[target][window] > 0
    samples = np.zeros((len(sources), *target_patch.shape), np.uint8)
    ranks = np.zeros((len(sources), *target_patch.shape[:2]), np.uint8)
    for slot, source in enumerate(sources):
        step = footage.camera.between(source, target)
        if np.array_equal(step, np.eye(3)):
            samples[slot], ranks[slot] = footage.frames[source][window], footage.clearance[source][window]
        else:
            step = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ step
            samples[slot] = cv2.warpPerspective(
                footage.frames[source], step, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
            ranks[slot] = cv2.warpPerspective(footage.clearance[source], step, size, flags=cv2.INTER_NEAREST)
        samples[slot] = _match_exposure(samples[slot], target_patch, (ranks[slot] > 0) & target_clear)
    return samples, ranks


def _overlaps(footage: ReferenceFrames, source: int, target: int) -> bool:
    """Whether at least a sixth of the target's picture is inside the source's."""
    height, width = footage.clearance.shape[1:]
    ys, xs = np.mgrid[0:height:8j, 0:width:8j]
    homogeneous = np.column_stack([xs.ravel(), ys.ravel(), np.ones(64)]) @ footage.camera.between(target, source).T
    with np.errstate(divide="ignore", invalid="ignore"):
        points = homogeneous[:, :2] / homogeneous[:, 2:]
    inside = (points >= 0).all(axis=1) & (points < (width, height)).all(axis=1) & (homogeneous[:, 2] > 0)
    return bool(inside.mean() > 1 / 6)


def _observed_pixels(
    footage: ReferenceFrames, source: int, target: int, region: Bool[np.ndarray, "H W"]
) -> Bool[np.ndarray, "N"]:
    """Mask of the region's pixels, at every fourth row and column, that the source observed unblocked."""
    rows, columns = np.nonzero(region[::4, ::4])
    step = footage.camera.between(target, source)
    homogeneous = np.column_stack([columns * 4, rows * 4, np.ones(len(rows))]) @ step.T
    height, width = footage.clearance.shape[1:]
    ahead = homogeneous[:, 2] > 1e-6
    points = np.rint(homogeneous[:, :2] / np.where(ahead, homogeneous[:, 2], 1)[:, None])
    inside = ahead & (points >= 0).all(axis=1) & (points < (width, height)).all(axis=1)
    x, y = np.where(inside[:, None], points, 0).astype(int).T
    return np.asarray(inside & (footage.clearance[source][y, x] > 0))


def _match_exposure(sample: Image, target_patch: Image, comparable: Bool[np.ndarray, "H W"]) -> Image:
    """Give the sample the target's tone curve, per channel.

    Pixels that both show are sorted by level into eight groups; the medians of each group are points of the curve. One
    gain would not do: automatic exposure works before the camera's curve, which is flat in the highlights.
    """
    subsampled = comparable[::5, ::5]
    if subsampled.sum() < 16 * TONE_GROUPS:
        return sample
    pairs = np.stack([sample[::5, ::5][subsampled], target_patch[::5, ::5][subsampled]], axis=2).astype(np.float32)
    levels = np.arange(256, dtype=np.float32)
    table = np.empty((1, 256, 3), np.uint8)
    for channel, pair in enumerate(pairs.swapaxes(0, 1)):
        order = np.argsort(pair[:, 0], kind="stable")[: len(pair) // TONE_GROUPS * TONE_GROUPS]
        xs, ys = (np.median(values[order].reshape(TONE_GROUPS, -1), axis=1) for values in pair.T)
        table[0, :, channel] = np.clip(np.rint(levels + np.interp(levels, xs, ys - xs)), 0, 255)
    return np.asarray(cv2.LUT(sample, table))
