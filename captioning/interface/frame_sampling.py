"""Which frames a model sees, and how they travel: chosen here, evenly over the whole clip, unscaled.

A processor that chooses by itself takes one frame a second, of an 85-frame clip five; and a video file would be decoded
by somebody else's codec. So the frames are picked by us and go in one by one, as pictures.
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np

from ...arrays import Rgb
from .captioner import ClipContext

FrameEncoding = Literal["video", "images"]
"""One video part of many JPEGs (vLLM), or an image part for each frame (every other endpoint)."""
QUALITY = 92
"""Of the JPEGs: high enough that soft shadows stay without blocks."""


def even_indices(count: int, at_most: int) -> list[int]:
    """Indices of at most at_most of count frames, evenly spaced, first and last among them; all, where they fit."""
    if at_most < 1:
        raise ValueError(f"max_frames={at_most} shows nothing; give at least 1")
    if count <= at_most:
        return list(range(count))
    if at_most == 1:
        return [count // 2]
    return [int(index) for index in np.rint(np.linspace(0, count - 1, at_most))]


def sample_frames(seen: ClipContext, at_most: int) -> ClipContext:
    """What a chatting model needs of seen, in a copy: the frames it would be shown, in the same time, and no layers.

    Holds none of a longer clip's memory, so that many clips can wait for an answer at once.
    """
    picked = even_indices(len(seen.gt), at_most)
    gt = seen.gt if len(picked) == len(seen.gt) else seen.gt[picked]  # picking copies
    fps = seen.fps * len(picked) / len(seen.gt)
    return replace(seen, gt=gt, fps=fps, over=None, subject_mask=None, effect_mask=None)


def encode_jpegs(frames: Rgb) -> list[bytes]:
    """Each frame as a JPEG of its own size.

    Raises:
        ValueError: a frame that no JPEG can hold (no pixels, or a side beyond 65,500).
    """
    jpegs = []
    for frame in frames:
        height, width = frame.shape[:2]
        if not (0 < height <= 65_500 and 0 < width <= 65_500):
            raise ValueError(f"a frame of {height}x{width} fits no JPEG; give sides from 1 to 65,500 pixels")
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        jpegs.append(jpeg.tobytes())
    return jpegs


def frame_parts(jpegs: Sequence[bytes], frame_encoding: FrameEncoding) -> list[dict[str, Any]]:
    """The frames as content parts of a chat message."""
    coded = [base64.b64encode(jpeg).decode() for jpeg in jpegs]
    if frame_encoding == "video":
        return [{"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(coded)}}]
    return [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg}"}} for jpeg in coded]
