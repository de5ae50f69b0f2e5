"""Median over a few samples per pixel, some of which do not count: the heart of a temporal plate.

A sorting network of numpy minima and maxima sorts whole images at once, some 20 times faster than numpy's own sort
along a short axis.
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, Int, UInt8

Samples = UInt8[np.ndarray, "S H W C"]
Counts = Int[np.ndarray, "H W"]


def masked_median(samples: Samples, valid: Bool[np.ndarray, "S H W"]) -> tuple[UInt8[np.ndarray, "H W C"], Counts]:
    """Median of the valid samples at each pixel, and how many there were.

    With an even number the two middle values are averaged, rounded up. Where nothing is valid the median is 0.
    """
    count = valid.sum(axis=0)
    ordered = _sorted(np.where(valid[..., None], samples, np.uint8(255)))
    low, high = (_pick(ordered, np.maximum(index, 0)) for index in ((count - 1) // 2, count // 2))
    middle = ((low.astype(np.uint16) + high + 1) // 2).astype(np.uint8)
    middle[count == 0] = 0
    return middle, count


def masked_spread(
    samples: Samples, valid: Bool[np.ndarray, "S H W"], middle: UInt8[np.ndarray, "H W C"]
) -> UInt8[np.ndarray, "H W C"]:
    """Median absolute deviation of the valid samples from middle; 0 where fewer than three are valid."""
    away = np.maximum(samples, middle) - np.minimum(samples, middle)
    spread, count = masked_median(away, valid)
    spread[count < 3] = 0
    return spread


def _pick(ordered: Samples, index: Counts) -> UInt8[np.ndarray, "H W C"]:
    index = np.minimum(index, len(ordered) - 1)
    return np.asarray(np.take_along_axis(ordered, index[None, ..., None], axis=0)[0])


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
