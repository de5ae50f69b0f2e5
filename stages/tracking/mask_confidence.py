"""Plausibility of a subject mask by itself, beside another, and on its video: shares in [0, 1], 1 is best."""

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import Image, Matte, MatteImage, PerFrame, Rgb

FLOW_SIDE_PX = 192
"""Short side of the frames on which motion is compared: 1 ms a frame, and enough to see a mask that jumps."""
SLACK_PX = 2
"""On those frames: outlines this close are the same outline; thin parts would otherwise never agree."""
CONTRAST = (0.8, 1.3)
"""Gradient on the outline over gradient beside it: true masks 1.3 to 5, shifted ones 0.6 to 1.2; maps to 0 and 1."""


def overlap(first: MatteImage, second: MatteImage) -> float:
    """Intersection over union; two empty masks agree fully."""
    first_subject, second_subject = first > 127, second > 127
    union = np.count_nonzero(first_subject | second_subject)
    return np.count_nonzero(first_subject & second_subject) / union if union else 1.0


def area_ratio(first: MatteImage, second: MatteImage) -> float:
    """The smaller area over the larger; 1 where both are empty."""
    areas = sorted((np.count_nonzero(first > 127), np.count_nonzero(second > 127)))
    return areas[0] / areas[1] if areas[1] else 1.0


def steadiness(mask: Matte) -> PerFrame:
    """Each filled frame's area against the median of itself and two filled frames on either side: smaller over larger.

    Empty frames get 1: whether they may be empty is for `presence` to say.
    """
    areas = np.array([np.count_nonzero(frame > 127) for frame in mask], np.float32)
    steady = np.ones(len(areas), np.float32)
    filled = np.flatnonzero(areas)
    if len(filled):
        padded = np.pad(areas[filled], 2, mode="edge")
        usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=-1)
        steady[filled] = np.minimum(areas[filled], usual) / np.maximum(areas[filled], usual)
    return steady


def presence(mask: Matte) -> PerFrame:
    """0 where an empty frame lies between filled ones, else 1: a subject may come late and leave early."""
    filled = np.array([bool((frame > 127).any()) for frame in mask])
    came = np.logical_or.accumulate(filled)
    stays = np.logical_or.accumulate(filled[::-1])[::-1]
    return (filled | ~(came & stays)).astype(np.float32)


def within_frame(mask: Matte) -> PerFrame:
    """Falls from 1 to 0 as the mask goes from half to all of the frame's area, or of its border."""
    shares = np.empty(len(mask), np.float32)
    for frame, matte in enumerate(mask):
        subject = matte > 127
        border = np.concatenate([subject[0], subject[-1], subject[1:-1, 0], subject[1:-1, -1]])
        shares[frame] = max(subject.mean(), border.mean())
    return np.clip(2 - 2 * shares, 0, 1).astype(np.float32)


def continuity(gt: Rgb, mask: Matte) -> PerFrame:
    """Agreement of each mask with its neighbours' masks moved by the optical flow; the worse neighbour counts.

    Neighbours without a subject say nothing.
    """
    flow_finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    agreement = np.ones(len(gt), np.float32)
    grey, matte = _shrink(gt[0], mask[0])
    for frame in range(1, len(gt)):
        next_grey, next_matte = _shrink(gt[frame], mask[frame])
        if (matte > 127).any() and (next_matte > 127).any():
            flow = flow_finder.calc(next_grey, grey, None)
            rows, columns = np.indices(matte.shape, dtype=np.float32)
            moved = cv2.remap(matte, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
            link = np.float32(_loose_overlap(moved, next_matte))
            agreement[frame - 1] = min(agreement[frame - 1], link)
            agreement[frame] = min(agreement[frame], link)
        grey, matte = next_grey, next_matte
    return agreement


def edge_contrast(gt: Rgb, mask: Matte) -> PerFrame:
    """Whether the outline lies on edges of the picture: mean gradient on it against 4 to 8 pixels beside it."""
    shares = np.ones(len(gt), np.float32)
    low, high = CONTRAST
    for frame, (image, matte) in enumerate(zip(gt, mask, strict=True)):
        hard = (matte > 127).astype(np.uint8)
        distance = cv2.distanceTransform(hard, cv2.DIST_L2, 3) + cv2.distanceTransform(1 - hard, cv2.DIST_L2, 3)
        on, beside = distance <= 1.5, (distance > 4) & (distance <= 8)
        if not hard.all() and hard.any() and beside.any():
            lab = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), (0, 0), 1).astype(np.float32)
            across, down = cv2.Sobel(lab, cv2.CV_32F, 1, 0), cv2.Sobel(lab, cv2.CV_32F, 0, 1)
            gradient = np.sqrt((across**2 + down**2).sum(axis=-1))
            ratio = (gradient[on].mean() + 1e-3) / (gradient[beside].mean() + 1e-3)
            shares[frame] = np.clip((ratio - low) / (high - low), 0, 1)
    return shares


def _shrink(image: Image, matte: MatteImage) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, FLOW_SIDE_PX / min(grey.shape))
    size = (max(round(grey.shape[1] * scale), 1), max(round(grey.shape[0] * scale), 1))
    return (cv2.resize(grey, size, interpolation=cv2.INTER_AREA), cv2.resize(matte, size, interpolation=cv2.INTER_AREA))


def _loose_overlap(first: MatteImage, second: MatteImage) -> float:
    first_subject, second_subject = (first > 127).astype(np.uint8), (second > 127).astype(np.uint8)
    if not first_subject.any() or not second_subject.any():
        return 0.0
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SLACK_PX + 1, 2 * SLACK_PX + 1))
    covered = np.count_nonzero(first_subject & cv2.dilate(second_subject, brush)) / np.count_nonzero(first_subject)
    covers = np.count_nonzero(second_subject & cv2.dilate(first_subject, brush)) / np.count_nonzero(second_subject)
    return min(covered, covers)
