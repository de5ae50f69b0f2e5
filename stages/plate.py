"""The plate backend: a clean background from pixels that other frames observed, without a model or weights.

Four steps. The camera's motion is registered over the whole clip. A survey at half size compares each frame with the
median of frames spread over the clip and finds the effects that go along with the subject. The plate is then built at
full size from frames near in time, without subject and effects, and compared once more, now against the clean samples'
own variation. Only where subject and effects are does the plate replace the clip; alpha and foreground follow.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ..arrays import Mask, Matte, Rgb
from ..settings import CheckedSettings, InRange
from .decompose import ExternalLayers, Layers, check_subject, solve_matte
from .plates.effect_region import Attachment, attached_components, difference_strength, dilate, find_persistent_shadow
from .plates.masked_median import (
    envelope,
    farthest_samples,
    inpaint,
    lit_mode,
    masked_median,
    masked_spread,
    match_brightness,
    mean_level,
)
from .plates.registration import register_camera
from .plates.temporal_samples import (
    ReferenceFrames,
    Window,
    evenly_spaced_frames,
    gather_ranks,
    gather_samples,
    nearest_frames,
    smooth_clear,
)

VERSION = 2
SMOOTH_PX = 2.5
"""Frames 672 pixels wide are smoothed by this much before they are compared: grass and grain shall hide no shadow."""
Scale = tuple[float, float]
FrameMask = Bool[np.ndarray, "H W"]
Part = UInt8[np.ndarray, "h w 3"]
Levels = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class Plate(CheckedSettings):
    """Decompose by a registered, masked temporal plate."""

    kind: Literal["plate"] = "plate"
    sources: Annotated[int, InRange(3, 64)] = 12
    """Frames that a pixel of the plate is looked up in, at most twice as many where few saw it; 3 to 64."""
    margin_px: Annotated[float, InRange(0, 64)] = 4.0
    """The subject's mask is widened by this much before it is removed: masks are rarely wide enough."""
    feather_px: Annotated[int, InRange(0, 32)] = 3
    """Width of the blend from plate to clip at the rim of the replaced region; 0 for a hard rim."""
    persistent_shadow: bool = True
    """Look for shadow that lies on a place in nearly all frames that saw it, as that of a subject that stays does.
    Switch it off where ground that is dark by itself lies near the subject (a burrow): it may be taken for shade."""
    attachment: Attachment = Attachment()
    """Rule by which a difference counts as the subject's effect."""

    def decompose(
        self, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None, external: ExternalLayers | None
    ) -> Layers:
        """Take the subject and its effects out of gt; other subjects stay in the background, external is not used.

        Raises:
            ValueError: when the subject mask is of another size, or empty or full in every frame.
        """
        check_subject(gt, subject_mask)
        unit = max(subject_mask.shape[1:]) / 672
        margin_px = max(self.margin_px * unit, 1.0)
        others = np.zeros(subject_mask.shape, bool) if other_subjects is None else other_subjects
        subject = _dilate_frames(subject_mask > 32, margin_px) & ~(others & (subject_mask <= 32))
        blocked = subject | _dilate_frames(others, margin_px)
        camera = register_camera(gt, blocked)
        footage = ReferenceFrames.from_clip(gt, blocked, camera)
        effects, shade = _draft_effects(footage, subject, blocked & ~subject, self)
        footage = ReferenceFrames.from_clip(gt, blocked | _dilate_frames(effects, 4.0), camera)
        plates, region, unseen = _build_plates(footage, subject, others, effects, shade, self)
        background = blend_plates(gt, plates, region, self.feather_px * unit)
        alpha, foreground = solve_matte(gt, background, subject_mask, region)
        facts = {
            "registration_error_px": camera.error_px,
            "registration_inlier_share": camera.inlier_share,
            "camera_motion_px": camera.motion_px,
            "unseen_share": float(unseen.sum() / max(int(region.sum()), 1)),
            "replaced_share": float(region.mean()),
            "effect_share": float((region & ~subject).mean()),
        }
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=_notes(facts))


def _dilate_frames(mask: Mask, radius_px: float) -> Mask:
    return np.stack([dilate(frame, radius_px) for frame in mask])


