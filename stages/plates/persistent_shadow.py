"""Shadow that lies on one place in nearly every frame, so that no plate can show it lit.

Such a place does not differ from the plate, yet it is as dark as the shadow that was found beside it, darker than the
lit ground there, and it fills a gap in the ground that the moving shadow swept over the clip. It is then known to be
shadow, though its light was hardly ever seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from ...arrays import Image, Mask, Matte, MatteImage, Rgb
from .registration import CameraPath

FrameMask = Bool[np.ndarray, "H W"]
REACH_PX = 16.0
"""Standard deviation of the window in which the shadow's and the light's level are measured."""
MIN_CONTRAST = 14.0
"""Between light and shadow, in levels: fainter shadows are not told from texture."""
LIGHTER, DEEPER = 0.5, 0.6
"""Farthest from the shadow's level, as shares of the contrast."""
MIN_SWEPT = 0.8
"""Of a patch, the share on ground that the moving shadow swept."""
MIN_PX = 12
"""Smaller patches say nothing."""
MIN_VOTES = 3
"""Frames that must find a place to be lasting shade; it is then shade in all of them."""
RIM_PX = 3
"""Lasting shade is widened by this much, for its soft rim, as far as that is not lit."""
STEP = 3
"""Every so many frames vote."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One frame's evidence."""

    moving: FrameMask
    """The shadow already known."""
    hidden: FrameMask
    """As dark as it, in frame and plate alike."""
    limit: MatteImage
    """The grey level that parts shadow from light, at least 1."""


def lasting_shade(frames: Rgb, plates: Rgb, effects: Mask, veto: Mask, camera: CameraPath) -> Matte:
    """Find the pixels that lie in the subject's shadow in nearly all frames that saw them.

    Args:
        frames: the clip, smoothed.
        plates: what the other frames saw at each frame's place.
        effects: the shadows and other effects already known.
        veto: where it cannot be: subjects, and places that some frame saw while the subject was out of reach.
        camera: the motion of the camera.

    Returns:
        0 elsewhere; there, the grey level that parts shadow from light.
    """
    looks = [_look(*frame) for frame in zip(frames, plates, effects, veto, strict=True)]
    shade = np.zeros(effects.shape, np.uint8)
    if not any(look.hidden.any() for look in looks):
        return shade
    moving = np.stack([look.moving for look in looks]).view(np.uint8)
    for frame, look in enumerate(looks):
        if look.hidden.any():
            swept = _swept(_seen_from(frame, moving, camera))
            shade[frame] = np.where(_within(look.hidden, swept), look.limit, 0)
    agreed = np.stack([_agreed(frame, shade, camera) for frame in range(len(frames))])
    agreed[veto | (frames.mean(axis=3, dtype=np.float32) >= agreed)] = 0
    # More lasting than moving shadow is no gap in it: then dark ground was taken for shade.
    return agreed if np.count_nonzero(agreed) <= np.count_nonzero(moving) else np.zeros_like(agreed)


def _look(frame: Image, plate: Image, effect: FrameMask, veto: FrameMask) -> _Look:
    seen, lit = frame.astype(np.float32), plate.astype(np.float32)
    drop = (lit - seen).mean(axis=2)
    moving = effect & (drop > MIN_CONTRAST / 2)
    # The deep core of the shadow says more about its level than the soft border.
    depth = (moving * drop)[..., None]
    weight = _blur(depth)
    shadow, light = ((_blur(image * depth) / np.maximum(weight, 1e-6)).mean(axis=2) for image in (seen, lit))
    contrast = light - shadow
    off = seen.mean(axis=2) - shadow
    alike = (off < LIGHTER * contrast) & (off > -DEEPER * contrast)
    dark = light - lit.mean(axis=2) > contrast / 3
    near = (_blur(moving.astype(np.float32)[..., None])[..., 0] > 0.0005) & (contrast > MIN_CONTRAST)
    hidden = (alike & dark & near & ~veto & ~effect).view(np.uint8)
    limit = np.clip(np.rint(0.65 * light + 0.35 * shadow), 1, 254).astype(np.uint8)
    return _Look(
        moving=moving, hidden=cv2.morphologyEx(hidden, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, limit=limit
    )


def _swept(votes: MatteImage) -> FrameMask:
    """The ground over which the moving shadow passed often, in broad patches, and what lies between these."""
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


def _within(hidden: FrameMask, swept: FrameMask) -> FrameMask:
    """The patches of hidden that lie for the most part on swept ground."""
    labels, number = ndimage.label(hidden, np.ones((3, 3), bool))
    area = np.bincount(labels.ravel(), minlength=number + 1)
    inside = np.bincount(labels[swept], minlength=number + 1)
    keep = (inside >= MIN_SWEPT * area) & (area >= MIN_PX)
    keep[0] = False
    return np.asarray(keep[labels])


def _seen_from(target: int, masks: Matte, camera: CameraPath) -> MatteImage:
    """How many of every STEP-th frame have something there, as the target frame sees it."""
    total = np.zeros(masks.shape[1:], np.uint8)
    for source in range(0, len(masks), STEP):
        if masks[source].any():
            total += _warped(masks[source], camera, source, target) > 0
    return total


def _agreed(target: int, shade: Matte, camera: CameraPath) -> MatteImage:
    """The lowest limit that the voting frames give, where enough of them vote and around there."""
    lowest, votes = np.full(shade.shape[1:], 255, np.uint8), np.zeros(shade.shape[1:], np.uint8)
    for source in range(0, len(shade), STEP):
        if shade[source].any():
            vote = _warped(shade[source], camera, source, target)
            votes += vote > 0
            lowest = np.where(vote > 0, np.minimum(vote, lowest), lowest)
    agreed = np.where(votes >= MIN_VOTES, lowest, 0).astype(np.uint8)
    return np.asarray(cv2.dilate(agreed, np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)))


def _warped(layer: MatteImage, camera: CameraPath, source: int, target: int) -> MatteImage:
    size = layer.shape[::-1]
    return np.asarray(cv2.warpPerspective(layer, camera.between(source, target), size, flags=cv2.INTER_NEAREST))


def _blur(values: Float32[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    blurred = cv2.GaussianBlur(values, (0, 0), REACH_PX)
    return np.asarray(blurred.reshape(values.shape))
