"""Erosion, dilation, medians and specks on clips of masks: uint8, 0 or 1, worked on frame by frame, in place.

Only `prune` uses these, on a buffer of its own. Beyond the frame's border nothing is known: erosion and dilation leave
it out, the medians repeat the outermost pixel and frame.
"""

from collections import deque

import cv2
import numpy as np
from jaxtyping import Bool, Int32, UInt8

Binary = UInt8[np.ndarray, "H W"]
BinaryClip = UInt8[np.ndarray, "T H W"]
Labels = Int32[np.ndarray, "H W"]


def disk(radius_px: int) -> UInt8[np.ndarray, "side side"]:
    """The pixels with dx² + dy² ≤ radius²."""
    offset = np.arange(-radius_px, radius_px + 1)
    return (offset[:, None] ** 2 + offset**2 <= radius_px**2).astype(np.uint8)


def dilated(frame: Binary, radius_px: int) -> Binary:
    """Grow by a disk."""
    return cv2.dilate(frame, disk(radius_px)) if radius_px else frame


def opened(frame: Binary, erode_px: int, dilate_px: int, median_px: int) -> Binary:
    """Erode, dilate, then take the majority of each square of median_px."""
    if erode_px:
        frame = cv2.erode(frame, disk(erode_px))
    frame = dilated(frame, dilate_px)
    return cv2.medianBlur(frame, median_px) if median_px > 1 else frame


def median_in_time(clip: BinaryClip, frames: int) -> None:
    """Replace each pixel by the majority of the `frames` frames around it."""
    last, radius = len(clip) - 1, frames // 2
    if not radius:
        return
    # Frames already replaced are kept as they were; the first one stands for those before the clip.
    before = deque([clip[0].copy()] * radius, maxlen=radius)
    for index in range(len(clip)):
        original = clip[index].copy()
        count = original.copy()
        for frame in before:
            count += frame
        for ahead in range(1, radius + 1):
            count += clip[min(index + ahead, last)] if index < last else original
        np.greater(count, radius, out=clip[index].view(bool))
        before.append(original)


def drop_specks(clip: BinaryClip, min_area_px: int) -> None:
    """Drop 8-connected components that are small, or that touch nothing in the frame before and the frame after.

    What a component can touch is what the neighbouring frames hold without their small ones. A clip of one frame has
    no neighbours, so there only size counts.
    """
    if len(clip) == 1:
        clip[0] = _large(clip[0], min_area_px)[0]
        return
    nothing = np.zeros_like(clip[0])
    before, (now, labels) = nothing, _large(clip[0], min_area_px)
    for index in range(len(clip)):
        after, later_labels = _large(clip[index + 1], min_area_px) if index + 1 < len(clip) else (nothing, None)
        clip[index] = _touching(now, labels, before | after)
        before, now, labels = now, after, later_labels


def _large(frame: Binary, min_area_px: int) -> tuple[Binary, Labels | None]:
    """The frame without its small components, and the labels of all of them; None for a frame without any."""
    if not frame.any():
        return frame.copy(), None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(frame, connectivity=8, ltype=cv2.CV_32S)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area_px
    keep[0] = False
    return (frame.copy() if keep[1:].all() else _select(labels, keep)), labels


def _touching(frame: Binary, labels: Labels | None, beside: Binary) -> Binary:
    """The components of frame that share a pixel with beside."""
    if labels is None:
        return frame
    present = np.bincount(labels[frame.view(bool)])
    touched = np.bincount(labels[(frame & beside).view(bool)], minlength=len(present))
    if np.array_equal(present > 0, touched > 0):
        return frame
    keep = np.zeros(int(labels.max()) + 1, bool)
    keep[: len(touched)] = touched > 0
    return _select(labels, keep)


def _select(labels: Labels, keep: Bool[np.ndarray, "label"]) -> Binary:
    kept: Binary = keep[labels].view(np.uint8)
    return kept
