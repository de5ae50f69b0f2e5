"""The shadow that the subject throws, contact shadow and ambient occlusion included."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .base import Track
from .ranges import STRICT, within
from .render_data import Medium


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """The subject keeps light from what lies behind it; without this effect it lets all light through."""

    __pydantic_config__ = STRICT
    kind: Literal["shadow"] = "shadow"
    softness_deg: float | None = None
    """How wide the sun is for this variant: 0.5 is hard, 15 a veiled sun; None keeps the scene's own."""

    def __post_init__(self) -> None:
        if self.softness_deg is not None:
            within(self, "softness_deg", 0.1, 60)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "shadow"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Nothing: a shadow needs no medium."""
        return ()

    def facts(self) -> dict[str, str | float]:
        """How hard its edge is."""
        if self.softness_deg is None:
            return {}
        edge = "crisp" if self.softness_deg < 1.5 else "soft" if self.softness_deg > 6 else "slightly soft"
        return {"edge": edge, "softness_deg": self.softness_deg}
