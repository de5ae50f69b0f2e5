"""Stage 5, the effect mask: |gt − over| → grey → Otsu → erosion → dilation → median, less subject and specks.

The difference is taken in 8-bit steps and everything after it is decided in whole numbers, so the same input gives the
same mask on every machine. Besides the mask itself (one byte a pixel) only a few frames are held at a time.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped, UInt8

from ..arrays import Image, Mask, Matte, MatteImage, Rgb
from . import morphology

Grey = UInt8[np.ndarray, "H W"]
GreyClip = UInt8[np.ndarray, "T H W"]
Histograms = Int64[np.ndarray, "T 256"]  # of the grey difference, per frame
VERSION = 2
"""Raise it when results change; stored results of older versions are then made again."""
SUBJECT_THRESHOLD = 128  # coverage from which a pixel belongs to the subject
WORKING_PX = 384  # the shorter side for which sizes in pixels are given


def to_grey(image: Image) -> Grey:
    """Luma of 8-bit RGB: (9798 R + 19235 G + 3735 B + 16384) // 32768, the weights of BT.601."""
    luma: Grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def near_subject(coverage: MatteImage, margin_px: int) -> Bool[np.ndarray, "H W"]:
    """The subject, and what lies within margin_px of it."""
    return morphology.dilate_disk((coverage >= SUBJECT_THRESHOLD).view(np.uint8), margin_px).view(bool)


def _grey_differences(gt: Rgb, over: Rgb, subject_mask: Matte, margin_px: int) -> tuple[GreyClip, Histograms]:
    """The grey difference of each frame, 0 at the subject, and how often each value is there."""
    values = np.empty(subject_mask.shape, np.uint8)
    histograms = np.zeros((len(gt), 256), np.int64)
    for index, (with_effect, without, coverage) in enumerate(zip(gt, over, subject_mask, strict=True)):
        difference = to_grey(cv2.absdiff(with_effect, without))
        difference[near_subject(coverage, margin_px)] = 0
        values[index] = difference
        # Most of a picture is 0: counting only the rectangle that holds the rest is several times quicker.
        x, y, width, height = cv2.boundingRect(difference)
        if width:
            inside = difference[y : y + height, x : x + width]
            histograms[index] = cv2.calcHist([inside], [0], None, [256], [0, 256]).ravel()
        histograms[index, 0] += difference.size - width * height
    return values, histograms


