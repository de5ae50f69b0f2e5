"""Stage 4, Eq. 2 of the paper: put the subject over the clean background, without its effects."""

import cv2
import numpy as np

from ..arrays import Image, Matte, MatteImage, Rgb

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""


def over(foreground: Rgb, background: Rgb, subject_mask: Matte) -> Rgb:
    """Blend foreground over background: subject_mask · foreground + (1 − subject_mask) · background.

    Exact integer arithmetic in display space, rounded to the nearest 8-bit value. No tie can occur: the weighted sum is
    a whole number of 255ths, and 255 is odd. Background comes back bit for bit where the mask is 0, foreground where
    it is 255.

    Args:
        foreground: the subject, straight (not premultiplied) colour.
        background: the clean plate.
        subject_mask: coverage by the subject, 0 to 255.

    Raises:
        ValueError: the three differ in frames, height or width.
    """
    if not foreground.shape == background.shape == (*subject_mask.shape, 3):
        raise ValueError(
            f"foreground {foreground.shape}, background {background.shape} and subject_mask {subject_mask.shape} "
            "must be of one T, H, W; bring them to one size and length first"
        )
    blended = background.copy()
    for frame, coverage in enumerate(subject_mask):
        x, y, width, height = cv2.boundingRect(coverage)
        if width:
            box = np.s_[y : y + height, x : x + width]
            blended[frame][box] = _blend(foreground[frame][box], background[frame][box], coverage[box])
    return blended


def _blend(top: Image, plate: Image, coverage: MatteImage) -> Image:
    # cvtColor repeats the weight per channel, so that every later step runs over contiguous memory.
    weight = cv2.cvtColor(np.ascontiguousarray(coverage), cv2.COLOR_GRAY2RGB).astype(np.uint16)
    total = weight * top
    np.subtract(255, weight, out=weight)
    weight *= plate
    total += weight
    # For 0 <= s <= 255 * 255 and t = s + 128, (t + t // 256) // 256 is s / 255 rounded; t + t // 256 fits 16 bits.
    total += 128
    total += total >> 8
    total >>= 8
    return np.asarray(total, np.uint8)
