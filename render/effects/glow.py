"""Light that the subject sheds: a halo in the air around it, and light on what is near."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import STRICT, all_within, within
from .effect import Track
from .media import Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Glow:
    """A halo around a subject that shines."""

    __pydantic_config__ = STRICT
    kind: Literal["glow"] = "glow"
    colour: Colour = (1.0, 0.75, 0.4)
    """Of the halo."""
    strength: float = 1.0
    """1 is usual in dusk."""
    radius_m: float = 0.8
    """How far the halo reaches from the surface."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "strength", 0.01, 100)
        within(self, "radius_m", 0.05, 20)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "glow"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CastLight:
    """Light that falls from the subject on its surroundings."""

    __pydantic_config__ = STRICT
    kind: Literal["light"] = "light"
    colour: Colour = (1.0, 0.75, 0.4)
    """Of the light."""
    power_w: float = 60.0
    """Blender watts: 60 lights a room in dusk."""
    flicker: float = 0.0
    """How much it wavers, 0 to 1."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "power_w", 0.1, 100000)
        within(self, "flicker", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "light"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
