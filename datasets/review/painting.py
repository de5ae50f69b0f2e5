"""Masks that people paint on: their strokes as small pictures, and the masks with the strokes laid over.

A stroke of a frame is a grey picture of the mask's size: 255 where the mask is to be, 128 where it is not to be, 0
where it stays as it is. It travels as a PNG in base64.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np

from ...arrays import Matte, MatteImage
from ..store.decisions import Decision

ADD, ERASE = 255, 128
MAX_PICTURE_BYTES = 4 * 2**20


def encode_stroke(stroke: MatteImage) -> str:
    """A frame's stroke as a PNG in base64, the same for the same stroke."""
    _, png = cv2.imencode(".png", stroke, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return base64.b64encode(png.tobytes()).decode()


def decode_stroke(text: str, size: tuple[int, int]) -> MatteImage:
    """The stroke in a PNG, of which the first channel counts; pixels of other values than the three stay as they are.

    Raises:
        ValueError: it is no PNG of that height and width.
    """
    wrong = f"what was painted is no PNG of {size[0]}x{size[1]} pixels"
    try:
        png = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as broken:
        raise ValueError(wrong) from broken
    # Its size stands in its first bytes: a small file may unpack to a picture that fills the memory.
    sides = (int.from_bytes(png[20:24], "big"), int.from_bytes(png[16:20], "big"))
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or len(png) > MAX_PICTURE_BYTES or sides != size:
        raise ValueError(wrong)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8:
        raise ValueError(wrong)
    channel = picture if picture.ndim == 2 else picture[..., 2]  # OpenCV puts red third
    stroke: MatteImage = np.where((channel == ADD) | (channel == ERASE), channel, 0).astype(np.uint8)
    return stroke


def paint(mask: Matte, overlays: Iterable[Decision]) -> tuple[Matte, tuple[int, ...]]:
    """Lay people's strokes over a mask, in order; return it and the frames that were painted on, rising.

    Raises:
        ValueError: a stroke is of no frame of it, or of another size.
    """
    painted, frames = mask.copy(), set[int]()
    for overlay in overlays:
        for number, text in overlay.value["frames"].items():
            frame = int(number)
            if frame >= len(mask):
                raise ValueError(f"frame {frame} was painted on, but the clip has {len(mask)}")
            painted[frame] = lay_stroke(painted[frame], text)
            frames.add(frame)
    return painted, tuple(sorted(frames))


def lay_stroke(mask: MatteImage, text: str) -> MatteImage:
    """A frame's mask with a stroke over it.

    Raises:
        ValueError: the stroke is of another size.
    """
    stroke = decode_stroke(text, (mask.shape[0], mask.shape[1]))
    painted: MatteImage = np.where(stroke == ADD, 255, np.where(stroke == ERASE, 0, mask)).astype(np.uint8)
    return painted


def overlays_on(overlays: Iterable[Decision], layer: str, digest: str) -> list[Decision]:
    """Those painted on a layer whose stored bytes have that SHA-256."""
    return [overlay for overlay in overlays if (overlay.value["layer"], overlay.value["drawn_on"]) == (layer, digest)]


def canonical(value: Mapping[str, Any], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
    """A painting as it is kept: strokes as grey pictures, of painted frames alone.

    Raises:
        ValueError: nothing was painted, or on no frame of the clip.
    """
    strokes = {}
    for number, text in sorted(value["frames"].items(), key=lambda item: int(item[0])):
        if int(number) >= num_frames:
            raise ValueError(f"the clip has no frame {number}")
        stroke = decode_stroke(text, size)
        if stroke.any():
            strokes[str(int(number))] = encode_stroke(stroke)
    if not strokes:
        raise ValueError("nothing was painted; paint on a frame before you save")
    return {**value, "frames": strokes}
