"""What effects are made of, frame by frame, as plain arrays that Blender turns into volumes, spheres, water and lamps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

Colour = tuple[float, float, float]
"""Red, green, blue in display space (sRGB), 0 to 1; the worker turns it into linear light."""
Points = Float32[np.ndarray, "N 4"]
"""x, y, z and radius, in metres; N differs from frame to frame and may be 0."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Dust or smoke: soft balls that melt into one volume."""

    frames: tuple[Points, ...]
    strength: tuple[Float32[np.ndarray, "N"], ...]
    """Of each ball, 0 to 1: thins out as it ages."""
    colour: Colour
    density: float
    """Optical density per metre in the middle of a ball of strength 1."""
    grain_m: float
    """Size of the wisps that break the balls up."""
    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the wisps travel, m/s."""
    glow: float = 0.0
    """Light given off per unit of density; 0 for dust and smoke."""


@dataclass(frozen=True, kw_only=True)
class Drops:
    """Splashes and spray: small balls."""

    frames: tuple[Points, ...]
    colour: Colour
    clear: float
    """1 for water, 0 for mud and sand."""


@dataclass(frozen=True, kw_only=True)
class Waves:
    """The height of disturbed water over a rectangle; outside it is calm. Replaces the calm water of the scene."""

    heights: Float32[np.ndarray, "T rows columns"]
    """Metres; rows along y, columns along x; 0 at the rim."""
    origin: tuple[float, float]
    """x and y of the first row's first column."""
    step_m: float
    """Distance between neighbours."""
    foam: Float32[np.ndarray, "T rows columns"] | None = None
    """Share of white water, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """Light that the subject casts around itself; the lamp itself is not seen."""

    at: Float32[np.ndarray, "T 3"]
    colour: Colour
    power_w: Float32[np.ndarray, "T"]
    radius_m: float


Medium = Cloud | Drops | Waves | Lamp
