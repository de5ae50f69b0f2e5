"""Stage 5, the effect mask: where gt and over differ by an effect rather than by noise.

The core is |gt − over| → grey → Otsu → dilation → median, less subject and specks. Layers that another tool made add
two things to it. Otsu decides over a difference in which noise counts little (`_weigh`), and from the pixels above its
threshold, the seeds, the mask grows over what stands out from the differences that the same frames show far from the
subject. Besides the mask itself (one byte a pixel) only a few frames are held at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from ..arrays import Image, Mask, Matte, MatteImage, Rgb
from . import morphology

Grey = UInt8[np.ndarray, "H W"]
GreyClip = UInt8[np.ndarray, "T H W"]
Plane = Float32[np.ndarray, "H W"]
Region = Bool[np.ndarray, "H W"]
Samples = Float32[np.ndarray, "N"]
Histograms = Int64[np.ndarray, "T 256"]  # of the weighed difference, per frame
VERSION = 3
"""Raise it when results change; stored results of older versions are then made again."""
SUBJECT_THRESHOLD = 128  # coverage from which a pixel belongs to the subject
WORKING_PX = 384  # the shorter side for which sizes in pixels are given

LOWPASS_PX, ENERGY_PX = 7, 15
"""Sides of the windows in which a difference is averaged to be weighed, and in which the rest of it is measured."""
SCALES_PX = (1, 3, 5, 9)
"""Sides of the windows at which a difference is compared with the noise, from fine to coarse."""
DETAIL_PX = 9
"""Side of the window whose mean is taken from a picture to leave its detail."""
FLAT_DETAIL = 4.0
"""Detail, in steps, that even a flat place counts as: grain and codecs differ there too."""
FAR_PX, NEAR_SEEDS_PX = 32, 16
"""Distance from the subject, and from any seed, from which differences are taken for noise."""
NOISE_FRAMES = 12
"""Frames, evenly spaced, from which the noise is measured; of their pixels every second row and third column."""
NOISE_SHARE = 0.9
"""Seeds exceed at least this multiple of the noise: where Otsu's threshold is low, the clip may hold nothing else."""
NOISE_MARGIN = 2.0
"""The border of the mask lies at this multiple of the noise, where that is below its share of Otsu's threshold."""


def to_grey(image: Image) -> Grey:
    """Luma of 8-bit RGB: (9798 R + 19235 G + 3735 B + 16384) // 32768, the weights of BT.601."""
    luma: Grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def near_subject(coverage: MatteImage, margin_px: int) -> Region:
    """The subject, and what lies within margin_px of it."""
    return morphology.dilate_disk((coverage >= SUBJECT_THRESHOLD).view(np.uint8), margin_px).view(bool)


def otsu_threshold(counts: Int64[np.ndarray, "256"]) -> int:
    """Otsu's threshold; of a histogram with a single value, that value."""
    from skimage.filters import threshold_otsu  # slow to import: only those pay who make masks

    values = np.flatnonzero(counts)
    return int(values[0]) if len(values) == 1 else int(threshold_otsu(hist=counts))


