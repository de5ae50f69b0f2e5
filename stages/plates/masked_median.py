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


def sort_valid(samples: Samples | Rows, valid: Valid, wanted: tuple[int, ...] | None = None) -> tuple[Rows, Counts]:
    """The valid samples in ascending order per channel, padded with 255 at the end, and their number.

    Without the comparisons that only other places than the wanted ones need; those hold anything then.
    """
    rows = [_overwrite(sample, ~usable, 255) for sample, usable in zip(samples, valid, strict=True)]
    spare = np.empty_like(rows[0])
    for first, second, is_low_used, is_high_used in _comparators(len(rows), wanted):
        low, high = rows[first], rows[second]
        if not is_high_used:
            np.minimum(low, high, out=low)
        elif not is_low_used:
            np.maximum(low, high, out=high)
        else:
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
    rising, count = sort_valid(samples, valid, tuple(range(len(samples) // 2 + 1)))
    last = np.maximum(count, 1) - np.uint8(1)
    low, high = _pick(rising, last // 2), _pick(rising, count // 2)
    return _overwrite(high - (high - low) // 2, count == 0, 0), count


def masked_spread(samples: Samples, valid: Valid, middle: Picture, share: float = 0.5) -> Picture:
    """The deviation from middle that a share of the valid samples stays within; 0 where fewer than three are valid.

    Half of them is the median absolute deviation; more shows rare changes too, such as a glint on water.
    """
    ranks = np.maximum(np.ceil(share * np.arange(len(samples) + 1)) - 1, 0).astype(np.uint8)
    deviations = [cv2.absdiff(sample, middle) for sample in samples]
    wanted = tuple(range(int(ranks[min(3, len(samples))]), int(ranks[-1]) + 1))
    rising, count = sort_valid(deviations, valid, wanted)
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
    # All that follows is pixel by pixel, and few pixels are left.
    places = np.flatnonzero(lit)
    if not len(places):
        return middle, lit
    samples = samples.reshape(len(samples), -1, samples.shape[-1]).take(places, axis=1)[:, None]
    ranks = ranks.reshape(len(ranks), -1).take(places, axis=1)[:, None]
    rising, count = sort_valid(samples, ranks > 0)
    second, median = (image.take(places)[None] for image in (second, median))
    gap = second - median
    between = np.zeros(count.shape, np.uint8)
    dark_when_far = np.zeros(count.shape, bool)
    for position, (row, sample, rank) in enumerate(zip(rising, samples, ranks, strict=True)):
        grey = mean_level(row)
        between += (grey > median + 0.25 * gap) & (grey < second - 0.25 * gap) & (position < count)
        dark_when_far |= (rank >= reach) & (mean_level(sample) < second - 0.5 * gap)
    lit[lit] = ((between <= 0.2 * count) & ~dark_when_far)[0]
    return np.asarray(cv2.copyTo(second_highest, lit.view(np.uint8), middle.copy())), lit


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
    # Many rows of one picture: OpenCV takes channels apart several times faster than numpy's strides do.
    first, second, third = cv2.split(samples.reshape(-1, *samples.shape[-2:]))
    total = np.add(first, second, dtype=np.uint16 if samples.dtype == np.uint8 else np.float32)
    total += third
    return np.asarray(np.divide(total, np.float32(3), dtype=np.float32)).reshape(samples.shape[:-1])


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
    blank = where if value == 255 else ~where
    levels = cv2.merge([np.negative(blank.view(np.uint8))] * image.shape[2]).reshape(image.shape)
    overwrite = np.bitwise_or if value == 255 else np.bitwise_and
    return np.asarray(overwrite(image, levels, out=levels))


@cache
def _comparators(size: int, wanted: tuple[int, ...] | None = None) -> tuple[tuple[int, int, bool, bool], ...]:
    """Batcher's odd-even merge sort: pairs to compare, in order, and whether the lower and the higher end are used."""
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
    used = set(range(size) if wanted is None else wanted)
    steps = []
    for first, second in reversed(pairs):
        if first in used or second in used:
            steps.append((first, second, first in used, second in used))
            used |= {first, second}
    return tuple(reversed(steps))
