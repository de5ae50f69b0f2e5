"""One clip of a corpus: its words and numbers at hand, its layers decoded when they are looked at."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ...arrays import Mask, Matte, Rgb
from ..store import codec
from .schema import LAYERS, MASK_LAYERS


class Clip:
    """A row of the corpus.

    `clip.gt`, `clip.over`, `clip.background`, `clip.foreground` are uint8 `[T, H, W, 3]`; `clip.alpha` and
    `clip.subject_mask` uint8 `[T, H, W]`; `clip.effect_mask` bool `[T, H, W]`. A layer that the clip does not have
    (an unpaired clip has `gt` alone) is None. Each decodes on first access and is then kept.
    """

    def __init__(self, row: Mapping[str, Any], fetch: Callable[[str], bytes | None], *, threads: int = 1) -> None:
        self.row = dict(row)
        self._fetch = fetch
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        # Plain columns read as attributes: clip.caption, clip.fps, clip.quality.
        row = self.__dict__.get("row", {})
        if name in row:
            return row[name]
        raise AttributeError(f"a clip has no '{name}'; it has {', '.join([*LAYERS, *row])}")

    def __repr__(self) -> str:
        shape = f"{self.row['num_frames']} frames of {self.row['height']}x{self.row['width']}"
        return f"<Clip {self.row['clip_id']}: {self.row['kind']}, {shape}, {self.row['fps']:g} fps>"

    def encoded(self, layer: str) -> bytes | None:
        """The layer's video as it is stored, playable by ffmpeg; None where the clip has no such layer.

        Raises:
            ValueError: layer is not the name of a layer.
        """
        if layer not in LAYERS:
            raise ValueError(f"'{layer}' is not a layer; the layers are {', '.join(LAYERS)}")
        return self._fetch(layer)

    def decode(self, layer: str) -> Rgb | Matte | Mask | None:
        """Decode a layer anew; the attributes of the same names keep what they decoded."""
        video = self.encoded(layer)
        if video is None:
            return None
        if layer in MASK_LAYERS:
            return codec.decode_mask(video, threads=self._threads)
        return codec.decode(video, threads=self._threads)

    @cached_property
    def gt(self) -> Rgb:
        """The video with its effects."""
        gt = self.decode("gt")
        assert gt is not None, "every clip has its gt"
        return gt

    @cached_property
    def over(self) -> Rgb | None:
        """The subject over the clean plate, without effects."""
        return self.decode("over")

    @cached_property
    def background(self) -> Rgb | None:
        """The clean plate."""
        return self.decode("background")

    @cached_property
    def foreground(self) -> Rgb | None:
        """The subject with its attached effects."""
        return self.decode("foreground")

    @cached_property
    def alpha(self) -> Matte | None:
        """The matte of the foreground."""
        return self.decode("alpha")

    @cached_property
    def subject_mask(self) -> Matte | None:
        """The subject alone."""
        return self.decode("subject_mask")

    @cached_property
    def effect_mask(self) -> Mask | None:
        """Mask of the effect."""
        return self.decode("effect_mask")
