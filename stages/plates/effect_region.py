"""Region of a subject's effects: differences from the clean plate that go along with the subject."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ...arrays import Image, Mask, Matte, MatteImage, Rgb
from .masked_median import mean_level
from .registration import CameraPath

Strength = UInt8[np.ndarray, "T H W"]
"""Difference from the plate beyond what scene and camera explain, in eighths of an 8-bit level."""
FrameMask = Bool[np.ndarray, "H W"]
STEPS_PER_LEVEL = 8
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
    max_area: float = 2.0
    """Largest connected effect in one frame, in units of the subject's area."""
    contact_px: float = 12.0
    """An effect comes this near to the subject (in pixels of the clip)..."""
    contact_share: float = 0.3
    """...in at least this share of its frames; the rest may be detached, as a jumper's shadow is."""


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
    beyond = frame - np.clip(frame, low, high)
    beyond[count < 2] = 0
    smooth = cv2.GaussianBlur(beyond, (0, 0), 1.2)
    channels = cv2.split(smooth)
    highest, lowest = np.maximum.reduce(channels), np.minimum.reduce(channels)
    lighter = cv2.morphologyEx(highest, cv2.MORPH_OPEN, np.ones((THIN_PX, THIN_PX), np.uint8))
    return np.asarray(np.clip(np.maximum(lighter, -lowest) * STEPS_PER_LEVEL, 0, 255), np.uint8)


def attached_components(difference: Strength, subject: Mask, other_subjects: Mask, rule: Attachment) -> Mask:
    """The space-time components of difference that the subject brings along; its own pixels are not included."""
    from scipy import ndimage  # slow to import: only those pay who make plates

    candidate = np.stack(
        [_candidate_pixels(*frame, rule) for frame in zip(difference, subject, other_subjects, strict=True)]
    )
    labels, number = ndimage.label(candidate, np.ones((3, 3, 3), bool))
    if not number:
        return candidate
    peak = np.zeros(number + 1, np.uint8)
    contact_count, frame_count, volume = (np.zeros(number + 1, int) for _ in range(3))
    for layer, strength, body in zip(labels, difference, subject, strict=True):
        x, y, width, height = cv2.boundingRect((layer > 0).view(np.uint8))
        if not width:
            continue
        box = np.s_[y : y + height, x : x + width]
        inside = layer[box] > 0
        present = layer[box][inside]
        np.maximum.at(peak, present, strength[box][inside])
        volume += np.bincount(present, minlength=number + 1)
        frame_count[np.unique(present)] += 1
        contact_count[np.unique(layer[box][dilate(body, rule.contact_px)[box] & inside])] += 1
    is_effect = (
        (peak >= rule.peak_threshold * STEPS_PER_LEVEL)
        & (contact_count >= np.maximum(rule.contact_share * frame_count, 1))
        & (volume > 16)
    )
    is_effect[0] = False
    return np.asarray(is_effect[labels])


def _candidate_pixels(
    difference: UInt8[np.ndarray, "H W"], subject: FrameMask, other_subjects: FrameMask, rule: Attachment
) -> FrameMask:
    """Differences near the subject, but for those mostly elsewhere or far larger than it: a wave only passes by.

    Of a patch that touches another subject only the pixels nearer to this one count.
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
    subject_distance, other_distance = _distance(body), _distance(others)
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
    candidate[box] = reachable & ~is_passing[labels]
    return candidate


def dilate(mask: FrameMask, radius_px: float) -> FrameMask:
    """Everything within radius_px of the mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if radius_px < 1 or not width:
        return mask
    margin = math.ceil(radius_px) + 1
    box = np.s_[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]
    wide = np.zeros_like(mask)
    wide[box] = _distance(mask[box]) <= radius_px
    return wide


def _distance(mask: FrameMask) -> Float32[np.ndarray, "H W"]:
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5))


REACH_PX = 16.0
"""Standard deviation of the window in which the shadow's and the light's level are measured."""
MIN_CONTRAST = 14.0
"""Between light and shadow, in levels: fainter shadows are not told from texture."""
LIGHTER, DEEPER = 0.5, 0.6
"""Farthest from the shadow's level, as shares of the contrast."""
MIN_SWEPT = 0.8
"""Share of a patch that lies on ground which the moving shadow swept."""
MIN_PX = 12
"""Smaller patches say nothing."""
MIN_VOTES = 3
"""Frames that must find a place to be lasting shade; it is then shade in all of them."""
RIM_PX = 3
"""Lasting shade is widened by this much, for its soft rim, as far as that is not lit."""
STEP = 3
"""Every so many frames vote."""


