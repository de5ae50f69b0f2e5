"""What effects are made of, as plain arrays that Blender turns into volumes, drops, skins, water and lamps."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

Colour = tuple[float, float, float]
"""Red, green, blue in display space (sRGB), 0 to 1; the worker turns it into linear light."""
Points = Float32[np.ndarray, "_ 4"]
"""x, y, z and radius, in metres; how many differs from frame to frame and may be 0."""
Scalars = Float32[np.ndarray, "_"]
"""One number for each ball of a frame."""
Displacements = Float32[np.ndarray, "_ 3"]
"""x, y, z, in metres, for each drop of a frame."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Dust, smoke or a halo: soft balls that melt into one volume."""

    frames: tuple[Points, ...]
    strength: tuple[Scalars, ...]
    """Of each ball, 0 to 1: thins out as it ages."""
    phase: tuple[Scalars, ...]
    """Of each ball, 0 to 1, the same all its life: which piece of the noise its wisps are cut from."""
    colour: Colour
    density: float
    """Optical density per metre in the middle of a ball of strength 1."""
    grain_m: float
    """Size of the wisps that break the balls up; 0 for a smooth halo."""
    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the wisps travel through the balls, m/s."""
    glow: float = 0.0
    """Light given off per unit of density; 0 for dust and smoke."""
    kind: Literal["cloud"] = "cloud"


@dataclass(frozen=True, kw_only=True)
class Drops:
    """Splashes and spray: small drops, drawn out along their way as an exposure draws them."""

    frames: tuple[Points, ...]
    moves: tuple[Displacements, ...]
    """How far each drop goes while the shutter is open."""
    colour: Colour
    clear: float
    """1 for water, 0 for mud and sand."""
    kind: Literal["drops"] = "drops"


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """Skins of water that are thrown up whole and tear: the wall of a crown, what a bow turns over."""

    places: Float32[np.ndarray, "T skins rows columns 3"]
    """Of the points of each skin, in metres; row 0 is its foot."""
    cover: Float32[np.ndarray, "T skins rows columns"]
    """How whole the skin is there: 1 is closed, 0 is gone."""
    colour: Colour
    clear: float
    """1 for water, 0 for mud and sand."""
    tear_m: float
    """Size of the holes that open in it."""
    kind: Literal["sheets"] = "sheets"


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
    kind: Literal["waves"] = "waves"


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """Light that the subject casts around itself; the lamp itself is not seen."""

    at: Float32[np.ndarray, "T 3"]
    colour: Colour
    power_w: Float32[np.ndarray, "T"]
    radius_m: float
    kind: Literal["lamp"] = "lamp"


Medium = Cloud | Drops | Sheets | Waves | Lamp


def medium_arrays(medium: Medium) -> dict[str, np.ndarray]:
    """The arrays of a medium as its file holds them: the balls of all frames in one row, with the `ends` of frames."""
    if isinstance(medium, Cloud | Drops):
        ends = np.cumsum([len(points) for points in medium.frames], dtype=np.int64)
        joined = {"points": np.concatenate(medium.frames), "ends": ends}
        if isinstance(medium, Cloud):
            return joined | {"strength": np.concatenate(medium.strength), "phase": np.concatenate(medium.phase)}
        return joined | {"moves": np.concatenate(medium.moves)}
    return {name: value for name, value in _values(medium).items() if isinstance(value, np.ndarray)}


def medium_fields(medium: Medium) -> dict[str, Any]:
    """All else that Blender has to know of a medium, as JSON values, its kind included."""
    arrays = ("frames", "strength", "phase", "moves")
    values = _values(medium).items()
    return {name: value for name, value in values if name not in arrays and not isinstance(value, np.ndarray)}


def _values(medium: Medium) -> dict[str, Any]:
    return {field.name: getattr(medium, field.name) for field in fields(medium)}
