"""Frames and masks of any shape -> the working size, by one and the same geometry."""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

AnyImage = UInt8[np.ndarray, "h w *c"]  # colour [H W 3] or a matte [H W]
Resized = UInt8[np.ndarray, "H W *c"]


def resize(image: AnyImage, size: tuple[int, int]) -> Resized:
    """Stretch an image to (height, width): by area to shrink, bicubic (mattes: bilinear) to grow."""
    height, width = size
    if image.shape[:2] == size:
        return image
    grows = height > image.shape[0] or width > image.shape[1]
    smooth = cv2.INTER_CUBIC if image.ndim == 3 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=smooth if grows else cv2.INTER_AREA))


def fit_frame(image: AnyImage, size: tuple[int, int], fit: Literal["cover", "pad"] = "cover") -> Resized:
    """Scale an image evenly to (height, width).

    Args:
        image: colour, or a matte, which stays soft.
        size: height and width of the result.
        fit: "cover" fills the size and crops the longer side around its middle; "pad" shows all of the image, with
            black (for a matte: no subject) on both sides of the shorter one.
    """
    choose = max if fit == "cover" else min
    scale = choose(goal / side for goal, side in zip(size, image.shape[:2], strict=True))
    # A side that should match exactly does, whatever the rounding; the other is off by half a pixel at most.
    scaled = [choose(goal, round(side * scale)) for goal, side in zip(size, image.shape[:2], strict=True)]
    image = resize(image, (max(scaled[0], 1), max(scaled[1], 1)))
    if fit == "cover":
        y, x = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
        return np.ascontiguousarray(image[y : y + size[0], x : x + size[1]])
    framed = np.zeros(size + image.shape[2:], np.uint8)
    y, x = (size[0] - image.shape[0]) // 2, (size[1] - image.shape[1]) // 2
    framed[y : y + image.shape[0], x : x + image.shape[1]] = image
    return framed
