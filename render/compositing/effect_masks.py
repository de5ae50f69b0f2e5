"""Effect truth: how much each effect changes each pixel, known because it was drawn with and without it.

The change is the largest of the three channels' differences in display space, in 8-bit steps. Of a variant with one
effect it is that of gt and over. Of several, each effect has a pass of its own with that effect alone switched off, at
a quality of its own; the difference to the pass with all of them is what that effect does among the others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ...arrays import Image, Mask, Matte, Rgb
from ..blender.exr_frames import Cover
from ..effects.ranges import within
from .composite import display

VERSION = 4
"""Raise it when results change; stored results of older versions are then made again."""

Steps = UInt8[np.ndarray, "T H W"]
"""8-bit steps by which an effect changes a pixel."""
StepsImage = UInt8[np.ndarray, "H W"]
Small = Float32[np.ndarray, "rows columns 3"]
"""Linear light at the size of the truth passes."""
Chosen = Bool[np.ndarray, "H W"]
OUTLINE_PX = 5
"""Width of the square in which a pixel of the outline looks for one beside the subject."""
WORKING_PX = 384  # the shorter side for which areas in pixels are given


@dataclass(frozen=True, kw_only=True)
class MaskFromPasses:
    """Thresholds that turn an effect's change of each pixel into its masks; the table `truth` of a source."""

    kind: ClassVar[str] = "truth"
    """Its table's name in error sentences."""

    threshold: int = 6
    """Steps from which a pixel is effect; the recipe for real pairs has the same floor."""
    grow_threshold: int = 4
    """Steps, averaged over 5x5 pixels, from which a pixel that hangs together with effect is effect too: a wave or a
    shadow runs out slowly, and what it still changes is not to be counted as untouched."""
    soft_threshold: int = 2
    """Steps from which a pixel beside effect shows in the soft mask; fainter, or apart from all effect, it is noise."""
    seed_threshold: int = 12
    """A connected patch without a pixel of this many steps must be of some size: a drop is small, but bright."""
    min_speck_px: int = 96
    """That size, in pixels of a picture whose shorter side is 384; it goes with the square of the side."""
    white_percentile: float = 98.0
    """The soft mask is white from this percentile on, of all pixels of the clip that are effect."""

    def __post_init__(self) -> None:
        within(self, "threshold", 1, 255)
        within(self, "grow_threshold", 1, self.threshold)
        within(self, "soft_threshold", 1, self.threshold)
        within(self, "seed_threshold", 1, 255)
        within(self, "min_speck_px", 0, 100000)
        within(self, "white_percentile", 50, 100)


def steps_of(with_effect: Image, without: Image, cover: Cover, ahead: Cover) -> StepsImage:
    """Change of one frame by gt and over, as it shows beside the subject and before it.

    Args:
        with_effect: gt.
        without: over.
        cover: coverage by the subject.
        ahead: how much of the subject lies behind the effect, as of `composite.ahead`.
    """
    return _shown(cv2.absdiff(with_effect, without).max(axis=2).astype(np.float32), cover, ahead)


def steps_between(with_effect: Small, without: Small, cover: Cover, ahead: Cover) -> StepsImage:
    """The same by two passes that may be smaller than the picture."""
    change = np.abs(display(with_effect) - display(without)).max(axis=2)
    height, width = cover.shape
    return _shown(cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR), cover, ahead)


def soft_mask(steps: Steps, settings: MaskFromPasses) -> tuple[Matte, int]:
    """An effect's own soft mask, and the steps at which it is white; all black where the effect never shows."""
    counts = np.zeros(256, np.int64)
    for frame in steps:
        counts += np.bincount(frame.ravel(), minlength=256)
    counts[: settings.threshold] = 0
    if not counts.any():
        return np.zeros_like(steps), 0
    share = np.cumsum(counts) / counts.sum()
    white = int(np.searchsorted(share, settings.white_percentile / 100))
    scale = np.minimum(np.rint(np.arange(256) * (255 / white)), 255).astype(np.uint8)
    mask: Matte = np.stack([scale[frame] * _near(frame, settings) for frame in steps])
    return mask, white


def effect_mask(effects: Iterable[Steps], settings: MaskFromPasses) -> Mask:
    """Where any of the effects is, as the row's binary mask; at least one effect is needed."""
    union: Mask | None = None
    for steps in effects:
        if union is None:
            union = np.zeros(steps.shape, bool)
        for chosen, frame in zip(union, steps, strict=True):
            chosen |= _chosen(frame, settings)
    assert union is not None, "a variant has at least one effect"
    return union


def visible(mask: Mask, gt: Rgb, over: Rgb, settings: MaskFromPasses) -> Mask:
    """The mask where gt itself differs from over, there or beside it: the passes of truth have noise of their own."""
    seen = np.empty_like(mask)
    for index, chosen in enumerate(mask):
        change = cv2.dilate(cv2.absdiff(gt[index], over[index]).max(axis=2), np.ones((3, 3), np.uint8))
        seen[index] = chosen & (change >= settings.grow_threshold)
    return seen


def agreement(one: Mask, other: Mask) -> float:
    """Intersection over union; two empty masks agree."""
    both = either = 0
    for first, second in zip(one, other, strict=True):
        both += int(np.count_nonzero(first & second))
        either += int(np.count_nonzero(first | second))
    return both / either if either else 1.0


def _shown(change: Cover, cover: Cover, ahead: Cover) -> StepsImage:
    # Through the subject an effect is not seen, only before it; what else differs there is noise.
    visible = 1 - cover * (1 - ahead)
    steps: StepsImage = np.rint(np.minimum(change * visible, 255)).astype(np.uint8)
    # On the subject's outline the passes' noise differs by more than elsewhere: no more is there than beside it.
    outside = np.where(cover > 0, np.uint8(0), steps)
    beside = cv2.dilate(outside, np.ones((OUTLINE_PX, OUTLINE_PX), np.uint8))
    return np.where((cover > 0) & (ahead == 0), np.minimum(steps, beside), steps)


def _near(steps: StepsImage, settings: MaskFromPasses) -> Chosen:
    """Faint pixels that hang together with effect."""
    return _touching(steps >= settings.soft_threshold, _chosen(steps, settings))


def _chosen(steps: StepsImage, settings: MaskFromPasses) -> Chosen:
    """Patches that reach the level and are large or somewhere sure, with all that hangs together with them."""
    # A pixel's neighbours have a say, or the border of thin smoke is a lace of noise.
    above = ((cv2.GaussianBlur(steps, (3, 3), 0) >= settings.threshold) & (steps >= settings.soft_threshold)).view(
        np.uint8
    )
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    smallest = round(settings.min_speck_px * (min(steps.shape) / WORKING_PX) ** 2)
    keep = stats[:, cv2.CC_STAT_AREA] >= max(1, smallest)
    keep |= np.bincount(labels[steps >= settings.seed_threshold], minlength=count) > 0
    keep[0] = False
    seeds: Chosen = keep[labels]
    runs_out = (cv2.blur(steps.astype(np.float32), (5, 5)) >= settings.grow_threshold) & (
        steps >= settings.soft_threshold
    )
    return _touching(seeds | runs_out, seeds)


def _touching(where: Chosen, seeds: Chosen) -> Chosen:
    """The patches of `where` that have a seed in them."""
    count, labels = cv2.connectedComponents(where.view(np.uint8), connectivity=8)
    keep = np.bincount(labels[seeds], minlength=count) > 0
    keep[0] = False
    touched: Chosen = keep[labels]
    return touched
