"""The difference of two clips, frame by frame, and the noise in it that is no effect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from ..arrays import Image, Matte, MatteImage, Rgb
from . import morphology
from .alignment.tone import Tone, apply_tone, fit_tone

Grey = UInt8[np.ndarray, "H W"]
GreyClip = UInt8[np.ndarray, "T H W"]
Plane = Float32[np.ndarray, "H W"]
Region = Bool[np.ndarray, "H W"]
Blocks = Int64[np.ndarray, "N"]
SUBJECT_THRESHOLD = 128  # coverage from which a pixel belongs to the subject
WORKING_PX = 384  # the shorter side for which sizes in pixels are given

LOWPASS_PX, ENERGY_PX = 7, 15
"""Sides of the windows in which a difference is averaged to be weighed, and in which the rest of it is measured."""
SCALES_PX, BORDER_SCALE = (1, 3, 5, 9), 1
"""Sides of the windows at which a difference is compared with the noise, from fine to coarse, and the index of that
at which the border of the mask is drawn."""
DETAIL_PX = 9
"""Side of the window whose mean is taken from a picture to leave its detail."""
FLAT_DETAIL = 4.0
"""Detail, in steps, that even a flat place counts as: grain and codecs differ there too."""
FAR_PX, NEAR_SEEDS_PX = 32, 16
"""Distance from the subject, and from any seed, from which differences are taken for noise."""
NOISE_FRAMES = 12
"""Frames, evenly spaced, from which the noise is measured; of their pixels every second row and third column."""
BLOCK_PX, MIN_SAMPLES = 48, 20
"""Side of the blocks in which the noise is measured, and the samples, over all frames, that a block needs."""
SMOOTH_SHARE = 0.6
"""A block that keeps more than this share of its difference through the widest window darkens or brightens as a whole,
as a far plume or a wrong tone does (0.8 to 0.9); texture keeps 0.3 to 0.5."""
INVENTED_QUANTILE, INVENTED_STEPS, INVENTED_SPREAD, EXACT_STEPS = 0.95, 12.5, 2.8, 1.0
"""Texture was made anew where the block at this rank differs by that many steps and by that multiple of the median
block, which in exact layers differs by no more than the last. OmnimatteZero's layers: 13 to 47 steps, 3 to 8 times;
eight real clips through H.264 at CRF 18 to 38: at most 2.7 times where it is that strong."""


def to_grey(image: Image) -> Grey:
    """Luma of 8-bit RGB: (9798 R + 19235 G + 3735 B + 16384) // 32768, the weights of BT.601."""
    luma: Grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def near_subject(coverage: MatteImage, margin_px: int) -> Region:
    """The subject, and what lies within margin_px of it."""
    return morphology.dilate_disk((coverage >= SUBJECT_THRESHOLD).view(np.uint8), margin_px).view(bool)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Differences far from the subject that are no effect, at the quantile of the settings."""

    steps: float = 0.0
    """In 8-bit steps, averaged over 3x3 pixels; 0 for layers that are gt itself there."""
    levels: tuple[float, ...] = (0.0,) * len(SCALES_PX)
    """At each of SCALES_PX as a multiple of the detail around."""
    invented: bool = False
    """Texture was made anew in patches, as generative models do; codecs blur all of it alike."""

    def to_facts(self) -> dict[str, float]:
        """The numbers by name."""
        levels = {f"noise_level_{side_px}": level for side_px, level in zip(SCALES_PX, self.levels, strict=True)}
        return {"noise_steps": self.steps, **levels, "noise_invented": float(self.invented)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, float]) -> "Noise | None":
        """Take back what `to_facts` gave; None where it is not among the facts."""
        if "noise_steps" not in facts:
            return None
        levels = tuple(facts[f"noise_level_{side_px}"] for side_px in SCALES_PX)
        return cls(steps=facts["noise_steps"], levels=levels, invented=bool(facts["noise_invented"]))


@dataclass(frozen=True, kw_only=True)
class Picture:
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
        side_px = odd_side(side_px, self.scale)
        if side_px == 1:
            return plane
        mean = _mean_twice(plane * self.clear, side_px)
        return mean if self.clear.all() else mean / np.maximum(_mean_twice(self.clear, side_px), 1e-2)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Frames of a clip as pictures, those left out in which nothing differs."""

    gt: Rgb
    over: Rgb
    subject_mask: Matte
    margin_px: int
    tone: Tone | None = None
    """Tone to which `over` is brought first."""

    def __iter__(self) -> Iterator[tuple[int, Picture]]:
        return ((index, picture) for index in range(len(self.gt)) if (picture := self.picture(index)) is not None)

    def picture(self, index: int) -> Picture | None:
        """The frame of that index; None where both clips are equal off the subject."""
        scale = min(self.gt.shape[1:3]) / WORKING_PX
        over = self.over[index] if self.tone is None else apply_tone(self.over[index : index + 1], self.tone)[0]
        with_effect, without = to_grey(self.gt[index]), to_grey(over)
        subject = near_subject(self.subject_mask[index], self.margin_px)
        difference = cv2.absdiff(with_effect, without)
        difference[subject] = 0
        x, y, width, height = cv2.boundingRect(difference)
        if not width:
            return None
        # The windows around the last difference, and the medians of the mask, reach no further than this.
        reach = 2 * odd_side(ENERGY_PX, scale) + odd_side(DETAIL_PX, scale)
        box = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
        planes = (np.ascontiguousarray(plane[box], np.float32) for plane in (with_effect, without, ~subject))
        cut, plate, clear = planes
        return Picture(box=box, with_effect=cut, without=plate, clear=clear, scale=scale)


