"""Region of a subject's effects: differences from the clean plate that go along with the subject."""

import math
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ...arrays import Image, Mask
from .masked_median import mean_level

Strength = UInt8[np.ndarray, "T H W"]
"""Difference from the plate beyond what scene and camera explain, in eighths of an 8-bit level."""
FrameMask = Bool[np.ndarray, "H W"]
STEPS_PER_LEVEL = 8
MIN_DEPTH = 0.06
"""Share of the light that a shadow takes at least, to be followed; fainter ones are not told from grain."""
DEPTH_TOLERANCE = 0.4
"""A pixel belongs to a shadow if it lacks a share of the light within this of the known part's, relatively."""
THIN_PX = 7
"""Lighter lines thinner than this are rails and branches off the scene's main plane, not spray or glow."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """Rule by which a difference counts as the subject's effect."""

    peak_threshold: float = 8.0
    """Levels that an effect reaches somewhere."""
    edge_threshold: float = 3.5
    """Levels that still belong to it around there."""
    max_distance: float = 1.0
    """Farthest effect, in units of the subject's larger side."""
    max_shadow_distance: float = 4.0
    """Farthest pixel of a shadow, in the same units: a darkening that crosses max_distance is followed to here."""
    max_area: float = 2.0
    """Largest connected effect in one frame, in units of the subject's area."""
    contact_px: float = 12.0
    """An effect comes this near to the subject (in pixels of the clip)..."""
    contact_share: float = 0.3
    """...in at least this share of its frames; the rest may be detached, as a jumper's shadow is."""

    @property
    def max_shadow_area(self) -> float:
        """Largest area of a shadow that goes on beyond max_distance, in units of the subject's area."""
        return self.max_area * max(self.max_shadow_distance / self.max_distance, 1.0)


def difference_strength(
    frame: Image,
    plate: Image,
    variation: Image,
    count: UInt8[np.ndarray, "H W"],
    value_range: tuple[Image, Image] | None = None,
) -> UInt8[np.ndarray, "H W"]:
    """Return how far a frame departs from the plate, in steps of 1/8 level, saturating.

    Not counted are departures within the plate's own 3x3 neighbourhood (an edge registered half a pixel off) and within
    the pixel's usual variation over time (waves, leaves). Signed smoothing then cancels remaining texture.
    value_range holds the lowest and highest level that a pixel had while the subject was out of reach: levels between
    them are no effect of the subject.
    """
    square = np.ones((3, 3), np.uint8)
    margin = cv2.GaussianBlur(cv2.dilate(variation, square), (0, 0), 1.5).astype(np.float32)
    low, high = cv2.erode(plate, square) - margin, cv2.dilate(plate, square) + margin
    if value_range is not None:
        low, high = np.minimum(low, value_range[0]), np.maximum(high, value_range[1])
    beyond = cv2.copyTo(frame - np.clip(frame, low, high), (count >= 2).view(np.uint8))
    channels = cv2.split(cv2.GaussianBlur(beyond, (0, 0), 1.2))
    highest, lowest = reduce(np.maximum, channels), reduce(np.minimum, channels)
    lighter = cv2.morphologyEx(highest, cv2.MORPH_OPEN, np.ones((THIN_PX, THIN_PX), np.uint8))
    return np.asarray(np.clip(np.maximum(lighter, -lowest) * STEPS_PER_LEVEL, 0, 255), np.uint8)


def light_taken(frame: Image, plate: Image) -> UInt8[np.ndarray, "H W"]:
    """Share of the plate's light that is missing in frame, in 255ths; 0 where frame is as light or lighter."""
    light, lit = (mean_level(cv2.blur(image, (3, 3))) for image in (frame, plate))
    return np.asarray(np.clip(np.rint(255 * (1 - light / np.maximum(lit, 1))), 0, 255), np.uint8)


def attached_components(
    difference: Strength,
    subject: Mask,
    other_subjects: Mask,
    rule: Attachment,
    depth: UInt8[np.ndarray, "T H W"] | None = None,
) -> Mask:
    """The space-time components of difference that the subject brings along; its own pixels are not included.

    depth is the light that each pixel lacks, see `light_taken`: with it a long shadow is told from a wave.
    """
    from scipy import ndimage  # slow to import: only those pay who make plates

    depths = [None] * len(subject) if depth is None else depth
    layers = zip(difference, subject, other_subjects, depths, strict=True)
    candidate = np.stack([_candidate_pixels(*layer, rule) for layer in layers])
    x, y, width, height = cv2.boundingRect(candidate.any(axis=0).view(np.uint8))
    if not width:
        return candidate
    frame_box = np.s_[y : y + height, x : x + width]
    labels, number = ndimage.label(candidate[:, *frame_box], np.ones((3, 3, 3), bool))
    peak = np.zeros(number + 1, np.uint8)
    contact_count, frame_count, volume = (np.zeros(number + 1, int) for _ in range(3))
    for layer, strength, body in zip(labels, difference[:, *frame_box], subject, strict=True):
        x, y, width, height = cv2.boundingRect((layer > 0).view(np.uint8))
        if not width:
            continue
        box = np.s_[y : y + height, x : x + width]
        inside = layer[box] > 0
        present = layer[box][inside]
        np.maximum.at(peak, present, strength[box][inside])
        volume += np.bincount(present, minlength=number + 1)
        frame_count[np.unique(present)] += 1
        touching = inside & dilate(body, rule.contact_px)[frame_box][box]
        contact_count[np.unique(layer[box][touching])] += 1
    is_effect = (
        (peak >= rule.peak_threshold * STEPS_PER_LEVEL)
        & (contact_count >= np.maximum(rule.contact_share * frame_count, 1))
        & (volume > 16)
    )
    is_effect[0] = False
    candidate[:, *frame_box] = is_effect[labels]
    return candidate


