"""The first look at a clip, at half size: where the subject's effects are, and what moves on its own."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32

from ...arrays import Mask, Matte, Rgb
from .blending import inpaint, match_brightness
from .effect_region import (
    Attachment,
    Strength,
    attached_components,
    difference_strength,
    dilate_frames,
    light_taken,
    nonempty_frames,
)
from .masked_median import envelope, farthest_samples, lit_mode, masked_median, masked_spread
from .movers import explain_by_surroundings, find_movers
from .shadows import find_persistent_shadow, follow_shadows
from .temporal_samples import ReferenceFrames, evenly_spaced_frames, gather_ranks, gather_samples

SMOOTH_PX = 2.5
"""Frames 672 pixels wide are smoothed by this much before they are compared: grass and grain shall hide no shadow."""
MAX_EXPLAINED = 0.3
"""No shadow is followed over ground of whose differences moving surroundings explain more: there it is wet sand."""
Scale = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Findings of the survey, masks at the clip's size."""

    effects: Mask
    """The subject's effects, out_of_reach and shade included."""
    out_of_reach: Mask
    """The far part of long shadows."""
    shade: Matte
    """0, or where shadow lies on a place in nearly all frames the grey level that parts shadow from light there."""
    movers: Mask
    """Bodies that move on their own, which no mask was handed in for."""
    explained: Float32[np.ndarray, "T h w"]
    """Share of the differences at each place that moving surroundings explain, at the size of the survey."""
    small_subject: Mask

    def surroundings_share(self, effects: Mask) -> float:
        """Share of effects, at the clip's size, that moving surroundings explain."""
        small = _shrink_mask(effects, self.small_subject.shape[1] / effects.shape[1]) & ~self.small_subject
        return float(self.explained[small].mean()) if small.any() else 0.0


def survey(
    footage: ReferenceFrames,
    subject: Mask,
    other_subjects: Mask,
    sources: int,
    attachment: Attachment,
    persistent_shadow: bool,
) -> Survey:
    """Compare each frame at half size with so many frames spread over the clip.

    Only that half of these counts in which the subject was farthest from the place, for there its effects are rarest;
    and where a slow shadow lies in most of them, the few in which it does not.
    """
    factor, smooth_px = comparison_scale(subject)
    body, others = _shrink_mask(subject, factor), _shrink_mask(other_subjects, factor)
    small = footage.resized(factor, smooth_px).with_distance_ranks(body)
    rule = replace(attachment, contact_px=attachment.contact_px * factor)
    look = _compare(small, body, others, sources, min(100 * rule.max_distance, 255.0))
    movers = find_movers(look.difference, body, others, small.frames, look.plates, rule)
    movers = dilate_frames(movers, 1.0) & ~body
    others = others | movers
    effects = attached_components(look.difference, body, others, rule, look.depth)
    out_of_reach = follow_shadows(small.frames, look.plates, effects, body | others, body, rule)
    # A long shadow is no moving ground, though it is far from the subject.
    excluded = dilate_frames(others | out_of_reach, rule.contact_px) | ~look.observed
    explained = explain_by_surroundings(small.frames, look.plates, body, excluded, rule)
    for beyond, share in zip(out_of_reach, explained, strict=True):
        if beyond.any() and share[beyond].mean() > MAX_EXPLAINED:
            beyond[:] = False
    effects |= out_of_reach
    shade = np.zeros(effects.shape, np.uint8)
    if persistent_shadow:
        shade = find_persistent_shadow(small.frames, look.plates, effects, body | others | look.from_afar, small.camera)
    shape = subject.shape[1:]
    return Survey(
        effects=_enlarge_mask(effects | (shade > 0), shape),
        out_of_reach=_enlarge_mask(out_of_reach, shape),
        shade=np.stack([cv2.resize(f, shape[::-1], interpolation=cv2.INTER_NEAREST) for f in shade]),
        movers=_enlarge_mask(movers, shape) & ~subject,
        explained=explained,
        small_subject=body,
    )


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    plates: Rgb
    """Each frame's background as the other frames saw it."""
    difference: Strength
    depth: Strength
    """Light that each pixel lacks, see `light_taken`."""
    observed: Mask
    """Places that at least two other frames saw."""
    from_afar: Mask
    """Places that some frame saw while the subject was out of reach."""


def _compare(
    small: ReferenceFrames, subject: Mask, other_subjects: Mask, sources: int, distance_limit: float
) -> _Comparison:
    """Compare each frame in which the subject is with the median of others."""
    away_from_others = small.with_distance_ranks(other_subjects)
    full_window = (slice(0, subject.shape[1]), slice(0, subject.shape[2]))
    difference, depth = np.zeros(subject.shape, np.uint8), np.zeros(subject.shape, np.uint8)
    plates = small.frames.copy()
    observed, from_afar = np.zeros_like(subject), np.zeros_like(subject)
    for frame in nonempty_frames(subject):
        picks = evenly_spaced_frames(small, frame, sources)
        if not picks:
            continue
        samples, ranks = gather_samples(small, frame, picks, full_window, cv2.INTER_LINEAR)
        valid = farthest_samples(ranks)
        plate, count = masked_median(samples, valid)
        spread = masked_spread(samples, valid, plate, 0.6)
        plate, lit = lit_mode(samples, ranks, plate, distance_limit)
        cv2.copyTo(np.full_like(spread, 4), lit.view(np.uint8), spread)
        plate = match_brightness(plate, small.frames[frame], (count > 0) & (small.clearance[frame] > 0))
        far_from_both = ranks >= distance_limit
        from_afar[frame] = far_from_both.any(axis=0)
        if other_subjects.any():
            far_from_both &= gather_ranks(away_from_others, frame, picks, full_window) >= distance_limit / 2
        value_range = envelope(samples, far_from_both)
        difference[frame] = difference_strength(small.frames[frame], plate, spread, count, value_range)
        plates[frame], observed[frame] = inpaint(plate, count > 0), count > 1
        depth[frame] = light_taken(small.frames[frame], plates[frame])
    return _Comparison(plates=plates, difference=difference, depth=depth, observed=observed, from_afar=from_afar)


def comparison_scale(mask: Mask) -> Scale:
    """Factor by which frames are reduced before comparison, and the sigma of the smoothing after that."""
    factor = 0.5 if min(mask.shape[1:]) >= 160 else 1.0
    return factor, max(SMOOTH_PX * factor * max(mask.shape[1:]) / 672, 0.3)


def _shrink_mask(mask: Mask, factor: float) -> Mask:
    """Half-size mask that holds every pixel of the full one."""
    if factor == 1:
        return mask
    levels = mask.view(np.uint8) * np.uint8(255)
    return np.stack([cv2.resize(f, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) > 0 for f in levels])


def _enlarge_mask(mask: Mask, shape: tuple[int, ...]) -> Mask:
    levels = mask.view(np.uint8) * np.uint8(255)
    return np.stack([cv2.resize(f, shape[::-1], interpolation=cv2.INTER_LINEAR) > 127 for f in levels])
