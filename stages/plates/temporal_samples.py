"""Samples of a region from other frames: selected, warped into the target frame, matched in exposure."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from ...arrays import Image, Mask, Matte, Rgb
from .flow_alignment import MAX_INLIER_SHARE, align_by_flow
from .registration import CameraPath, Map

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
    overlapping = np.flatnonzero(_overlaps(footage, target)).tolist()
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
    rows, columns = np.nonzero(region[::4, ::4])
    pixels = np.column_stack([columns * 4, rows * 4, np.ones(len(rows))])
    lacking = np.full(len(rows), 3)
    selected: list[int] = []
    for frame in order + remaining:
        if len(selected) >= count and not lacking.any():
            break
        observed = _observed_pixels(footage, frame, target, pixels)
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
    """Warp the sources, and their clearance, into a window of the target; flags is OpenCV's interpolation.

    Where the scene does not follow the camera's maps, flow brings the samples the rest of the way.
    """
    ranks = gather_ranks(footage, target, sources, window)
    target_patch, target_clear = footage.frames[target][window], footage.clearance[target][window] > 0
    uses_flow = footage.camera.inlier_share < MAX_INLIER_SHARE
    samples = np.empty((len(sources), *target_patch.shape), np.uint8)
    for slot, source in enumerate(sources):
        sample = _warp_into(window, footage.frames[source], footage.camera.between(source, target), flags)
        comparable = (ranks[slot, ::5, ::5] > 0) & target_clear[::5, ::5]
        _match_exposure(sample, target_patch, comparable, samples[slot])
        if uses_flow:
            samples[slot], ranks[slot] = align_by_flow(samples[slot], ranks[slot], target_patch, target_clear)
    return samples, ranks


def gather_ranks(footage: ReferenceFrames, target: int, sources: list[int], window: Window) -> Ranks:
    """Warp the clearance of the sources into a window of the target."""
    steps = [footage.camera.between(source, target) for source in sources]
    layers = [footage.clearance[source] for source in sources]
    return np.stack([_warp_into(window, *pair, cv2.INTER_NEAREST) for pair in zip(layers, steps, strict=True)])


def _warp_into(window: Window, picture: np.ndarray, step: Map, flags: int) -> np.ndarray:
    """The window of picture under a map; beyond the border colours go on and a clearance is 0."""
    if np.array_equal(step, np.eye(3)):
        return picture[window]
    x, y = window[1].start, window[0].start
    shifted = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ step
    size = (window[1].stop - x, window[0].stop - y)
    border = cv2.BORDER_REPLICATE if picture.ndim == 3 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpPerspective(picture, shifted, size, flags=flags, borderMode=border))


def _overlaps(footage: ReferenceFrames, target: int) -> Bool[np.ndarray, "T"]:
    """Frames, apart from the target, that show at least a sixth of the target's picture."""
    height, width = footage.clearance.shape[1:]
    ys, xs = np.mgrid[0:height:8j, 0:width:8j]
    steps = np.stack([footage.camera.between(target, source) for source in range(len(footage.frames))])
    homogeneous = np.column_stack([xs.ravel(), ys.ravel(), np.ones(64)]) @ steps.swapaxes(1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = homogeneous[..., :2] / homogeneous[..., 2:]
    inside = (points >= 0).all(axis=2) & (points < (width, height)).all(axis=2) & (homogeneous[..., 2] > 0)
    overlapping = inside.mean(axis=1) > 1 / 6
    overlapping[target] = False
    return np.asarray(overlapping)


def _observed_pixels(
    footage: ReferenceFrames, source: int, target: int, pixels: Float64[np.ndarray, "N 3"]
) -> Bool[np.ndarray, "N"]:
    """Mask of the target's homogeneous pixels that the source observed unblocked."""
    homogeneous = pixels @ footage.camera.between(target, source).T
    height, width = footage.clearance.shape[1:]
    depth = homogeneous[:, 2]
    ahead = depth > 1e-6
    depth = np.where(ahead, depth, 1)
    x, y = np.rint(homogeneous[:, 0] / depth), np.rint(homogeneous[:, 1] / depth)
    inside = ahead & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    inside[inside] = footage.clearance[source][y[inside].astype(int), x[inside].astype(int)] > 0
    return np.asarray(inside)


def _match_exposure(sample: Image, target_patch: Image, comparable: Bool[np.ndarray, "h w"], matched: Image) -> None:
    """Give the sample the target's tone curve, per channel, and write it to matched.

    Pixels that both show (comparable, of every fifth row and column) are sorted by level into eight groups; the medians
    of each group are points of the curve. One gain would not do: automatic exposure works before the camera's curve,
    which is flat in the highlights.
    """
    if np.count_nonzero(comparable) < 16 * TONE_GROUPS:
        matched[:] = sample
        return
    levels = np.arange(256, dtype=np.float32)
    table = np.empty((1, 256, 3), np.uint8)
    for channel in range(3):
        sampled, wanted = (image[::5, ::5, channel][comparable] for image in (sample, target_patch))
        # A stable sort of bytes is a radix sort, several times quicker than one of floats.
        order = np.argsort(sampled, kind="stable")[: len(sampled) // TONE_GROUPS * TONE_GROUPS]
        sampled, wanted = (values[order].reshape(TONE_GROUPS, -1) for values in (sampled, wanted))
        xs, ys = _middle(sampled), _middle(np.sort(wanted))
        table[0, :, channel] = np.clip(np.rint(levels + np.interp(levels, xs, ys - xs)), 0, 255)
    cv2.LUT(sample, table, matched)


def _middle(rising: UInt8[np.ndarray, "N M"]) -> Float32[np.ndarray, "N"]:
    """Medians of sorted rows."""
    length = rising.shape[1]
    return np.asarray((rising[:, (length - 1) // 2] + rising[:, length // 2].astype(np.float32)) / 2)
