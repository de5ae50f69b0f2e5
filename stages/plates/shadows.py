"""Shadows that a difference alone does not show: lasting shade, and what of a long shadow lies out of reach."""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ...arrays import Image, Mask, Matte, MatteImage, Rgb
from .effect_region import DEPTH_TOLERANCE, MIN_DEPTH, Attachment, distance_to, larger_side, light_taken
from .masked_median import mean_level
from .registration import CameraPath

FrameMask = Bool[np.ndarray, "H W"]
RIM_SHARE = 0.8
"""The known part of the shadow must come so near to the limit of reach, as a share of it."""


def follow_shadows(frames: Rgb, plates: Rgb, effects: Mask, blocked: Mask, subject: Mask, rule: Attachment) -> Mask:
    """Follow each shadow that ends at the limit of reach outwards, as far as it goes on as dark.

    Args:
        frames: the clip, smoothed.
        plates: its background as other frames saw it.
        effects: the effects within reach.
        blocked: pixels of subjects, and what moves on its own.
        subject: the subject's pixels.
        rule: its max_distance is the limit of reach, max_shadow_distance that of a shadow.

    Returns:
        The pixels beyond reach.
    """
    layers = zip(frames, plates, effects, blocked, subject, strict=True)
    return np.stack([_follow_shadow(*layer, rule) for layer in layers])


def _follow_shadow(
    frame: Image, plate: Image, effect: FrameMask, blocked: FrameMask, subject: FrameMask, rule: Attachment
) -> FrameMask:
    beyond = np.zeros_like(effect)
    if not effect.any() or not subject.any():
        return beyond
    distance, reach = distance_to(subject), rule.max_distance * larger_side(subject)
    rim = effect & (distance > RIM_SHARE * reach)
    if not rim.any():
        return beyond
    depth = light_taken(frame, plate)
    # The part near the rim tells how deep it is: at its root a shadow is darkened by what stands over it.
    inner = effect & (distance > RIM_SHARE / 2 * reach) & (depth > 255 * MIN_DEPTH / 2)
    level = float(np.median(depth[inner])) if inner.any() else 0.0
    if level < 255 * MIN_DEPTH:
        return beyond
    as_dark = (np.abs(depth - level) <= DEPTH_TOLERANCE * level) & ~blocked
    as_dark = cv2.morphologyEx(as_dark.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    as_dark &= (distance > RIM_SHARE * reach) & (distance <= rule.max_shadow_distance * larger_side(subject))
    _, labels = cv2.connectedComponents((as_dark | rim).view(np.uint8), connectivity=8)
    touching = np.zeros(labels.max() + 1, bool)
    touching[labels[rim]] = True
    beyond = as_dark & touching[labels] & (distance > reach)
    # A shadow grows with its length alone; a wave or a cloud is far larger than what stands before it.
    is_shadow = np.count_nonzero(beyond | effect) <= rule.max_shadow_area * np.count_nonzero(subject)
    return beyond if is_shadow else np.zeros_like(effect)


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
    drop = mean_level(plate.astype(np.float32) - frame)
    shadow = effect & (drop > MIN_CONTRAST / 2)
    hidden, limit = np.zeros_like(effect), np.ones(effect.shape, np.uint8)
    if shadow.any():
        box = _blurred_box(shadow)
        layers = (layer[box] for layer in (frame, plate, shadow * drop, shadow, ~(veto | effect)))
        hidden[box], limit[box] = _hidden_shadow(*layers)
    return shadow, hidden, limit


def _blurred_box(mask: FrameMask) -> tuple[slice, slice]:
    """Rectangle beyond which a blurred mask is 0, in steps in which OpenCV's blur gives the whole picture's bits."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    margin = math.ceil(4 * REACH_PX) + 4
    left, right = (max(x - margin, 0) // 32 * 32, -(-(x + width + margin) // 32) * 32)
    return slice(max(y - margin, 0), y + height + margin), slice(left, right)


def _hidden_shadow(
    frame: Image, plate: Image, depth: Float32[np.ndarray, "H W"], moving: FrameMask, eligible: FrameMask
) -> tuple[FrameMask, MatteImage]:
    """Pixels as dark in frame and plate alike as the moving shadow, and the level between shadow and light."""
    observed, lit = frame.astype(np.float32), plate.astype(np.float32)
    # The deep core of the shadow says more about its level than the soft border.
    weight = cv2.merge([np.maximum(_blur(depth), 1e-6)] * 3)
    depths = cv2.merge([depth] * 3)
    shadow, light = (mean_level(_blur(image * depths) / weight) for image in (observed, lit))
    contrast = light - shadow
    departure = mean_level(observed) - shadow
    as_dark = (departure < LIGHTER * contrast) & (departure > -DEEPER * contrast)
    dark = light - mean_level(lit) > contrast / 3
    close_by = (_blur(moving.astype(np.float32)) > 0.0005) & (contrast > MIN_CONTRAST)
    hidden = (as_dark & dark & close_by & eligible).view(np.uint8)
    limit = np.clip(np.rint(0.65 * light + 0.35 * shadow), 1, 254).astype(np.uint8)
    return cv2.morphologyEx(hidden, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, limit


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


def _blur(values: Float32[np.ndarray, "H W *C"]) -> Float32[np.ndarray, "H W *C"]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), REACH_PX))
