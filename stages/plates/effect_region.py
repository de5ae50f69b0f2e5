"""Where a subject's effects are: what differs from the clean plate and goes along with the subject."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy import ndimage

from ...arrays import Image, Mask

Strength = UInt8[np.ndarray, "T H W"]
"""Difference from the plate beyond what scene and camera explain, in eighths of an 8-bit level."""
FrameMask = Bool[np.ndarray, "H W"]
STEPS_PER_LEVEL = 8
THIN_PX = 7
"""Lighter lines thinner than this are rails and branches off the scene's main plane, not spray or glow."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """When a difference counts as the subject's effect."""

    peak_threshold: float = 8.0
    """Levels that an effect reaches somewhere."""
    edge_threshold: float = 3.5
    """Levels that still belong to it around there."""
    max_distance: float = 1.0
    """Farthest effect, in units of the subject's larger side."""
    max_area: float = 2.0
    """Largest connected effect in one frame, in units of the subject's area."""
    contact_px: float = 12.0
    """An effect comes this near to the subject (in pixels of the clip)..."""
    contact_share: float = 0.3
    """...in at least this share of its frames; the rest may be detached, as a jumper's shadow is."""


def strength(
    frame: Image, plate: Image, usual: Image, count: Int[np.ndarray, "H W"], seen: tuple[Image, Image] | None = None
) -> UInt8[np.ndarray, "H W"]:
    """How far a frame departs from the plate, in steps of 1/8 level, saturating.

    Not counted are departures within the plate's own 3x3 neighbourhood (an edge registered half a pixel off) and within
    the place's usual changes over time (usual: waves, leaves). Signed smoothing then cancels what is left of texture.
    seen gives the lowest and highest level that the place had while the subject was out of reach: what lies between
    cannot be blamed on the subject.
    """
    square = np.ones((3, 3), np.uint8)
    margin = cv2.GaussianBlur(cv2.dilate(usual, square), (0, 0), 1.5).astype(np.float32)
    low, high = cv2.erode(plate, square) - margin, cv2.dilate(plate, square) + margin
    if seen is not None:
        low, high = np.minimum(low, seen[0]), np.maximum(high, seen[1])
    beyond = frame - np.clip(frame, low, high)
    beyond[count < 2] = 0
    smooth = cv2.GaussianBlur(beyond, (0, 0), 1.2)
    lighter = cv2.morphologyEx(smooth.max(axis=2), cv2.MORPH_OPEN, np.ones((THIN_PX, THIN_PX), np.uint8))
    return np.asarray(np.clip(np.maximum(lighter, -smooth.min(axis=2)) * STEPS_PER_LEVEL, 0, 255), np.uint8)


def attached(difference: Strength, subject: Mask, others: Mask, rule: Attachment) -> Mask:
    """The space-time components of difference that the subject brings along; its own pixels are not included."""
    candidate = np.stack([_candidate(*frame, rule) for frame in zip(difference, subject, others, strict=True)])
    labels, number = ndimage.label(candidate, np.ones((3, 3, 3), bool))
    if not number:
        return candidate
    peak = ndimage.maximum(difference, labels, np.arange(number + 1))
    touching, present = np.zeros(number + 1, int), np.zeros(number + 1, int)
    for layer, body in zip(labels, subject, strict=True):
        present[np.unique(layer)] += 1
        touching[np.unique(layer[grown(body, rule.contact_px)])] += 1
    volume = np.bincount(labels.ravel(), minlength=number + 1)
    keep = (
        (peak >= rule.peak_threshold * STEPS_PER_LEVEL)
        & (touching >= np.maximum(rule.contact_share * present, 1))
        & (volume > 16)
    )
    keep[0] = False
    return np.asarray(keep[labels])


def _candidate(
    difference: UInt8[np.ndarray, "H W"], subject: FrameMask, others: FrameMask, rule: Attachment
) -> FrameMask:
    """Differences near the subject, but for those mostly elsewhere or far larger than it: a wave only passes by."""
    near = _near(subject, others, difference >= rule.edge_threshold * STEPS_PER_LEVEL, rule)
    strong = (difference >= rule.peak_threshold * STEPS_PER_LEVEL) & ~subject & ~others
    _, labels = cv2.connectedComponents(strong.view(np.uint8), connectivity=4)
    total = np.bincount(labels.ravel())
    inside = np.bincount(labels[near], minlength=len(total))
    passing = (inside < 0.5 * total) | (total > rule.max_area * subject.sum())
    passing[0] = False
    return np.asarray(near & ~passing[labels])


def grown(mask: FrameMask, radius_px: float) -> FrameMask:
    """Everything within radius_px of the mask."""
    if radius_px < 1 or not mask.any():
        return mask
    return _distance(mask) <= radius_px


def _distance(mask: FrameMask) -> Float32[np.ndarray, "H W"]:
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5))


def _near(subject: FrameMask, other: FrameMask, differs: FrameMask, rule: Attachment) -> FrameMask:
    """Differing pixels within the subject's reach; of a patch that touches another subject, only the nearer ones."""
    rows, columns = np.nonzero(subject)
    if not len(rows):
        return np.zeros_like(subject)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    away, off = _distance(subject), _distance(other)
    near = differs & (away > 0) & (away <= rule.max_distance * side) & (off > 0)
    _, labels = cv2.connectedComponents(near.view(np.uint8), connectivity=8)
    claimed = np.zeros(labels.max() + 1, bool)
    claimed[labels[near & (off <= 2)]] = True
    return np.asarray(near & ((away < off) | ~claimed[labels]))
