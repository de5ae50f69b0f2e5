"""Environment of a scene's bodies: ground, walls, sky and sun, and the camera.

Metres, degrees; z is up, the ground (or still water) is z = 0. Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from ...settings import CheckedSettings, InRange
from ..effects.render_data import Colour
from .objects import Degrees, Material, Position


@dataclass(frozen=True, kw_only=True)
class Ground(CheckedSettings):
    """The endless surface that everything stands, drives or floats on."""

    kind: Literal["dry", "wet", "puddles", "glossy", "water"] = "dry"
    """dry: the look as it is; wet: darker, with blurred mirror images; puddles: mirrors in patches; glossy: a polished
    floor; water: a calm lake of the look's colour."""
    look: Material = Material(kind="noise", colour=(0.45, 0.42, 0.38), second=(0.36, 0.33, 0.30), roughness=0.9)
    bumps_m: Annotated[float, InRange(0, 1)] = 0.0
    """Height of unevenness (sand, grass, gravel), or of the lake's own small waves, which do not move."""


@dataclass(frozen=True, kw_only=True)
class Wall(CheckedSettings):
    """An upright slab behind or beside the action."""

    at: Annotated[tuple[float, float], InRange(-1000, 1000)]
    """Its middle on the ground, x and y."""
    width_m: Annotated[float, InRange(0.1, 500)] = 6.0
    height_m: Annotated[float, InRange(0.1, 200)] = 3.0
    heading_deg: Degrees = 90.0
    """Direction that it faces."""
    look: Material = Material(kind="bricks", colour=(0.5, 0.3, 0.25), second=(0.6, 0.58, 0.55), roughness=0.8)


@dataclass(frozen=True, kw_only=True)
class Sky(CheckedSettings):
    """Light from everywhere, and the picture behind everything."""

    kind: Literal["plain", "gradient", "hdri"] = "gradient"
    colour: Colour = (0.75, 0.83, 0.95)
    """plain: all of it; gradient: at the horizon."""
    zenith: Colour = (0.35, 0.55, 0.88)
    hdri: str | None = None
    """city, courtyard, forest, interior, night, studio, sunrise, sunset (these come with Blender), or a file's path."""
    strength: Annotated[float, InRange(0, 100)] = 1.0
    turned_deg: Degrees = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.kind == "hdri") != (self.hdri is not None):
            raise ValueError("sky.kind='hdri' and sky.hdri go together; name one, e.g. sunset, or leave both out")


@dataclass(frozen=True, kw_only=True)
class Sun(CheckedSettings):
    """The one directional light."""

    elevation_deg: Annotated[float, InRange(1, 90)] = 40.0
    azimuth_deg: Degrees = 130.0
    """Counter-clockwise from +x."""
    strength: Annotated[float, InRange(0, 100)] = 3.0
    """Watts per square metre; 0 is an overcast day."""
    softness_deg: Annotated[float, InRange(0.1, 60)] = 1.0
    """Angular width of its disc: shadows' edges grow with it."""
    colour: Colour = (1.0, 0.96, 0.9)


@dataclass(frozen=True, kw_only=True)
class Camera(CheckedSettings):
    """Position, aim and movement of the camera."""

    kind: Literal["still", "pan", "handheld", "follow"] = "still"
    at: Position = (0.0, -7.0, 2.0)
    look_at: Position = (0.0, 0.0, 0.5)
    focal_mm: Annotated[float, InRange(8, 400)] = 35.0
    """On a sensor 36 mm wide."""
    amount: Annotated[float, InRange(-180, 180)] = 1.0
    """pan: degrees a second; handheld: 1 is a calm hand; follow: 1 keeps the subject in the middle, 0 stays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at == self.look_at:
            raise ValueError(f"camera.at and camera.look_at are both {self.at}; a camera must look somewhere else")
