"""Stage 6: numbers measured of a pair; `quality_gates` turns them into a verdict.

Every number is finite. None stands for two things, told apart by the meaning below: a PSNR of equal pictures, which
would be infinite, and a number that cannot be measured on this clip (no effect, no subject, a fact not handed in).
A rendered pair is measured without what it does not have, a matte of its own and a confidence; the numbers that only
rendering knows are handed in.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import UInt8

from ..arrays import Image, Mask, Matte, PerFrame, Rgb
from . import composite, morphology
from .difference import SUBJECT_THRESHOLD, WORKING_PX, to_grey

VERSION = 3
"""Raise it when results change; stored results of older versions are then made again."""

Cells = UInt8[np.ndarray, "rows columns"]

HALO_PX = 6  # at a shorter side of 384: the margin kept off the subject, and as much again as a mask is grown
CORE_PX = 3  # so much inside its outline a pixel shows the subject and nothing else
MIN_CELLS = 8  # cells; phase correlation needs some room
CELL_PX = 4  # flicker is looked at in cells of 4x4 pixels; only what is 3 cells wide counts


QUALITY_NUMBERS = {
    "reconstruction_psnr_db": "dB",  # alpha·foreground + (1 − alpha)·background against gt; None: equal
    "preservation_psnr_db": "dB",  # gt against over outside effect mask and subject (and 6 px around it); None: equal
    "effect_area": "share",  # effect mask's share of the picture, mean over the frames
    "effect_peak_area": "share",  # the same in the frame where it is largest
    "effect_flicker": "share",  # share of the mask that comes and goes between frames, motion apart
    "effect_strength": "steps",  # mean grey difference of gt and over inside the effect mask
    "registration_error_px": "px",  # how far frames miss each other after alignment
    "unseen_share": "share",  # share of the removed pixels that no frame ever showed
    "unseen_detail": "share",  # the same, weighed by the detail of what was seen around
    "moving_surroundings": "share",  # share of the effect that would be there without the subject: waves, leaves
    "mover_contact": "share",  # share of the frames in which a body without a mask touches the subject
    "subject_leak": "share",  # share of the subject's detail still in background: 0 none, 1 all
    "mask_confidence_min": "share",  # confidence of the subject mask in its worst frame
    "mask_confidence_mean": "share",  # confidence of the subject mask, mean over the frames
    "subject_area": "share",  # subject's share of the picture, mean over the frames
    "edge_effect": "share",  # share of the effect mask within 6 px of the subject: halo, not effect
    # Of layers that another tool made, before gt is put back outside subject and effect:
    "layer_correlation": "share",  # correlation of detail in gt and the clean plate, once placed
    "layer_psnr_db": "dB",  # gt against the clean plate off subject and effect, once placed and toned
    "layer_tone": "steps",  # largest change by which the clean plate was brought to gt's tone
    "layer_flicker": "steps",  # change between frames of the difference of the two, mean over the pixels
    "layer_missing": "share",  # share of the frames for which the tool returned none
    # Of rendered pairs alone:
    "otsu_iou": "share",  # effect mask against the true mask, intersection over union
    "truth_preservation_psnr_db": "dB",  # gt against over outside the true mask and subject; None: equal
    "subject_error": "steps",  # largest difference of gt and over inside the subject where nothing lies before it
    "firefly_share": "share",  # share of pixels that shine alone, lost paths of light
}
"""Unit of each number of a pair, a column of the corpus: dB, px, steps (of 8 bits) or share (0 to 1)."""
EXTERNAL_NUMBERS = (
    *("registration_error_px", "unseen_share", "unseen_detail", "moving_surroundings", "mover_contact"),
    *("layer_correlation", "layer_psnr_db", "layer_tone", "layer_flicker", "layer_missing"),
    *("otsu_iou", "truth_preservation_psnr_db", "subject_error", "firefly_share"),
)
"""Numbers that are not measured here: the stage that made the layers hands them in."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Layers and facts of one subject in one clip, as stages 1 to 5 left them."""

    gt: Rgb
    over: Rgb
    background: Rgb
    foreground: Rgb
    alpha: Matte | None
    """None for a rendered pair, whose foreground has no effects attached."""
    subject_mask: Matte
    effect_mask: Mask
    confidence: PerFrame | None
    """Confidence of the subject mask; None where it is exact."""
    facts: dict[str, float] = field(default_factory=dict)
    """Facts of the decomposition or the rendering; those in EXTERNAL_NUMBERS are taken over."""


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
        "preservation_psnr_db": _psnr(total["preserved_error"], 3 * total["preserved"]),
        "effect_area": total["effect"] / (pixels * len(frames)),
        "effect_peak_area": max(areas) / pixels,
        "effect_flicker": _flicker(pair.effect_mask),
        "effect_strength": _ratio(total["effect_steps"], total["effect"]),
        "subject_area": total["subject"] / (pixels * len(frames)),
        "edge_effect": _ratio(total["effect_near"], total["effect"]),
    }
    for name in EXTERNAL_NUMBERS:
        number = pair.facts.get(name)
        measured[name] = float(number) if number is not None and math.isfinite(number) else None
    if pair.alpha is not None:
        # Share of gt's gradients that returns in background (least squares); None for a subject without detail.
        leak = _ratio(total["detail_shared"], total["detail"])
        measured["subject_leak"] = None if leak is None else min(max(leak, 0.0), 1.0)
        measured["reconstruction_psnr_db"] = _psnr(total["rebuilt_error"], 3 * pixels * len(frames))
    if pair.confidence is not None:
        confidence = np.nan_to_num(np.clip(pair.confidence, 0, 1).astype(np.float64))
        measured |= {"mask_confidence_min": float(confidence.min()), "mask_confidence_mean": float(confidence.mean())}
    return {name: measured[name] for name in QUALITY_NUMBERS if name in measured}


