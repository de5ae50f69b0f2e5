"""OpenEXR for compositors: one multi-layer file a frame, in linear light, and a timeline of all clips.

CLIP/CLIP.1001.exr, ...: channels R, G, B are gt; over.R, background.R, ... the other layers; subject_mask.A,
effect_mask.A and effect_truth_EFFECT.A are coverage from 0 to 1. Where a clip has an alpha, foreground.A is it, and
foreground's colour is premultiplied by it or straight, as asked. Colour is 8-bit sRGB made linear, with the primaries
of Rec. 709; half floats hold it finely enough that every 8-bit value comes back, premultiplied or not.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from ...extras import require
from ..corpus.schema import TRUTH_LAYER
from ..store.atomic_io import CannotWrite
from .fitting import ExportClip
from .neutral import describe
from .settings import ANY_LENGTH, ExportSettings, Files, Fit, Row

FIRST_FRAME = 1001
"""Number of the first frame, as is usual with shots."""
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
COLOUR = ("gt", "over", "background", "foreground")
Channel = Float16[np.ndarray, "h w"]


def _linear() -> Float32[np.ndarray, "256"]:
    """Linear light of each 8-bit value by IEC 61966-2-1."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


LINEAR = _linear()


@dataclass(frozen=True, kw_only=True)
class Exr:
    """Multi-layer sequences and an OpenTimelineIO file."""

    name: str = "exr"
    reader: str = "Nuke, Fusion, Blender and other compositors"
    fit: Fit = Fit(rule=ANY_LENGTH, fps=0.0, multiple=1, keeps_splits=True)
    archive_clips: int = 0

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield one file a frame."""
        for package in ("OpenEXR", "opentimelineio"):  # the second is needed at the end, and missed now
            require(package, extra="compositing")
        layers = {name: clip.frames(name) for name in (*COLOUR, "subject_mask", "effect_mask")}
        if clip.has("alpha"):
            layers["alpha"] = clip.frames("alpha")
        for effect in (entry["effect"] for entry in clip.row.get("effect_truth") or ()):
            layers[f"{TRUTH_LAYER}{effect}"] = clip.frames(f"{TRUTH_LAYER}{effect}")
        for number in range(clip.num_frames):
            channels = _channels({name: frames[number] for name, frames in layers.items()}, settings.alpha)
            yield f"{clip.clip_id}/{clip.clip_id}.{FIRST_FRAME + number}.exr", _exr_bytes(channels)

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the clip's words and numbers."""
        return describe(clip, settings)

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield the timeline: the clips one after the other, their words as metadata."""
        otio = require("opentimelineio", extra="compositing")
        timeline = otio.schema.Timeline(name=folder.name)
        track = otio.schema.Track(name="gt", kind=otio.schema.TrackKind.Video)
        timeline.tracks.append(track)
        for row in rows:
            rate, name = row["fps"], row["clip_id"]
            span = otio.opentime.TimeRange(
                otio.opentime.RationalTime(FIRST_FRAME, rate), otio.opentime.RationalTime(row["num_frames"], rate)
            )
            reference = otio.schema.ImageSequenceReference(
                target_url_base=f"{name}/",
                name_prefix=f"{name}.",
                name_suffix=".exr",
                start_frame=FIRST_FRAME,
                frame_zero_padding=4,
                rate=rate,
                available_range=span,
            )
            words = {"effectpairs": {**row, "alpha": settings.alpha}}
            clip = otio.schema.Clip(name=name, media_reference=reference, source_range=span, metadata=words)
            track.append(clip)
        yield "timeline.otio", timeline.to_json_string().encode()

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return what to open."""
        return f"open {folder / 'timeline.otio'}; colour is linear Rec. 709, {settings.alpha}"


def _channels(layers: dict[str, UInt8[np.ndarray, "h w *c"] | Any], association: str) -> dict[str, Channel]:
    """Channels of one frame by their name in the file."""
    channels: dict[str, Channel] = {}
    alpha = layers.get("alpha")
    for name, pixels in layers.items():
        if name in COLOUR:
            light = LINEAR[pixels]
            if name == "foreground" and alpha is not None and association == "premultiplied":
                light = light * (alpha[..., None] / np.float32(255))
            prefix = "" if name == "gt" else f"{name}."
            channels |= {f"{prefix}{sign}": light[..., index].astype(np.float16) for index, sign in enumerate("RGB")}
        else:
            layer = "foreground" if name == "alpha" else name.replace("/", "_").replace(".", "_")
            cover = pixels.astype(np.float32) if pixels.dtype == bool else pixels / np.float32(255)
            channels[f"{layer}.A"] = cover.astype(np.float16)
    return channels


def _exr_bytes(channels: dict[str, Channel]) -> bytes:
    """One file's bytes; the library writes to paths alone."""
    exr = require("OpenEXR", extra="compositing")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage, "chromaticities": REC709}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "frame.exr")
        try:
            exr.File(header, {name: np.ascontiguousarray(plane) for name, plane in channels.items()}).write(str(path))
        except RuntimeError as problem:
            raise CannotWrite(
                None, f"{folder}: no EXR file can be written there ({problem}); free some space"
            ) from problem
        return path.read_bytes()
