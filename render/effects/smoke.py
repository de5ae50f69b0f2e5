"""Smoke that rises from the subject."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import STRICT, all_within, within
from .effect import Track
from .media import Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Smoke:
    """A plume that leaves the subject, rises and widens with the wind."""

    __pydantic_config__ = STRICT
    kind: Literal["smoke"] = "smoke"
    colour: Colour = (0.12, 0.12, 0.12)
    """Of the smoke."""
    density: float = 4.0
    """Optical density per metre of fresh smoke: 0.5 is thin, 10 is thick."""
    spread_m: float = 0.7
    """How wide a puff grows, as a radius."""
    rise_mps: float = 0.9
    """How fast it rises."""
    lasts_s: float = 3.0
    """How long a puff lasts."""
    wind: tuple[float, float] = (0.2, 0.0)
    """Along x and y, m/s."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "density", 0.01, 100)
        within(self, "spread_m", 0.02, 20)
        within(self, "rise_mps", -2, 20)
        within(self, "lasts_s", 0.1, 30)
        all_within(self, "wind", -30, 30)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "smoke"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
