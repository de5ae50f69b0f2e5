"""A clip to look at in a browser: its views in one small video, and its numbers frame by frame."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ...arrays import Image, Matte, Rgb
from ..gallery.thumbnails import GAIN, Corner, encode_mp4, jpeg, mosaic
from ..store import codec
from ..store.decisions import MENDABLE, Decision
from .painting import lay_stroke, overlays_on, paint

ReadLayer = Callable[[str], bytes | None]
"""From a layer's name to its encoded video; None where the clip has no such layer."""
WIDTH_PX = 400
"""Widest view of a film: one of 85 frames at 384x672 then takes 5.2 CPU s; pages ask for the next ones ahead."""
STILL_PX = 208
TRACKS = {
    "effect area": "%",
    "strength": "steps",
    "outside": "dB",
    "flicker": "%",
    "subject area": "%",
}
"""Numbers of a frame with their units: shares of the picture that effect and subject cover, mean difference of gt and
over inside the effect, their PSNR outside of effect and subject, share of the effect that came or went."""
EQUAL_DB = 99.0
"""Height at which equal pictures are drawn."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """A clip's views side by side as one video, so that they stay in step."""

    mp4: bytes
    corners: dict[str, Corner]
    """Left upper corner of each view by its name."""
    size: tuple[int, int]
    """Width and height of a view."""
    tracks: dict[str, list[float | None]]
    """Numbers by their name, one a frame; None where a frame has none."""
    masks: dict[str, str]
    """SHA-256 of the stored layers that may be painted on."""

    def values(self) -> dict[str, Any]:
        """All but the video as JSON values."""
        units = {name: TRACKS[name] for name in self.tracks}
        return {"views": self.corners, "size": self.size, "tracks": self.tracks, "units": units, "masks": self.masks}


def render_film(read: ReadLayer, fps: float, overlays: Sequence[Decision]) -> Film:
    """Decode a clip, with what people painted on its masks, into a film.

    Raises:
        ValueError: it has no gt, or a layer does not decode.
        OSError: a layer cannot be read.
    """
    layers: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for name in ("gt", "over", "background", *MENDABLE):
        content = read(name)
        if content is not None:
            layers[name] = codec.decode(content)
        if content is not None and name in MENDABLE:
            digests[name] = hashlib.sha256(content).hexdigest()
            layers[name], _ = paint(layers[name], overlays_on(overlays, name, digests[name]))
    if "gt" not in layers:
        raise ValueError("the clip has no gt; it is damaged")
    tracks = measure_frames(layers)
    height, width = layers["gt"].shape[1:3]
    scale = min(1.0, WIDTH_PX / width)
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    views: dict[str, Rgb] = {}
    for name in ("gt", "over", "difference", "background", *MENDABLE):
        if name == "difference" and "over" in layers:
            pairs = zip(layers["gt"], layers["over"], strict=True)
            views[name] = np.stack([cv2.multiply(_resize(cv2.absdiff(*pair), size), (GAIN,) * 4) for pair in pairs])
        elif name in layers:
            views[name] = np.stack([_resize(frame, size) for frame in layers[name]])
            layers[name] = layers[name] if name in ("gt", "over") else None
    frames, corners = mosaic(views, columns=3)
    return Film(mp4=encode_mp4(frames, fps=fps), corners=corners, size=size, tracks=tracks, masks=digests)


def measure_frames(layers: dict[str, Any]) -> dict[str, list[float | None]]:
    """Numbers of each frame of decoded layers, as `TRACKS` says; those that lack a layer are left out."""
    tracks: dict[str, list[float | None]] = {}
    effect, subject = layers.get("effect_mask"), layers.get("subject_mask")
    if subject is not None:
        tracks["subject area"] = [_rounded(100 * float(frame.mean()) / 255) for frame in subject]
    if effect is None:
        return tracks
    masks = effect > 127
    tracks["effect area"] = [_rounded(100 * float(mask.mean())) for mask in masks]
    tracks["flicker"] = [None, *(_change(*pair) for pair in pairwise(masks))]
    if "over" in layers and subject is not None:
        strengths: list[float | None] = []
        outside: list[float | None] = []
        for gt, over, mask, matte in zip(layers["gt"], layers["over"], masks, subject, strict=True):
            difference = cv2.absdiff(gt, over)
            strengths.append(_rounded(float(difference[mask].mean())) if mask.any() else None)
            errors = difference[~mask & (matte == 0)].astype(np.float32)
            error = float((errors**2).mean()) if errors.size else 0.0
            outside.append(_rounded(min(EQUAL_DB, 10 * np.log10(255**2 / error))) if error else EQUAL_DB)
        tracks |= {"strength": strengths, "outside": outside}
    return {name: tracks[name] for name in TRACKS if name in tracks}


def still(video: bytes, num_frames: int) -> bytes:
    """The middle frame of a layer, small, as JPEG.

    Raises:
        ValueError: it does not decode.
    """
    (frame,) = codec.VideoReader(io.BytesIO(video)).read(num_frames // 2, 1)
    scale = min(1.0, STILL_PX / frame.shape[1])
    return jpeg(_resize(frame, (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))))


def frame_png(video: bytes, frame: int, overlays: Sequence[Decision] = ()) -> bytes:
    """One frame of a layer as PNG, bit for bit, a mask with what people painted on it.

    Raises:
        ValueError: there is no such frame.
    """
    (picture,) = codec.VideoReader(io.BytesIO(video)).read(frame, 1)
    for overlay in overlays:
        if text := overlay.value["frames"].get(str(frame)):
            picture = lay_stroke(picture, text)
    _, png = cv2.imencode(
        ".png", picture if picture.ndim == 2 else picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    return bytes(png)


def _change(before: Any, after: Any) -> float:
    union = int((before | after).sum())
    return _rounded(100 * int((before ^ after).sum()) / union) if union else 0.0


def _resize(picture: Image | Any, size: tuple[int, int]) -> Rgb | Matte | Any:
    small = picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
