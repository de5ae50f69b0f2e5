"""Things that move on their own: bodies without a mask, and the share of effects that is moving surroundings."""

from functools import reduce

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from ...arrays import Image, Mask, Rgb
from .effect_region import STEPS_PER_LEVEL, Attachment, Strength, distance_to, larger_side

FrameMask = Bool[np.ndarray, "H W"]
OPAQUE_STEPS = 250
"""A body hides what is behind it: it differs by 31 levels and more, where spray, dust and shadows shine through."""
MIN_OPAQUE = 0.6
"""Share of a body that differs so much."""
MIN_BODY = 0.08
"""Smallest area of a body, in units of the subject's."""
MIN_THICKNESS = 0.03
"""Thinnest body, in units of the subject's larger side; crests of waves and rails are thinner."""
MAX_SHADE_SPREAD = 0.16
"""Interquartile range of the share of light that a shadow takes; a body has parts of other colours."""
MIN_TRACK = 4
"""Frames in which a body stands clear of the subject."""
MIN_DRIFT = 0.15
"""Least change of its place as the subject sees it, in the subject's larger sides; an effect keeps its place."""
BRIDGE_PX = 5
"""Strips of difference thinner than this bind nothing together."""
MAX_GROWTH = 1.15
"""A body that would grow faster from frame to frame has met something else that differs."""
STEP_PX = 3
"""A body's outline moves by less than this from frame to frame, beside its mean motion."""


def find_movers(
    difference: Strength, subject: Mask, other_subjects: Mask, frames: Rgb, plates: Rgb, rule: Attachment
) -> Mask:
    """Find bodies that move on their own, to be treated as other subjects are.

    A body is an opaque, thick patch of difference, no shadow, that stands clear of the subject for some frames and
    changes its place in the subject's eyes. It is then followed into the frames in which it touches the subject.

    Args:
        difference: how far each frame departs from its plate, over the whole picture.
        subject: the subject's pixels, generously.
        other_subjects: pixels of subjects that masks were given of.
        frames: the clip, smoothed, at the size of difference.
        plates: its background as other frames saw it.
        rule: rule by which differences count as effects.
    """
    from scipy import ndimage  # slow to import: only those pay who make plates

    strong = (difference >= rule.peak_threshold * STEPS_PER_LEVEL) & ~subject & ~other_subjects
    # Crests of waves are thin, and must not tie a body to the subject.
    bridge = np.ones((BRIDGE_PX, BRIDGE_PX), np.uint8)
    strong = np.stack([cv2.morphologyEx(layer.view(np.uint8), cv2.MORPH_OPEN, bridge) > 0 for layer in strong])
    layers = zip(strong, difference, subject, frames, plates, strict=True)
    bodies = np.stack([_free_bodies(*layer, rule.contact_px) for layer in layers])
    if not bodies.any():
        return bodies
    labels, number = ndimage.label(bodies, np.ones((3, 3, 3), bool))
    seeds = np.zeros_like(subject)
    for track in range(1, number + 1):
        if _drifts(labels == track, subject):
            seeds |= labels == track
    movers = seeds.copy()
    for order in (range(1, len(movers)), range(len(movers) - 2, -1, -1)):
        for frame in order:
            before = frame - 1 if order.step > 0 else frame + 1
            movers[frame] |= _follow(movers, before, order.step, strong[frame], seeds[frame])
    return movers


def _free_bodies(
    strong: FrameMask,
    difference: UInt8[np.ndarray, "H W"],
    subject: FrameMask,
    frame: Image,
    plate: Image,
    contact_px: float,
) -> FrameMask:
    """The opaque, thick patches of one frame that do not touch the subject's surroundings and are no shadow."""
    bodies = np.zeros_like(strong)
    if not subject.any() or not strong.any():
        return bodies
    side, area = larger_side(subject), int(np.count_nonzero(subject))
    distance = distance_to(subject)
    depth = cv2.distanceTransform(strong.view(np.uint8), cv2.DIST_L2, 5)
    number, labels, stats, _ = cv2.connectedComponentsWithStats(strong.view(np.uint8), connectivity=4)
    for patch in range(1, number):
        x, y, width, height, size = stats[patch]
        if size < max(MIN_BODY * area, 16):
            continue
        box = np.s_[y : y + height, x : x + width]
        inside = labels[box] == patch
        is_free = distance[box][inside].min() > contact_px
        is_thick = depth[box][inside].max() > MIN_THICKNESS * side
        is_opaque = (difference[box][inside] >= OPAQUE_STEPS).mean() >= MIN_OPAQUE
        if is_free and is_thick and is_opaque and not _is_shadow(frame[box][inside], plate[box][inside]):
            bodies[box] |= inside
    return bodies


def _is_shadow(observed: UInt8[np.ndarray, "N 3"], lit: UInt8[np.ndarray, "N 3"]) -> bool:
    """Whether the pixels are darker than their plate by nearly one and the same share of the light."""
    share = 1 - observed.astype(np.float32).mean(axis=1) / np.maximum(lit.astype(np.float32).mean(axis=1), 1)
    low, high = np.percentile(share, (25, 75))
    return bool((share > 0.03).mean() > 0.9 and high - low <= MAX_SHADE_SPREAD)


