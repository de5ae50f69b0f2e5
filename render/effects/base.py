"""Interface of effects: from the subject's motion to the media (dust, drops, waves, light) of every frame.

An effect IS its settings: a small frozen value in a scene's description. Its media are a pure function of that value
and the subject's track, in numpy alone, so that any frame can be drawn at any time, in any process, with the same
bytes.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from .render_data import Medium

GRAVITY = 9.81
"""Metres a second squared, along -z."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The subject hits something: the start of dust, drops or rings."""

    frame: int
    at: tuple[float, float, float]
    """Position, in metres."""
    speed: float
    """Speed at which the two meet along the normal, in m/s."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """Motion of the subject, as effects need it. Metres and seconds; z is up, the ground or still water is z = 0."""

    foot: Float64[np.ndarray, "T 3"]
    """The point under the subject's middle at its lowest height."""
    velocity: Float64[np.ndarray, "T 3"]
    """Metres a second."""
    heading: Float64[np.ndarray, "T"]
    """Direction of the subject's front around z, radians; 0 looks along +x."""
    extent: tuple[float, float, float]
    """Length along the heading, width, height, in metres."""
    fps: float
    contacts: tuple[Contact, ...] = ()

    def __len__(self) -> int:
        return len(self.foot)

    @property
    def frame_times(self) -> Float64[np.ndarray, "T"]:
        """Time of each frame, in seconds."""
        return np.arange(len(self)) / self.fps


@runtime_checkable
class Effect(Protocol):
    """One effect of a scene's variant."""

    @property
    def kind(self) -> str:
        """Its name in a scene's JSON and in the corpus's vocabulary (`datasets.corpus.schema.EFFECTS`)."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return the media to draw; none for effects of light rays alone."""

    def facts(self) -> dict[str, str | float]:
        """Return facts for captions: colour and strength in words, numbers with their unit in the key."""
