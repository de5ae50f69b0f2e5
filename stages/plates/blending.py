"""A plate fitted into its frame: brightness matched, gaps filled, and the rim blended in the gradient domain."""

from functools import reduce

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ...arrays import Image

FrameMask = Bool[np.ndarray, "H W"]
Values = Float32[np.ndarray, "H W C"]
RIM_PX = 2
"""Width of the ring around a region in which frame and plate are compared."""
RIM_LIMIT = 6.0
"""Levels beyond which their difference there is something else: a wave that passes, the tail of a spray."""
FADE_PX = 8.0
"""Depth at which 1/e of the correction is left: brightness was matched before, so a seam is a matter of the rim. Not
faded, waves and tails of spray at the rim tint the whole plate: on a beach that costs 0.4 dB under a shadow and 1.6
under a spray. Against a ramp of 3 pixels, where the effects are: +2.1 dB under that shadow, -0.2 under that spray."""
SWEEPS = 40
"""Relaxations after a start that has the slow part of the solution already; the rest is then under a level."""


def blend_rim(plate: Image, frame: Image, region: FrameMask, usable: FrameMask) -> Image:
    """Replace region of frame by plate without a seam; outside it the result is frame, bit for bit.

    Poisson blending: inside region the result has the plate's gradients, and at the rim it meets the frame. That is the
    plate plus a membrane, the harmonic function whose values on the ring around region are frame − plate. A ring pixel
    that is not usable (another subject), or where the two differ by more than RIM_LIMIT, says nothing; the membrane is
    then free there, as it is at the picture's border. It fades inwards.
    """
    offset = frame.astype(np.float32) - plate
    smooth = np.abs(cv2.blur(offset, (3, 3)))
    ring = cv2.dilate(region.view(np.uint8), np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)) > 0
    fixed = ring & ~region & usable & (reduce(np.maximum, cv2.split(smooth)) <= RIM_LIMIT)
    corrected = plate
    if fixed.any():
        depth = cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, 5)
        fade = cv2.merge([np.exp(-depth / FADE_PX)] * 3)
        corrected = _round(plate + _membrane(offset, fixed, region) * fade)
    return np.asarray(cv2.copyTo(corrected, region.view(np.uint8), frame.copy()))


def _membrane(values: Values, fixed: FrameMask, region: FrameMask) -> Values:
    """Continue values smoothly from fixed pixels into region: Jacobi's relaxation of Laplace's equation."""
    domain, inside = (fixed | region).astype(np.float32), (region & ~fixed).astype(np.float32)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    share = inside / np.maximum(cv2.filter2D(domain, -1, cross, borderType=cv2.BORDER_CONSTANT), 1)
    shares = cv2.merge([share] * 3)
    boundary = cv2.copyTo(values, fixed.view(np.uint8))
    surface, spare = push_pull(values, fixed) * cv2.merge([domain] * 3), np.empty_like(values)
    for _ in range(SWEEPS):
        cv2.filter2D(surface, -1, cross, spare, borderType=cv2.BORDER_CONSTANT)
        cv2.add(cv2.multiply(spare, shares, spare), boundary, surface)
    return np.asarray(surface)


def match_brightness(plate: Image, frame: Image, steady: FrameMask, limit: float = 12.0) -> Image:
    """Add to plate the smooth part of its difference from frame, as measured on steady pixels and carried inwards.

    Exposure, haze and vignetting then match at the rim. Differences of more than limit levels do not count, so that a
    shadow, or a wave that happens to pass, does not tint the plate.
    """
    if steady.sum() < 64:
        return plate
    difference = frame.astype(np.float32) - plate
    is_close = reduce(np.maximum, cv2.split(np.abs(cv2.GaussianBlur(difference, (0, 0), 1.5)))) <= limit
    weighted = weigh(difference, (steady & is_close).astype(np.float32))
    small = cv2.resize(weighted, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), 5.0, borderType=cv2.BORDER_REFLECT)
    offset = push_pull(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), smooth[..., 3] > 1e-3)
    full = cv2.resize(offset, plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return _round(plate + full)


def inpaint(plate: Image, observed: FrameMask) -> Image:
    """Fill unobserved pixels smoothly from the observed ones around them, which stay as they are."""
    if observed.all():
        return plate
    if not observed.any():
        return np.full_like(plate, 128)
    return _round(push_pull(plate.astype(np.float32), observed))


def _round(values: Values) -> Image:
    """The nearest 8-bit levels; values is used up."""
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def weigh(values: Values | Image, weight: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W D"]:
    """The values, channel by channel times weight, and the weight as one channel more."""
    # Masks that numpy broadcasts along a last axis of three take several times longer.
    return np.asarray(cv2.merge([*(plane * weight for plane in cv2.split(values)), weight]))


def push_pull(values: Values, observed: FrameMask) -> Values:
    """Average observed values down a pyramid, then fill each level's gaps from the coarser one."""
    if observed.all():
        return values
    weight = observed.astype(np.float32)
    if min(observed.shape) < 2:
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / max(weight.sum(), 1)
        return np.where(observed[..., None], values, mean)
    half = ((observed.shape[1] + 1) // 2, (observed.shape[0] + 1) // 2)
    *coarse, share = cv2.split(cv2.resize(weigh(values, weight), half, interpolation=cv2.INTER_AREA))
    divisor = np.maximum(share, 1e-6)
    inner = push_pull(cv2.merge([plane / divisor for plane in coarse]).reshape(*share.shape, -1), share > 0)
    wide = cv2.resize(inner, observed.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyTo(values, observed.view(np.uint8), wide)).reshape(values.shape)


CALM_LEVELS, BUSY_LEVELS = 2.0, 6.0
"""Mean departure from the smoothed picture: ripples, sand and sky stay below the first; planks, leaves and feathers
exceed the second."""


def local_detail(plate: Image, observed: FrameMask) -> Float32[np.ndarray, "H W"]:
    """Detail of the observed pixels around each pixel, from 0 (calm: a smooth fill is right) to 1 (busy)."""
    grey = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY).astype(np.float32)
    seen = observed.astype(np.float32)
    share = cv2.GaussianBlur(seen, (0, 0), 3.0)
    smooth = cv2.GaussianBlur(grey * seen, (0, 0), 3.0) / np.maximum(share, 1e-3)
    departure = np.abs(grey - smooth) * seen
    # A hole's middle is far from its rim: push and pull carries the rim's detail inwards.
    levels = push_pull(departure[..., None], observed)[..., 0]
    levels = cv2.GaussianBlur(levels, (0, 0), 6.0)
    return np.asarray(((levels - CALM_LEVELS) / (BUSY_LEVELS - CALM_LEVELS)).clip(0, 1), np.float32)
