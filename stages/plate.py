"""The plate backend: a clean background from what the other frames saw, with no model and no weights.

Four steps. The camera's motion is registered over the whole clip. A survey at half size compares each frame with the
median of frames spread over the clip and finds the effects that go along with the subject. The plate is then built at
full size from frames near in time, without subject and effects, and compared once more, now against the clean samples'
own variation. Only where subject and effects are does the plate replace the clip; alpha and foreground follow.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from ..arrays import Mask, Matte, Rgb
from .decompose import Layers, check_subject
from .plates.effect_region import Attachment, attached, grown, strength
from .plates.fill import fill, level
from .plates.masked_median import envelope, farthest, lit_mode, masked_median, masked_spread, mean_level
from .plates.matting import solve
from .plates.persistent_shadow import lasting_shade
from .plates.registration import CameraPath, register
from .plates.temporal_samples import ReferenceFrames, Window, gather, nearest, smoothed, spread_out

VERSION = 2
SMOOTH_PX = 2.5
"""Frames 672 pixels wide are smoothed by this much before they are compared: grass and grain shall hide no shadow."""
Scale = tuple[float, float]
FrameMask = Bool[np.ndarray, "H W"]
Part = UInt8[np.ndarray, "h w 3"]
Levels = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class Plate:
    """Decompose by a registered, masked temporal plate."""

    kind: Literal["plate"] = "plate"
    sources: int = 12
    """Frames that a pixel of the plate is looked up in, at most twice as many where few saw it; 3 to 64."""
    margin_px: float = 4.0
    """The subject's mask is widened by this much before it is removed: masks are rarely wide enough."""
    feather_px: int = 3
    """Width of the blend from plate to clip at the rim of the replaced region; 0 for a hard rim."""
    attachment: Attachment = field(default_factory=Attachment)
    """When a difference counts as the subject's effect."""

    def __post_init__(self) -> None:
        if not 3 <= self.sources <= 64:
            raise ValueError(f"sources={self.sources} is not in 3 to 64; 12 is a good start")
        if not 0 <= self.margin_px <= 64:
            raise ValueError(f"margin_px={self.margin_px} is not in 0 to 64 pixels")
        if not 0 <= self.feather_px <= 32:
            raise ValueError(f"feather_px={self.feather_px} is not in 0 to 32 pixels")

    def decompose(self, gt: Rgb, subject_mask: Matte, others: Mask | None, given: Rgb | None) -> Layers:
        """Take the subject and its effects out of gt; given is not used.

        Raises:
            ValueError: when the subject mask is of another size, or empty or full in every frame.
        """
        check_subject(gt, subject_mask)
        subject, blocked = _widened(subject_mask, others, self.margin_px)
        camera = register(gt, blocked)
        draft = _survey(ReferenceFrames.of(gt, blocked, camera), subject, blocked & ~subject, self)
        footage = ReferenceFrames.of(gt, blocked | _each(draft.effects, 4.0), camera)
        rest = np.zeros_like(subject) if others is None else others
        plates, region, unseen = _plates(footage, subject, rest, draft, self)
        background = _blended(gt, plates, region, self.feather_px * max(gt.shape[1:3]) / 672)
        alpha, foreground = solve(gt, background, subject_mask, region)
        facts = _facts(camera, region, subject, unseen)
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=_notes(facts))


def _widened(subject_mask: Matte, others: Mask | None, margin_px: float) -> tuple[Mask, Mask]:
    """The subject with its margin, less the others' own pixels; and all subjects together with their margins."""
    unit = max(subject_mask.shape[1:]) / 672
    subject = _each(subject_mask > 32, max(margin_px * unit, 1.0))
    if others is None:
        return subject, subject
    subject &= ~(others & (subject_mask <= 32))
    return subject, subject | _each(others, max(margin_px * unit, 1.0))


def _each(mask: Mask, radius_px: float) -> Mask:
    return np.stack([grown(frame, radius_px) for frame in mask])


