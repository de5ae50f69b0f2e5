"""What other frames saw of a place: chosen, warped into the target frame, matched in exposure."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ..arrays import Image, Mask, Rgb
from .registration import CameraPath

Window = tuple[slice, slice]
"""Rows and columns of the target frame that are looked up."""
Samples = UInt8[np.ndarray, "S H W 3"]
Valid = Bool[np.ndarray, "S H W"]
BORDER_PX = 3
"""Outermost pixels of a frame, which encoders and cameras spoil, are not used elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A clip to look things up in."""

    frames: Rgb
    blocked: Mask
    """Pixels that must not be used elsewhere: subjects and known effects."""
    camera: CameraPath


def spread_out(footage: Footage, target: int, count: int) -> list[int]:
    """Up to count frames that overlap the target, evenly spread over the clip."""
    seen = [frame for frame in range(len(footage.frames)) if frame != target and _overlaps(footage, frame, target)]
    picks = np.linspace(0, len(seen) - 1, min(count, len(seen))).round().astype(int)
    return [seen[pick] for pick in sorted(set(picks.tolist()))]


def nearest(footage: Footage, target: int, wanted: Bool[np.ndarray, "H W"], count: int) -> list[int]:
    """Up to count frames for the wanted pixels of the target.

    First come frames ever farther apart in time, on both sides (neighbours alone would all see the same passing thing);
    then, for pixels that fewer than three of them saw, whichever frames see most of those.
    """
    order = [target + sign * step * (step + 1) // 2 for step in range(1, len(footage.frames)) for sign in (-1, 1)]
    order = [frame for frame in order if 0 <= frame < len(footage.frames)]
    rest = sorted(set(range(len(footage.frames))) - {target, *order}, key=lambda frame: abs(frame - target))
    lacking = np.full(int(wanted[::4, ::4].sum()), 3)
    chosen: list[int] = []
    for frame in order + rest:
        if len(chosen) >= count and not lacking.any():
            break
        sees = _sees(footage, frame, target, wanted)
        useful = sees.sum() > 0.02 * len(sees) if len(chosen) < count and frame in order else False
        if useful or (sees & (lacking > 0)).sum() > 0.01 * len(sees):
            chosen.append(frame)
            lacking -= np.minimum(sees, lacking)
        if len(chosen) >= 2 * count:
            break
    return chosen


def gather(footage: Footage, target: int, sources: list[int], window: Window, flags: int) -> tuple[Samples, Valid]:
    """Warp the sources into a window of the target; flags is OpenCV's interpolation."""
    left, top = window[1].start, window[0].start
    size = (window[1].stop - left, window[0].stop - top)
    aim = footage.frames[target][window]
    steady = ~footage.blocked[target][window]
    samples = np.zeros((len(sources), *aim.shape), np.uint8)
    valid = np.empty((len(sources), *aim.shape[:2]), bool)
    for slot, source in enumerate(sources):
        step = footage.camera.between(source, target)
        if np.array_equal(step, np.eye(3)):
            samples[slot], valid[slot] = footage.frames[source][window], ~footage.blocked[source][window]
        else:
            step = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ step
            samples[slot] = cv2.warpPerspective(
                footage.frames[source], step, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
            valid[slot] = cv2.warpPerspective(_usable(footage, source), step, size, flags=cv2.INTER_LINEAR) == 255
        samples[slot] = _same_exposure(samples[slot], aim, valid[slot] & steady)
    return samples, valid


def _usable(footage: Footage, frame: int) -> UInt8[np.ndarray, "H W"]:
    usable = np.zeros(footage.blocked.shape[1:], np.uint8)
    inner = (slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    usable[inner] = np.where(footage.blocked[frame][inner], 0, 255)
    return usable


def _overlaps(footage: Footage, source: int, target: int) -> bool:
    """Whether at least a sixth of the target's picture is inside the source's."""
    height, width = footage.blocked.shape[1:]
    ys, xs = np.mgrid[0:height:8j, 0:width:8j]
    flat = np.column_stack([xs.ravel(), ys.ravel(), np.ones(64)]) @ footage.camera.between(target, source).T
    with np.errstate(divide="ignore", invalid="ignore"):
        points = flat[:, :2] / flat[:, 2:]
    inside = (points >= 0).all(axis=1) & (points < (width, height)).all(axis=1) & (flat[:, 2] > 0)
    return bool(inside.mean() > 1 / 6)


def _sees(footage: Footage, source: int, target: int, wanted: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "N"]:
    """Which of the wanted pixels, at every fourth row and column, the source saw unblocked."""
    rows, columns = np.nonzero(wanted[::4, ::4])
    flat = np.column_stack([columns * 4, rows * 4, np.ones(len(rows))]) @ footage.camera.between(target, source).T
    height, width = footage.blocked.shape[1:]
    ahead = flat[:, 2] > 1e-6
    points = np.rint(flat[:, :2] / np.where(ahead, flat[:, 2], 1)[:, None])
    inside = ahead & (points >= BORDER_PX).all(axis=1) & (points < (width - BORDER_PX, height - BORDER_PX)).all(axis=1)
    x, y = np.where(inside[:, None], points, 0).astype(int).T
    return np.asarray(inside & ~footage.blocked[source][y, x])


def _same_exposure(sample: Image, aim: Image, comparable: Bool[np.ndarray, "H W"]) -> Image:
    """Scale the sample's channels so that its typical ratio to the target is one."""
    thin = comparable[::3, ::3]
    if thin.sum() < 64:
        return sample
    ratio = (aim[::3, ::3][thin] + np.float32(8)) / (sample[::3, ::3][thin] + np.float32(8))
    gain = np.median(ratio, axis=0).clip(0.7, 1.4)
    if np.abs(gain - 1).max() < 0.004:
        return sample
    levels = np.arange(256, dtype=np.float32)[:, None] * gain + 8 * (gain - 1)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(sample, table[None]))
