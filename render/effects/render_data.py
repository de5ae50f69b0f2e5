"""Media that effects are made of, as plain arrays that Blender turns into volumes, drops, sheets, water and lamps.

Also colours and their names, as captions use them.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float32

from ...settings import InRange

Colour = Annotated[tuple[float, float, float], InRange(0, 1)]
"""Red, green, blue in display space (sRGB), 0 to 1; the worker turns it into linear light."""
Spheres = Float32[np.ndarray, "_ 4"]
"""x, y, z and radius, in metres; the count differs from frame to frame and may be 0."""
Scalars = Float32[np.ndarray, "_"]
"""One number for each sphere of a frame."""
Displacements = Float32[np.ndarray, "_ 3"]
"""x, y, z, in metres, for each drop of a frame."""
NAMED_COLOURS: dict[str, Colour] = {
    "black": (0.06, 0.06, 0.06), "charcoal": (0.16, 0.16, 0.17), "dark grey": (0.28, 0.28, 0.28),
    "grey": (0.50, 0.50, 0.50), "light grey": (0.74, 0.74, 0.74), "white": (0.95, 0.95, 0.95),
    "red": (0.78, 0.12, 0.10), "dark red": (0.42, 0.07, 0.07), "rust-red": (0.62, 0.27, 0.15),
    "orange": (0.95, 0.52, 0.12), "amber": (0.98, 0.74, 0.36), "yellow": (0.93, 0.85, 0.20),
    "cream": (0.96, 0.91, 0.76), "sandy": (0.80, 0.69, 0.50), "tan": (0.64, 0.53, 0.40),
    "brown": (0.42, 0.29, 0.18), "dark brown": (0.23, 0.15, 0.10), "olive": (0.45, 0.45, 0.20),
    "green": (0.20, 0.58, 0.24), "dark green": (0.10, 0.28, 0.13), "teal": (0.10, 0.50, 0.50),
    "pale blue": (0.75, 0.86, 0.96), "blue": (0.16, 0.36, 0.80), "dark blue": (0.08, 0.14, 0.38),
    "purple": (0.46, 0.22, 0.62), "pink": (0.94, 0.55, 0.68),
}  # fmt: skip


def nearest_colour_name(colour: Colour) -> str:
    """Return the name nearest to a colour as an eye would judge: hue errors show more in saturated colours."""

    def difference(named: Colour) -> float:
        red, green, blue = (channel - named_channel for channel, named_channel in zip(colour, named, strict=True))
        mean_red = (colour[0] + named[0]) / 2  # an eye tells blues apart less well beside much red
        return (2 + mean_red) * red**2 + 4 * green**2 + (3 - mean_red) * blue**2

    return min(NAMED_COLOURS, key=lambda name: difference(NAMED_COLOURS[name]))


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Dust, smoke or a halo: soft spheres that melt into one volume."""

    frames: tuple[Spheres, ...]
    strength: tuple[Scalars, ...]
    """0 to 1 for each sphere: it thins out as it ages."""
    phase: tuple[Scalars, ...]
    """0 to 1 for each sphere, constant over its life: the piece of the noise that its wisps are cut from."""
    colour: Colour
    density: float
    """Optical density per metre in the middle of a sphere of strength 1."""
    grain_m: float
    """Size of the wisps that break the spheres up; 0 for a smooth halo."""
    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Velocity of the wisps through the spheres, m/s."""
    glow: float = 0.0
    """Light given off per unit of density; 0 for dust and smoke."""
    kind: Literal["cloud"] = "cloud"


@dataclass(frozen=True, kw_only=True)
class Drops:
    """Splashes and spray: small drops, drawn out along their path as an exposure draws them."""

    frames: tuple[Spheres, ...]
    moves: tuple[Displacements, ...]
    """Distance that each drop goes while the shutter is open."""
    colour: Colour
    clear: float
    """1 for water, 0 for mud and sand."""
    kind: Literal["drops"] = "drops"


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """Sheets of water that are thrown up and tear: the wall of a crown, the water that a bow turns over."""

    positions: Float32[np.ndarray, "T sheets rows columns 3"]
    """Points of each sheet, in metres; row 0 is its foot."""
    cover: Float32[np.ndarray, "T sheets rows columns"]
    """Coverage at each point: 1 is closed, 0 is no water."""
    colour: Colour
    clear: float
    """1 for water, 0 for mud and sand."""
    tear_m: float
    """Size of the holes that open in it."""
    kind: Literal["sheets"] = "sheets"


@dataclass(frozen=True, kw_only=True)
class Waves:
    """Height of disturbed water over a rectangle; outside it is calm. Replaces the calm water of the scene."""

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
    """Light that the subject casts around itself; the lamp itself is invisible."""

    at: Float32[np.ndarray, "T 3"]
    colour: Colour
    power_w: Float32[np.ndarray, "T"]
    radius_m: float
    kind: Literal["lamp"] = "lamp"


Medium = Cloud | Drops | Sheets | Waves | Lamp
SPHERE_VALUES = ("strength", "phase", "moves")
"""Fields with an array for each frame, beside the spheres of the frames."""


def medium_arrays(medium: Medium) -> dict[str, np.ndarray]:
    """Return a medium's arrays as its file holds them: the spheres of all frames in one row, with `ends` of frames."""
    if not isinstance(medium, Cloud | Drops):
        return {name: value for name, value in vars(medium).items() if isinstance(value, np.ndarray)}
    ends = np.cumsum([len(spheres) for spheres in medium.frames], dtype=np.int64)
    values = {name: np.concatenate(value) for name, value in vars(medium).items() if name in SPHERE_VALUES}
    return {"points": np.concatenate(medium.frames), "ends": ends, **values}


def medium_fields(medium: Medium) -> dict[str, Any]:
    """Return a medium's other fields, its kind included, as JSON values."""
    values = {name: value for name, value in vars(medium).items() if name not in ("frames", *SPHERE_VALUES)}
    return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
