"""Drops that the subject throws up."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import STRICT, all_within, within
from .effect import Track
from .media import Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Splash:
    """Crowns of drops where the subject hits, and sheets at its sides where it ploughs through."""

    __pydantic_config__ = STRICT
    kind: Literal["splash"] = "splash"
    amount: float = 1.0
    """How many drops, 1 is usual."""
    speed_mps: float = 2.5
    """How fast the fastest leave."""
    drop_m: float = 0.02
    """Radius of the largest drops."""
    colour: Colour = (0.85, 0.92, 0.95)
    """Of the drops: water, mud, slush."""
    clear: float = 1.0
    """1 for water, 0 for mud and sand."""

    def __post_init__(self) -> None:
        within(self, "amount", 0.05, 10)
        within(self, "speed_mps", 0.1, 30)
        within(self, "drop_m", 0.002, 0.3)
        all_within(self, "colour", 0, 1)
        within(self, "clear", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "splash"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Spray:
    """A haze of fine drops around a fast subject."""

    __pydantic_config__ = STRICT
    kind: Literal["spray"] = "spray"
    amount: float = 1.0
    """How dense, 1 is usual."""
    speed_mps: float = 1.5
    """How fast it leaves."""

    def __post_init__(self) -> None:
        within(self, "amount", 0.05, 10)
        within(self, "speed_mps", 0.1, 30)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "spray"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