def equalize_tone(pictures: Pictures, least_steps: int) -> Pictures:
    """Pictures in one tone, as their frames show it far from the subject; a tone of fewer steps stays as it is.

    A layer that is brighter or flatter than its clip differs everywhere, and where everything differs Otsu's threshold
    says nothing of an effect.
    """
    frames = np.unique(np.linspace(0, len(pictures.gt) - 1, NOISE_FRAMES).round().astype(int))
    margin_px = max(1, round(FAR_PX * min(pictures.gt.shape[1:3]) / WORKING_PX))
    far = np.stack([~near_subject(coverage, margin_px) for coverage in pictures.subject_mask[frames]])
    tone = fit_tone(pictures.gt[frames], pictures.over[frames], far)
    return replace(pictures, tone=tone) if tone.largest_change > least_steps else pictures


def _mean_twice(plane: Plane, side_px: int) -> Plane:
    for _ in range(2):
        plane = cv2.blur(plane, (side_px, side_px), borderType=cv2.BORDER_REFLECT_101)
    return plane


def weigh(picture: Picture) -> Grey:
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


def differences_of(picture: Picture) -> Iterator[Plane]:
    """Absolute difference at each of SCALES_PX."""
    difference = picture.difference
    return (np.abs(picture.smooth(difference, side_px)) for side_px in SCALES_PX)


def detail_of(picture: Picture) -> Plane:
    """Detail of the two pictures around each pixel, in steps: noise is strongest where there is much of it."""
    side_px = odd_side(DETAIL_PX, picture.scale)
    details = [np.abs(plane - _mean_twice(plane, side_px)) for plane in (picture.with_effect, picture.without)]
    around = _mean_twice(np.maximum(*details), odd_side(ENERGY_PX, picture.scale))
    return np.asarray(around + np.float32(FLAT_DETAIL))


def measure_noise(
    pictures: Pictures, weighed: GreyClip, thresholds: Shaped[np.ndarray, "T"], quantile: float, block_quantile: float
) -> Noise:
    """Measure the differences far from the subject and from any seed.

    Args:
        pictures: the clips.
        weighed: the weighed difference; above a frame's threshold lie its seeds.
        thresholds: one for each frame.
        quantile: rank within a block of the difference that stands for the block.
        block_quantile: rank among the blocks of the one that stands for the clips.
    """
    height, width = weighed.shape[1:]
    side_px = max(BLOCK_PX * min(height, width) / WORKING_PX, 8)
    rows, columns = max(int(height / side_px), 1), max(int(width / side_px), 1)
    block_of_pixel = np.arange(height)[:, None] * rows // height * columns + np.arange(width) * columns // width
    blocks: list[Blocks] = []
    samples: list[Float32[np.ndarray, "kinds N"]] = []  # ratios at each of SCALES_PX, then steps
    for index in np.unique(np.linspace(0, len(weighed) - 1, NOISE_FRAMES).round().astype(int)):
        far = _far_pixels(pictures, int(index), weighed[index] > thresholds[index])
        values = np.zeros((len(SCALES_PX) + 1, height, width), np.float32)
        if (picture := pictures.picture(int(index))) is not None:
            differences, detail = list(differences_of(picture)), detail_of(picture)
            window = np.s_[:, picture.box[0], picture.box[1]]
            values[window] = [*(difference / detail for difference in differences), differences[BORDER_SCALE]]
        blocks.append(block_of_pixel[far])
        samples.append(values[:, far])
    of_blocks = _block_quantiles(np.concatenate(blocks), np.concatenate(samples, axis=1), quantile)
    if not of_blocks.size:  # seeds everywhere
        return Noise()
    *levels, steps = (float(value) for value in np.quantile(of_blocks, block_quantile, axis=1))
    return Noise(levels=tuple(levels), steps=steps, invented=_is_invented(of_blocks))


def _is_invented(of_blocks: Float32[np.ndarray, "kinds blocks"]) -> bool:
    """Whether a model made the texture anew, which shows in patches; a codec errs wherever there is detail."""
    steps = of_blocks[-1][of_blocks[-2] <= SMOOTH_SHARE * of_blocks[0]]
    if not steps.size:
        return False
    usual, worst = np.quantile(steps, (0.5, INVENTED_QUANTILE))
    return bool(usual > EXACT_STEPS and worst > max(INVENTED_STEPS, INVENTED_SPREAD * usual))


def _block_quantiles(
    blocks: Blocks, samples: Float32[np.ndarray, "kinds N"], quantile: float
) -> Float32[np.ndarray, "kinds blocks"]:
    """Quantile of each block's samples (the next one above it), for blocks with enough of them."""
    counts = np.bincount(blocks, minlength=1)
    at = (np.cumsum(counts) - counts + np.ceil(quantile * (counts - 1)).astype(int))[counts >= MIN_SAMPLES]
    return np.stack([kind[np.lexsort((kind, blocks))][at] for kind in samples])


def _far_pixels(pictures: Pictures, index: int, seeds: Region) -> Region:
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


def odd_side(side_px: int, scale: float) -> int:
    """Odd side of a window at that scale, at least 3; 1 stays 1."""
    return 2 * max(1, round(side_px // 2 * scale)) + 1 if side_px > 1 else 1