def _nonempty_frames(mask: Mask) -> list[int]:
    return [frame for frame, layer in enumerate(mask) if layer.any()]


def _draft_effects(
    footage: ReferenceFrames, subject: Mask, other_subjects: Mask, settings: Plate
) -> tuple[Mask, Matte]:
    """Estimate effects at half size: compare each frame with frames spread over the clip.

    Only that half of these counts in which the subject was farthest from the place, for there its effects are rarest;
    and where a slow shadow lies in most of them, the few in which it does not.

    Returns:
        The effects, and their lasting shade: 0, or where shadow lies on a place in nearly all frames the grey level
        that parts shadow from light there; both at the clip's size.
    """
    factor, smooth_px = _comparison_scale(subject)
    subject_small, others_small = _shrink_mask(subject, factor), _shrink_mask(other_subjects, factor)
    small = footage.resized(factor, smooth_px).with_distance_ranks(subject_small)
    away_from_others = small.with_distance_ranks(others_small)
    full_window = (slice(0, subject_small.shape[1]), slice(0, subject_small.shape[2]))
    difference = np.zeros(subject_small.shape, np.uint8)
    plates = small.frames.copy()
    veto = subject_small | others_small
    distance_limit = min(100 * settings.attachment.max_distance, 255.0)
    for frame in _nonempty_frames(subject_small):
        sources = evenly_spaced_frames(small, frame, settings.sources)
        if not sources:
            continue
        samples, ranks = gather_samples(small, frame, sources, full_window, cv2.INTER_LINEAR)
        valid = farthest_samples(ranks)
        plate, count = masked_median(samples, valid)
        spread = masked_spread(samples, valid, plate, 0.6)
        mode, lit = lit_mode(samples, ranks, plate, distance_limit)
        plate, spread = np.where(lit[..., None], mode, plate), np.where(lit[..., None], np.uint8(4), spread)
        plate = match_brightness(plate, small.frames[frame], (count > 0) & (small.clearance[frame] > 0))
        far_from_both = ranks >= distance_limit
        if others_small.any():
            far_from_both &= gather_ranks(away_from_others, frame, sources, full_window) >= distance_limit / 2
        value_range = envelope(samples, far_from_both)
        veto[frame] |= (ranks >= distance_limit).any(axis=0)
        difference[frame] = difference_strength(small.frames[frame], plate, spread, count, value_range)
        plates[frame] = inpaint(plate, count > 0)
    rule = replace(settings.attachment, contact_px=settings.attachment.contact_px * factor)
    effects = attached_components(difference, subject_small, others_small, rule)
    shade = np.zeros(effects.shape, np.uint8)
    if settings.persistent_shadow:
        shade = find_persistent_shadow(small.frames, plates, effects, veto, small.camera)
    effects |= shade > 0
    if factor < 1:
        effects = _enlarge_levels(effects.view(np.uint8) * np.uint8(255), subject.shape[1:]) > 127
    return effects, _enlarge_levels(shade, subject.shape[1:])


def _comparison_scale(mask: Mask) -> Scale:
    """Factor by which frames are reduced before comparison, and the sigma of the smoothing after that."""
    factor = 0.5 if min(mask.shape[1:]) >= 160 else 1.0
    return factor, max(SMOOTH_PX * factor * max(mask.shape[1:]) / 672, 0.3)


def _shrink_mask(mask: Mask, factor: float) -> Mask:
    """Half-size mask that holds every pixel of the full one."""
    if factor == 1:
        return mask
    levels = mask.view(np.uint8) * np.uint8(255)
    return np.stack([cv2.resize(f, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) > 0 for f in levels])


def _enlarge_levels(levels: Matte, shape: tuple[int, ...]) -> Matte:
    interpolation = cv2.INTER_LINEAR if levels.max() == 255 else cv2.INTER_NEAREST
    return np.stack([cv2.resize(frame, (shape[1], shape[0]), interpolation=interpolation) for frame in levels])


