"""Linear light to layers: the subject over its clean plate as a camera would see it, and each variant's `gt`.

All layers of a frame come from passes of one seed, so their noise is the same and goes away where they are compared.
With B the background, F and a the subject's premultiplied colour and coverage, W everything of a variant:

    background = B        over = F + (1 − a) B        gt = W        subject_mask = a        foreground = F / a

each encoded for the screen once, at the end. A variant with a sun of its own would light the whole scene anew; the
change that its effects make to the light of its own plate P is carried over to the shared one: gt = F + (W − F) B / P.

If the subject covers a pixel completely and nothing (no smoke, no drop) lies before it, gt is over, bit for bit: its
denoised pixels differ from pass to pass by noise alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ...arrays import Image, MatteImage
from ..blender.exr_frames import Cover, FrameFiles, Light, Part

Linear = Float32[np.ndarray, "... 3"]
Display8 = UInt8[np.ndarray, "... 3"]

VERSION = 3
"""Raise it when results change; stored results of older versions are then made again."""

OPAQUE = 255
FRONT_GAIN = 8.0
"""Factor on the coverage by smoke or drops: from an eighth on, a pixel of the subject is the variant's own; below, it
fades."""
TRUSTED_COVER = 0.05
"""Less coverage than this does not tell the subject's colour: half floats divided by next to nothing."""
BLEED_PX = 4.0
"""Distance to which the subject's colour goes on beyond its edge."""
DARKEST = 1e-3
"""Light of a plate below which a ratio of two plates says nothing."""
COMPARISON_PX = 7
"""Width of the square over which a variant's picture and its own plate are compared."""
TOLERANCE = 0.02
"""Share of the light by which they may differ there without an effect; from twice that on it is one."""


@dataclass(frozen=True, kw_only=True)
class SharedFrame:
    """Light and layers of one frame that all variants of a scene share."""

    plate: Light
    subject: Light
    """Premultiplied."""
    cover: Cover
    background: Image
    foreground: Image
    subject_mask: MatteImage
    over: Image
    """Composed in linear light."""


def compose_shared_frame(files: FrameFiles, frame: int) -> SharedFrame:
    """Compose the layers of a frame that the variants share.

    Raises:
        ValueError: a pass has a value that is not finite.
        CorruptFrame: a frame file is missing or damaged.
    """
    plate = files.light("background", frame)
    subject, cover = files.layer("subject", frame)
    return SharedFrame(
        plate=plate,
        subject=subject,
        cover=cover,
        background=encode(plate),
        foreground=unpremultiply(subject, cover),
        subject_mask=np.rint(cover * OPAQUE).astype(np.uint8),
        over=encode(subject + (1 - cover[..., None]) * plate),
    )


def compose_gt(shared: SharedFrame, light: Light, plate: Light | None, front: Cover, over: Image) -> Image:
    """Compose a variant's frame with its effects.

    Args:
        shared: the shared layers of the frame.
        light: the variant's pass.
        plate: the clean plate under the variant's own sun, if it has one.
        front: coverage by what lies before the subject, or zeros.
        over: the frame without effects that gt must equal inside the subject.
    """
    light = light if plate is None else relight(shared, light, plate)
    picture = encode(light)
    share = np.where(shared.subject_mask < OPAQUE, np.float32(1), front_share(front))
    covered = share < 1
    if covered.any():
        calm = decode(over[covered])
        mixed = encode(calm + share[covered][:, None] * (light[covered] - calm))
        picture[covered] = np.where(share[covered][:, None] > 0, mixed, over[covered])
    return picture


def relight(shared: SharedFrame, light: Light, plate: Light) -> Light:
    """Apply to the shared plate what a variant's effects do to its own; pixels without effect keep the shared plate."""
    behind, uncovered = np.maximum(light - shared.subject, 0), 1 - shared.cover[..., None]
    ratio = np.where(plate > DARKEST, shared.plate / np.maximum(plate, DARKEST), np.float32(1))
    # A small plate misses the edges of other things' shadows by a little, on the average of some pixels by nothing.
    averages = [cv2.blur(part, (COMPARISON_PX, COMPARISON_PX)) for part in (behind, uncovered * plate)]
    change = (np.abs(averages[0] - averages[1]) / np.maximum(averages[1], DARKEST)).max(axis=2, keepdims=True)
    touched = np.clip((change - TOLERANCE) / TOLERANCE, 0, 1).astype(np.float32)
    return np.asarray(shared.subject + touched * behind * ratio + (1 - touched) * uncovered * shared.plate)


def enlarge_plate(shared: SharedFrame, plate: Part) -> Light:
    """Bring a variant's plate under its own sun to full size; a smaller one gives the shared plate its light alone."""
    if plate.shape == shared.plate.shape:
        return plate
    small = cv2.resize(shared.plate, plate.shape[1::-1], interpolation=cv2.INTER_AREA)
    ratio = np.where(small > DARKEST, plate / np.maximum(small, DARKEST), np.float32(1))
    wide = cv2.resize(ratio, shared.plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(shared.plate * wide)


def front_share(front: Cover) -> Cover:
    """Share of each of the subject's pixels that is a variant's own: what lies before them, amplified."""
    return np.asarray(np.minimum(front * np.float32(FRONT_GAIN), np.float32(1)))


def unpremultiply(premultiplied: Light, cover: Cover) -> Image:
    """Return the subject's straight colour; of pixels that it hardly covers, the colour of the nearest that it does.

    Beyond BLEED_PX from it, where no resampling reaches, it is black.
    """
    trusted = cover >= TRUSTED_COVER
    colour = np.zeros(premultiplied.shape, np.uint8)
    if not trusted.any():
        return colour
    colour[trusted] = encode(premultiplied[trusted] / cover[trusted][:, None])
    distance, labels = cv2.distanceTransformWithLabels(
        (~trusted).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    by_label[labels[trusted]] = colour[trusted]
    filled: Image = by_label[labels]
    filled[distance > BLEED_PX] = 0
    return filled


def to_display(light: Linear) -> Linear:
    """Linear light to display values from 0 to 255 by sRGB's curve, clipped, not rounded."""
    clipped = np.clip(light, 0, 1).astype(np.float32, copy=False)
    curved = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * np.power(clipped, 1 / 2.4) - 0.055)
    return np.asarray((curved * 255).astype(np.float32, copy=False))


def encode(light: Linear) -> Display8:
    """Linear light to display values, rounded to the nearest 8-bit value."""
    return np.asarray(np.rint(to_display(light)).astype(np.uint8))


def decode(display: Display8) -> Linear:
    """8-bit display values to linear light; `encode` gives each value back."""
    return np.asarray(_LINEAR[display])


_STEPS = np.arange(256) / 255
_LINEAR = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""Linear light of every 8-bit display value."""
FIREFLY_RATIO = 3.0
FIREFLY_STEP = 0.2
FIREFLY_CROWD = 2
"""More bright pixels than these in 5x5 are a highlight or a drop, not a lost path of light."""


def count_fireflies(light: Light) -> int:
    """Count pixels that shine alone: far brighter, on the screen, than the median of the 25 around them."""
    brightness = np.ascontiguousarray(np.clip(light, 0, 1).max(axis=2))
    around = cv2.medianBlur(brightness, 5)
    bright = (brightness > np.float32(FIREFLY_RATIO) * around + np.float32(FIREFLY_STEP)).view(np.uint8)
    crowd = cv2.boxFilter(bright, cv2.CV_32S, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return int(np.count_nonzero(bright.view(bool) & (crowd <= FIREFLY_CROWD)))
