"""Choices of an export, and the limits within which a trainer takes clips."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["add", "remove"]
Row = dict[str, Any]
"""Entry of one exported clip: JSON, kept in the account of the export, of which the index is written."""
Files = Iterator[tuple[str, bytes]]
"""Paths below the export's folder, and what is in each; made one by one, so that one is in memory."""
CAPTIONS = re.compile(r"caption|dense|all|none|augmented-[1-9]\d?|text:.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Choices of an export; what is None is the format's own choice."""

    direction: Direction = "add"
    """add: from the video without its effect to the one with it. remove: the reverse."""
    caption: str | None = None
    """caption, dense, augmented-N (N from 1), all (the caption and every augmented one, where a format takes several),
    none (empty words), or text:WORDS, the same for each clip. None: caption, but for `remove` to a clean plate the
    text of a background, which trainers of object removal expect."""
    fps: float | None = None
    """Frames per second; 0 keeps each clip's own. Clips are never raised to a higher rate."""
    frames: int | None = None
    """Frames of each clip: longer ones are cut at their end, shorter ones left out. None: as many as a clip has."""
    size: tuple[int, int] | None = None
    """Height and width: clips are scaled to cover it and cropped; smaller ones are left out. None: each clip's own."""
    split: Literal["train", "validation", "test", "all"] | None = None
    storage: Literal["exact", "compact"] = "exact"
    """exact: lossless H.264 in RGB. compact: H.264 at crf 12, 4:2:0, which browsers play. Masks are lossless anyway."""
    alpha: Literal["straight", "premultiplied"] = "straight"
    """Colour of layers with an alpha, in format exr."""

    def __post_init__(self) -> None:
        if self.caption is not None and not CAPTIONS.fullmatch(self.caption):
            raise ValueError(
                f"caption={self.caption!r} is not caption, dense, all, none, augmented-N with N from 1, or text:WORDS"
            )
        if self.fps is not None and not 0 <= self.fps <= 240:
            raise ValueError(f"fps={self.fps} is not in [0, 240]; 0 keeps each clip's own rate")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames={self.frames} is not positive; leave it out to take as many as each clip has")
        if self.size is not None and min(self.size) < 2:
            raise ValueError(f"size={self.size} is too small; a side has at least 2 pixels")

    @property
    def input_layer(self) -> str:
        """Layer that a model sees."""
        return "over" if self.direction == "add" else "gt"

    def caption_choice(self, fit: "Fit") -> str:
        """`caption`, or what a format takes where nothing was chosen."""
        background = fit.background_text if self.direction == "remove" else ""
        return self.caption or (f"text:{background}" if background else "caption")

    @property
    def target_layer(self) -> str:
        """Layer that a model learns to make of it."""
        return "gt" if self.direction == "add" else "over"


@dataclass(frozen=True, kw_only=True)
class FrameRule:
    """Counts of frames that a model's autoencoder takes: `step` n + `remainder`, from `least` on."""

    step: int = 1
    remainder: int = 0
    least: int = 1

    def __str__(self) -> str:
        return (
            f"{self.step}k+{self.remainder} frames, from {self.least}" if self.step > 1 else f"from {self.least} frames"
        )

    def longest(self, available: int) -> int:
        """Longest count not above the available one; 0 where there is none."""
        count = available - (available - self.remainder) % self.step
        return count if count >= self.least else 0


ANY_LENGTH = FrameRule()
WAN_LENGTH = FrameRule(step=4, remainder=1, least=5)
"""Autoencoders of Wan 2.1 and CogVideoX make one latent frame of the first frame, and one of each four that follow."""
LTX_LENGTH = FrameRule(step=8, remainder=1, least=9)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Limits within which a trainer takes clips."""

    rule: FrameRule = WAN_LENGTH
    fps: float = 16.0
    """Rate by default; 0 keeps each clip's own."""
    multiple: int = 16
    """Number that height and width divide by; what sticks out is cropped on both sides."""
    keeps_splits: bool = False
    """Whether its files say which split a clip is of; others take the clips for training unless told otherwise."""
    several_captions: bool = False
    background_text: str = ""
    """Words for `remove` where its target is the clean plate; a caption tells of subject and effect, which are gone."""
    uniform: bool = False
    """Whether all clips must have one size and one rate."""
