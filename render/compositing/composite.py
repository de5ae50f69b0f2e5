"""Linear light to layers: the subject over its clean plate as a camera would see it, and each variant's `gt`.

All layers of a frame come from passes of one seed, so their noise is the same and goes away where they are compared.
With B the background, F and a the subject's premultiplied colour and coverage, W everything of a variant:

    background = B        over = F + (1 − a) B        gt = W        subject_mask = a        foreground = F / a

each encoded for the screen once, at the end. A variant with a sun of its own would light the whole scene anew; what its
effects do to the light of its own plate P is carried over to the shared one: gt = F + (W − F) B / P.

Where the subject covers a pixel wholly and nothing (no smoke, no drop) lies before it, gt is over, bit for bit: its
denoised pixels differ from pass to pass by noise alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ...arrays import Image, MatteImage
from ..blender.exr_frames import Cover, FrameFiles, Light, Part

Linear = Float32[np.ndarray, "... 3"]
Shown = UInt8[np.ndarray, "... 3"]

VERSION = 3
"""Raise it when results change; stored results of older versions are then made again."""

OPAQUE = 255
FRONT_GAIN = 8.0
"""Coverage by smoke or drops from which a pixel of the subject is all the variant's own: an eighth. Below, it fades."""
TRUSTED_COVER = 0.05
"""Less coverage than this does not tell the subject's colour: half floats divided by next to nothing."""
BLEED_PX = 4.0
"""How far the subject's colour goes on beyond its edge."""
DARKEST = 1e-3
"""Light of a plate below which a ratio of two plates says nothing."""
AROUND_PX = 7
"""Width of the square over which a variant's picture and its own plate are compared."""
UNTOUCHED = 0.02
"""Share of the light by which they may differ there without an effect; from twice that on it is one."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What all variants of a scene share in one frame."""

    plate: Light
    subject: Light
    """Premultiplied."""
    cover: Cover
    background: Image
    foreground: Image
    subject_mask: MatteImage
    over: Image
    """Composed in linear light."""


def base(files: FrameFiles, frame: int) -> Base:
    """Compose what the variants share.

    Raises:
        ValueError: a pass has a value that is not finite.
        CorruptFrame: a frame file is missing or damaged.
    """
    plate = files.light("background", frame)
    subject, cover = files.layer("subject", frame)
    return Base(
        plate=plate,
        subject=subject,
        cover=cover,
        background=encode(plate),
        foreground=straight(subject, cover),
        subject_mask=np.rint(cover * OPAQUE).astype(np.uint8),
        over=encode(subject + (1 - cover[..., None]) * plate),
    )


def gt(shared: Base, whole: Light, own_plate: Light | None, before: Cover, over: Image) -> Image:
    """A variant's frame with its effects.

    Args:
        shared: of the same frame.
        whole: the variant's own pass.
        own_plate: the clean plate under the variant's own sun, where it has one.
        before: coverage by what lies before the subject, or zeros.
        over: the frame without effects that gt must equal inside the subject.
    """
    light = whole if own_plate is None else relit(shared, whole, own_plate)
    picture = encode(light)
    share = np.where(shared.subject_mask < OPAQUE, np.float32(1), ahead(before))
    covered = share < 1
    if covered.any():
        calm = decode(over[covered])
        mixed = encode(calm + share[covered][:, None] * (light[covered] - calm))
        picture[covered] = np.where(share[covered][:, None] > 0, mixed, over[covered])
    return picture


def relit(shared: Base, whole: Light, own_plate: Light) -> Light:
    """What a variant's effects do to its own plate, done to the shared one; where they do nothing it is left alone."""
    behind, seen = np.maximum(whole - shared.subject, 0), 1 - shared.cover[..., None]
    ratio = np.where(own_plate > DARKEST, shared.plate / np.maximum(own_plate, DARKEST), np.float32(1))
    # A small plate misses the edges of other things' shadows by a little, on the average of some pixels by nothing.
    calm = [cv2.blur(light, (AROUND_PX, AROUND_PX)) for light in (behind, seen * own_plate)]
    change = (np.abs(calm[0] - calm[1]) / np.maximum(calm[1], DARKEST)).max(axis=2, keepdims=True)
    touched = np.clip((change - UNTOUCHED) / UNTOUCHED, 0, 1).astype(np.float32)
    lit: Light = shared.subject + touched * behind * ratio + (1 - touched) * seen * shared.plate
    return lit


def own_plate(shared: Base, drawn: Part) -> Light:
    """A variant's plate under its own sun; drawn smaller, it lends the shared plate its light and no more.

    Args:
        shared: of the same frame.
        drawn: as it was drawn, at whatever size.
    """
    if drawn.shape == shared.plate.shape:
        return drawn
    small = cv2.resize(shared.plate, drawn.shape[1::-1], interpolation=cv2.INTER_AREA)
    ratio = np.where(small > DARKEST, drawn / np.maximum(small, DARKEST), np.float32(1))
    wide = cv2.resize(ratio, shared.plate.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    lit: Light = shared.plate * wide
    return lit


def ahead(before: Cover) -> Cover:
    """How much of the subject's pixels is a variant's own: what lies before them, amplified."""
    share: Cover = np.minimum(before * np.float32(FRONT_GAIN), np.float32(1))
    return share


def straight(premultiplied: Light, cover: Cover) -> Image:
    """The subject's own colour, not premultiplied; where it hardly is, that of the nearest pixel where it is.

    Beyond BLEED_PX from it, where no resampling reaches, it is black.
    """
    trusted = cover >= TRUSTED_COVER
    colour = np.zeros(premultiplied.shape, np.uint8)
    if not trusted.any():
        return colour
    colour[trusted] = encode(premultiplied[trusted] / cover[trusted][:, None])
    far, labels = cv2.distanceTransformWithLabels(
        (~trusted).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    by_label[labels[trusted]] = colour[trusted]
    filled: Image = by_label[labels]
    filled[far > BLEED_PX] = 0
    return filled


def display(light: Linear) -> Linear:
    """Linear light to display values from 0 to 255 by sRGB's curve, clipped, not rounded."""
    clipped = np.clip(light, 0, 1).astype(np.float32, copy=False)
    curved = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * np.power(clipped, 1 / 2.4) - 0.055)
    values: Linear = (curved * 255).astype(np.float32, copy=False)
    return values


def encode(light: Linear) -> Shown:
    """The same, rounded to the nearest 8-bit value."""
    rounded: Shown = np.rint(display(light)).astype(np.uint8)
    return rounded


def decode(shown: Shown) -> Linear:
    """8-bit display values to linear light; `encode` gives each value back."""
    light: Linear = _LINEAR[shown]
    return light


def _curve() -> Float32[np.ndarray, "256"]:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _curve()


FIREFLY_RATIO = 3.0
FIREFLY_STEP = 0.2
FIREFLY_CROWD = 2
"""More bright pixels than these in 5x5 are a highlight or a drop, not a lost path of light."""


def fireflies(light: Light) -> int:
    """How many pixels shine alone: far brighter, on the screen, than the median of the 25 around them."""
    shown = np.ascontiguousarray(np.clip(light, 0, 1).max(axis=2))
    around = cv2.medianBlur(shown, 5)
    bright = (shown > np.float32(FIREFLY_RATIO) * around + np.float32(FIREFLY_STEP)).view(np.uint8)
    crowd = cv2.boxFilter(bright, cv2.CV_32S, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return int(np.count_nonzero(bright.view(bool) & (crowd <= FIREFLY_CROWD)))
