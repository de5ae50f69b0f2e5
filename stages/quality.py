"""Stage 6: what can be measured of a pair; `verdict` says what the numbers mean.

Every number is finite. None stands for two things, told apart by the meaning below: a PSNR of equal pictures, which
would be infinite, and a number that cannot be measured on this clip (no effect, no subject, a fact not handed in).
A rendered pair is measured without what it does not have, a matte of its own and a confidence; the numbers that only
rendering knows are handed in.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ..arrays import Image, Mask, Matte, PerFrame, Rgb
from . import composite, difference, morphology
from .effect_mask import WORKING_PX

VERSION = 2
"""Raise it when results change; stored results of older versions are then made again."""

Cells = UInt8[np.ndarray, "rows columns"]

HALO_PX = 6  # at a shorter side of 384: the margin kept off the subject, and as much again as a mask is grown
CORE_PX = 3  # so much inside its outline a pixel shows the subject and nothing else
SMALLEST = 8  # cells; phase correlation needs some room
COARSE = 4  # flicker is looked at in cells of 4x4 pixels; only what is 3 cells wide counts


@dataclass(frozen=True, kw_only=True)
class Number:
    """One measured number of a pair; a column of the corpus."""

    name: str
    unit: str
    """dB, px, steps (of 8 bits), or share (0 to 1)."""
    meaning: str


QUALITY_NUMBERS: tuple[Number, ...] = (
    Number(
        name="reconstruction_psnr_db",
        unit="dB",
        meaning="alpha·foreground + (1 − alpha)·background against gt; None: equal",
    ),
    Number(
        name="preservation_psnr_db",
        unit="dB",
        meaning="gt against over outside effect mask and subject (and 6 px around it); None: equal",
    ),
    Number(name="effect_area", unit="share", meaning="effect mask's share of the picture, mean over the frames"),
    Number(name="effect_peak_area", unit="share", meaning="the same in the frame where it is largest"),
    Number(
        name="effect_flicker",
        unit="share",
        meaning="share of the mask that comes and goes between frames, motion apart",
    ),
    Number(name="effect_strength", unit="steps", meaning="mean grey difference of gt and over inside the effect mask"),
    Number(name="registration_error_px", unit="px", meaning="how far frames miss each other after alignment"),
    Number(name="unseen_share", unit="share", meaning="share of the removed pixels that no frame ever showed"),
    Number(
        name="subject_leak", unit="share", meaning="share of the subject's detail still in background: 0 none, 1 all"
    ),
    Number(name="mask_confidence_min", unit="share", meaning="confidence of the subject mask in its worst frame"),
    Number(name="mask_confidence_mean", unit="share", meaning="confidence of the subject mask, mean over the frames"),
    Number(name="subject_area", unit="share", meaning="subject's share of the picture, mean over the frames"),
    Number(
        name="edge_effect",
        unit="share",
        meaning="share of the effect mask within 6 px of the subject: halo, not effect",
    ),
    Number(
        name="otsu_iou",
        unit="share",
        meaning="rendered pairs: what the difference recipe finds against the true mask, intersection over union",
    ),
    Number(
        name="subject_error",
        unit="steps",
        meaning="rendered pairs: largest difference of gt and over inside the subject where nothing lies before it",
    ),
    Number(
        name="firefly_share",
        unit="share",
        meaning="rendered pairs: share of pixels that shine alone, lost paths of light",
    ),
)

KNOWN = ("registration_error_px", "unseen_share", "otsu_iou", "subject_error", "firefly_share")
"""Numbers that are not measured here: who made the layers knows them."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """All that stages 1 to 5 made of one subject in one clip."""

    gt: Rgb
    over: Rgb
    background: Rgb
    foreground: Rgb
    alpha: Matte | None
    """None for a rendered pair, whose foreground has no effects attached."""
    subject_mask: Matte
    effect_mask: Mask
    confidence: PerFrame | None
    """Of the subject mask; None where it is exact."""
    facts: dict[str, float] = field(default_factory=dict)
    """Of the decomposition or the rendering: every number of KNOWN that they left is taken over from here."""


def measure(pair: Pair) -> dict[str, float | None]:
    """Measure the pair, frame by frame; the keys are the names in QUALITY_NUMBERS, in that order.

    What needs a matte or a confidence is left out for a pair that has none; and so is the leak of a subject into a
    plate that was drawn without it, where only gradients that happen to agree would be counted.
    """
    frames = [_measure_frame(pair, index) for index in range(len(pair.gt))]
    total = {name: math.fsum(frame[name] for frame in frames) for name in frames[0]}
    areas = [frame["effect"] for frame in frames]
    pixels = float(pair.subject_mask[0].size)
    measured = {
        "preservation_psnr_db": _psnr(total["kept_error"], 3 * total["kept"]),
        "effect_area": total["effect"] / (pixels * len(frames)),
        "effect_peak_area": max(areas) / pixels,
        "effect_flicker": _flicker(pair.effect_mask),
        "effect_strength": _ratio(total["effect_steps"], total["effect"]),
        "subject_area": total["subject"] / (pixels * len(frames)),
        "edge_effect": _ratio(total["effect_near"], total["effect"]),
        **{name: _finite(pair.facts.get(name)) for name in KNOWN},
    }
    if pair.alpha is not None:
        measured["subject_leak"] = _leak(total["detail_shared"], total["detail"])
        measured["reconstruction_psnr_db"] = _psnr(total["rebuilt_error"], 3 * pixels * len(frames))
    if pair.confidence is not None:
        confidence = np.nan_to_num(np.clip(pair.confidence, 0, 1).astype(np.float64))
        measured |= {"mask_confidence_min": float(confidence.min()), "mask_confidence_mean": float(confidence.mean())}
    return {number.name: measured[number.name] for number in QUALITY_NUMBERS if number.name in measured}


def _measure_frame(pair: Pair, index: int) -> dict[str, float]:
    """Sums over one frame."""
    gt, over, background = pair.gt[index], pair.over[index], pair.background[index]
    effect, coverage = pair.effect_mask[index].view(np.uint8), pair.subject_mask[index]
    subject = (coverage >= difference.SUBJECT).view(np.uint8)
    scale = min(subject.shape) / WORKING_PX
    around = morphology.dilated(subject, max(1, round(HALO_PX * scale)))
    kept = ((effect | coverage | around) == 0).view(np.uint8)
    shared, detail = _detail(gt, background, _core(subject, max(1, round(CORE_PX * scale))))
    return {
        "rebuilt_error": _rebuilt_error(pair, index),
        "kept_error": cv2.norm(gt, over, cv2.NORM_L2SQR, kept),
        "kept": float(cv2.countNonZero(kept)),
        "effect": float(cv2.countNonZero(effect)),
        "effect_near": float(cv2.countNonZero(around & effect)),
        "effect_steps": cv2.sumElems(difference.grey(cv2.absdiff(gt, over)) * effect)[0],
        "subject": float(cv2.countNonZero(subject)),
        "detail_shared": shared,
        "detail": detail,
    }


def _rebuilt_error(pair: Pair, index: int) -> float:
    if pair.alpha is None:
        return 0.0
    now = slice(index, index + 1)
    rebuilt = composite.over(pair.foreground[now], pair.background[now], pair.alpha[now])[0]
    return float(cv2.norm(pair.gt[index], rebuilt, cv2.NORM_L2SQR))


def _psnr(squared_error: float, values: float) -> float | None:
    return 10 * math.log10(255**2 * values / squared_error) if squared_error else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _core(subject: morphology.Binary, erode_px: int) -> morphology.Binary:
    """The inside of the subject; all of it where nothing would be left."""
    inside = morphology.opened(subject, erode_px, 0, 1)
    return inside if cv2.countNonZero(inside) else subject


def _detail(gt: Image, background: Image, where: morphology.Binary) -> tuple[float, float]:
    """Sums of gt's grey gradient times background's, and of its square, over the pixels of `where`."""
    left, top, width, height = cv2.boundingRect(where)
    if not width:
        return 0.0, 0.0
    box = np.s_[top : top + height, left : left + width]
    inside = where[box]
    shared = own = 0.0
    with_subject, without = (difference.grey(np.ascontiguousarray(image[box])) for image in (gt, background))
    for across, down in ((1, 0), (0, 1)):
        here = cv2.Sobel(with_subject, cv2.CV_32F, across, down) * inside
        there = cv2.Sobel(without, cv2.CV_32F, across, down)
        shared += float(np.vdot(here, there))
        own += float(np.vdot(here, here))
    return shared, own


def _leak(shared: float, own: float) -> float | None:
    """How strongly gt's gradients return in background (least squares), 0 to 1; None for a subject without detail."""
    return min(max(shared / own, 0.0), 1.0) if own else None