def find_persistent_shadow(frames: Rgb, plates: Rgb, effects: Mask, veto: Mask, camera: CameraPath) -> Matte:
    """Find the pixels that lie in the subject's shadow in nearly all frames that saw them.

    Args:
        frames: the clip, smoothed.
        plates: each frame's background as the other frames observed it.
        effects: the shadows and other effects already known.
        veto: pixels that are no shadow: subjects, and places that some frame saw while the subject was out of reach.
        camera: the motion of the camera.

    Returns:
        0 elsewhere; there, the grey level that parts shadow from light.
    """
    evidence = [_shadow_evidence(*frame) for frame in zip(frames, plates, effects, veto, strict=True)]
    moving, hidden, levels = (np.stack(layers) for layers in zip(*evidence, strict=True))
    shade = np.zeros(effects.shape, np.uint8)
    if not hidden.any():
        return shade
    for frame in np.flatnonzero(hidden.any(axis=(1, 2))).tolist():
        swept = _swept_ground(frame, moving.view(np.uint8), camera)
        shade[frame] = np.where(_patches_on(hidden[frame], swept), levels[frame], 0)
    limits = np.stack([_agreed_limits(frame, shade, camera) for frame in range(len(frames))])
    limits[veto | (mean_level(frames) >= limits)] = 0
    # More lasting than moving shadow is no gap in it: then dark ground was taken for shade.
    return limits if np.count_nonzero(limits) <= np.count_nonzero(moving) else np.zeros_like(limits)


def _shadow_evidence(
    frame: Image, plate: Image, effect: FrameMask, veto: FrameMask
) -> tuple[FrameMask, FrameMask, MatteImage]:
    """The shadow already known, what is as dark in frame and plate alike, and the level between shadow and light."""
    observed, lit = frame.astype(np.float32), plate.astype(np.float32)
    drop = mean_level(lit - observed)
    moving = effect & (drop > MIN_CONTRAST / 2)
    if not moving.any():
        return moving, moving, np.ones(moving.shape, np.uint8)
    # The deep core of the shadow says more about its level than the soft border.
    depth = (moving * drop)[..., None]
    weight = _blur(depth)
    shadow, light = (mean_level(_blur(image * depth) / np.maximum(weight, 1e-6)) for image in (observed, lit))
    contrast = light - shadow
    departure = mean_level(observed) - shadow
    as_dark = (departure < LIGHTER * contrast) & (departure > -DEEPER * contrast)
    dark = light - mean_level(lit) > contrast / 3
    close_by = (_blur(moving.astype(np.float32)[..., None])[..., 0] > 0.0005) & (contrast > MIN_CONTRAST)
    hidden = (as_dark & dark & close_by & ~veto & ~effect).view(np.uint8)
    limit = np.clip(np.rint(0.65 * light + 0.35 * shadow), 1, 254).astype(np.uint8)
    return moving, cv2.morphologyEx(hidden, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, limit


def _swept_ground(target: int, moving: Matte, camera: CameraPath) -> FrameMask:
    """The ground over which the moving shadow passed often, in broad patches, and what lies between these."""
    votes = np.zeros(moving.shape[1:], np.uint8)
    for source in range(0, len(moving), STEP):
        if cv2.countNonZero(moving[source]):
            votes += _warp_to(moving[source], camera, source, target) > 0
    often = cv2.morphologyEx((votes >= MIN_VOTES).view(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(often, connectivity=8)
    area = np.bincount(labels.ravel())
    area[0] = 0
    broad = (area >= 0.3 * max(area.max(), 1))[labels]
    hull = np.zeros(votes.shape, np.uint8)
    if broad.any():
        corners = cv2.convexHull(np.column_stack(np.nonzero(broad)[::-1]).astype(np.int32))
        cv2.fillConvexPoly(hull, corners, 1)
    return np.asarray((hull > 0) & (broad.sum() >= MIN_SWEPT / 2 * hull.sum()))


def _patches_on(hidden: FrameMask, swept: FrameMask) -> FrameMask:
    """The patches of hidden that lie for the most part on swept ground."""
    number, labels = cv2.connectedComponents(hidden.view(np.uint8), connectivity=8)
    area = np.bincount(labels.ravel(), minlength=number)
    inside = np.bincount(labels[swept], minlength=number)
    is_shadow = (inside >= MIN_SWEPT * area) & (area >= MIN_PX)
    is_shadow[0] = False
    return np.asarray(is_shadow[labels])


def _agreed_limits(target: int, shade: Matte, camera: CameraPath) -> MatteImage:
    """The lowest limit that the voting frames give, where enough of them vote and around there."""
    lowest, votes = np.full(shade.shape[1:], 255, np.uint8), np.zeros(shade.shape[1:], np.uint8)
    for source in range(0, len(shade), STEP):
        if cv2.countNonZero(shade[source]):
            vote = _warp_to(shade[source], camera, source, target)
            votes += vote > 0
            lowest = np.where(vote > 0, np.minimum(vote, lowest), lowest)
    limits = np.where(votes >= MIN_VOTES, lowest, 0).astype(np.uint8)
    return np.asarray(cv2.dilate(limits, np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)))


def _warp_to(layer: MatteImage, camera: CameraPath, source: int, target: int) -> MatteImage:
    step = camera.between(source, target)
    if np.array_equal(step, np.eye(3)):
        return layer
    return np.asarray(cv2.warpPerspective(layer, step, layer.shape[::-1], flags=cv2.INTER_NEAREST))


def _blur(values: Float32[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    blurred = cv2.GaussianBlur(values, (0, 0), REACH_PX)
    return np.asarray(blurred.reshape(values.shape))
