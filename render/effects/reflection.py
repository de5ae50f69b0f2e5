"""The mirror image of the subject on wet or glossy ground, water, walls."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .base import Track
from .ranges import STRICT
from .render_data import Medium


@dataclass(frozen=True, kw_only=True)
class Reflection:
    """The subject shows in what mirrors; how clearly is a matter of the ground and walls of the scene."""

    __pydantic_config__ = STRICT
    kind: Literal["reflection"] = "reflection"

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "reflection"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Nothing: a mirror image needs no medium."""
        return ()

    def facts(self) -> dict[str, str | float]:
        """Nothing: what mirrors is a fact of the scene's ground and walls."""
        return {}
