"""Stages 4 and 5 once more, slowly: per frame, numpy, scikit-image and scipy.ndimage, written from the definitions.

The fast stages must give the same bytes, but for pixels that a rounding decides. The benchmark measures against these
functions too, so they are written as one would write them without thinking of speed, and without wasting any.
"""

import numpy as np
from scipy import ndimage
from skimage import filters, measure, morphology


def over(foreground, background, subject_mask):
    """Eq. 2 in float64."""
    frames = []
    for top, plate, coverage in zip(foreground, background, subject_mask, strict=True):
        weight = coverage[..., None] / 255
        frames.append(np.rint(weight * top + (1 - weight) * plate).astype(np.uint8))
    return np.stack(frames)


def grey(image):
    return ((image.astype(np.int32) @ np.array([9798, 19235, 3735], np.int32) + 16384) >> 15).astype(np.uint8)


def find_effect(gt, over, subject_mask, settings):
    """The mask of stage 5 for clips of the working size (shorter side 384); `settings` with sizes in plain pixels."""
    if settings.preset == "paper":
        return find_plainly(gt, over)
    subjects = [_subject(coverage, settings.subject_margin_px) for coverage in subject_mask]
    pictures = [
        (grey(a).astype(np.float64), grey(b).astype(np.float64), ~subject)
        for a, b, subject in zip(gt, over, subjects, strict=True)
    ]
    weighed = [_weighed(*picture) for picture in pictures]
    if settings.otsu_scope == "clip":
        otsus = [filters.threshold_otsu(np.stack(weighed))] * len(gt)
    else:
        otsus = [filters.threshold_otsu(frame) for frame in weighed]
    thresholds = [max(otsu, settings.threshold_min) for otsu in otsus]
    levels, steps = _noise(pictures, subject_mask, weighed, thresholds, settings)
    thresholds = [max(threshold, 0.9 * steps) for threshold in thresholds]
    masks = []
    for picture, frame, threshold in zip(pictures, weighed, thresholds, strict=True):
        grown = _grown(picture, frame > threshold, threshold, levels, steps, settings)
        share = settings.min_component_percent / 100 * min(steps / threshold, 1)
        masks.append(_seeded(_clean(grown, settings), frame, frame > threshold, share))
    masks = _median_in_time(masks, settings.temporal_median_frames)
    masks = [mask & ~subject for mask, subject in zip(masks, subjects, strict=True)]
    return np.stack(_without_specks(masks, settings.min_speck_px))


def find_plainly(gt, over):
    """Grey, Otsu over the clip, one erosion and two dilations by 3x3, median of 5x5."""
    values = np.stack([grey(np.abs(a.astype(np.int16) - b).astype(np.uint8)) for a, b in zip(gt, over, strict=True)])
    frames = values > filters.threshold_otsu(values)
    square = np.ones((3, 3), bool)
    frames = [ndimage.binary_erosion(frame, square, border_value=1) for frame in frames]
    frames = [ndimage.binary_dilation(frame, square, iterations=2) for frame in frames]
    return np.stack([ndimage.median_filter(frame, 5, mode="nearest") for frame in frames])


def _mean_twice(plane, side_px):
    for _ in range(2):
        plane = ndimage.uniform_filter(plane, side_px, mode="mirror")
    return plane


def _smooth(plane, clear, side_px):
    return _mean_twice(plane * clear, side_px) / np.maximum(_mean_twice(clear.astype(np.float64), side_px), 1e-2)


def _weighed(with_effect, without, clear):
    difference = (with_effect - without) * clear
    mean = _smooth(difference, clear, 7)
    energy = _smooth((difference - mean) ** 2, clear, 15)
    share = mean**2 / (mean**2 + energy + 1e-6)
    return np.rint(np.minimum(np.abs(mean) * share * clear, 255)).astype(np.uint8)


def _differences(picture):
    with_effect, without, clear = picture
    difference = (with_effect - without) * clear
    return [np.abs(difference)] + [np.abs(_smooth(difference, clear, side_px)) for side_px in (3, 5, 9)]


