"""A plate fitted into its frame: brightness matched, gaps filled, and the rim blended in the gradient domain."""

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
    fixed = ring & ~region & usable & (np.maximum.reduce(cv2.split(smooth)) <= RIM_LIMIT)
    if not fixed.any():
        return np.where(region[..., None], plate, frame)
    depth = cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, 5)[..., None]
    corrected = plate + _membrane(offset, fixed, region) * np.exp(-depth / FADE_PX)
    return np.where(region[..., None], np.rint(corrected).clip(0, 255).astype(np.uint8), frame)


def _membrane(values: Values, fixed: FrameMask, region: FrameMask) -> Values:
    """Continue values smoothly from fixed pixels into region: Jacobi's relaxation of Laplace's equation."""
    domain, inside = (fixed | region).astype(np.float32), (region & ~fixed).astype(np.float32)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    share = inside / np.maximum(cv2.filter2D(domain, -1, cross, borderType=cv2.BORDER_CONSTANT), 1)
    shares = cv2.merge([share] * 3)
    boundary = values * fixed[..., None]
    surface = push_pull(values, fixed) * domain[..., None]
    for _ in range(SWEEPS):
        surface = cv2.filter2D(surface, -1, cross, borderType=cv2.BORDER_CONSTANT)
        surface = cv2.add(cv2.multiply(surface, shares), boundary)
    return np.asarray(surface)


def match_brightness(plate: Image, frame: Image, steady: FrameMask, limit: float = 12.0) -> Image:
    """Add to plate the smooth part of its difference from frame, as measured on steady pixels and carried inwards.

    Exposure, haze and vignetting then match at the rim. Differences of more than limit levels do not count, so that a
    shadow, or a wave that happens to pass, does not tint the plate.
    """
    if steady.sum() < 64:
        return plate
    difference = frame.astype(np.float32) - plate
    is_close = np.maximum.reduce(cv2.split(np.abs(cv2.GaussianBlur(difference, (0, 0), 1.5)))) <= limit
    weight = (steady & is_close).astype(np.float32)[..., None]
    small = cv2.resize(
        np.concatenate([difference * weight, weight], axis=2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA
    )
    smooth = cv2.GaussianBlur(small, (0, 0), 5.0, borderType=cv2.BORDER_REFLECT)
    offset = push_pull(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), smooth[..., 3] > 1e-3)
    full = cv2.resize(offset, plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.rint(plate + full), 0, 255), np.uint8)


def inpaint(plate: Image, observed: FrameMask) -> Image:
    """Fill unobserved pixels smoothly from the observed ones around them, which stay as they are."""
    if observed.all():
        return plate
    if not observed.any():
        return np.full_like(plate, 128)
    filled = np.rint(push_pull(plate.astype(np.float32), observed)).clip(0, 255).astype(np.uint8)
    return np.where(observed[..., None], plate, filled)


def push_pull(values: Values, observed: FrameMask) -> Values:
    """Average observed values down a pyramid, then fill each level's gaps from the coarser one."""
    weight = observed.astype(np.float32)
    if observed.all() or min(observed.shape) < 2:
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / max(weight.sum(), 1)
        return np.where(observed[..., None], values, mean)
    half = ((observed.shape[1] + 1) // 2, (observed.shape[0] + 1) // 2)
    stacked = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
    coarse = cv2.resize(stacked, half, interpolation=cv2.INTER_AREA)
    coarse_observed = coarse[..., -1] > 0
    coarse_values = coarse[..., :-1] / np.maximum(coarse[..., -1:], 1e-6)
    inner = push_pull(coarse_values, coarse_observed)
    wide = cv2.resize(inner, observed.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(observed[..., None], values, wide.reshape(values.shape)).astype(np.float32)


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
