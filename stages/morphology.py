"""Erosion, dilation, medians and specks on clips of masks: uint8, 0 or 1, worked on frame by frame, in place.

Only `find_effect` uses these, on a buffer of its own. Beyond the frame's border nothing is known: erosion and dilation
leave it out, the medians repeat the outermost pixel and frame.
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


def dilate_disk(frame: Binary, radius_px: int) -> Binary:
    """Grow by a disk."""
    return cv2.dilate(frame, disk(radius_px)) if radius_px else frame


def open_and_smooth(frame: Binary, erode_px: int, dilate_px: int, median_px: int) -> Binary:
    """Erode, dilate, then take the majority of each square of median_px."""
    if erode_px:
        frame = cv2.erode(frame, disk(erode_px))
    frame = dilate_disk(frame, dilate_px)
    if median_px == 1:
        return frame
    # The median of zeros and ones is whether more than half are ones; a sum over a window is quicker than a median.
    depth = cv2.CV_8U if median_px**2 <= 255 else cv2.CV_16U
    count = cv2.boxFilter(frame, depth, (median_px, median_px), normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray((count > median_px**2 // 2).view(np.uint8))


def temporal_median(clip: BinaryClip, frames: int) -> None:
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
    previous, labels = np.zeros(clip[0].shape, bool), _label_components(clip[0], min_area_px)
    for index in range(len(clip)):
        next_labels = _label_components(clip[index + 1], min_area_px) if index + 1 < len(clip) else None
        neighbours = previous if next_labels is None else previous | (next_labels > 0)
        touched = np.bincount(labels[neighbours], minlength=int(labels.max()) + 1) > 0
        clip[index] = (_select_labels(labels, touched) if len(clip) > 1 else labels) > 0
        previous = labels > 0
        if next_labels is not None:
            labels = next_labels


def _label_components(frame: Binary, min_area_px: int) -> Labels:
    """Every pixel's component, counted from 1; 0 where there is none or a small one."""
    count, labels = cv2.connectedComponents(frame, connectivity=8, ltype=cv2.CV_32S)
    return _select_labels(labels, np.bincount(labels[frame.view(bool)], minlength=count) >= min_area_px)


def _select_labels(labels: Labels, keep: Bool[np.ndarray, "label"]) -> Labels:
    return labels if keep[1:].all() else np.where(keep, np.arange(len(keep), dtype=np.int32), 0)[labels]
