"""Effects of light rays alone: the shadow that the subject casts, and its mirror image."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ...settings import CheckedSettings, InRange
from .base import Track
from .render_data import Medium


@dataclass(frozen=True, kw_only=True)
class Shadow(CheckedSettings):
    """The subject blocks light, contact shadow and ambient occlusion included; without this effect light passes it."""

    kind: Literal["shadow"] = "shadow"
    softness_deg: Annotated[float | None, InRange(0.1, 60)] = None
    """Width of the sun for this variant: 0.5 is hard, 15 a veiled sun; None keeps the scene's own."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return none: a shadow needs no medium."""
        return ()

    def facts(self) -> dict[str, str | float]:
        """Return the hardness of its edge."""
        if self.softness_deg is None:
            return {}
        edge = "crisp" if self.softness_deg < 1.5 else "soft" if self.softness_deg > 6 else "slightly soft"
        return {"edge": edge, "softness_deg": self.softness_deg}


@dataclass(frozen=True, kw_only=True)
class Reflection(CheckedSettings):
    """The subject's mirror image on wet or glossy ground, water, walls; these decide how clear it is."""

    kind: Literal["reflection"] = "reflection"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return none: a mirror image needs no medium."""
        return ()

    def facts(self) -> dict[str, str | float]:
        """Return none: the mirroring ground and walls are facts of the scene."""
        return {}
