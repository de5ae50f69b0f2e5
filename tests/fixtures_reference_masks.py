"""Stages 4 and 5 once more, slowly: per frame, numpy, scikit-image and scipy.ndimage, written from the definitions.

The fast stages must give the same bytes. The benchmark measures against these functions too, so they are written as one
would write them without thinking of speed, and without wasting any.
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
    subjects = [_subject(coverage, settings.subject_margin_px) for coverage in subject_mask]
    differences = [_difference(a, b, s) for a, b, s in zip(gt, over, subjects, strict=True)]
    if settings.otsu_scope == "clip":
        otsus = [filters.threshold_otsu(np.stack(differences))] * len(gt)
    else:
        otsus = [filters.threshold_otsu(difference) for difference in differences]
    chosen = [
        difference > min(max(otsu, settings.threshold_min), settings.threshold_max)
        for difference, otsu in zip(differences, otsus, strict=True)
    ]
    agreeing = [_coherent(a, b, d * c, settings) for a, b, d, c in zip(gt, over, differences, chosen, strict=True)]
    spatial = [_clean(frame, settings) for frame in agreeing]
    masks = _median_in_time(spatial, settings.temporal_median_frames)
    masks = [mask & ~subject for mask, subject in zip(masks, subjects, strict=True)]
    masks = np.stack(_without_specks(masks, settings.min_speck_px))
    return masks & (100 * masks.sum() >= settings.min_kept_percent * np.sum(chosen))


def _coherent(with_effect, without, strong, settings):
    signed = (grey(with_effect).astype(np.float64) - grey(without)) * (strong > 0)
    # The mean of the window times its area is the sum, a whole number again after rounding.
    area = settings.coherence_px**2
    added = np.rint(area * ndimage.uniform_filter(signed, settings.coherence_px, mode="constant"))
    single = np.rint(area * ndimage.uniform_filter(strong.astype(np.float64), settings.coherence_px, mode="constant"))
    return (strong > 0) & (100 * np.abs(added) >= settings.coherence_percent * single)


def _subject(coverage, margin_px):
    return morphology.dilation(coverage >= 128, morphology.disk(margin_px), mode="min")


def _difference(with_effect, without, subject):
    difference = grey(np.abs(with_effect.astype(np.int16) - without).astype(np.uint8))
    difference[subject] = 0
    return difference


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
