"""What the flows ask of a text-to-video model: clips for prompts, each by its own seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ...arrays import Rgb

STRICT: Any = {"extra": "forbid"}
"""Settings with a key that nobody knows are refused."""


class ModelMissing(RuntimeError):
    """A model is on no disk of this machine; the message says where it was looked for and how to get it."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One clip that is wanted."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a model's clips are like; corpora want 8k+5 frames, and get as many of them as fit."""

    frames: int
    """T, 8k+5."""
    size: tuple[int, int]
    """Height and width."""
    fps: float


@dataclass(frozen=True, kw_only=True)
class GeneratedClips:
    """The clips of some shots, and what made them."""

    clips: tuple[Rgb, ...]
    """One for each shot, in its order, of the format's size and length."""
    model: str
    revision: str


@runtime_checkable
class TextToVideo(Protocol):
    """A text-to-video model. It IS its settings."""

    @property
    def batch(self) -> int:
        """How many shots it makes at once."""

    def format(self, frames: int, size: tuple[int, int]) -> Format:
        """What its clips will be like where so many frames of that size are wanted, at most."""

    def make(self, shots: Sequence[Shot], wanted: Format) -> GeneratedClips:
        """Clips for up to `batch` shots; on one machine the same shot gives the same clip, but for
        a rounding (a step of 255 at most was seen) where the shots made beside it differ.

        Raises:
            ModelMissing: the weights are not on this machine.
        """


def corpus_length(frames: int) -> int:
    """The longest length of a clip, 8k+5, that so many frames hold.

    Raises:
        ValueError: they hold none.
    """
    if frames < 5:
        raise ValueError(f"frames={frames} holds no clip: the shortest has 5 frames; ask for more")
    return (frames - 5) // 8 * 8 + 5