def _shown(mask: Mask) -> list[int]:
    """The frames in which mask is not empty."""
    return [frame for frame, layer in enumerate(mask) if layer.any()]


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """What the survey found, at the clip's size."""

    effects: Mask
    shade: Matte
    """0, or where shadow lies on a place in nearly all frames: the grey level that parts shadow from light there."""


def _survey(footage: ReferenceFrames, subject: Mask, others: Mask, settings: Plate) -> _Draft:
    """First look for effects, at half size: each frame against frames spread over the clip.

    Of these only the half counts in which the subject was farthest from the place, for there its effects are rarest;
    and where a slow shadow lies in most of them, the few in which it does not.
    """
    factor, smooth_px = _scale(subject)
    body, rest = _shrunk(subject, factor), _shrunk(others, factor)
    small = footage.resized(factor, smooth_px).ranked(body)
    alone = small.ranked(rest)
    whole = (slice(0, body.shape[1]), slice(0, body.shape[2]))
    difference = np.zeros(body.shape, np.uint8)
    plates = small.frames.copy()
    veto = body | rest
    reach = min(100 * settings.attachment.max_distance, 255.0)
    for frame in _shown(body):
        chosen = spread_out(small, frame, settings.sources)
        if not chosen:
            continue
        samples, ranks = gather(small, frame, chosen, whole, cv2.INTER_LINEAR)
        valid = farthest(ranks)
        plate, count = masked_median(samples, valid)
        spread = masked_spread(samples, valid, plate, 0.6)
        mode, lit = lit_mode(samples, ranks, plate, reach)
        plate, spread = np.where(lit[..., None], mode, plate), np.where(lit[..., None], np.uint8(4), spread)
        plate = level(plate, small.frames[frame], (count > 0) & (small.clearance[frame] > 0))
        apart = gather(alone, frame, chosen, whole, cv2.INTER_LINEAR)[1] >= reach / 2
        seen = envelope(samples, (ranks >= reach) & apart)
        veto[frame] |= (ranks >= reach).any(axis=0)
        difference[frame] = strength(small.frames[frame], plate, spread, count, seen)
        plates[frame] = fill(plate, count > 0)
    rule = replace(settings.attachment, contact_px=settings.attachment.contact_px * factor)
    found = attached(difference, body, rest, rule)
    shade = lasting_shade(small.frames, plates, found, veto, small.camera)
    found |= shade > 0
    return _Draft(effects=_enlarged(found, subject.shape[1:]), shade=_enlarged_levels(shade, subject.shape[1:]))


def _scale(mask: Mask) -> Scale:
    """By what factor frames are reduced to be compared, and how far they are smoothed after that."""
    factor = 0.5 if min(mask.shape[1:]) >= 160 else 1.0
    return factor, max(SMOOTH_PX * factor * max(mask.shape[1:]) / 672, 0.3)


def _shrunk(mask: Mask, factor: float) -> Mask:
    """Half-size mask that holds every pixel of the full one."""
    if factor == 1:
        return mask
    levels = mask.view(np.uint8) * np.uint8(255)
    return np.stack([cv2.resize(f, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) > 0 for f in levels])


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    if mask.shape[1:] == shape:
        return mask
    return _enlarged_levels(mask.view(np.uint8) * np.uint8(255), shape) > 127


def _enlarged_levels(levels: Matte, shape: tuple[int, ...]) -> Matte:
    interpolation = cv2.INTER_LINEAR if levels.max() == 255 else cv2.INTER_NEAREST
    return np.stack([cv2.resize(frame, (shape[1], shape[0]), interpolation=interpolation) for frame in levels])


