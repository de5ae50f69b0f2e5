"""A first mask from nothing but a box around the subject: a draft, for a person to look at."""

import cv2
import numpy as np

from ...arrays import MatteImage, Rgb

ROUNDS = 5
CONTEXT = 0.5
"""GrabCut sees this much of the box's size around it; the rest of the frame only slows it down."""


def mask_from_box(gt: Rgb, box: tuple[int, int, int, int, int]) -> MatteImage:
    """GrabCut in the box (frame, x, y, width, height), which should touch the subject on all four sides.

    Where GrabCut finds no subject the ellipse in the box stands for it.

    Raises:
        ValueError: the box or its frame lies outside the clip, or the box is too small or covers the frame.
    """
    frame, x, y, width, height = box
    rows, columns = gt.shape[1:3]
    if not 0 <= frame < len(gt):
        raise ValueError(f"the box is in frame {frame}, outside the clip of {len(gt)} frames; give 0 to {len(gt) - 1}")
    if x < 0 or y < 0 or x + width > columns or y + height > rows or width < 4 or height < 4:
        raise ValueError(
            f"the box {x},{y},{width},{height} is smaller than 4x4 pixels or reaches beyond the frame of "
            f"{columns}x{rows}; give X,Y,W,H in pixels of the clip"
        )
    if width * height > 0.95 * rows * columns:
        raise ValueError(f"the box {x},{y},{width},{height} covers the whole frame; draw it tightly around the subject")
    around_x, around_y = int(CONTEXT * width) + 8, int(CONTEXT * height) + 8
    top, left = max(y - around_y, 0), max(x - around_x, 0)
    view = gt[frame, top : y + height + around_y, left : x + width + around_x]
    mask = np.zeros((rows, columns), np.uint8)
    mask[top : top + view.shape[0], left : left + view.shape[1]] = _cut_out(view, (x - left, y - top, width, height))
    return mask


def _cut_out(view: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.full(view.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.setRNGSeed(0)  # its colour clusters start at random
    bgr = np.ascontiguousarray(view[..., ::-1])
    cv2.grabCut(bgr, labels, box, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_RECT)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    x, y, width, height = box
    if found.mean() < 0.02 * 255 * width * height / labels.size:
        centre = (x + width // 2, y + height // 2)
        cv2.ellipse(found, centre, (width // 2, height // 2), 0, 0, 360, 255, cv2.FILLED)
    return found
