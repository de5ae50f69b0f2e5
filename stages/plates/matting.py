"""Alpha and foreground from a clip and its clean plate: gt = alpha·foreground + (1 − alpha)·background."""

import cv2
import numpy as np
from jaxtyping import Float32

from ...arrays import Image, Mask, Matte, MatteImage, Rgb

WINDOW_PX = 15
"""Side of the windows in which opacity is estimated from how much of the plate's contrast is left."""


def solve(gt: Rgb, background: Rgb, subject_mask: Matte, region: Mask) -> tuple[Matte, Rgb]:
    """Find alpha and straight foreground colour inside region; outside it alpha is 0 and foreground is background.

    The mixture is exact to one 8-bit level wherever region holds. Alpha is never below the least value that allows a
    colour in [0, 255], nor below subject_mask; where the plate has enough local contrast it rises to the opacity that
    explains the contrast lost (a local regression of gt on the plate, as for a veil of one colour). Darkening therefore
    gets a foreground near black, spray one near white. Where subject_mask is 255 the foreground is gt.
    """
    alpha = np.zeros_like(subject_mask)
    foreground = background.copy()
    for frame in range(len(gt)):
        if region[frame].any():
            rows, columns = _box(region[frame])
            part = np.s_[frame, rows, columns]
            inside = region[part]
            matte, colour = _solve_frame(gt[part], background[part], subject_mask[part])
            alpha[part] = np.where(inside, matte, 0)
            foreground[part] = np.where(inside[..., None], colour, background[part])
    return alpha, foreground


def _box(region: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _solve_frame(gt: Image, background: Image, subject_mask: MatteImage) -> tuple[MatteImage, Image]:
    seen, plate = gt.astype(np.float32), background.astype(np.float32)
    least = _least_alpha(seen, plate)
    estimate, trust = _contrast_lost(seen, plate)
    alpha = np.maximum(least, trust * estimate * (least > 0))
    alpha = np.maximum(np.ceil(alpha * 255 - 1e-3), subject_mask) / np.float32(255)
    colour = plate + (seen - plate) / np.maximum(alpha, 1 / 255)[..., None]
    matte = np.rint(alpha * 255).astype(np.uint8)
    straight = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    return matte, np.where((matte == 255)[..., None], gt, straight)


def _least_alpha(seen: Float32[np.ndarray, "H W 3"], plate: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W"]:
    """The smallest alpha for which (seen − (1 − alpha)·plate) / alpha stays within [0, 255]."""
    lighter = (seen - plate) / np.maximum(255 - plate, 1)
    darker = (plate - seen) / np.maximum(plate, 1)
    return np.asarray(np.maximum(lighter, darker).max(axis=2).clip(0, 1))


def _contrast_lost(
    seen: Float32[np.ndarray, "H W 3"], plate: Float32[np.ndarray, "H W 3"]
) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """Opacity 1 − slope of the local regression of seen on plate, and how far to trust it (0 to 1)."""
    mean_seen, mean_plate = _mean(seen), _mean(plate)
    variance = (_mean(plate * plate) - mean_plate**2).sum(axis=2)
    covariance = (_mean(plate * seen) - mean_plate * mean_seen).sum(axis=2)
    spread_seen = (_mean(seen * seen) - mean_seen**2).sum(axis=2)
    slope = covariance / np.maximum(variance, 1)
    fit = (covariance**2 / np.maximum(variance * spread_seen, 1)).clip(0, 1)
    noise = np.float32(3 * 12.0**2)
    return 1 - slope.clip(0, 1), fit * variance / (variance + noise)


def _mean(values: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
    return np.asarray(cv2.blur(values, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT))