def _detail(picture):
    details = [np.abs(plane - _mean_twice(plane, 9)) for plane in picture[:2]]
    return _mean_twice(np.maximum(*details), 15) + 4


def _noise(pictures, subject_mask, weighed, thresholds, settings):
    height, width = weighed[0].shape
    rows, columns = max(height * 384 // (48 * min(height, width)), 1), max(width * 384 // (48 * min(height, width)), 1)
    if min(height, width) < 64:
        rows, columns = max(height // 8, 1), max(width // 8, 1)
    samples = {}
    for index in np.unique(np.linspace(0, len(pictures) - 1, 12).round().astype(int)):
        seeds = weighed[index] > thresholds[index]
        far = ~morphology.dilation(seeds, np.ones((33, 33)), mode="min")
        subject = subject_mask[index] >= 128
        if subject.any():
            distance = ndimage.distance_transform_edt(~subject)
            near_too = far & (distance > 32)
            far = near_too if near_too.mean() >= 0.05 else distance > np.quantile(distance, 0.8)
        differences, detail = _differences(pictures[index]), _detail(pictures[index])
        for y in range(0, height, 2):
            for x in range(0, width, 3):
                if far[y, x]:
                    values = [difference[y, x] / detail[y, x] for difference in differences]
                    block = y * rows // height, x * columns // width
                    samples.setdefault(block, []).append([*values, differences[1][y, x]])
    blocks = [
        np.quantile(values, settings.noise_quantile, axis=0, method="higher")
        for values in samples.values()
        if len(values) >= 20
    ]
    if not blocks:
        return [0, 0, 0, 0], 0
    *levels, steps = np.quantile(blocks, settings.noise_block_quantile, axis=0)
    return levels, steps


def _grown(picture, seeds, threshold, levels, steps, settings):
    floor = settings.threshold_min - 1
    differences, detail = _differences(picture), _detail(picture)
    outstanding = np.stack([d > level * detail for d, level in zip(differences, levels, strict=True)])
    finest = np.argmax(outstanding, axis=0)
    at_finest = np.take_along_axis(np.stack(differences), finest[None], axis=0)[0]
    border = max(floor, min(settings.border_percent / 100 * threshold, 2 * steps))
    grown = outstanding.any(axis=0) & (at_finest > floor) & (differences[1] > border)
    return (grown | seeds) & (differences[0] > 0)


def _seeded(mask, weighed, seeds, share):
    labels = measure.label(mask, connectivity=2)
    has_seed = np.isin(np.arange(labels.max() + 1), labels[seeds])
    has_seed[0] = False
    weights = np.bincount(labels.ravel(), weights=weighed.ravel(), minlength=len(has_seed)) * has_seed
    return (has_seed & (weights >= share * weights.max()))[labels]


def _subject(coverage, margin_px):
    return morphology.dilation(coverage >= 128, morphology.disk(margin_px), mode="min")


def _clean(frame, settings):
    frame = morphology.erosion(frame, morphology.disk(settings.erode_px), mode="max")
    frame = morphology.dilation(frame, morphology.disk(settings.dilate_px), mode="min")
    return filters.median(frame, np.ones((settings.median_px, settings.median_px)), mode="nearest")


def _median_in_time(masks, frames):
    radius = frames // 2
    padded = [masks[0]] * radius + list(masks) + [masks[-1]] * radius
    return [np.median(padded[index : index + frames], axis=0) > 0.5 for index in range(len(masks))]


def _without_specks(masks, min_area_px):
    large = []
    for mask in masks:
        labels = measure.label(mask, connectivity=2)
        large.append((np.bincount(labels.ravel()) >= min_area_px)[labels] & mask)
    if len(large) == 1:
        return large
    nothing = np.zeros_like(large[0])
    kept = []
    for before, mask, after in zip([nothing, *large[:-1]], large, [*large[1:], nothing], strict=True):
        labels = measure.label(mask, connectivity=2)
        touching = np.unique(labels[mask & (before | after)])
        kept.append(np.isin(labels, touching) & mask)
    return kept