def _candidate_pixels(
    difference: UInt8[np.ndarray, "H W"],
    subject: FrameMask,
    other_subjects: FrameMask,
    depth: UInt8[np.ndarray, "H W"] | None,
    rule: Attachment,
) -> FrameMask:
    """Differences near the subject, but for those mostly elsewhere or far larger than it: a wave only passes by.

    A shadow may be longer than the subject's reach: it is as dark outside as inside. Of a patch that touches another
    subject only the pixels nearer to this one count.
    """
    candidate = np.zeros_like(subject)
    _, _, *sides = cv2.boundingRect(subject.view(np.uint8))
    weakest = min(rule.edge_threshold, rule.peak_threshold) * STEPS_PER_LEVEL
    # Distances and patches within this rectangle are those of the whole picture.
    x, y, width, height = cv2.boundingRect(((difference >= weakest) | subject | other_subjects).view(np.uint8))
    if not any(sides):
        return candidate
    box = np.s_[y : y + height, x : x + width]
    difference, body, others = difference[box], subject[box], other_subjects[box]
    subject_distance, other_distance = distance_to(body), distance_to(others)
    reachable = (difference >= rule.edge_threshold * STEPS_PER_LEVEL) & (other_distance > 0)
    reachable &= (subject_distance > 0) & (subject_distance <= rule.max_distance * max(sides))
    if others.any():
        _, labels = cv2.connectedComponents(reachable.view(np.uint8), connectivity=8)
        claimed = np.zeros(labels.max() + 1, bool)
        claimed[labels[reachable & (other_distance <= 2)]] = True
        reachable &= (subject_distance < other_distance) | ~claimed[labels]
    strong = (difference >= rule.peak_threshold * STEPS_PER_LEVEL) & ~body & ~others
    _, labels = cv2.connectedComponents(strong.view(np.uint8), connectivity=4)
    total = np.bincount(labels.ravel())
    inside = np.bincount(labels[reachable], minlength=len(total))
    is_passing = (inside < 0.5 * total) | (total > rule.max_area * body.sum())
    is_passing[0] = False
    if depth is not None:
        for patch in np.flatnonzero(is_passing & (inside > 0) & (total <= rule.max_shadow_area * body.sum())):
            is_passing[patch] = not _goes_on(depth[box][labels == patch], reachable[labels == patch])
    candidate[box] = reachable & ~is_passing[labels]
    return candidate


def _goes_on(depth: UInt8[np.ndarray, "N"], is_within: Bool[np.ndarray, "N"]) -> bool:
    """Whether a patch is a shadow that is as dark beyond the subject's reach as within it."""
    if is_within.all():
        return False
    level = float(np.median(depth[is_within]))
    is_alike = np.abs(depth[~is_within] - level) <= DEPTH_TOLERANCE * level
    return level >= 255 * MIN_DEPTH and bool(is_alike.mean() > 0.7)


def nonempty_frames(mask: Mask) -> list[int]:
    """Numbers of the frames in which the mask holds a pixel."""
    return [frame for frame, layer in enumerate(mask) if layer.any()]


def larger_side(mask: FrameMask) -> int:
    """Larger side of the mask's bounding box, in pixels; 0 for an empty mask."""
    return int(max(cv2.boundingRect(mask.view(np.uint8))[2:]))


def dilate(mask: FrameMask, radius_px: float) -> FrameMask:
    """Everything within radius_px of the mask."""
    return np.asarray(dilate_frames(mask[None], radius_px)[0])


def dilate_frames(mask: Mask, radius_px: float) -> Mask:
    """Everything within radius_px of the mask, frame by frame."""
    if radius_px < 1:
        return mask
    wide = np.zeros_like(mask)
    margin = math.ceil(radius_px) + 1
    for frame, layer in zip(wide, mask, strict=True):
        x, y, width, height = cv2.boundingRect(layer.view(np.uint8))
        if width:
            box = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
            frame[box] = distance_to(layer[box]) <= radius_px
    return wide


def distance_to(mask: FrameMask) -> Float32[np.ndarray, "H W"]:
    """Distance of each pixel to the mask, infinite where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5))
