"""Water that the subject disturbs: the wake behind a hull, rings around what bobs or falls in."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ranges import STRICT, within
from .effect import Track
from .media import Medium


@dataclass(frozen=True, kw_only=True)
class Wake:
    """A V of waves behind a subject that travels on water."""

    __pydantic_config__ = STRICT
    kind: Literal["wake"] = "wake"
    height_m: float = 0.05
    """Of the highest wave."""
    turbulence: float = 0.2
    """Churned, foaming water behind the subject: 0 none, 1 all white."""

    def __post_init__(self) -> None:
        within(self, "height_m", 0.001, 2)
        within(self, "turbulence", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "wake"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Ripple:
    """Rings that run out from where the subject touches the water."""

    __pydantic_config__ = STRICT
    kind: Literal["ripple"] = "ripple"
    height_m: float = 0.02
    """Of the highest ring."""
    length_m: float = 0.25
    """From crest to crest."""

    def __post_init__(self) -> None:
        within(self, "height_m", 0.001, 1)
        within(self, "length_m", 0.02, 10)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "ripple"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """To come."""
        raise NotImplementedError

    def facts(self) -> dict[str, str | float]:
        """To come."""
        raise NotImplementedError
