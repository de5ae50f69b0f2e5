"""Median over a few samples per pixel, some of which do not count: the heart of a temporal plate.

A sorting network of numpy minima and maxima sorts whole images at once, some 20 times faster than numpy's own sort
along a short axis.
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped, UInt8

Samples = UInt8[np.ndarray, "S H W C"]
Counts = Int[np.ndarray, "H W"]
MIN_GAP = 12.0
"""Levels between lit and shaded ground; shadows fainter than this are left to the median."""


def ordered(samples: Samples, valid: Bool[np.ndarray, "S H W"]) -> tuple[Samples, Counts]:
    """The valid samples in ascending order per channel, padded with 255 at the end, and how many there are."""
    return _sorted(np.where(valid[..., None], samples, np.uint8(255))), valid.sum(axis=0)


def masked_median(samples: Samples, valid: Bool[np.ndarray, "S H W"]) -> tuple[UInt8[np.ndarray, "H W C"], Counts]:
    """Median of the valid samples at each pixel, and how many there were.

    With an even number the two middle values are averaged, rounded up. Where nothing is valid the median is 0.
    """
    rising, count = ordered(samples, valid)
    low, high = (_pick(rising, np.maximum(index, 0)) for index in ((count - 1) // 2, count // 2))
    middle = ((low.astype(np.uint16) + high + 1) // 2).astype(np.uint8)
    middle[count == 0] = 0
    return middle, count


def masked_spread(
    samples: Samples, valid: Bool[np.ndarray, "S H W"], middle: UInt8[np.ndarray, "H W C"], share: float = 0.5
) -> UInt8[np.ndarray, "H W C"]:
    """The deviation from middle that a share of the valid samples stays within; 0 where fewer than three are valid.

    Half of them is the median absolute deviation; more shows rare changes too, such as a glint on water.
    """
    away = np.maximum(samples, middle) - np.minimum(samples, middle)
    rising, count = ordered(away, valid)
    spread = _pick(rising, np.maximum(np.ceil(share * count).astype(np.int64) - 1, 0))
    spread[count < 3] = 0
    return spread


def lit_mode(
    samples: Samples, ranks: UInt8[np.ndarray, "S H W"], middle: UInt8[np.ndarray, "H W C"], reach: float
) -> tuple[UInt8[np.ndarray, "H W C"], Bool[np.ndarray, "H W"]]:
    """Where most samples lie in the subject's shadow: the level of the few that are lit, and where that is so.

    It is so where the two brightest agree, are well above the median, and hardly any sample lies between (waves and
    leaves fill the gap between their extremes; a shadow's border is narrow); and where no sample is dark that was taken
    while the subject was out of reach, a rank of reach or more.
    """
    rising, count = ordered(samples, ranks > 0)
    grey = mean_level(rising)
    best, second = (_pick(grey[..., None], np.maximum(count - back, 0))[..., 0] for back in (1, 2))
    median = mean_level(middle)
    gap = second - median
    place = np.arange(len(grey))[:, None, None]
    between = ((grey > median + 0.25 * gap) & (grey < second - 0.25 * gap) & (place < count)).sum(axis=0)
    lit = (count >= 5) & (gap > MIN_GAP) & (best - second < 0.25 * gap) & (between <= 0.2 * count)
    alone = ((ranks >= reach) & (mean_level(samples) < second - 0.5 * gap)).any(axis=0)
    return _pick(rising, np.maximum(count - 2, 0)), lit & ~alone


def envelope(
    samples: Samples, valid: Bool[np.ndarray, "S H W"]
) -> tuple[UInt8[np.ndarray, "H W C"], UInt8[np.ndarray, "H W C"]]:
    """The second lowest and second highest of the valid samples; 255 and 0 where fewer than three are valid."""
    rising, count = ordered(samples, valid)
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


def farthest(ranks: UInt8[np.ndarray, "S H W"]) -> Bool[np.ndarray, "S H W"]:
    """The half of a pixel's samples with the highest rank, five at least; rank 0 never counts."""
    rising, count = ordered(ranks[..., None], ranks > 0)
    index = count - np.maximum(-(-count // 2), 5)
    limit = _pick(rising, np.maximum(index, 0))[..., 0]
    return np.asarray((ranks > 0) & (ranks >= limit))


def _pick(rising: Shaped[np.ndarray, "S H W C"], index: Counts) -> Shaped[np.ndarray, "H W C"]:
    index = np.minimum(index, len(rising) - 1)
    return np.asarray(np.take_along_axis(rising, index[None, ..., None], axis=0)[0])


def _sorted(samples: Samples) -> Samples:
    """Sort along the first axis."""
    rows = list(samples)
    for first, second in _network(len(rows)):
        rows[first], rows[second] = np.minimum(rows[first], rows[second]), np.maximum(rows[first], rows[second])
    return np.stack(rows)


@cache
def _network(size: int) -> tuple[tuple[int, int], ...]:
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
