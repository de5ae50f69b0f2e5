"""Plate from a few samples per pixel: masked medians and spreads, and the level of rare lit samples.

A sorting network of numpy minima and maxima sorts whole images at once, some 20 times faster than numpy's own sort
along a short axis.
"""

from functools import cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

Samples = UInt8[np.ndarray, "S H W C"]
Valid = Bool[np.ndarray, "S H W"]
Rows = list[UInt8[np.ndarray, "H W C"]]
Picture = UInt8[np.ndarray, "H W C"]
Counts = UInt8[np.ndarray, "H W"]
FrameMask = Bool[np.ndarray, "H W"]
MIN_GAP = 12.0
"""Levels between lit and shaded ground; shadows fainter than this are left to the median."""


def sort_valid(samples: Samples | Rows, valid: Valid) -> tuple[Rows, Counts]:
    """The valid samples in ascending order per channel, padded with 255 at the end, and their number."""
    rows = [_overwrite(sample, ~usable, 255) for sample, usable in zip(samples, valid, strict=True)]
    spare = np.empty_like(rows[0])
    for first, second in _comparators(len(rows)):
        low, high = rows[first], rows[second]
        np.minimum(low, high, out=spare)
        np.maximum(low, high, out=high)
        rows[first], spare = spare, low
    return rows, count_valid(valid)


def count_valid(valid: Valid) -> Counts:
    """Number of valid samples of each pixel."""
    count = np.zeros(valid.shape[1:], np.uint8)
    for usable in valid:
        count += usable.view(np.uint8)
    return count


def masked_median(samples: Samples, valid: Valid) -> tuple[Picture, Counts]:
    """Median of the valid samples at each pixel, and their number.

    With an even number the two middle values are averaged, rounded up. Where nothing is valid the median is 0.
    """
    rising, count = sort_valid(samples, valid)
    last = np.maximum(count, 1) - np.uint8(1)
    low, high = _pick(rising, last // 2), _pick(rising, count // 2)
    return _overwrite(high - (high - low) // 2, count == 0, 0), count


def masked_spread(samples: Samples, valid: Valid, middle: Picture, share: float = 0.5) -> Picture:
    """The deviation from middle that a share of the valid samples stays within; 0 where fewer than three are valid.

    Half of them is the median absolute deviation; more shows rare changes too, such as a glint on water.
    """
    rising, count = sort_valid([cv2.absdiff(sample, middle) for sample in samples], valid)
    ranks = np.maximum(np.ceil(share * np.arange(len(samples) + 1)) - 1, 0).astype(np.uint8)
    return _overwrite(_pick(rising, ranks[count]), count < 3, 0)


def lit_mode(
    samples: Samples, ranks: UInt8[np.ndarray, "S H W"], middle: Picture, reach: float
) -> tuple[Picture, FrameMask]:
    """Level of the few lit samples where most lie in the subject's shadow, and a mask of those pixels.

    A pixel is in the mask where the two brightest agree, are well above the median, and hardly any sample lies between
    (waves and leaves fill the gap between their extremes; a shadow's border is narrow); and where no sample is dark
    that was taken while the subject was out of reach, a rank of reach or more. Elsewhere the level is middle.
    """
    count = count_valid(ranks > 0)
    highest, second_highest = _two_highest(samples, ranks > 0)
    best, second, median = (mean_level(image) for image in (highest, second_highest, middle))
    lit = (count >= 5) & (second - median > MIN_GAP) & (best - second < 0.25 * (second - median))
    x, y, width, height = cv2.boundingRect(lit.view(np.uint8))
    if not width:
        return middle, lit
    box = np.s_[y : y + height, x : x + width]
    rising, count = sort_valid(np.ascontiguousarray(samples[:, *box]), ranks[:, *box] > 0)
    second, median = second[box], median[box]
    gap = second - median
    between = np.zeros(count.shape, np.uint8)
    dark_when_far = np.zeros(count.shape, bool)
    for position, (row, sample, rank) in enumerate(zip(rising, samples[:, *box], ranks[:, *box], strict=True)):
        grey = mean_level(row)
        between += (grey > median + 0.25 * gap) & (grey < second - 0.25 * gap) & (position < count)
        dark_when_far |= (rank >= reach) & (mean_level(sample) < second - 0.5 * gap)
    lit[box] &= (between <= 0.2 * count) & ~dark_when_far
    return np.where(lit[..., None], second_highest, middle), lit


def envelope(samples: Samples, valid: Valid) -> tuple[Picture, Picture]:
    """The second lowest and second highest of the valid samples; 255 and 0 where fewer than three are valid."""
    few = count_valid(valid) < 3
    low = ~_two_highest([~sample for sample in samples], valid)[1]
    return _overwrite(low, few, 255), _overwrite(_two_highest(samples, valid)[1], few, 0)


def _two_highest(samples: Samples | Rows, valid: Valid) -> tuple[Picture, Picture]:
    """The highest and the second highest of the valid samples, per channel; 0 where there are too few."""
    highest, second = np.zeros_like(samples[0]), np.zeros_like(samples[0])
    for sample, usable in zip(samples, valid, strict=True):
        value = _overwrite(sample, ~usable, 0)
        np.maximum(second, np.minimum(highest, value), out=second)
        np.maximum(highest, value, out=highest)
    return highest, second


def mean_level(samples: UInt8[np.ndarray, "*S C"] | Float32[np.ndarray, "*S C"]) -> Float32[np.ndarray, "*S"]:
    """Mean over the three channels; adding them one by one is faster than a mean along a short axis."""
    total = samples[..., 0].astype(np.float32)
    total += samples[..., 1]
    total += samples[..., 2]
    total /= 3
    return np.asarray(total)


def farthest_samples(ranks: UInt8[np.ndarray, "S H W"]) -> Valid:
    """The half of a pixel's samples with the highest rank, five at least; rank 0 never counts."""
    rising, count = sort_valid(ranks[..., None], ranks > 0)
    index = np.array([max(number - max(-(-number // 2), 5), 0) for number in range(len(ranks) + 1)], np.uint8)
    limit = _pick(rising, index[count])[..., 0]
    return np.asarray((ranks > 0) & (ranks >= limit))


def _pick(rising: Rows, index: Counts) -> Picture:
    """The value at each pixel's own index, the last one where the index is beyond the end.

    One masked copy for each index that occurs takes a tenth of the time of an indexed look-up.
    """
    lowest, highest = int(index.min()), int(index.max())
    picked = rising[min(lowest, len(rising) - 1)].copy()
    for number in range(lowest + 1, highest + 1):
        cv2.copyTo(rising[min(number, len(rising) - 1)], (index == number).view(np.uint8), picked)
    return picked


def _overwrite(image: Picture, where: FrameMask, value: int) -> Picture:
    """A copy of image with value at the pixels of where; masks by bits are several times faster than indices."""
    levels = cv2.merge([where.view(np.uint8) * np.uint8(255)] * image.shape[2]).reshape(image.shape)
    return np.asarray(image | levels if value == 255 else image & ~levels)


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
