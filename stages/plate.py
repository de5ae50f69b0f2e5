"""The plate backend: a clean background from pixels that other frames observed, without a model or weights.

Four steps. The camera's motion is registered over the whole clip. A survey at half size compares each frame with the
median of frames spread over the clip and finds the effects that go along with the subject. The plate is then built at
full size from frames near in time, without subject and effects, and compared once more, now against the clean samples'
own variation. Only where subject and effects are does the plate replace the clip; alpha and foreground follow.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ..arrays import Mask, Matte, Rgb
from ..settings import CheckedSettings, InRange
from .decompose import ExternalLayers, Layers, check_subject, solve_matte
from .plates.blending import blend_rim, inpaint, local_detail, match_brightness
from .plates.effect_region import (
    STEPS_PER_LEVEL,
    Attachment,
    attached_components,
    difference_strength,
    dilate,
    dilate_frames,
    light_taken,
    nonempty_frames,
)
from .plates.masked_median import masked_median, masked_spread, mean_level
from .plates.registration import register_camera
from .plates.survey import Scale, Survey, comparison_scale, survey
from .plates.temporal_samples import ReferenceFrames, Window, gather_samples, nearest_frames, smooth_clear

VERSION = 4
FULL_DETAIL = 0.5
"""Mean detail from which an invented place counts fully: 0.42 between the branches under a swan, 0.23 on calm water,
0.8 before a fence."""
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
        subject = dilate_frames(subject_mask > 32, margin_px) & ~(others & (subject_mask <= 32))
        blocked = subject | dilate_frames(others, margin_px)
        camera = register_camera(gt, blocked)
        footage = ReferenceFrames.from_clip(gt, blocked, camera)
        draft = survey(footage, subject, blocked & ~subject, self.sources, self.attachment, self.persistent_shadow)
        others = others | draft.movers
        footage = ReferenceFrames.from_clip(gt, blocked | dilate_frames(draft.effects | draft.movers, 4.0), camera)
        plates, effects, unseen = _build_plates(footage, subject, others, draft, self)
        region = (subject | dilate_frames(effects, 3.0)) & ~others
        unseen &= region
        background = blend_plates(gt, plates, region, others)
        alpha, foreground = solve_matte(gt, background, subject_mask, region)
        removed = max(int(region.sum()), 1)
        facts = {
            "registration_error_px": camera.error_px,
            "registration_inlier_share": camera.inlier_share,
            "camera_motion_px": camera.motion_px,
            "unseen_share": float(unseen.sum() / removed),
            "unseen_detail": _unseen_detail(plates, unseen, removed),
            "moving_surroundings": draft.surroundings_share(effects),
            "mover_share": float(draft.movers.mean()),
            "mover_contact": _contact_share(subject, draft.movers, self.attachment.contact_px),
            "replaced_share": float(region.mean()),
            "effect_share": float((region & ~subject).mean()),
        }
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=_notes(facts))


def _build_plates(
    footage: ReferenceFrames, subject: Mask, other_subjects: Mask, draft: Survey, settings: Plate
) -> tuple[Rgb, Mask, Mask]:
    """Build the plate around subject and draft effects, decide on the effects, and mark pixels that no frame observed.

    Returns:
        The plates (the clip itself elsewhere), the effects, and the pixels of the plates that are filled in.
    """
    scale = comparison_scale(subject)
    clear = ~(subject | other_subjects)
    plates = footage.frames.copy()
    difference, depth = np.zeros(subject.shape, np.uint8), np.zeros(subject.shape, np.uint8)
    unseen, near_effects = np.zeros_like(subject), dilate_frames(draft.effects, 6.0)
    rows, columns = subject.shape[1:]
    for frame in nonempty_frames(subject):
        target_region = dilate(subject[frame] | draft.effects[frame], 12.0)
        x, y, width, height = cv2.boundingRect(target_region.view(np.uint8))
        window = np.s_[max(y - 24, 0) : min(y + height + 24, rows), max(x - 24, 0) : min(x + width + 24, columns)]
        patch = (frame, *window)
        samples, valid = _gather_valid(footage, frame, target_region, window, draft.shade[patch], settings.sources)
        median, count = masked_median(samples, valid)
        observed = count > 0
        plate = match_brightness(median, footage.frames[patch], observed & (footage.clearance[patch] > 0))
        plates[patch] = inpaint(plate, observed)
        unseen[patch] = ~observed
        if near_effects[frame].any():
            count[~clear[patch]] = 0
            spread = masked_spread(samples, valid, median, 0.85)
            difference[patch] = _effect_strength(footage.frames[patch], plates[patch], spread // 2, count, scale)
            depth[patch] = light_taken(footage.frames[patch], plates[patch])
    difference *= near_effects
    effects = attached_components(difference, subject, other_subjects, settings.attachment, depth)
    effects |= draft.out_of_reach & (difference >= settings.attachment.edge_threshold * STEPS_PER_LEVEL)
    return plates, effects | (draft.shade > 0), unseen


def _gather_valid(
    footage: ReferenceFrames, frame: int, target_region: FrameMask, window: Window, shade: Levels, count: int
) -> tuple[UInt8[np.ndarray, "S h w 3"], Bool[np.ndarray, "S h w"]]:
    """Gather a window's samples and which of them are clear and lit; a black one that is not, where none are."""
    sources = nearest_frames(footage, frame, target_region, count)
    if not sources:
        return np.zeros((1, *shade.shape, 3), np.uint8), np.zeros((1, *shade.shape), bool)
    samples, ranks = gather_samples(footage, frame, sources, window, cv2.INTER_CUBIC)
    valid = ranks > 0
    if shade.any():
        x, y, width, height = cv2.boundingRect(shade)
        box = np.s_[y : y + height, x : x + width]
        valid[:, *box] &= (shade[box] == 0) | (mean_level(samples[:, *box]) > shade[box])
    return samples, valid


