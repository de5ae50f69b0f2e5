"""The external backend: another tool made the clean background; alpha and foreground are solved from it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from ..arrays import Mask, Matte, Rgb
from .decompose import Layers, check_subject
from .plates.effect_region import grown
from .plates.matting import solve

VERSION = 1
LIMITED = (219 / 255, 16.0)
"""Gain and offset of full range written as limited range (ITU-R BT.601: black 16, white 235)."""
Line = tuple[float, float]
Given = UInt8[np.ndarray, "t h w 3"]  # any size: a wrong one is refused in words


@dataclass(frozen=True, kw_only=True)
class External:
    """Take the background as given, but for its colour range."""

    kind: Literal["external"] = "external"
    threshold: float = 6.0
    """Differences of fewer 8-bit levels are codec noise: alpha is 0 there, outside the subject."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.threshold < 128:
            raise ValueError(f"threshold={self.threshold} is not in [0, 128); 6 levels suit a well compressed video")

    def decompose(self, gt: Rgb, subject_mask: Matte, others: Mask | None, given: Given | None) -> Layers:
        """Solve alpha and foreground over the given background.

        Other subjects are expected to be in the given background and get no alpha.

        Raises:
            ValueError: when the background is missing or of another size or length than the clip, or when the subject
                mask is empty or full in every frame.
        """
        background = _checked(gt, given)
        check_subject(gt, subject_mask)
        line, scatter = _line(gt, background, subject_mask)
        notes: tuple[str, ...] = ()
        swap = _range_swap(line, scatter)
        if swap is not None:
            background = _mapped(background, swap)
            came = "limited" if swap[0] > 1 else "full"
            wanted = "full" if swap[0] > 1 else "limited"
            notes = (
                f"The given background came in {came} colour range, the clip is in {wanted} range; it was converted.",
            )
        region = _region(gt, background, subject_mask, others, self.threshold)
        alpha, foreground = solve(gt, background, subject_mask, region)
        facts = _facts(gt, background, subject_mask)
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=notes)


def _checked(gt: Rgb, given: Given | None) -> Rgb:
    if given is None:
        raise ValueError("external needs the background that another tool made; give one, or decompose with plate")
    if given.shape != gt.shape:
        sizes = ["x".join(str(side) for side in clip.shape[:3]) for clip in (given, gt)]
        raise ValueError(
            f"the given background is {sizes[0]} and the clip {sizes[1]} (frames x height x width); "
            "cut and resize the background to the clip"
        )
    return given


def _away(subject: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels at least a quarter of the subject's size away from it: there clip and background should be equal."""
    return ~grown(subject, max(8.0, 0.25 * float(np.sqrt(subject.sum()))))


def _pairs(gt: Rgb, background: Rgb, subject_mask: Matte) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Levels of background and clip away from the subject, thinned out over space and time."""
    step = max(len(gt) // 12, 1)
    here, there = [], []
    for frame in range(0, len(gt), step):
        chosen = _away(subject_mask[frame] > 32)[::4, ::4]
        here.append(background[frame, ::4, ::4][chosen].ravel())
        there.append(gt[frame, ::4, ::4][chosen].ravel())
    return np.concatenate(here).astype(np.float64), np.concatenate(there).astype(np.float64)


def _line(gt: Rgb, background: Rgb, subject_mask: Matte) -> tuple[Line, float]:
    """Robust fit gt ≈ gain·background + offset away from the subject, and the median error of it."""
    here, there = _pairs(gt, background, subject_mask)
    if len(here) < 256 or np.ptp(here) < 32:
        return (1.0, 0.0), 0.0
    weight = np.ones_like(here)
    gain, offset = 1.0, 0.0
    for _ in range(12):
        mean_here, mean_there = np.average(here, weights=weight), np.average(there, weights=weight)
        gain = float(
            (weight * (here - mean_here) * (there - mean_there)).sum() / (weight * (here - mean_here) ** 2).sum()
        )
        offset = float(mean_there - gain * mean_here)
        error = np.abs(there - gain * here - offset)
        weight = 1 / np.maximum(error, 0.5)
    return (gain, offset), float(np.median(error))


def _range_swap(line: Line, scatter: float) -> Line | None:
    """The exact conversion that line stands for, if it is one: limited to full range, or full to limited."""
    narrow = LIMITED
    wide = (1 / LIMITED[0], -LIMITED[1] / LIMITED[0])
    for swap in (wide, narrow):
        # Compared where it matters, at dark grey and light grey; half way to the identity is the border.
        off = max(abs((line[0] - swap[0]) * level + line[1] - swap[1]) for level in (48, 208))
        unswapped = max(abs((line[0] - 1) * level + line[1]) for level in (48, 208))
        if off < 4 and off < unswapped and scatter < 12:
            return swap
    return None


def _mapped(background: Rgb, line: Line) -> Rgb:
    levels = np.arange(256) * line[0] + line[1]
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.asarray(table[background])


def _region(gt: Rgb, background: Rgb, subject_mask: Matte, others: Mask | None, threshold: float) -> Mask:
    """The subject, and what differs from the background by more than codec noise."""
    region = subject_mask > 0
    for frame in range(len(gt)):
        difference = cv2.absdiff(
            cv2.GaussianBlur(gt[frame], (0, 0), 1.0), cv2.GaussianBlur(background[frame], (0, 0), 1.0)
        )
        effect = cv2.medianBlur((difference.max(axis=2) > threshold).view(np.uint8), 5) > 0
        if others is not None:
            effect &= ~others[frame]
        region[frame] |= effect
    return region


def _facts(gt: Rgb, background: Rgb, subject_mask: Matte) -> dict[str, float]:
    """How far the given background is from the clip where they should agree."""
    here, there = _pairs(gt, background, subject_mask)
    error = float(np.mean((here - there) ** 2)) if len(here) else 0.0
    return {"external_offset_psnr_db": 10 * float(np.log10(255**2 / error)) if error > 0 else 100.0}