def _plates(
    footage: ReferenceFrames, subject: Mask, others: Mask, draft: _Draft, settings: Plate
) -> tuple[Rgb, Mask, Mask]:
    """Build the plate around subject and draft effects; decide on the effects; say what no frame saw.

    Returns:
        The plates (the clip itself elsewhere), the region to replace, and the pixels of it that are filled in.
    """
    scale = _scale(subject)
    clear = ~(subject | others)
    plates = footage.frames.copy()
    difference = np.zeros(subject.shape, np.uint8)
    unseen = np.zeros_like(subject)
    for frame in _shown(subject):
        wanted = grown(subject[frame] | draft.effects[frame], 12.0)
        window = _window(wanted, margin=24)
        at = (frame, *window)
        plate, spread, count = _plate(footage, frame, wanted, window, draft.shade[at], settings.sources)
        known = count > 0
        plate = level(plate, footage.frames[at], known & (footage.clearance[at] > 0))
        plates[at] = fill(plate, known)
        count[~clear[at]] = 0
        difference[at] = _difference(footage.frames[at], plates[at], spread // 2, count, scale)
        unseen[at] = ~known
    difference *= _each(draft.effects, 6.0)
    effects = attached(difference, subject, others, settings.attachment) | (draft.shade > 0)
    region = (subject | _each(effects, 3.0)) & ~others
    return plates, region, unseen & region


def _plate(
    footage: ReferenceFrames, frame: int, wanted: FrameMask, window: Window, shade: Levels, count: int
) -> tuple[Part, Part, Int[np.ndarray, "h w"]]:
    chosen = nearest(footage, frame, wanted, count)
    if not chosen:
        empty = np.zeros_like(footage.frames[(frame, *window)])
        return empty, empty, np.zeros(empty.shape[:2], np.int64)
    samples, ranks = gather(footage, frame, chosen, window, cv2.INTER_CUBIC)
    valid = ranks > 0
    if shade.any():
        valid &= (shade == 0) | (mean_level(samples) > shade)
    plate, seen = masked_median(samples, valid)
    return plate, masked_spread(samples, valid, plate, 0.85), seen


def _difference(frame: Part, plate: Part, usual: Part, count: Int[np.ndarray, "h w"], scale: Scale) -> Levels:
    """The strength of the effects, found at reduced size as in the survey."""
    factor, smooth_px = scale
    size = (max(round(count.shape[1] * factor), 1), max(round(count.shape[0] * factor), 1))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (frame, plate, usual)]
    fewest = cv2.resize((count > 1).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    seen, expected = (smoothed(image, fewest == 1, smooth_px) for image in small[:2])
    found = strength(seen, expected, small[2], np.where(fewest == 1, 2, 0))
    return np.asarray(cv2.resize(found, count.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _window(wanted: FrameMask, margin: int) -> Window:
    """The bounding box of wanted, wider by margin on each side where the frame allows."""
    rows, columns = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    return (
        slice(max(rows[0] - margin, 0), min(rows[-1] + 1 + margin, wanted.shape[0])),
        slice(max(columns[0] - margin, 0), min(columns[-1] + 1 + margin, wanted.shape[1])),
    )


def _blended(gt: Rgb, plates: Rgb, region: Mask, feather_px: float) -> Rgb:
    """Plates inside region, gt outside, with a ramp of feather_px just inside the rim."""
    background = gt.copy()
    for frame in _shown(region):
        depth = cv2.distanceTransform(region[frame].view(np.uint8), cv2.DIST_L2, 5)
        weight = (depth / (feather_px + 1)).clip(0, 1)[..., None]
        mixed = gt[frame] + weight * (plates[frame] - gt[frame].astype(np.float32))
        np.copyto(background[frame], np.rint(mixed).astype(np.uint8), where=region[frame][..., None])
    return background


def _facts(camera: CameraPath, region: Mask, subject: Mask, unseen: Mask) -> dict[str, float]:
    replaced = max(int(region.sum()), 1)
    return {
        "registration_error_px": camera.error_px,
        "registration_inlier_share": camera.inlier_share,
        "camera_motion_px": camera.motion_px,
        "unseen_share": float(unseen.sum() / replaced),
        "replaced_share": float(region.mean()),
        "effect_share": float((region & ~subject).mean()),
    }


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
