"""Samples of a region from other frames: selected, warped into the target frame, matched in exposure."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from ...arrays import Image, Mask, Matte, Rgb
from .blending import weigh
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

    @cached_property
    def four_channels(self) -> UInt8[np.ndarray, "T H W 4"]:
        """The frames with an empty channel more, which OpenCV warps linearly to the same levels in half the time."""
        return np.pad(self.frames, ((0, 0), (0, 0), (0, 0), (0, 1)))

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
    *totals, share = cv2.split(cv2.GaussianBlur(weigh(frame, clear.astype(np.float32)), (0, 0), sigma_px))
    divisor = np.maximum(share, 1e-3)
    mean = cv2.merge([np.rint(total / divisor).clip(0, 255).astype(np.uint8) for total in totals])
    return np.asarray(cv2.copyTo(mean, (share > 0.01).view(np.uint8), frame.copy()))


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
    for place, frame in enumerate(order + remaining):
        takes_any = len(selected) < count and place < len(order)
        if not takes_any and np.count_nonzero(lacking) <= 0.01 * len(lacking):
            break
        asked = np.s_[:] if takes_any else np.flatnonzero(lacking)
        observed = _observed_pixels(footage, frame, target, pixels[asked])
        useful = takes_any and np.count_nonzero(observed) > 0.02 * len(pixels)
        if useful or np.count_nonzero(lacking[asked][observed]) > 0.01 * len(pixels):
            selected.append(frame)
            lacking[asked] -= np.minimum(observed, lacking[asked])
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
    target_planes = np.ascontiguousarray(target_patch[::5, ::5].transpose(2, 0, 1))
    uses_flow = footage.camera.inlier_share < MAX_INLIER_SHARE
    samples = np.empty((len(sources), *target_patch.shape), np.uint8)
    frames = footage.four_channels if flags == cv2.INTER_LINEAR else footage.frames
    for slot, source in enumerate(sources):
        sample = _warp_into(window, frames[source], footage.camera.between(source, target), flags)
        comparable = (ranks[slot, ::5, ::5] > 0) & target_clear[::5, ::5]
        _match_exposure(sample, target_planes, comparable, samples[slot])
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


def _match_exposure(
    sample: UInt8[np.ndarray, "h w C"],
    target_planes: UInt8[np.ndarray, "3 r c"],
    comparable: Bool[np.ndarray, "r c"],
    matched: Image,
) -> None:
    """Give the sample the target's tone curve, per channel, and write it to matched.

    Pixels that both show (comparable, of every fifth row and column) are sorted by level into eight groups; the medians
    of each group are points of the curve. One gain would not do: automatic exposure works before the camera's curve,
    which is flat in the highlights.
    """
    if np.count_nonzero(comparable) < 16 * TONE_GROUPS:
        matched[:] = sample[..., :3]
        return
    # A table is looked up plane by plane in half the time.
    planes = cv2.split(sample)[:3]
    sampled, wanted = np.stack([plane[::5, ::5][comparable] for plane in planes]), target_planes[:, comparable]
    # A stable sort of bytes is a radix sort, several times quicker than others.
    order = np.argsort(sampled, axis=1, kind="stable")[:, : sampled.shape[1] // TONE_GROUPS * TONE_GROUPS]
    groups = [np.take_along_axis(values, order, 1).reshape(3, TONE_GROUPS, -1) for values in (sampled, wanted)]
    xs, ys = _middle(groups[0]), _middle(np.sort(groups[1], kind="stable"))
    levels = np.arange(256, dtype=np.float32)
    shifts = np.stack([np.interp(levels, *points) for points in zip(xs, ys - xs, strict=True)])
    tables = np.clip(np.rint(levels + shifts), 0, 255).astype(np.uint8)
    cv2.merge([cv2.LUT(*pair) for pair in zip(planes, tables, strict=True)], matched)


def _middle(rising: UInt8[np.ndarray, "*N M"]) -> Float32[np.ndarray, "*N"]:
    """Medians of sorted rows."""
    length = rising.shape[-1]
    return np.asarray((rising[..., (length - 1) // 2] + rising[..., length // 2].astype(np.float32)) / 2)
