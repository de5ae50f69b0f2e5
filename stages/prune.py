"""Stage 5: where the effect is. |gt − over| → grey → Otsu → erosion → dilation → median, less subject and specks.

The difference is taken in 8-bit steps and everything after it is decided in whole numbers, so the same input gives the
same mask on every machine. Besides the mask itself (one byte a pixel) only a few frames are held at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from skimage.filters import threshold_otsu

from ..arrays import Image, Mask, Matte, MatteImage, Rgb
from . import morphology

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""

Grey = UInt8[np.ndarray, "H W"]
Chosen = Bool[np.ndarray, "H W"]
Histograms = Int64[np.ndarray, "T 256"]  # of the grey difference, per frame
Steps = Int64[np.ndarray, "T"]  # a grey level per frame

WORKING_PX = 384  # the shorter side for which sizes in pixels are given
SUBJECT = 128  # coverage from which a pixel belongs to the subject
COHERENCE_FRAMES = 16  # the noise rule looks at the frames with most to see; more tell nothing new


@dataclass(frozen=True, kw_only=True)
class Prune:
    """How a difference becomes a mask.

    Sizes in pixels hold for clips whose shorter side is 384; for others they are multiplied by (shorter side) / 384 and
    rounded, but never to less than 1 unless they are 0. Areas grow with the square of that.
    """

    otsu_scope: Literal["clip", "frame"] = "clip"
    """One threshold for all frames, or one for each. Per frame, a frame without effect gets the floor."""
    floor: int = 6
    """A lower Otsu threshold is raised to this, in 8-bit steps: below it lie grain and compression."""
    ceiling: int = 12
    """A higher Otsu threshold is lowered to this, or a deep shadow would cost its soft border; 255 for plain Otsu."""
    erode_px: int = 1
    """Radius of the disk that takes away thin lines of edge residue."""
    dilate_px: int = 3
    """Radius of the disk that gives the border back; more than erode_px makes a mask a little loose, not eaten."""
    median_px: int = 5
    """Side of the square of the median in space, odd; 1 switches it off."""
    median_frames: int = 3
    """Frames in the median in time, odd; 1 switches it off."""
    subject_margin_px: int = 2
    """Pixels this close to the subject (coverage of half or more) are no effect: its edge is never cut out exactly."""
    min_speck_px: int = 48
    """Connected pixels of one frame that are fewer than this are dropped."""
    coherence_px: int = 9
    """Side of the window in which the signs of the difference are compared, odd."""
    min_coherence: float = 0.4
    """A clip below it has noise and no effect; see `coherence`. 0 switches the rule off."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.floor <= self.ceiling <= 255:
            raise ValueError(
                f"floor={self.floor}, ceiling={self.ceiling} break 0 <= floor <= ceiling <= 255; give 8-bit steps"
            )
        for name in ("median_px", "median_frames", "coherence_px"):
            if (size := getattr(self, name)) < 1 or size % 2 == 0 or size > 255:
                raise ValueError(f"{name}={size} is not an odd number from 1 to 255; take {size + 1} or 1 for off")
        for name in ("erode_px", "dilate_px", "subject_margin_px", "min_speck_px"):
            if (size := getattr(self, name)) < 0:
                raise ValueError(f"{name}={size} is negative; 0 switches it off")
        if not 0 <= self.min_coherence <= 1:
            raise ValueError(f"min_coherence={self.min_coherence} is not in [0, 1]; 0 switches the rule off")


@dataclass(frozen=True, kw_only=True)
class EffectMask:
    """Where the effect is, and how that was decided."""

    mask: Mask
    threshold: float
    """Difference above which a pixel can be effect, in 8-bit steps, after floor and ceiling; scope frame: the mean."""
    otsu: float
    """The same before floor and ceiling."""
    coherence: float
    """0 to 1: how far neighbouring differences agree in sign; 0 where nothing is above the threshold."""


