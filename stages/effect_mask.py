"""Stage 5, the effect mask: where gt and over differ by an effect rather than by noise.

The core is |gt − over| → grey → Otsu → dilation → median, less subject and specks. Layers that another tool made add
two things to it. Otsu decides over a difference in which noise counts little (`weigh`), and from the pixels above its
threshold, the seeds, the mask grows over what stands out from the differences that the same frames show far from the
subject. Besides the mask itself (one byte a pixel) only a few frames are held at a time.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Int64

from ..arrays import Mask, Matte, Rgb
from . import morphology
from .difference import (
    BORDER_SCALE,
    SCALES_PX,
    WORKING_PX,
    Grey,
    GreyClip,
    Noise,
    Picture,
    Pictures,
    Region,
    detail_of,
    differences_of,
    equalize_tone,
    measure_noise,
    near_subject,
    odd_side,
    to_grey,
    weigh,
)

VERSION = 5
"""Raise it when results change; stored results of older versions are then made again."""
NOISE_SHARE = 0.9
"""Seeds exceed at least this multiple of the noise: where Otsu's threshold is low, the clip may hold nothing else."""
NOISE_MARGIN = 2.0
"""The border of the mask lies at this multiple of the noise, where that is below its share of Otsu's threshold."""


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
    noise_block_quantile: float = 0.5
    """The noise is measured in blocks of 48 px, and the block at this rank among them is taken: half of them, so that
    a far plume or a long shadow is not taken for noise. Layers of generative models take 0.95 (`external`): they make
    texture anew in patches, and what half of the picture shows says little of the worst of it."""
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
        if not 0 <= self.noise_block_quantile <= 1:
            raise ValueError(f"noise_block_quantile={self.noise_block_quantile} is not in [0, 1]; 0.5 is the median")


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

    In this order: one tone, where `over` has another far from the subject and the noise was not measured before;
    signed grey difference, weighed against noise (`weigh`), Otsu's threshold over these values; growth
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
    pictures = Pictures(gt=gt, over=over, subject_mask=subject_mask, margin_px=scaled.subject_margin_px)
    if noise is None:
        pictures = equalize_tone(pictures, scaled.threshold_min)
    buffer = np.zeros(subject_mask.shape, np.uint8)
    for index, picture in pictures:
        buffer[index][picture.box] = weigh(picture)
    otsu_levels = _otsu_levels(buffer, scaled.otsu_scope)
    thresholds = np.maximum(otsu_levels, scaled.threshold_min)
    if noise is None:
        noise = measure_noise(pictures, buffer, thresholds, scaled.noise_quantile, scaled.noise_block_quantile)
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


def _otsu_levels(values: GreyClip, scope: Literal["clip", "frame"]) -> Int64[np.ndarray, "T"]:
    """Otsu's threshold for each frame."""
    histograms = np.stack([cv2.calcHist([frame], [0], None, [256], [0, 256]).ravel() for frame in values])
    counts = histograms.astype(np.int64)
    if scope == "clip":
        return np.full(len(values), otsu_threshold(counts.sum(axis=0)))
    return np.array([otsu_threshold(frame) for frame in counts])


def _grow(
    picture: Picture, weighed: Grey, threshold: float, noise: Noise, settings: EffectMaskSettings
) -> morphology.Binary:
    """Seeds and all pixels whose difference stands out, at the finest scale at which it does."""
    border = max(
        settings.threshold_min - 1.0, min(settings.border_percent / 100 * threshold, NOISE_MARGIN * noise.steps)
    )
    detail = detail_of(picture)
    grown, undecided = weighed > threshold, np.ones(weighed.shape, bool)
    for side_px, level, difference in zip(SCALES_PX, noise.levels, differences_of(picture), strict=True):
        outstanding = undecided & (difference > level * detail)
        grown |= outstanding & (difference > settings.threshold_min - 1.0)
        undecided &= ~outstanding
        if side_px == SCALES_PX[BORDER_SCALE]:
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


def _scaled(settings: EffectMaskSettings, shorter_side_px: int) -> EffectMaskSettings:
    scale = shorter_side_px / WORKING_PX

    def size(px: float) -> int:
        return max(1, round(px)) if px else 0

    return replace(
        settings,
        erode_px=size(settings.erode_px * scale),
        dilate_px=size(settings.dilate_px * scale),
        median_px=odd_side(settings.median_px, scale),
        subject_margin_px=size(settings.subject_margin_px * scale),
        min_speck_px=size(settings.min_speck_px * scale**2),
    )
