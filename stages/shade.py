"""Shadow that lies on one place in nearly every frame, so that no plate can show it lit.

Such a place does not differ from the plate, yet it is as dark as the shadow that was found around it, and the plate has
an edge there which the frame has not. It is then known to be shadow, though its light was hardly ever seen.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from ..arrays import Image

FrameMask = Bool[np.ndarray, "H W"]
REACH_PX = 8.0
"""Standard deviation of the window in which the shadow's and the light's level are measured."""
MIN_CONTRAST = 14.0
"""Between light and shadow, in levels: fainter shadows are not told from texture."""
TOLERANCE = 0.45
"""Farthest from the shadow's level, as a share of the contrast."""
MIN_SHARED = 0.2
"""Of a patch's outline, the share that lies along the known shadow."""


def lasting_shade(frame: Image, plate: Image, effect: FrameMask, veto: FrameMask) -> UInt8[np.ndarray, "H W"]:
    """Find pixels beside a known shadow that are as dark as it in frame and plate alike.

    Args:
        frame: the frame.
        plate: what the other frames saw there.
        effect: the shadows and other effects already known.
        veto: where it cannot be: subjects, and places that some frame saw while the subject was out of reach.

    Returns:
        0 elsewhere; there, the grey level half way between shadow and light.
    """
    seen, lit = frame.astype(np.float32), plate.astype(np.float32)
    darker = effect & ((lit - seen).mean(axis=2) > MIN_CONTRAST / 2)
    nothing = np.zeros(effect.shape, np.uint8)
    if darker.sum() < 32:
        return nothing
    weight = _blur(darker.astype(np.float32)[..., None])
    shadow, light = (_blur(image * darker[..., None]) / np.maximum(weight, 1e-6) for image in (seen, lit))
    contrast = (light - shadow).mean(axis=2)
    alike = np.abs(seen - shadow).max(axis=2) < TOLERANCE * contrast
    dark = (light - lit).mean(axis=2) > contrast / 3
    hidden = alike & dark & (weight[..., 0] > 0.005) & (contrast > MIN_CONTRAST) & ~veto & ~effect
    hidden = _bordering(cv2.morphologyEx(hidden.view(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, darker)
    if hidden.sum() > 3 * darker.sum():
        return nothing
    threshold = (light + shadow).mean(axis=2) / 2
    return np.where(hidden, np.clip(np.rint(threshold), 1, 254), 0).astype(np.uint8)


def _bordering(hidden: FrameMask, known: FrameMask) -> FrameMask:
    """The parts of hidden that share a fair length of their outline with the known shadow."""
    labels, number = ndimage.label(hidden, np.ones((3, 3), bool))
    square = np.ones((3, 3), np.uint8)
    outline = hidden & (cv2.erode(hidden.view(np.uint8), square) == 0)
    beside = cv2.dilate(known.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    length = np.bincount(labels[outline], minlength=number + 1)
    shared = np.bincount(labels[outline & beside], minlength=number + 1)
    keep = shared >= np.maximum(MIN_SHARED * length, 3)
    keep[0] = False
    return np.asarray(keep[labels])


def _blur(values: Float32[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    blurred = cv2.GaussianBlur(values, (0, 0), REACH_PX)
    return np.asarray(blurred.reshape(values.shape))
