"""The external backend: another tool made the clean background; alpha and foreground are solved from it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from ..arrays import Mask, Matte, Rgb
from .decompose import Layers, check_subject, solve_matte
from .plates.effect_region import dilate

VERSION = 1
LIMITED = (219 / 255, 16.0)
"""Gain and offset of full range written as limited range (ITU-R BT.601: black 16, white 235)."""
ColourMap = tuple[float, float]
Levels = Float64[np.ndarray, "N"]
AnySize = UInt8[np.ndarray, "t h w 3"]  # of any size: a wrong one is refused in one sentence


@dataclass(frozen=True, kw_only=True)
class External:
    """Backend that takes a ready background; only its colour range is converted where it differs."""

    kind: Literal["external"] = "external"
    threshold: float = 6.0
    """Differences of fewer 8-bit levels are codec noise: alpha is 0 there, outside the subject."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.threshold < 128:
            raise ValueError(f"threshold={self.threshold} is not in [0, 128); 6 levels suit a well compressed video")

    def decompose(self, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None, external: AnySize | None) -> Layers:
        """Solve alpha and foreground over the external background.

        Other subjects are expected to be in that background and get no alpha.

        Raises:
            ValueError: when the background is missing or of another size or length than the clip, or when the subject
                mask is empty or full in every frame.
        """
        if external is None:
            raise ValueError("external needs the background that another tool made; give one, or decompose with plate")
        if external.shape != gt.shape:
            sizes = ["x".join(map(str, clip.shape[:3])) for clip in (external, gt)]
            raise ValueError(
                f"the given background is {sizes[0]} and the clip {sizes[1]} (frames x height x width); "
                "cut and resize the background to the clip"
            )
        check_subject(gt, subject_mask)
        background = external
        conversion = _range_conversion(*_fit_line(*_level_pairs(gt, background, subject_mask)))
        notes: tuple[str, ...] = ()
        if conversion is not None:
            converted = np.arange(256) * conversion[0] + conversion[1]
            background = np.clip(np.rint(converted), 0, 255).astype(np.uint8)[background]
            came, goes = ("limited", "full") if conversion[0] > 1 else ("full", "limited")
            notes = (
                f"The given background came in {came} colour range, the clip is in {goes} range; it was converted.",
            )
        region = _region(gt, background, subject_mask, other_subjects, self.threshold)
        alpha, foreground = solve_matte(gt, background, subject_mask, region)
        levels, clip_levels = _level_pairs(gt, background, subject_mask)
        error = float(np.mean((levels - clip_levels) ** 2)) if len(levels) else 0.0
        # Away from the subject, where they should agree.
        facts = {"external_offset_psnr_db": 10 * float(np.log10(255**2 / error)) if error > 0 else 100.0}
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=notes)


def _level_pairs(gt: Rgb, background: Rgb, subject_mask: Matte) -> tuple[Levels, Levels]:
    """Levels of background and clip away from the subject, thinned out over space and time.

    At least a quarter of the subject's size away from it clip and background should be equal.
    """
    background_levels, clip_levels = [], []
    for frame in range(0, len(gt), max(len(gt) // 12, 1)):
        subject = subject_mask[frame] > 32
        far_pixels = ~dilate(subject, max(8.0, 0.25 * float(np.sqrt(subject.sum()))))[::4, ::4]
        background_levels.append(background[frame, ::4, ::4][far_pixels].ravel())
        clip_levels.append(gt[frame, ::4, ::4][far_pixels].ravel())
    return np.concatenate(background_levels).astype(np.float64), np.concatenate(clip_levels).astype(np.float64)


def _fit_line(levels: Levels, clip_levels: Levels) -> tuple[ColourMap, float]:
    """Robust fit clip ≈ gain·background + offset, and the median error of it."""
    if len(levels) < 256 or np.ptp(levels) < 32:
        return (1.0, 0.0), 0.0
    weight = np.ones_like(levels)
    gain, offset = 1.0, 0.0
    for _ in range(12):
        mean_level, mean_clip_level = np.average(levels, weights=weight), np.average(clip_levels, weights=weight)
        gain = float(
            (weight * (levels - mean_level) * (clip_levels - mean_clip_level)).sum()
            / (weight * (levels - mean_level) ** 2).sum()
        )
        offset = float(mean_clip_level - gain * mean_level)
        error = np.abs(clip_levels - gain * levels - offset)
        weight = 1 / np.maximum(error, 0.5)
    return (gain, offset), float(np.median(error))


def _range_conversion(line: ColourMap, scatter: float) -> ColourMap | None:
    """The exact conversion that line stands for, if it is one: limited to full range, or full to limited."""
    to_full = (1 / LIMITED[0], -LIMITED[1] / LIMITED[0])
    for conversion in (to_full, LIMITED):
        # Compared where it matters, at dark grey and light grey; half way to the identity is the border.
        distance = max(abs((line[0] - conversion[0]) * level + line[1] - conversion[1]) for level in (48, 208))
        identity_distance = max(abs((line[0] - 1) * level + line[1]) for level in (48, 208))
        if distance < 4 and distance < identity_distance and scatter < 12:
            return conversion
    return None


def _region(gt: Rgb, background: Rgb, subject_mask: Matte, other_subjects: Mask | None, threshold: float) -> Mask:
    """The subject, and what differs from the background by more than codec noise."""
    region = subject_mask > 0
    for frame in range(len(gt)):
        difference = cv2.absdiff(*(cv2.GaussianBlur(clip[frame], (0, 0), 1.0) for clip in (gt, background)))
        effect = cv2.medianBlur((difference.max(axis=2) > threshold).view(np.uint8), 5) > 0
        if other_subjects is not None:
            effect &= ~other_subjects[frame]
        region[frame] |= effect
    return region
