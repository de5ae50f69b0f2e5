"""True masks of each effect from the change that it makes to each pixel: it was rendered with and without it.

The change is the largest of the three channels' differences in display space, in 8-bit steps. For a variant with one
effect it is the difference of gt and over. With several, each effect has a pass of its own with that effect alone
switched off, at a quality of its own; its change is the difference to the pass with all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, ClassVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ...arrays import Image, Mask, Matte, Rgb
from ...settings import CheckedSettings, InRange
from ..blender.exr_frames import Cover
from .linear_composite import to_display

VERSION = 5
"""Raise it when results change; stored results of older versions are then made again."""

Steps = UInt8[np.ndarray, "T H W"]
"""8-bit steps by which an effect changes a pixel."""
StepsImage = UInt8[np.ndarray, "H W"]
SmallLight = Float32[np.ndarray, "rows columns 3"]
"""Linear light at the size of the mask passes."""
MaskImage = Bool[np.ndarray, "H W"]
OUTLINE_PX = 5
"""Width of the square in which a pixel of the outline looks for one beside the subject."""
WORKING_PX = 384  # the shorter side for which areas in pixels are given


@dataclass(frozen=True, kw_only=True)
class MaskFromPasses(CheckedSettings):
    """Thresholds that turn an effect's change of each pixel into its masks; the table `truth` of a source."""

    table: ClassVar[str] = "truth"

    threshold: Annotated[int, InRange(1, 255)] = 6
    """Steps from which a pixel is effect; stage 5 has the same least threshold."""
    grow_threshold: int = 4
    """Steps, averaged over 5x5 pixels, from which a pixel connected to effect is effect too: a wave or a shadow runs
    out slowly, and its last changes must not count as untouched."""
    soft_threshold: int = 2
    """Steps from which a pixel connected to effect shows in the soft mask; others are noise."""
    seed_threshold: Annotated[int, InRange(1, 255)] = 12
    """Steps of one pixel that make a connected patch of any size effect: a drop is small, but bright."""
    min_speck_px: Annotated[int, InRange(0, 100000)] = 96
    """Least area of all other patches, in pixels of a picture whose shorter side is 384; it scales with the square of
    the side."""
    white_percentile: Annotated[float, InRange(50, 100)] = 98.0
    """The soft mask is white from this percentile on, of all pixels of the clip that are effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grow_threshold", "soft_threshold"):
            if not 1 <= getattr(self, name) <= self.threshold:
                interval = f"[1, {self.threshold}]"
                raise ValueError(f"truth.{name}={getattr(self, name)} is not in {interval}; give a value between them")


def steps_between_frames(with_effect: Image, without: Image, cover: Cover, front_share: Cover) -> StepsImage:
    """Change of one frame from over to gt, as it shows beside the subject and before it.

    Args:
        with_effect: gt.
        without: over.
        cover: coverage by the subject.
        front_share: share of the subject that lies behind the effect, from `linear_composite.front_share`.
    """
    return _visible_steps(cv2.absdiff(with_effect, without).max(axis=2).astype(np.float32), cover, front_share)


def steps_between_passes(with_effect: SmallLight, without: SmallLight, cover: Cover, front_share: Cover) -> StepsImage:
    """The same between two passes that may be smaller than the picture."""
    change = np.abs(to_display(with_effect) - to_display(without)).max(axis=2)
    height, width = cover.shape
    return _visible_steps(cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR), cover, front_share)


def soft_mask(steps: Steps, settings: MaskFromPasses) -> tuple[Matte, int]:
    """Return an effect's soft mask, and the steps at which it is white; all black and 0 if the effect never shows."""
    counts = np.zeros(256, np.int64)
    for frame in steps:
        counts += np.bincount(frame.ravel(), minlength=256)
    counts[: settings.threshold] = 0
    if not counts.any():
        return np.zeros_like(steps), 0
    share = np.cumsum(counts) / counts.sum()
    white = int(np.searchsorted(share, settings.white_percentile / 100))
    scale = np.minimum(np.rint(np.arange(256) * (255 / white)), 255).astype(np.uint8)
    shown = [_connected(frame >= settings.soft_threshold, _effect_pixels(frame, settings)) for frame in steps]
    return scale[steps] * np.stack(shown), white


def true_mask(effects: Iterable[Steps], settings: MaskFromPasses) -> Mask:
    """Unite the effects' pixels into one binary mask, the measure of stage 5's; at least one effect is needed."""
    masks = (np.stack([_effect_pixels(frame, settings) for frame in steps]) for steps in effects)
    return reduce(np.bitwise_or, masks)


def visible_change(gt: Rgb, over: Rgb) -> Steps:
    """Largest change from over to gt at a pixel or beside it, in 8-bit steps.

    Where it is nothing there is no effect, whatever the mask passes say: they have noise of their own.
    """
    change = np.empty(gt.shape[:3], np.uint8)
    for index, (with_effect, without) in enumerate(zip(gt, over, strict=True)):
        change[index] = cv2.dilate(cv2.absdiff(with_effect, without).max(axis=2), np.ones((3, 3), np.uint8))
    return change


def mask_iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def _visible_steps(change: Cover, cover: Cover, front_share: Cover) -> StepsImage:
    # Through the subject an effect is invisible, only before it is it seen; other differences there are noise.
    visible = 1 - cover * (1 - front_share)
    steps: StepsImage = np.rint(np.minimum(change * visible, 255)).astype(np.uint8)
    # On the subject's outline the passes' noise differs by more than elsewhere: no more is there than beside it.
    outside = np.where(cover > 0, np.uint8(0), steps)
    beside = cv2.dilate(outside, np.ones((OUTLINE_PX, OUTLINE_PX), np.uint8))
    return np.where((cover > 0) & (front_share == 0), np.minimum(steps, beside), steps)


def _effect_pixels(steps: StepsImage, settings: MaskFromPasses) -> MaskImage:
    """Patches that reach the threshold and are large or hold a seed, with the slower changes connected to them."""
    shows = steps >= settings.soft_threshold
    # A pixel's neighbours have a say, or the border of thin smoke is a lace of noise.
    above = shows & (cv2.GaussianBlur(steps, (3, 3), 0) >= settings.threshold)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above.view(np.uint8), connectivity=8)
    smallest = round(settings.min_speck_px * (min(steps.shape) / WORKING_PX) ** 2)
    keep = stats[:, cv2.CC_STAT_AREA] >= max(1, smallest)
    keep |= np.bincount(labels[steps >= settings.seed_threshold], minlength=count) > 0
    keep[0] = False
    seeds: MaskImage = keep[labels]
    runs_out = shows & (cv2.blur(steps.astype(np.float32), (5, 5)) >= settings.grow_threshold)
    return _connected(seeds | runs_out, seeds)


def _connected(mask: MaskImage, seeds: MaskImage) -> MaskImage:
    """Patches of the mask that have a seed in them."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    keep = np.bincount(labels[seeds], minlength=count) > 0
    keep[0] = False
    return np.asarray(keep[labels])
