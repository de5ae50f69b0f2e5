"""The quality numbers as they are shown to people: title, unit, and what they mean in plain words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..corpus.schema import QUALITY_NUMBERS


@dataclass(frozen=True, kw_only=True)
class Number:
    """A quality number as it is shown."""

    title: str
    unit: str
    """dB, px, % (stored as a share of 1) or steps (of 255)."""
    meaning: str
    """In words for a reader who does not know the pipeline."""

    def text(self, value: float | None) -> str:
        """Value with its unit; `exact` for a PSNR of equal pictures, `–` for what was not measured."""
        if value is None:
            return "exact" if self.unit == "dB" else "–"
        return f"{self.bare(value)} {self.unit}"

    def bare(self, value: float) -> str:
        """Value in its unit, without saying the unit."""
        return f"{100 * value if self.unit == '%' else value:.3g}"


def _number(title: str, unit: str, meaning: str) -> Number:
    return Number(title=title, unit=unit, meaning=meaning)


NUMBERS = {
    "effect_area": _number("effect area", "%", "Share of the picture that the effect covers, mean over the frames."),
    "effect_strength": _number("effect strength", "steps", "How far the effect changes a pixel, in steps of 255."),
    "preservation_psnr_db": _number(
        "preservation", "dB", "How equal gt and over are outside effect and subject. Higher is better."
    ),
    "reconstruction_psnr_db": _number(
        "reconstruction", "dB", "How well the layers, put together again, give gt. Higher is better."
    ),
    "effect_peak_area": _number("peak area", "%", "The same as effect area, in the frame where it is largest."),
    "effect_flicker": _number("flicker", "%", "Share of the effect mask that comes and goes between frames."),
    "edge_effect": _number("edge share", "%", "Share of the effect mask right at the subject's outline: often a halo."),
    "registration_error_px": _number("registration", "px", "How far frames miss each other once aligned."),
    "unseen_share": _number("never seen", "%", "Share of the removed pixels that no frame showed: they are invented."),
    "subject_leak": _number("subject leak", "%", "Share of the subject's detail that is still in background."),
    "subject_area": _number("subject area", "%", "Share of the picture that the subject covers, mean over the frames."),
    "mask_confidence_min": _number("mask, worst", "%", "How sure the subject mask is in its most doubtful frame."),
    "mask_confidence_mean": _number("mask, mean", "%", "How sure the subject mask is, mean over the frames."),
    "otsu_iou": _number("recipe found", "%", "How far the difference recipe agrees with the true mask of this clip."),
    "subject_error": _number("inside", "steps", "Largest difference of gt and over inside the subject; 0 is equal."),
    "firefly_share": _number("fireflies", "%", "Share of the pixels that shine alone, for want of samples."),
}
"""Every quality number, in the order in which it is shown."""
assert set(NUMBERS) == set(QUALITY_NUMBERS)


def format_number(name: str, quality: Mapping[str, float | None]) -> str:
    """One of a clip's numbers as text; a clip without a pair has none, exact or not."""
    if name == "reconstruction_psnr_db" and quality["firefly_share"] is not None:
        return "–"  # a rendered clip has no matte of its own to be rebuilt with
    return NUMBERS[name].text(quality[name]) if any(quality[key] is not None for key in NUMBERS) else "–"


def finite(value: float | None) -> float | None:
    """The number, or None for what JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None
