"""Mend a plate: match its brightness to the frame around it, and fill what nobody saw."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ...arrays import Image

FrameMask = Bool[np.ndarray, "H W"]
Values = Float32[np.ndarray, "H W C"]


def level(plate: Image, frame: Image, steady: FrameMask, limit: float = 12.0) -> Image:
    """Add to plate the smooth part of its difference from frame, as measured on steady pixels and carried inwards.

    Exposure, haze and vignetting then match at the rim. Differences of more than limit levels do not count, so that a
    shadow, or a wave that happens to pass, does not tint the plate.
    """
    if steady.sum() < 64:
        return plate
    difference = frame.astype(np.float32) - plate
    near = np.abs(cv2.GaussianBlur(difference, (0, 0), 1.5)).max(axis=2, keepdims=True) <= limit
    weight = steady[..., None] * near.astype(np.float32)
    small = cv2.resize(
        np.concatenate([difference * weight, weight], axis=2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA
    )
    smooth = cv2.GaussianBlur(small, (0, 0), 5.0, borderType=cv2.BORDER_REFLECT)
    offset = _push_pull(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), smooth[..., 3] > 1e-3)
    full = cv2.resize(offset, plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.rint(plate + full), 0, 255), np.uint8)


def fill(plate: Image, known: FrameMask) -> Image:
    """Fill unknown pixels smoothly from the known ones around them; the known ones stay as they are."""
    if known.all():
        return plate
    if not known.any():
        return np.full_like(plate, 128)
    filled = np.rint(_push_pull(plate.astype(np.float32), known)).clip(0, 255).astype(np.uint8)
    return np.where(known[..., None], plate, filled)


def _push_pull(values: Values, known: FrameMask) -> Values:
    """Average known values down a pyramid, then fill each level's gaps from the coarser one."""
    weight = known.astype(np.float32)
    if known.all() or min(known.shape) < 2:
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / max(weight.sum(), 1)
        return np.where(known[..., None], values, mean)
    half = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    stacked = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
    coarse = cv2.resize(stacked, half, interpolation=cv2.INTER_AREA)
    coarse_known = coarse[..., 3] > 0
    coarse_values = coarse[..., :3] / np.maximum(coarse[..., 3:], 1e-6)
    inner = _push_pull(coarse_values, coarse_known)
    wide = cv2.resize(inner, known.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(known[..., None], values, wide).astype(np.float32)
