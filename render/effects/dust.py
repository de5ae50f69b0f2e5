"""Dust that the subject whirls up as it moves over dry ground."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import STRICT, all_within, within
from .effect import Track
from .media import Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Dust:
    """A trail of dust behind the subject, or a burst where it hits the ground."""

    __pydantic_config__ = STRICT
    kind: Literal["dust"] = "dust"
    colour: Colour = (0.62, 0.52, 0.40)
    """Of the dust."""
    density: float = 1.5
    """Optical density per metre of a fresh puff: 0.3 is a haze, 6 hides what is behind."""
    spread_m: float = 0.6
    """How wide a puff grows, as a radius."""
    lasts_s: float = 2.0
    """How long a puff hangs."""
    amount: float = 1.0
    """Puffs for each metre travelled and for each hit, 1 is usual."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "density", 0.01, 50)
        within(self, "spread_m", 0.02, 20)
        within(self, "lasts_s", 0.1, 30)
        within(self, "amount", 0.05, 10)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "dust"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
