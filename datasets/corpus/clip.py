"""One clip of a corpus: its words and numbers at hand, its layers decoded when they are looked at."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...arrays import Mask, Matte, Rgb
from ...untrusted_input import find_mismatch, parse_json, shortened
from ..store import codec
from .schema import LAYERS, MASK_LAYERS, TRUTH, TRUTH_LAYER, is_layer

RECORD_SHAPES: dict[str, Any] = {
    "settings": {"*?": object},
    "facts": {"*?": object},
    "captions": {
        "augmented?": [str],
        "models?": {"*": {"id": str}},
        "filled?": {"*": int},
        "effects?": {"source": str, "evidence?": [str], "hint?": [str]},
    },
}
"""Parts of the JSON texts of `provenance` that their readers count on."""


def record_fault(provenance: Mapping[str, Any], name: str) -> str | None:
    """Describe what is wrong with one of the JSON texts of `provenance`; None where all is well."""
    try:
        wrong = find_mismatch(parse_json(provenance[name] or "{}"), RECORD_SHAPES[name])
    except ValueError as problem:
        return f"provenance.{name} is no JSON object ({shortened(str(problem))})"
    return f"provenance.{name} has no {wrong}, or of another form" if wrong else None


@runtime_checkable
class ClipSource(Protocol):
    """Reader of a clip's layers."""

    def layer(self, layer: str) -> bytes | None:
        """The encoded video of a layer; None where there is none."""

    def frames(self, layer: str, start: int, count: int) -> Rgb | Matte | None:
        """Frames `[start, start + count)` of a layer, without reading the others; None where there is none."""


class Clip:
    """A row of the corpus.

    `clip.gt`, `clip.over`, `clip.background`, `clip.foreground` are uint8 `[T, H, W, 3]`; `clip.alpha` and
    `clip.subject_mask` uint8 `[T, H, W]`; `clip.effect_mask` bool `[T, H, W]`. A layer that the clip does not have
    (an unpaired clip has `gt` alone) is None. Each decodes on first access and is then kept. `clip.effect_truth` holds
    what a renderer knows of each effect by itself, uint8 `[T, H, W]` by its word; real clips have none.
    """

    gt: Rgb
    """The video with its effects."""
    over: Rgb | None
    """The subject over the clean plate, without effects."""
    background: Rgb | None
    """The clean plate."""
    foreground: Rgb | None
    """The subject with its attached effects."""
    alpha: Matte | None
    """The matte of the foreground."""
    subject_mask: Matte | None
    """The subject alone."""
    effect_mask: Mask | None
    """Mask of the effect."""

    def __init__(self, row: Mapping[str, Any], source: ClipSource, *, threads: int = 1) -> None:
        self.row = dict(row)
        self._source = source
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        # Plain columns read as attributes: clip.caption, clip.fps, clip.quality.
        row = self.__dict__.get("row", {})
        if name in row:
            return row[name]
        if row and name in LAYERS:
            frames = self.__dict__[name] = self.decode(name)
            return frames
        raise AttributeError(f"a clip has no '{name}'; it has {', '.join([*LAYERS, *row])}")

    def __repr__(self) -> str:
        shape = f"{self.row['num_frames']} frames of {self.row['height']}x{self.row['width']}"
        return f"<Clip {self.row['clip_id']}: {self.row['kind']}, {shape}, {self.row['fps']:g} fps>"

    @cached_property
    def effect_truth(self) -> dict[str, Matte]:
        """The renderer's own soft mask of each effect: 255 where it is as strong as in this clip, 0 where it is not.

        Empty where it is not known: real clips, and rendered ones that came as ready-made layers.
        """
        effects = [entry["effect"] for entry in self.row.get(TRUTH) or ()]
        return {effect: self.decode(f"{TRUTH_LAYER}{effect}") for effect in effects}  # type: ignore[misc]

    def truth_strength(self) -> Matte | None:
        """The strongest of the effects in each pixel by `effect_truth`, decoded anew; None where it is not known."""
        strongest: Matte | None = None
        for entry in self.row.get(TRUTH) or ():
            strength: Any = self.decode(f"{TRUTH_LAYER}{entry['effect']}")
            strongest = strength if strongest is None else np.maximum(strongest, strength)
        return strongest

    def record(self, name: str) -> dict[str, Any]:
        """Object in one of the JSON texts of `provenance`: settings, captions or facts; empty where it is null.

        Raises:
            ValueError: it is none, or of another form.
        """
        wrong = record_fault(self.row["provenance"], name)
        if wrong:
            raise ValueError(f"clip '{self.row['clip_id']}': {wrong}; see all that is wrong with: effectpairs verify")
        value: dict[str, Any] = parse_json(self.row["provenance"][name] or "{}")
        return value

    def encoded(self, layer: str) -> bytes | None:
        """The layer's video as it is stored, playable by ffmpeg; None where the clip has no such layer.

        Args:
            layer: its name; `effect_truth/EFFECT` is one effect's true mask.

        Raises:
            ValueError: layer is not the name of a layer.
        """
        return self._source.layer(_checked(layer))

    def frames(self, layer: str, start: int, count: int) -> Rgb | Matte | Mask | None:
        """Decode the frames `[start, start + count)` of a layer; the other frames are neither read nor decoded.

        They are those of the whole layer bit for bit. The layer stays open for the next run of its frames.

        Args:
            layer: its name; `effect_truth/EFFECT` is one effect's true mask.
            start: number of the first frame, from 0.
            count: frames to decode, at least 1.

        Raises:
            ValueError: there is no such layer, or not all of these frames.
        """
        length = self.row["num_frames"]
        if not 0 <= start < start + count <= length:
            raise ValueError(f"frames [{start}, {start + count}) are not in [0, {length}) of {self.row['clip_id']}")
        return _as_mask(layer, self._source.frames(_checked(layer), start, count))

    def decode(self, layer: str) -> Rgb | Matte | Mask | None:
        """Decode a layer anew; the attributes of the same names keep what they decoded."""
        video = self.encoded(layer)
        if video is None:
            return None
        return _as_mask(layer, codec.decode(video, threads=self._threads))


def _checked(layer: str) -> str:
    if not is_layer(layer):
        raise ValueError(f"'{layer}' is not a layer; the layers are {', '.join(LAYERS)}, {TRUTH_LAYER}EFFECT")
    return layer


def _as_mask(layer: str, frames: Rgb | Matte | None) -> Rgb | Matte | Mask | None:
    return frames > 127 if frames is not None and layer in MASK_LAYERS else frames