def _drifts(track: Mask, subject: Mask) -> bool:
    """Whether a track is long enough and changes its place relative to the subject."""
    frames = np.flatnonzero(track.any(axis=(1, 2)) & subject.any(axis=(1, 2)))
    if len(frames) < MIN_TRACK:
        return False
    places = np.stack([_centre(track[frame]) - _centre(subject[frame]) for frame in frames])
    side = float(np.median([larger_side(subject[frame]) for frame in frames]))
    return bool(np.ptp(places, axis=0).max() >= MIN_DRIFT * side)


def _centre(mask: FrameMask) -> Float32[np.ndarray, "2"]:
    return np.asarray([np.mean(axis) for axis in np.nonzero(mask)], np.float32)


def _follow(movers: Mask, before: int, step: int, strong: FrameMask, seeds: FrameMask) -> FrameMask:
    """The part of strong near where the bodies of the frame before should be now, each moving on as it did.

    A body that stands clear in this frame too is known there already, and is not followed.
    """
    carried = np.zeros_like(strong)
    if not movers[before].any():
        return carried
    number, labels = cv2.connectedComponents(movers[before].view(np.uint8), connectivity=8)
    for body in (labels == label for label in range(1, number)):
        earlier = before - step
        shift = np.zeros(2, np.float32)
        if 0 <= earlier < len(movers):
            past = movers[earlier] & (distance_to(body) <= 2 * STEP_PX)
            if past.any() and 0.7 < np.count_nonzero(past) / np.count_nonzero(body) < 1.4:
                shift = (_centre(body) - _centre(past)).clip(-4 * STEP_PX, 4 * STEP_PX)
        move = np.array([[1, 0, round(float(shift[1]))], [0, 1, round(float(shift[0]))]], np.float32)
        ahead = cv2.warpAffine(body.view(np.uint8), move, body.shape[::-1], flags=cv2.INTER_NEAREST) > 0
        distance = distance_to(ahead)
        here = strong & (distance <= STEP_PX)
        if np.count_nonzero(here) > MAX_GROWTH * np.count_nonzero(body):
            here = strong & (distance <= 1)
        # Less than half of it is another thing, or the body has gone behind the subject.
        if not (seeds & here).any() and np.count_nonzero(here) >= 0.5 * np.count_nonzero(body):
            carried |= here
    return carried


COLOUR_BITS = 3
"""Surfaces are told apart by the highest bits of their colour's channels."""
FEW_PIXELS = 50
"""So many calm pixels are added to each surface: one of which little is seen far away says little."""


def explain_by_surroundings(
    frames: Rgb, plates: Rgb, subject: Mask, excluded: Mask, rule: Attachment
) -> Float32[np.ndarray, "T H W"]:
    """Share of the differences at each pixel that moving surroundings explain: 0 none, 1 all.

    What differs near the subject is compared with what differs far from it on like surfaces, told apart by the plate's
    colour. If a surface differs beyond the subject's reach half as often as within it, half of the effect found on it
    would be there without the subject: waves, leaves. Shadows on sand count nothing although the sea beside it moves.
    Pixels in excluded, other subjects and places without a plate, and those close to them are not looked at.
    """
    surfaces = 1 << (3 * COLOUR_BITS)
    near, far = np.zeros((2, surfaces)), np.zeros((2, surfaces))
    for frame, plate, body, out in zip(frames, plates, subject, excluded, strict=True):
        if not body.any():
            continue
        surface = _surfaces(plate)
        differs = _departure(frame, plate) >= rule.peak_threshold
        distance = distance_to(body)
        clear = (distance > 2) & (distance_to(out) > 2)
        within = distance <= rule.max_distance * larger_side(body)
        for counts, zone in ((near, clear & within), (far, clear & ~within)):
            counts[0] += np.bincount(surface[zone], minlength=surfaces)
            counts[1] += np.bincount(surface[zone & differs], minlength=surfaces)
    rate_near, rate_far = near[1] / np.maximum(near[0], 1), far[1] / (far[0] + FEW_PIXELS)
    explained = np.minimum(rate_far / np.maximum(rate_near, 1e-6), 1).astype(np.float32)
    return np.stack([explained[_surfaces(plate)] for plate in plates])


def _surfaces(plate: Image) -> Int32[np.ndarray, "H W"]:
    bits = (plate >> (8 - COLOUR_BITS)).astype(np.int32)
    return np.asarray((bits[..., 0] << 2 * COLOUR_BITS) | (bits[..., 1] << COLOUR_BITS) | bits[..., 2])


def _departure(frame: Image, plate: Image) -> Float32[np.ndarray, "H W"]:
    """Levels by which a frame departs from its plate, a pixel's shift of an edge aside."""
    square = np.ones((3, 3), np.uint8)
    beyond = frame.astype(np.float32) - np.clip(frame, cv2.erode(plate, square), cv2.dilate(plate, square))
    return np.asarray(reduce(np.maximum, cv2.split(np.abs(cv2.GaussianBlur(beyond, (0, 0), 1.2)))))