def _effect_strength(frame: Part, plate: Part, variation: Part, count: Levels, scale: Scale) -> Levels:
    """The strength of the effects, found at reduced size as in the survey."""
    factor, smooth_px = scale
    size = (max(round(count.shape[1] * factor), 1), max(round(count.shape[0] * factor), 1))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (frame, plate, variation)]
    well_sampled = cv2.resize((count > 1).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    observed, expected = (smooth_clear(image, well_sampled == 1, smooth_px) for image in small[:2])
    strength = difference_strength(observed, expected, small[2], np.where(well_sampled == 1, np.uint8(2), np.uint8(0)))
    return np.asarray(cv2.resize(strength, count.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def blend_plates(gt: Rgb, plates: Rgb, region: Mask, other_subjects: Mask) -> Rgb:
    """Plates inside region, without a seam at its rim; gt outside."""
    background = gt.copy()
    for frame in nonempty_frames(region):
        x, y, width, height = cv2.boundingRect(region[frame].view(np.uint8))
        margin = 4
        box = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
        patch = (frame, *box)
        background[patch] = blend_rim(plates[patch], gt[patch], region[patch], ~other_subjects[patch])
    return background


def _contact_share(subject: Mask, movers: Mask, contact_px: float) -> float:
    """Share of the subject's frames in which a body without a mask comes as near to it as its effects do."""
    frames = nonempty_frames(subject)
    touching = [frame for frame in frames if (movers[frame] & dilate(subject[frame], contact_px)).any()]
    return len(touching) / max(len(frames), 1)


def _unseen_detail(plates: Rgb, unseen: Mask, removed: int) -> float:
    """Unseen share of the removed pixels, weighed by the mean detail of what was seen around: fully from half on."""
    total = 0.0
    for plate, hole in zip(plates, unseen, strict=True):
        x, y, width, height = cv2.boundingRect(hole.view(np.uint8))
        if width:
            box = np.s_[max(y - 24, 0) : y + height + 24, max(x - 24, 0) : x + width + 24]
            total += float(local_detail(plate[box], ~hole[box])[hole[box]].sum())
    count = int(unseen.sum())
    return count / removed * min(total / max(count, 1) / FULL_DETAIL, 1.0)


def _notes(facts: dict[str, float]) -> tuple[str, ...]:
    notes = []
    if facts["unseen_share"] > 0.02:
        notes.append(
            f"No frame ever saw {facts['unseen_share']:.0%} of what is behind the subject; "
            "it is filled in smoothly from the surroundings."
        )
    if facts["mover_share"] > 0:
        notes.append("Something else moves on its own and stays in the background; give its mask as that of a subject.")
    if facts["registration_inlier_share"] < 0.7:
        notes.append(
            "Much of the scene does not follow one plane's motion (depth or moving surroundings): look for ghosts."
        )
    return tuple(notes)