def _build_plates(
    footage: ReferenceFrames, subject: Mask, other_subjects: Mask, draft_effects: Mask, shade: Matte, settings: Plate
) -> tuple[Rgb, Mask, Mask]:
    """Build the plate around subject and draft effects, decide on the effects, and mark pixels that no frame observed.

    Returns:
        The plates (the clip itself elsewhere), the region to replace, and the pixels of it that are filled in.
    """
    scale = _comparison_scale(subject)
    clear = ~(subject | other_subjects)
    plates = footage.frames.copy()
    difference = np.zeros(subject.shape, np.uint8)
    unseen = np.zeros_like(subject)
    rows, columns = subject.shape[1:]
    for frame in _nonempty_frames(subject):
        target_region = dilate(subject[frame] | draft_effects[frame], 12.0)
        x, y, width, height = cv2.boundingRect(target_region.view(np.uint8))
        window = np.s_[max(y - 24, 0) : min(y + height + 24, rows), max(x - 24, 0) : min(x + width + 24, columns)]
        patch = (frame, *window)
        plate, spread, count = _build_plate(footage, frame, target_region, window, shade[patch], settings.sources)
        observed = count > 0
        plate = match_brightness(plate, footage.frames[patch], observed & (footage.clearance[patch] > 0))
        plates[patch] = inpaint(plate, observed)
        count[~clear[patch]] = 0
        difference[patch] = _effect_strength(footage.frames[patch], plates[patch], spread // 2, count, scale)
        unseen[patch] = ~observed
    difference *= _dilate_frames(draft_effects, 6.0)
    effects = attached_components(difference, subject, other_subjects, settings.attachment) | (shade > 0)
    region = (subject | _dilate_frames(effects, 3.0)) & ~other_subjects
    return plates, region, unseen & region


def _build_plate(
    footage: ReferenceFrames, frame: int, target_region: FrameMask, window: Window, shade: Levels, count: int
) -> tuple[Part, Part, Levels]:
    sources = nearest_frames(footage, frame, target_region, count)
    if not sources:
        empty = np.zeros_like(footage.frames[(frame, *window)])
        return empty, empty, np.zeros(empty.shape[:2], np.uint8)
    samples, ranks = gather_samples(footage, frame, sources, window, cv2.INTER_CUBIC)
    valid = ranks > 0
    if shade.any():
        valid &= (shade == 0) | (mean_level(samples) > shade)
    plate, sample_count = masked_median(samples, valid)
    return plate, masked_spread(samples, valid, plate, 0.85), sample_count


def _effect_strength(frame: Part, plate: Part, variation: Part, count: Levels, scale: Scale) -> Levels:
    """The strength of the effects, found at reduced size as in the survey."""
    factor, smooth_px = scale
    size = (max(round(count.shape[1] * factor), 1), max(round(count.shape[0] * factor), 1))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (frame, plate, variation)]
    well_sampled = cv2.resize((count > 1).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    observed, expected = (smooth_clear(image, well_sampled == 1, smooth_px) for image in small[:2])
    strength = difference_strength(observed, expected, small[2], np.where(well_sampled == 1, np.uint8(2), np.uint8(0)))
    return np.asarray(cv2.resize(strength, count.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def blend_plates(gt: Rgb, plates: Rgb, region: Mask, feather_px: float) -> Rgb:
    """Plates inside region, gt outside, with a ramp of feather_px just inside the rim."""
    background = gt.copy()
    for frame in _nonempty_frames(region):
        x, y, width, height = cv2.boundingRect(region[frame].view(np.uint8))
        inside = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
        patch = (frame, *inside)
        depth = cv2.distanceTransform(region[patch].view(np.uint8), cv2.DIST_L2, 5)
        weight = (depth / (feather_px + 1)).clip(0, 1)[..., None]
        mixed = gt[patch] + weight * (plates[patch] - gt[patch].astype(np.float32))
        cv2.copyTo(np.rint(mixed).astype(np.uint8), region[patch].view(np.uint8), background[patch])
    return background


def _notes(facts: dict[str, float]) -> tuple[str, ...]:
    notes = []
    if facts["unseen_share"] > 0.02:
        notes.append(
            f"No frame ever saw {facts['unseen_share']:.0%} of what is behind the subject; "
            "it is filled in smoothly from the surroundings."
        )
    if facts["registration_inlier_share"] < 0.7:
        notes.append(
            "Much of the scene does not follow one plane's motion (depth or moving surroundings): look for ghosts."
        )
    return tuple(notes)
