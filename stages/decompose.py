"""Stage 3: take a clip apart so that gt ≈ alpha·foreground + (1 − alpha)·background."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from ..arrays import Mask, Matte, Rgb


@dataclass(frozen=True, kw_only=True)
class Layers:
    """One subject's decomposition; arrays of the clip's own T, H, W."""

    background: Rgb
    """The clean plate: neither the subject nor its effects; equal to gt, bit for bit, away from both."""
    foreground: Rgb
    """The subject with its attached effects, straight (not premultiplied) colour; equal to gt where alpha is 255."""
    alpha: Matte
    facts: dict[str, float] = field(default_factory=dict)
    """Measured numbers, e.g. registration_error_px, unseen_share."""
    notes: tuple[str, ...] = ()
    """What a person who reviews the clip should know, in sentences."""


@runtime_checkable
class Decomposer(Protocol):
    """Splits a clip into the subject with its effects and the clean plate behind them."""

    def decompose(self, gt: Rgb, subject_mask: Matte, others: Mask | None, given: Rgb | None) -> Layers:
        """Take the subject out of gt.

        Args:
            gt: the clip.
            subject_mask: the subject alone, without its effects.
            others: pixels of the clip's other subjects, which stay in the background; None where there are none.
            given: a background that another tool made, for the backends that read layers; others ignore it.
        """
        ...


def check_subject(gt: Rgb, subject_mask: Matte) -> None:
    """Refuse a mask that says nothing.

    Raises:
        ValueError: when the mask has another size than the clip, or is empty or full in every frame.
    """
    if subject_mask.shape != gt.shape[:3]:
        raise ValueError(
            f"the subject mask is {_size(subject_mask)} and the clip {_size(gt)} (frames x height x width); "
            "give a mask for every frame, at the clip's size"
        )
    hard = subject_mask >= 128
    if not hard.any():
        raise ValueError("the subject mask is empty in every frame; mark the subject in at least one frame")
    if hard.all():
        raise ValueError("the subject mask covers the whole picture in every frame; mark the subject alone")


def _size(clip: Rgb | Matte) -> str:
    return "x".join(str(side) for side in np.shape(clip)[:3])