def effect_mask(gt: Rgb, over: Rgb, subject_mask: Matte, settings: Prune) -> EffectMask:
    """Find the pixels in which gt and over differ by an effect; noise alone gives an empty mask.

    In this order: absolute difference, `grey`, 0 at the subject and its margin, Otsu's threshold over these values,
    erosion, dilation, median in space, median in time, no subject, no small components, and no component that touches
    the mask of neither neighbouring frame.

    Raises:
        ValueError: the three clips differ in frames, height or width.
    """
    if not gt.shape == over.shape == (*subject_mask.shape, 3):
        raise ValueError(
            f"gt {gt.shape}, over {over.shape} and subject_mask {subject_mask.shape} must be of one T, H, W; "
            "bring them to one size and length first"
        )
    scaled = _scaled(settings, min(gt.shape[1:3]))
    work, histograms = _differences(gt, over, subject_mask, scaled.subject_margin_px)
    otsus = _otsus(histograms, scaled.otsu_scope)
    thresholds = otsus.clip(scaled.floor, scaled.ceiling)
    agreement = coherence(gt, over, _fullest(work, histograms, thresholds), scaled.coherence_px)
    if agreement < scaled.min_coherence:
        work[:] = 0
    else:
        for frame, threshold in zip(work, thresholds, strict=True):
            chosen = (frame > threshold).view(np.uint8)
            frame[:] = morphology.opened(chosen, scaled.erode_px, scaled.dilate_px, scaled.median_px)
        morphology.median_in_time(work, scaled.median_frames)
        for frame, coverage in zip(work, subject_mask, strict=True):
            frame[_subject(coverage, scaled.subject_margin_px)] = 0
        morphology.drop_specks(work, scaled.min_speck_px)
    return EffectMask(
        mask=work.view(bool),
        threshold=float(thresholds.mean()),
        otsu=float(otsus.mean()),
        coherence=agreement,
    )


def grey(image: Image) -> Grey:
    """Luma of 8-bit RGB: (9798 R + 19235 G + 3735 B + 16384) // 32768, the weights of BT.601."""
    luma: Grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def coherence(gt: Rgb, over: Rgb, chosen: Iterable[tuple[int, Chosen]], window_px: int) -> float:
    """How far neighbouring differences agree in sign, from 0 (noise) to 1; 0 too where no pixel is chosen.

    d is grey(gt) − grey(over) at the chosen pixels of a frame and 0 elsewhere; the measure is the sum of |Σ d| over
    the sum of Σ |d|, Σ running over the window around every pixel. Grain, compression and misregistered texture push
    neighbours up and down alike and cancel: n independent values leave about 1/√n. An effect darkens or brightens a
    patch: its values add up.

    Args:
        gt: the clip with effects.
        over: the clip without.
        chosen: index of a frame, and its pixels to look at; other frames are not read.
        window_px: side of the window.
    """
    added = single = 0.0
    for frame, where in chosen:
        signed = np.where(where, grey(gt[frame]).astype(np.float32) - grey(over[frame]), np.float32(0))
        added += float(np.abs(_window_sum(signed, window_px)).sum(dtype=np.float64))
        single += float(_window_sum(np.abs(signed), window_px).sum(dtype=np.float64))
    return added / single if single else 0.0


def _window_sum(values: Float32[np.ndarray, "H W"], side_px: int) -> Float32[np.ndarray, "H W"]:
    # Whole numbers below 2^24 (255 · 255²), which float32 holds exactly.
    sums: Float32[np.ndarray, "H W"] = cv2.boxFilter(
        values, -1, (side_px, side_px), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return sums


def _scaled(settings: Prune, shorter_side_px: int) -> Prune:
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
        coherence_px=odd(settings.coherence_px),
    )


def _subject(coverage: MatteImage, margin_px: int) -> Chosen:
    near: Chosen = morphology.dilated((coverage >= SUBJECT).view(np.uint8), margin_px).view(bool)
    return near


def _differences(
    gt: Rgb, over: Rgb, subject_mask: Matte, margin_px: int
) -> tuple[UInt8[np.ndarray, "T H W"], Histograms]:
    """The grey difference of each frame, 0 at the subject, and how often each value is there."""
    differences = np.empty(subject_mask.shape, np.uint8)
    histograms = np.empty((len(gt), 256), np.int64)
    for index, (with_effect, without, coverage) in enumerate(zip(gt, over, subject_mask, strict=True)):
        difference = grey(cv2.absdiff(with_effect, without))
        difference[_subject(coverage, margin_px)] = 0
        differences[index] = difference
        histograms[index] = cv2.calcHist([difference], [0], None, [256], [0, 256]).ravel()
    return differences, histograms


def _otsus(histograms: Histograms, scope: Literal["clip", "frame"]) -> Steps:
    """Otsu's threshold for each frame; of a histogram with a single value, that value."""
    if scope == "clip":
        return np.full(len(histograms), _otsu(histograms.sum(axis=0)))
    return np.array([_otsu(counts) for counts in histograms])


def _otsu(counts: Int64[np.ndarray, "256"]) -> int:
    values = np.flatnonzero(counts)
    return int(values[0]) if len(values) == 1 else int(threshold_otsu(hist=counts))


def _fullest(
    differences: UInt8[np.ndarray, "T H W"], histograms: Histograms, thresholds: Steps
) -> Iterator[tuple[int, Chosen]]:
    """The frames with most pixels above their threshold, and which these are."""
    above = (histograms * (np.arange(256) > thresholds[:, None])).sum(axis=1)
    for index in np.argsort(-above, kind="stable")[:COHERENCE_FRAMES]:
        if above[index]:
            yield int(index), differences[index] > thresholds[index]