def _measure_frame(pair: Pair, index: int) -> dict[str, float]:
    """Sums over one frame, by name."""
    gt, over, background = pair.gt[index], pair.over[index], pair.background[index]
    effect, coverage = pair.effect_mask[index].view(np.uint8), pair.subject_mask[index]
    subject = (coverage >= SUBJECT_THRESHOLD).view(np.uint8)
    scale = min(subject.shape) / WORKING_PX
    near_subject = morphology.dilate_disk(subject, max(1, round(HALO_PX * scale)))
    preserved = ((effect | coverage | near_subject) == 0).view(np.uint8)
    inside = morphology.open_and_smooth(subject, max(1, round(CORE_PX * scale)), 0, 1)
    detail_shared, detail = _detail(gt, background, inside if cv2.countNonZero(inside) else subject)
    rebuilt_error = 0.0
    if pair.alpha is not None:
        rebuilt = composite.over(pair.foreground[index, None], background[None], pair.alpha[index, None])[0]
        rebuilt_error = float(cv2.norm(gt, rebuilt, cv2.NORM_L2SQR))
    return {
        "rebuilt_error": rebuilt_error,
        "preserved_error": cv2.norm(gt, over, cv2.NORM_L2SQR, preserved),
        "preserved": float(cv2.countNonZero(preserved)),
        "effect": float(cv2.countNonZero(effect)),
        "effect_near": float(cv2.countNonZero(near_subject & effect)),
        "effect_steps": cv2.sumElems(to_grey(cv2.absdiff(gt, over)) * effect)[0],
        "subject": float(cv2.countNonZero(subject)),
        "detail_shared": detail_shared,
        "detail": detail,
    }


def _psnr(squared_error: float, values: float) -> float | None:
    return 10 * math.log10(255**2 * values / squared_error) if squared_error else None


def _ratio(part: float, total: float) -> float | None:
    return part / total if total else None


def _detail(gt: Image, background: Image, region: morphology.Binary) -> tuple[float, float]:
    """Sums of gt's grey gradient times background's, and of its square, over the pixels of region."""
    x, y, width, height = cv2.boundingRect(region)
    if not width:
        return 0.0, 0.0
    box = np.s_[y : y + height, x : x + width]
    inside = region[box]
    shared = energy = 0.0
    with_subject, without = (to_grey(np.ascontiguousarray(image[box])) for image in (gt, background))
    for across, down in ((1, 0), (0, 1)):
        gradient = cv2.Sobel(with_subject, cv2.CV_32F, across, down) * inside
        background_gradient = cv2.Sobel(without, cv2.CV_32F, across, down)
        shared += float(np.vdot(gradient, background_gradient))
        energy += float(np.vdot(gradient, gradient))
    return shared, energy


def _flicker(effect_mask: Mask) -> float | None:
    """Share of the mask that comes and goes between neighbouring frames; None without an effect.

    Looked at in cells of CELL_PX. What the motion of the whole mask explains (one shift per frame, found by phase
    correlation) does not count, nor do changes less than 3 cells wide, as a border has them that moves or grows.
    """
    changed_cells = union_cells = 0
    previous: Cells | None = None
    height, width = effect_mask.shape[1:]
    size = max(1, width // CELL_PX), max(1, height // CELL_PX)
    for frame in effect_mask:
        cover = cv2.resize(frame.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
        cells = (cover > 127).view(np.uint8)
        if previous is not None:
            changed_cells += min(_changed(previous, cells), _changed(_moved(previous, cells), cells))
            union_cells += cv2.countNonZero(previous | cells)
        previous = cells
    return changed_cells / union_cells if union_cells else (0.0 if effect_mask.any() else None)


def _changed(previous: Cells, cells: Cells) -> int:
    return int(cv2.countNonZero(cv2.morphologyEx(previous ^ cells, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))))


def _moved(previous: Cells, cells: Cells) -> Cells:
    if min(previous.shape) < MIN_CELLS or not (previous.any() and cells.any()):
        return previous
    (across, down), _ = cv2.phaseCorrelate(previous.astype(np.float32), cells.astype(np.float32))
    shift = np.array([[1, 0, round(across)], [0, 1, round(down)]], np.float32)
    return np.asarray(cv2.warpAffine(previous, shift, previous.shape[::-1], flags=cv2.INTER_NEAREST))