@dataclass(frozen=True, kw_only=True)
class EffectMaskSettings:
    """Settings of stage 5: thresholds and sizes by which a difference becomes a mask.

    Sizes in pixels hold for clips whose shorter side is 384; for others they are multiplied by (shorter side) / 384 and
    rounded, but never to less than 1 unless they are 0. Areas grow with the square of that.
    """

    preset: Literal["default", "paper"] = "default"
    """`paper` is the plain recipe, exactly: grey |gt − over|, Otsu, erosion by 3x3, two dilations by 3x3, median of
    5x5, at the clip's own size. It reads otsu_scope alone, and neither subject nor specks are taken out."""
    otsu_scope: Literal["clip", "frame"] = "clip"
    """One threshold for all frames, or one for each."""
    threshold_min: int = 6
    """A lower Otsu threshold is raised to this, in 8-bit steps: below it lie grain and compression."""
    border_percent: int = 75
    """The mask grows from its seeds down to this share of Otsu's threshold, and further where the noise is lower: on
    layers without noise down to threshold_min - 1. The layers of OmnimatteZero lose soft ripples above 90 and gain
    texture of the water below 50."""
    noise_quantile: float = 0.999
    """So many of the differences far from the subject must be weaker than what the mask grows over."""
    erode_px: int = 0
    """Radius of the disk that takes away thin lines of edge residue; with them go the drops of a spray."""
    dilate_px: int = 1
    """Radius of the disk by which the mask is widened before its median: a mask a little loose, not eaten."""
    median_px: int = 5
    """Side of the square of the median in space, odd; 1 switches it off."""
    temporal_median_frames: int = 3
    """Frames in the median in time, odd; 1 switches it off."""
    subject_margin_px: int = 0
    """Pixels this close to the subject (coverage of half or more) are no effect."""
    min_speck_px: int = 48
    """Connected pixels of one frame that are fewer than this are dropped."""
    min_component_percent: int = 10
    """Connected pixels that weigh less than this share of the frame's heaviest are dropped where the noise is as strong
    as Otsu's threshold; where it is weaker, the share is less by as much: 0 on layers without noise, so that a spray
    keeps its drops."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.threshold_min <= 255:
            raise ValueError(f"threshold_min={self.threshold_min} is not in 1 to 255; give 8-bit steps")
        for name in ("median_px", "temporal_median_frames"):
            if (size := getattr(self, name)) < 1 or size % 2 == 0 or size > 255:
                raise ValueError(f"{name}={size} is not an odd number from 1 to 255; take {size + 1} or 1 for off")
        for name in ("erode_px", "dilate_px", "subject_margin_px", "min_speck_px"):
            if (size := getattr(self, name)) < 0:
                raise ValueError(f"{name}={size} is negative; 0 switches it off")
        for name in ("border_percent", "min_component_percent"):
            if not 0 <= (share := getattr(self, name)) <= 100:
                raise ValueError(f"{name}={share} is not in 0 to 100")
        if not 0.5 <= self.noise_quantile < 1:
            raise ValueError(f"noise_quantile={self.noise_quantile} is not in [0.5, 1); 0.999 suits most layers")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Differences far from the subject that are no effect, at the quantile of the settings."""

    steps: float = 0.0
    """In 8-bit steps, averaged over 3x3 pixels; 0 for layers that are gt itself there."""
    levels: tuple[float, ...] = (0.0,) * len(SCALES_PX)
    """At each of SCALES_PX as a multiple of the detail around."""

    def to_facts(self) -> dict[str, float]:
        """The numbers by name."""
        levels = {f"noise_level_{side_px}": level for side_px, level in zip(SCALES_PX, self.levels, strict=True)}
        return {"noise_steps": self.steps, **levels}

    @classmethod
    def from_facts(cls, facts: Mapping[str, float]) -> "Noise | None":
        """Take back what `to_facts` gave; None where it is not among the facts."""
        if "noise_steps" not in facts:
            return None
        return cls(steps=facts["noise_steps"], levels=tuple(facts[f"noise_level_{side_px}"] for side_px in SCALES_PX))


@dataclass(frozen=True, kw_only=True)
class EffectMask:
    """Mask of the effect, and the numbers by which it was decided."""

    mask: Mask
    threshold: float
    """Threshold of the seeds in 8-bit steps, not below threshold_min; scope frame: the mean."""
    otsu: float
    """The same before that limit."""
    noise: Noise = Noise()

    @property
    def facts(self) -> dict[str, float]:
        """All but the mask, as numbers."""
        return {"threshold": self.threshold, "otsu": self.otsu, **self.noise.to_facts()}


