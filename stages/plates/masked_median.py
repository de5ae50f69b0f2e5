"""Plate from a few samples per pixel: masked medians, then brightness matched to the frame and gaps inpainted.

A sorting network of numpy minima and maxima sorts whole images at once, some 20 times faster than numpy's own sort
along a short axis.
"""

from functools import cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped, UInt8

from ...arrays import Image

Samples = UInt8[np.ndarray, "S H W C"]
Valid = Bool[np.ndarray, "S H W"]
Picture = UInt8[np.ndarray, "H W C"]
Counts = Int[np.ndarray, "H W"]
FrameMask = Bool[np.ndarray, "H W"]
Values = Float32[np.ndarray, "H W C"]
MIN_GAP = 12.0
"""Levels between lit and shaded ground; shadows fainter than this are left to the median."""


def sort_valid(samples: Samples, valid: Valid) -> tuple[Samples, Counts]:
    """The valid samples in ascending order per channel, padded with 255 at the end, and their number."""
    rows = list(np.where(valid[..., None], samples, np.uint8(255)))
    for first, second in _comparators(len(rows)):
        rows[first], rows[second] = np.minimum(rows[first], rows[second]), np.maximum(rows[first], rows[second])
    return np.stack(rows), valid.sum(axis=0)


def masked_median(samples: Samples, valid: Valid) -> tuple[Picture, Counts]:
    """Median of the valid samples at each pixel, and their number.

    With an even number the two middle values are averaged, rounded up. Where nothing is valid the median is 0.
    """
    rising, count = sort_valid(samples, valid)
    low, high = (_pick(rising, np.maximum(index, 0)) for index in ((count - 1) // 2, count // 2))
    middle = ((low.astype(np.uint16) + high + 1) // 2).astype(np.uint8)
    middle[count == 0] = 0
    return middle, count


def masked_spread(samples: Samples, valid: Valid, middle: Picture, share: float = 0.5) -> Picture:
    """The deviation from middle that a share of the valid samples stays within; 0 where fewer than three are valid.

    Half of them is the median absolute deviation; more shows rare changes too, such as a glint on water.
    """
    deviation = np.maximum(samples, middle) - np.minimum(samples, middle)
    rising, count = sort_valid(deviation, valid)
    spread = _pick(rising, np.maximum(np.ceil(share * count).astype(np.int64) - 1, 0))
    spread[count < 3] = 0
    return spread


def lit_mode(
    samples: Samples, ranks: UInt8[np.ndarray, "S H W"], middle: Picture, reach: float
) -> tuple[Picture, FrameMask]:
    """Level of the few lit samples where most lie in the subject's shadow, and a mask of those pixels.

    A pixel is in the mask where the two brightest agree, are well above the median, and hardly any sample lies between
    (waves and leaves fill the gap between their extremes; a shadow's border is narrow); and where no sample is dark
    that was taken while the subject was out of reach, a rank of reach or more.
    """
    rising, count = sort_valid(samples, ranks > 0)
    grey = mean_level(rising)
    best, second = (_pick(grey[..., None], np.maximum(count - offset, 0))[..., 0] for offset in (1, 2))
    median = mean_level(middle)
    gap = second - median
    position = np.arange(len(grey))[:, None, None]
    between = ((grey > median + 0.25 * gap) & (grey < second - 0.25 * gap) & (position < count)).sum(axis=0)
    lit = (count >= 5) & (gap > MIN_GAP) & (best - second < 0.25 * gap) & (between <= 0.2 * count)
    dark_when_far = ((ranks >= reach) & (mean_level(samples) < second - 0.5 * gap)).any(axis=0)
    return _pick(rising, np.maximum(count - 2, 0)), lit & ~dark_when_far


def envelope(samples: Samples, valid: Valid) -> tuple[Picture, Picture]:
    """The second lowest and second highest of the valid samples; 255 and 0 where fewer than three are valid."""
    rising, count = sort_valid(samples, valid)
    low, high = _pick(rising, np.ones_like(count)), _pick(rising, np.maximum(count - 2, 0))
    low[count < 3], high[count < 3] = 255, 0
    return low, high


def mean_level(samples: UInt8[np.ndarray, "*S C"]) -> Float32[np.ndarray, "*S"]:
    """Mean over the three channels; adding them one by one is faster than a mean along a short axis."""
    total = samples[..., 0].astype(np.float32)
    total += samples[..., 1]
    total += samples[..., 2]
    total /= 3
    return np.asarray(total)


def farthest_samples(ranks: UInt8[np.ndarray, "S H W"]) -> Valid:
    """The half of a pixel's samples with the highest rank, five at least; rank 0 never counts."""
    rising, count = sort_valid(ranks[..., None], ranks > 0)
    index = count - np.maximum(-(-count // 2), 5)
    limit = _pick(rising, np.maximum(index, 0))[..., 0]
    return np.asarray((ranks > 0) & (ranks >= limit))


def _pick(rising: Shaped[np.ndarray, "S H W C"], index: Counts) -> Shaped[np.ndarray, "H W C"]:
    index = np.minimum(index, len(rising) - 1)
    return np.asarray(np.take_along_axis(rising, index[None, ..., None], axis=0)[0])


@cache
def _comparators(size: int) -> tuple[tuple[int, int], ...]:
    """Batcher's odd-even merge sort: the pairs to compare, in order."""
    pairs = []
    block = 1
    while block < size:
        stride = block
        while stride >= 1:
            for start in range(stride % block, size - stride, 2 * stride):
                for offset in range(min(stride, size - start - stride)):
                    first, second = start + offset, start + offset + stride
                    if first // (2 * block) == second // (2 * block):
                        pairs.append((first, second))
            stride //= 2
        block *= 2
    return tuple(pairs)


def match_brightness(plate: Image, frame: Image, steady: FrameMask, limit: float = 12.0) -> Image:
    """Add to plate the smooth part of its difference from frame, as measured on steady pixels and carried inwards.

    Exposure, haze and vignetting then match at the rim. Differences of more than limit levels do not count, so that a
    shadow, or a wave that happens to pass, does not tint the plate.
    """
    if steady.sum() < 64:
        return plate
    difference = frame.astype(np.float32) - plate
    is_close = np.abs(cv2.GaussianBlur(difference, (0, 0), 1.5)).max(axis=2, keepdims=True) <= limit
    weight = steady[..., None] * is_close.astype(np.float32)
    small = cv2.resize(
        np.concatenate([difference * weight, weight], axis=2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA
    )
    smooth = cv2.GaussianBlur(small, (0, 0), 5.0, borderType=cv2.BORDER_REFLECT)
    offset = _push_pull(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), smooth[..., 3] > 1e-3)
    full = cv2.resize(offset, plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.rint(plate + full), 0, 255), np.uint8)


def inpaint(plate: Image, observed: FrameMask) -> Image:
    """Fill unobserved pixels smoothly from the observed ones around them, which stay as they are."""
    if observed.all():
        return plate
    if not observed.any():
        return np.full_like(plate, 128)
    filled = np.rint(_push_pull(plate.astype(np.float32), observed)).clip(0, 255).astype(np.uint8)
    return np.where(observed[..., None], plate, filled)


def _push_pull(values: Values, observed: FrameMask) -> Values:
    """Average observed values down a pyramid, then fill each level's gaps from the coarser one."""
    weight = observed.astype(np.float32)
    if observed.all() or min(observed.shape) < 2:
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / max(weight.sum(), 1)
        return np.where(observed[..., None], values, mean)
    half = ((observed.shape[1] + 1) // 2, (observed.shape[0] + 1) // 2)
    stacked = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
    coarse = cv2.resize(stacked, half, interpolation=cv2.INTER_AREA)
    coarse_observed = coarse[..., 3] > 0
    coarse_values = coarse[..., :3] / np.maximum(coarse[..., 3:], 1e-6)
    inner = _push_pull(coarse_values, coarse_observed)
    wide = cv2.resize(inner, observed.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.where(observed[..., None], values, wide).astype(np.float32)