def _flicker(effect_mask: Mask) -> float | None:
    """Share of the mask that comes and goes between neighbouring frames; None without an effect.

    Looked at in cells of COARSE pixels. What the motion of the whole mask explains (one shift per frame, found by phase
    correlation) does not count, nor do changes less than 3 cells wide, as a border has them that moves or grows.
    """
    changed = either = 0
    before: Cells | None = None
    for frame in effect_mask:
        now = _cells(frame)
        if before is not None:
            changed += min(_changed(before, now), _changed(_moved(before, now), now))
            either += cv2.countNonZero(before | now)
        before = now
    return changed / either if either else (0.0 if effect_mask.any() else None)


def _cells(mask: Bool[np.ndarray, "H W"]) -> Cells:
    height, width = mask.shape
    size = max(1, width // COARSE), max(1, height // COARSE)
    cover = cv2.resize(mask.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    cells: Cells = (cover > 127).view(np.uint8)
    return cells


def _changed(before: Cells, now: Cells) -> int:
    return int(cv2.countNonZero(cv2.morphologyEx(before ^ now, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))))


def _moved(before: Cells, now: Cells) -> Cells:
    if min(before.shape) < SMALLEST or not (before.any() and now.any()):
        return before
    (across, down), _ = cv2.phaseCorrelate(before.astype(np.float32), now.astype(np.float32))
    shift = np.array([[1, 0, round(across)], [0, 1, round(down)]], np.float32)
    moved: Cells = cv2.warpAffine(before, shift, before.shape[::-1], flags=cv2.INTER_NEAREST)
    return moved