def find_effect(
    gt: Rgb, over: Rgb, subject_mask: Matte, settings: EffectMaskSettings, noise: Noise | None = None
) -> EffectMask:
    """Find the pixels in which gt and over differ by an effect; noise alone gives an empty mask.

    In this order: signed grey difference, weighed against noise (`_weigh`), Otsu's threshold over these values; growth
    from the pixels above it; erosion, dilation, median in space, median in time; no subject, no light or small
    components, and no component that touches the mask of neither neighbouring frame.

    Args:
        gt: the clip with the effect.
        over: the clip without it.
        subject_mask: the subject, which is no effect.
        settings: thresholds and sizes.
        noise: as it was before gt was put back far from the subject; None measures it in these clips.

    Raises:
        ValueError: the three clips differ in frames, height or width.
    """
    if not gt.shape == over.shape == (*subject_mask.shape, 3):
        raise ValueError(
            f"gt {gt.shape}, over {over.shape} and subject_mask {subject_mask.shape} must be of one T, H, W; "
            "bring them to one size and length first"
        )
    if settings.preset == "paper":
        return _find_plainly(gt, over, settings.otsu_scope)
    scaled = _scaled(settings, min(gt.shape[1:3]))
    pictures = _Pictures(gt=gt, over=over, subject_mask=subject_mask, margin_px=scaled.subject_margin_px)
    buffer = np.zeros(subject_mask.shape, np.uint8)
    for index, picture in pictures:
        buffer[index][picture.box] = _weigh(picture)
    otsu_levels = _otsu_levels(buffer, scaled.otsu_scope)
    thresholds = np.maximum(otsu_levels, scaled.threshold_min)
    if noise is None:
        noise = _measure_noise(pictures, buffer, thresholds, scaled.noise_quantile)
    thresholds = np.maximum(thresholds, NOISE_SHARE * noise.steps)
    for index, picture in pictures:
        weighed, threshold = buffer[index][picture.box].copy(), float(thresholds[index])
        grown = _grow(picture, weighed, threshold, noise, scaled)
        share = scaled.min_component_percent / 100 * min(noise.steps / threshold, 1.0)
        buffer[index] = 0
        buffer[index][picture.box] = _select_components(grown, weighed, weighed > threshold, share)
    morphology.temporal_median(buffer, scaled.temporal_median_frames)
    for frame, coverage in zip(buffer, subject_mask, strict=True):
        frame[near_subject(coverage, scaled.subject_margin_px)] = 0
    morphology.drop_specks(buffer, scaled.min_speck_px)
    return EffectMask(
        mask=buffer.view(bool),
        threshold=float(thresholds.mean()),
        otsu=float(otsu_levels.mean()),
        noise=noise,
    )


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """One frame of both clips as luma, cut to the rectangle beyond whose border they are equal."""

    box: tuple[slice, slice]
    with_effect: Plane
    without: Plane
    clear: Plane
    """1 off the subject and its margin, 0 on it."""
    scale: float
    """Shorter side of the frame as a share of WORKING_PX."""

    @property
    def difference(self) -> Plane:
        """Signed grey difference, 0 at the subject."""
        return np.asarray((self.with_effect - self.without) * self.clear)

    def smooth(self, plane: Plane, side_px: int) -> Plane:
        """Mean over a window of that side at WORKING_PX, twice; without the subject's pixels."""
        side_px = _odd(side_px, self.scale)
        if side_px == 1:
            return plane
        mean = _mean_twice(plane * self.clear, side_px)
        return mean if self.clear.all() else mean / np.maximum(_mean_twice(self.clear, side_px), 1e-2)


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    """Frames of a clip as pictures, those left out in which nothing differs."""

    gt: Rgb
    over: Rgb
    subject_mask: Matte
    margin_px: int

    def __iter__(self) -> Iterator[tuple[int, _Picture]]:
        return ((index, picture) for index in range(len(self.gt)) if (picture := self.picture(index)) is not None)

    def picture(self, index: int) -> _Picture | None:
        """The frame of that index; None where both clips are equal off the subject."""
        scale = min(self.gt.shape[1:3]) / WORKING_PX
        with_effect, without = to_grey(self.gt[index]), to_grey(self.over[index])
        subject = near_subject(self.subject_mask[index], self.margin_px)
        difference = cv2.absdiff(with_effect, without)
        difference[subject] = 0
        x, y, width, height = cv2.boundingRect(difference)
        if not width:
            return None
        # The windows around the last difference, and the medians of the mask, reach no further than this.
        reach = 2 * _odd(ENERGY_PX, scale) + _odd(DETAIL_PX, scale)
        box = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
        planes = (np.ascontiguousarray(plane[box], np.float32) for plane in (with_effect, without, ~subject))
        cut, plate, clear = planes
        return _Picture(box=box, with_effect=cut, without=plate, clear=clear, scale=scale)


