"""What an effect is asked for: given how the subject moves, the media (dust, drops, waves, light) of every frame.

An effect IS its settings: a small frozen value in a scene's description. Its state is a pure function of that value and
the subject's track, in numpy alone, so that any frame can be drawn at any time, in any process, with the same bytes.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from .render_data import Medium

Rays = Literal["shadow", "reflection"]
"""How a subject acts on the scene around it without any medium."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The subject hits something: the start of dust, drops or rings."""

    frame: int
    at: tuple[float, float, float]
    """Where, in metres."""
    speed: float
    """How fast it met the other thing, along the normal, in m/s."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """How the subject moves, as an effect sees it. Metres and seconds; z is up, the ground or still water is z = 0."""

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


@runtime_checkable
class Effect(Protocol):
    """One effect of a scene's variant."""

    @property
    def kind(self) -> str:
        """Its name in a scene's JSON."""

    @property
    def word(self) -> str:
        """The word of the corpus's vocabulary (`datasets.schema.EFFECTS`) for it."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """What is to be drawn; empty for effects of rays alone."""

    def facts(self) -> dict[str, str | float]:
        """What a caption may say of it: colour and strength in words, numbers with their unit in the key."""
