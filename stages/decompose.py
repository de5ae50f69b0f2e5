"""Stage 3: split a clip so that gt ≈ alpha·foreground + (1 − alpha)·background; what all backends share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..arrays import Image, Mask, Matte, MatteImage, Rgb

Colour = Float32[np.ndarray, "H W 3"]
Plane = Float32[np.ndarray, "H W"]


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
    """Sentences for the person who reviews the clip."""
    models: tuple[Mapping[str, str], ...] = ()
    """Models that made the layers, each its id and revision."""


@dataclass(frozen=True, kw_only=True)
class ExternalLayers:
    """Layers that another tool made: a frame for each of the clip's, each layer of any size."""

    background: UInt8[np.ndarray, "T h w 3"]
    """The clean plate: neither the subject nor its effects."""
    foreground: UInt8[np.ndarray, "T fh fw 3"] | None = None
    """The subject with its effects, straight colour."""
    alpha: UInt8[np.ndarray, "T ah aw"] | None = None
    """The matte of the subject with its effects."""


@runtime_checkable
class Decomposer(Protocol):
    """Splits a clip into the subject with its effects and the clean plate behind them."""

    def decompose(
        self, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None, external: ExternalLayers | None
    ) -> Layers:
        """Take the subject out of gt.

        Args:
            gt: the clip.
            subject_mask: the subject alone, without its effects.
            other_subjects: pixels of the clip's other subjects, which stay in the background; None without any.
            external: layers that another tool made, for the backends that read such.
        """
        ...


def check_subject(gt: Rgb, subject_mask: Matte) -> None:
    """Refuse a mask that marks no subject.

    Raises:
        ValueError: when the mask has another size than the clip, or is empty or full in every frame.
    """
    if subject_mask.shape != gt.shape[:3]:
        sizes = ["x".join(map(str, clip.shape[:3])) for clip in (subject_mask, gt)]
        raise ValueError(
            f"the subject mask is {sizes[0]} and the clip {sizes[1]} (frames x height x width); "
            "give a mask for every frame, at the clip's size"
        )
    hard = subject_mask >= 128
    if not hard.any():
        raise ValueError("the subject mask is empty in every frame; mark the subject in at least one frame")
    if hard.all():
        raise ValueError("the subject mask covers the whole picture in every frame; mark the subject alone")


WINDOW_PX = 15
"""Side of the windows in which opacity is estimated from how much of the plate's contrast is left."""


def solve_matte(
    gt: Rgb, background: Rgb, subject_mask: Matte, region: Mask, *, dead_zone: float | None = None
) -> tuple[Matte, Rgb]:
    """Find alpha and straight foreground colour inside region; outside it alpha is 0 and foreground is background.

    The mixture is exact to one 8-bit level wherever region holds. Alpha is never below the least value that allows a
    colour in [0, 255], nor below subject_mask; where the plate has enough local contrast it rises to the opacity that
    explains the contrast lost (a local regression of gt on the plate, as for a veil of one colour). Darkening therefore
    gets a foreground near black, spray one near white. Where subject_mask is 255 the foreground is gt.

    With a dead zone, for backgrounds that hold noise, alpha is the least value alone, and off the subject 0 where no
    channel differs by more 8-bit levels than it: noise has contrast of its own and would look like a veil.
    """
    alpha = np.zeros_like(subject_mask)
    foreground = background.copy()
    for frame in range(len(gt)):
        if region[frame].any():
            x, y, width, height = cv2.boundingRect(region[frame].view(np.uint8))
            window = np.s_[frame, y : y + height, x : x + width]
            inside = region[window]
            matte, colour = _solve_frame(gt[window], background[window], subject_mask[window], dead_zone)
            alpha[window] = np.where(inside, matte, 0)
            cv2.copyTo(colour, inside.view(np.uint8), foreground[window])
    return alpha, foreground


def _solve_frame(
    gt: Image, background: Image, subject_mask: MatteImage, dead_zone: float | None
) -> tuple[MatteImage, Image]:
    observed, plate = gt.astype(np.float32), background.astype(np.float32)
    # The smallest alpha for which (observed − (1 − alpha)·plate) / alpha stays within [0, 255].
    lighter, darker = (observed - plate) / np.maximum(255 - plate, 1), (plate - observed) / np.maximum(plate, 1)
    # Reductions along an axis of three take numpy ten times longer than those over three planes.
    alpha_min = reduce(np.maximum, cv2.split(np.maximum(lighter, darker))).clip(0, 1)
    if dead_zone is None:
        estimate, confidence = _opacity_from_contrast(observed, plate)
        alpha = np.maximum(alpha_min, confidence * estimate * (alpha_min > 0))
    else:
        alpha = alpha_min * (reduce(np.maximum, cv2.split(np.abs(observed - plate))) > dead_zone)
    alpha = np.maximum(np.ceil(alpha * 255 - 1e-3), subject_mask) / np.float32(255)
    colour = plate + (observed - plate) / cv2.merge([np.maximum(alpha, 1 / 255)] * 3)
    matte = np.rint(alpha * 255).astype(np.uint8)
    straight = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    return matte, np.asarray(cv2.copyTo(gt, (matte == 255).view(np.uint8), straight))


def _opacity_from_contrast(observed: Colour, plate: Colour) -> tuple[Plane, Plane]:
    """Opacity 1 − slope of the local regression of observed on plate, and how far to trust it (0 to 1)."""
    mean_observed, mean_plate = _mean(observed), _mean(plate)
    moments = (
        _mean(plate * plate) - mean_plate**2,
        _mean(plate * observed) - mean_plate * mean_observed,
        _mean(observed * observed) - mean_observed**2,
    )
    variance, covariance, observed_variance = (reduce(np.add, cv2.split(moment)) for moment in moments)
    slope = covariance / np.maximum(variance, 1)
    fit = (covariance**2 / np.maximum(variance * observed_variance, 1)).clip(0, 1)
    noise = np.float32(3 * 12.0**2)
    return 1 - slope.clip(0, 1), fit * variance / (variance + noise)


def _mean(values: Colour) -> Colour:
    return np.asarray(cv2.blur(values, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT))