def _mean_twice(plane: Plane, side_px: int) -> Plane:
    for _ in range(2):
        plane = cv2.blur(plane, (side_px, side_px), borderType=cv2.BORDER_REFLECT_101)
    return plane


def _weigh(picture: _Picture) -> Grey:
    """The difference averaged over a window, times its share of the energy there: |l| · l² / (l² + h²), in steps.

    l is the mean of the signed difference, h² that of the squared rest. Grain, codecs, misregistered edges and invented
    texture push neighbours up and down alike and have much h² but little l; an effect darkens or brightens a patch.
    Ripples with a wave shorter than the window look like noise to this rule.
    """
    difference = picture.difference
    mean = picture.smooth(difference, LOWPASS_PX)
    energy = picture.smooth((difference - mean) ** 2, ENERGY_PX)
    square = mean * mean
    weighed = np.abs(mean) * (square / (square + energy + 1e-6)) * picture.clear
    return np.asarray(np.rint(np.minimum(weighed, 255)), np.uint8)


def _otsu_levels(values: GreyClip, scope: Literal["clip", "frame"]) -> Int64[np.ndarray, "T"]:
    """Otsu's threshold for each frame."""
    histograms = np.stack([cv2.calcHist([frame], [0], None, [256], [0, 256]).ravel() for frame in values])
    counts = histograms.astype(np.int64)
    if scope == "clip":
        return np.full(len(values), otsu_threshold(counts.sum(axis=0)))
    return np.array([otsu_threshold(frame) for frame in counts])


def _differences(picture: _Picture) -> Iterator[Plane]:
    """Absolute difference at each of SCALES_PX."""
    difference = picture.difference
    return (np.abs(picture.smooth(difference, side_px)) for side_px in SCALES_PX)


def _detail(picture: _Picture) -> Plane:
    """Detail of the two pictures around each pixel, in steps: noise is strongest where there is much of it."""
    side_px = _odd(DETAIL_PX, picture.scale)
    details = [np.abs(plane - _mean_twice(plane, side_px)) for plane in (picture.with_effect, picture.without)]
    around = _mean_twice(np.maximum(*details), _odd(ENERGY_PX, picture.scale))
    return np.asarray(around + np.float32(FLAT_DETAIL))


def _measure_noise(
    pictures: _Pictures, weighed: GreyClip, thresholds: Int64[np.ndarray, "T"], quantile: float
) -> Noise:
    """Measure the differences far from the subject and from any seed."""
    ratios: list[list[Samples]] = [[] for _ in SCALES_PX]
    steps: list[Samples] = []
    for index in np.unique(np.linspace(0, len(weighed) - 1, NOISE_FRAMES).round().astype(int)):
        far = _far_pixels(pictures, int(index), weighed[index] > thresholds[index])
        picture = pictures.picture(int(index))
        if picture is None:
            zeros = np.zeros(int(far.sum()), np.float32)
            steps.append(zeros)
            ratios = [[*levels, zeros] for levels in ratios]
            continue
        detail, far_inside = _detail(picture), far[picture.box]
        beyond = np.zeros(int(far.sum()) - int(far_inside.sum()), np.float32)
        for scale, difference in enumerate(_differences(picture)):
            sample = difference[far_inside]
            ratios[scale] += [sample / detail[far_inside], beyond]
            if SCALES_PX[scale] == 3:
                steps += [sample, beyond]
    if not sum(map(len, steps)):  # seeds everywhere
        return Noise()
    levels = tuple(float(np.quantile(np.concatenate(values), quantile)) for values in ratios)
    return Noise(levels=levels, steps=float(np.quantile(np.concatenate(steps), quantile)))


