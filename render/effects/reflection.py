"""The mirror image of the subject on wet or glossy ground, water, walls."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import all_within, within
from .effect import Track
from .media import Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """The subject shows in what mirrors; how clearly is a matter of the ground and walls of the scene."""

    kind: Literal["reflection"] = "reflection"

    def __post_init__(self) -> None:
        pass

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "reflection"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