def _otsu(counts: Int64[np.ndarray, "256"]) -> int:
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

    otsu_scope: Literal["clip", "frame"] = "clip"
    """One threshold for all frames, or one for each. Per frame, a frame without effect gets threshold_min."""
    threshold_min: int = 6
    """A lower Otsu threshold is raised to this, in 8-bit steps: below it lie grain and compression."""
    threshold_max: int = 10
    """A higher Otsu threshold is lowered to this, or a deep shadow would cost its soft border; 255 for plain Otsu. Over
    painted shadows on real footage the mean IoU is 0.91 with 10, 0.88 with 12, 0.82 with 255."""
    erode_px: int = 1
    """Radius of the disk that takes away thin lines of edge residue; 0 for fine spray, whose drops it takes too."""
    dilate_px: int = 2
    """Radius of the disk that gives the border back; more than erode_px makes a mask a little loose, not eaten."""
    median_px: int = 5
    """Side of the square of the median in space, odd; 1 switches it off."""
    temporal_median_frames: int = 3
    """Frames in the median in time, odd; 1 switches it off."""
    subject_margin_px: int = 2
    """Pixels this close to the subject (coverage of half or more) are no effect: its edge is never cut out exactly."""
    min_speck_px: int = 48
    """Connected pixels of one frame that are fewer than this are dropped."""
    coherence_px: int = 15
    """Side of the window in which differences must agree in sign, odd. Not scaled: grain and the blocks of a codec
    have their size in pixels whatever the picture's."""
    coherence_percent: int = 50
    """Least agreement, see `find_effect`: shadows reach 90 and more, grain 12, strong codec noise 30 to 40, a
    picture shifted against itself by 1 px 25. 0 switches the rule off."""
    min_kept_percent: int = 5
    """A clip in which fewer of the differing pixels come through all rules has noise and no effect: its mask is
    emptied. H.264 at CRF 18 to 38 leaves 0 to 3, a faint shadow of 1 % of the picture amid it 8. 0 switches it off."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.threshold_min <= self.threshold_max <= 255:
            raise ValueError(
                f"threshold_min={self.threshold_min}, threshold_max={self.threshold_max} break "
                "0 <= threshold_min <= threshold_max <= 255; give 8-bit steps"
            )
        for name in ("median_px", "temporal_median_frames", "coherence_px"):
            if (size := getattr(self, name)) < 1 or size % 2 == 0 or size > 255:
                raise ValueError(f"{name}={size} is not an odd number from 1 to 255; take {size + 1} or 1 for off")
        for name in ("erode_px", "dilate_px", "subject_margin_px", "min_speck_px"):
            if (size := getattr(self, name)) < 0:
                raise ValueError(f"{name}={size} is negative; 0 switches it off")
        for name in ("coherence_percent", "min_kept_percent"):
            if not 0 <= (share := getattr(self, name)) <= 100:
                raise ValueError(f"{name}={share} is not in 0 to 100; 0 switches the rule off")


@dataclass(frozen=True, kw_only=True)
class EffectMask:
    """Mask of the effect, and the numbers by which it was decided."""

    mask: Mask
    threshold: float
    """Difference above which a pixel can be effect, in 8-bit steps, within the limits; scope frame: the mean."""
    otsu: float
    """The same before the limits."""
    coherence: float
    """Share of the pixels above the threshold that agree in sign with those around them; 0 where there are none."""
    is_noise: bool
    """There were differences above the threshold, and the survivors rule emptied the mask."""

    @property
    def facts(self) -> dict[str, float]:
        """All but the mask, as numbers; is_noise is 0 or 1."""
        return {name: float(value) for name, value in vars(self).items() if name != "mask"}


def find_effect(gt: Rgb, over: Rgb, subject_mask: Matte, settings: EffectMaskSettings) -> EffectMask:
    """Find the pixels in which gt and over differ by an effect; noise alone gives an empty mask.

    In this order: absolute difference, `to_grey`, 0 at the subject and its margin, Otsu's threshold over these values,
    erosion, dilation, median in space, median in time, no subject, no small components, and no component that touches
    the mask of neither neighbouring frame.

    Noise is separated from effect twice. Before the erosion each pixel above the threshold must agree in sign with
    those around it: in the window around it, and only over pixels above the threshold, the sum of grey gt − over must
    reach a share of the sum of the grey differences. Grain, codecs and misregistered texture push neighbours, and the
    channels of one pixel, up and down alike (n independent values leave about 1/√n); an effect darkens or brightens a
    patch. At the end, what is left must be more than the few patches that agree by chance. Ripples with a wave shorter
    than the window look like noise to this rule, and so does a change of hue that leaves the luma as it was.

    Raises:
        ValueError: the three clips differ in frames, height or width.
    """
    if not gt.shape == over.shape == (*subject_mask.shape, 3):
        raise ValueError(
            f"gt {gt.shape}, over {over.shape} and subject_mask {subject_mask.shape} must be of one T, H, W; "
            "bring them to one size and length first"
        )
    scaled = _scaled(settings, min(gt.shape[1:3]))
    buffer, histograms = _grey_differences(gt, over, subject_mask, scaled.subject_margin_px)
    if scaled.otsu_scope == "clip":
        otsu_levels = np.full(len(gt), _otsu(histograms.sum(axis=0)))
    else:
        otsu_levels = np.array([_otsu(counts) for counts in histograms])
    thresholds = otsu_levels.clip(scaled.threshold_min, scaled.threshold_max)
    coherent_count = 0
    for index, threshold in enumerate(thresholds):
        _, strong = cv2.threshold(buffer[index], float(threshold), 255, cv2.THRESH_TOZERO)
        coherent = _coherent(gt[index], over[index], strong, scaled)
        coherent_count += int(np.count_nonzero(coherent))
        buffer[index] = morphology.open_and_smooth(
            coherent.view(np.uint8), scaled.erode_px, scaled.dilate_px, scaled.median_px
        )
    morphology.temporal_median(buffer, scaled.temporal_median_frames)
    for frame, coverage in zip(buffer, subject_mask, strict=True):
        frame[near_subject(coverage, scaled.subject_margin_px)] = 0
    morphology.drop_specks(buffer, scaled.min_speck_px)
    above_count = int((histograms * (np.arange(256) > thresholds[:, None])).sum())
    is_noise = 100 * int(np.count_nonzero(buffer)) < scaled.min_kept_percent * above_count
    if is_noise:
        buffer[:] = 0
    return EffectMask(
        mask=buffer.view(bool),
        threshold=float(thresholds.mean()),
        otsu=float(otsu_levels.mean()),
        coherence=coherent_count / above_count if above_count else 0.0,
        is_noise=is_noise,
    )


def _coherent(gt: Image, over: Image, strong: Grey, settings: EffectMaskSettings) -> Bool[np.ndarray, "H W"]:
    """Pixels above the threshold, `strong`, that agree in sign with those around them."""
    agreeing = strong.astype(bool)
    x, y, width, height = cv2.boundingRect(strong)
    if width and settings.coherence_percent:
        box = np.s_[y : y + height, x : x + width]
        lighter, darker = (to_grey(np.ascontiguousarray(gt[box])), to_grey(np.ascontiguousarray(over[box])))
        signed = cv2.subtract(lighter, darker, dtype=cv2.CV_16S) * agreeing[box]
        signed_sum = np.abs(_window_sum(signed, settings.coherence_px))
        absolute_sum = _window_sum(np.ascontiguousarray(strong[box]), settings.coherence_px)
        agreeing[box] &= 100 * signed_sum >= settings.coherence_percent * absolute_sum
    return agreeing


def _window_sum(values: Shaped[np.ndarray, "H W"], side_px: int) -> Int32[np.ndarray, "H W"]:
    sums: Int32[np.ndarray, "H W"] = cv2.boxFilter(
        values, cv2.CV_32S, (side_px, side_px), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return sums


def _scaled(settings: EffectMaskSettings, shorter_side_px: int) -> EffectMaskSettings:
    scale = shorter_side_px / WORKING_PX

    def size(px: float) -> int:
        return max(1, round(px)) if px else 0

    def odd(side_px: int) -> int:
        return 2 * size(side_px // 2 * scale) + 1

    return replace(
        settings,
        erode_px=size(settings.erode_px * scale),
        dilate_px=size(settings.dilate_px * scale),
        median_px=odd(settings.median_px),
        subject_margin_px=size(settings.subject_margin_px * scale),
        min_speck_px=size(settings.min_speck_px * scale**2),
    )