def _far_pixels(pictures: _Pictures, index: int, seeds: Region) -> Region:
    """Sample of pixels far from subject and seeds; where those are few, of the fifth farthest from the subject."""
    subject = near_subject(pictures.subject_mask[index], 0)
    scale = min(subject.shape) / WORKING_PX
    radius = max(1, round(NEAR_SEEDS_PX * scale))
    far = cv2.dilate(seeds.view(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) == 0
    if subject.any():
        distance = cv2.distanceTransform((~subject).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        far &= distance > FAR_PX * scale
        if far.mean() < 0.05:
            far = distance > np.quantile(distance, 0.8)
    sampled = np.zeros_like(far)
    sampled[::2, ::3] = far[::2, ::3]
    return np.asarray(sampled)


def _grow(
    picture: _Picture, weighed: Grey, threshold: float, noise: Noise, settings: EffectMaskSettings
) -> morphology.Binary:
    """Seeds and all pixels whose difference stands out, at the finest scale at which it does."""
    border = max(
        settings.threshold_min - 1.0, min(settings.border_percent / 100 * threshold, NOISE_MARGIN * noise.steps)
    )
    detail = _detail(picture)
    grown, undecided = weighed > threshold, np.ones(weighed.shape, bool)
    for side_px, level, difference in zip(SCALES_PX, noise.levels, _differences(picture), strict=True):
        outstanding = undecided & (difference > level * detail)
        grown |= outstanding & (difference > settings.threshold_min - 1.0)
        undecided &= ~outstanding
        if side_px == 3:
            within = difference > border
    grown &= within | (weighed > threshold)
    grown &= picture.difference != 0  # windows reach beyond an edge; equal pixels hold no effect
    return morphology.open_and_smooth(grown.view(np.uint8), settings.erode_px, settings.dilate_px, settings.median_px)


def _select_components(grown: morphology.Binary, weighed: Grey, seeds: Region, share: float) -> morphology.Binary:
    """Components that hold a seed and weigh at least that share of the frame's heaviest."""
    count, labels = cv2.connectedComponents(grown, connectivity=8, ltype=cv2.CV_32S)
    has_seed = np.bincount(labels[seeds], minlength=count) > 0
    has_seed[0] = False
    weight = np.bincount(labels.ravel(), weights=weighed.ravel(), minlength=count) * has_seed
    kept = has_seed & (weight >= share * weight.max())
    return np.asarray(kept[labels].view(np.uint8))


def _find_plainly(gt: Rgb, over: Rgb, scope: Literal["clip", "frame"]) -> EffectMask:
    """The paper's recipe and nothing else."""
    values = np.stack([to_grey(cv2.absdiff(*frames)) for frames in zip(gt, over, strict=True)])
    levels = _otsu_levels(values, scope)
    square = np.ones((3, 3), np.uint8)
    for frame, level in zip(values, levels, strict=True):
        opened = cv2.dilate(cv2.erode((frame > level).view(np.uint8), square), square, iterations=2)
        frame[:] = cv2.medianBlur(opened, 5)
    return EffectMask(mask=values.view(bool), threshold=float(levels.mean()), otsu=float(levels.mean()))


def _odd(side_px: int, scale: float) -> int:
    return 2 * max(1, round(side_px // 2 * scale)) + 1 if side_px > 1 else 1


def _scaled(settings: EffectMaskSettings, shorter_side_px: int) -> EffectMaskSettings:
    scale = shorter_side_px / WORKING_PX

    def size(px: float) -> int:
        return max(1, round(px)) if px else 0

    return replace(
        settings,
        erode_px=size(settings.erode_px * scale),
        dilate_px=size(settings.dilate_px * scale),
        median_px=_odd(settings.median_px, scale),
        subject_margin_px=size(settings.subject_margin_px * scale),
        min_speck_px=size(settings.min_speck_px * scale**2),
    )
