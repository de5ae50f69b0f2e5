"""What surrounds a scene's bodies: the ground, walls, the sky and its sun, and the camera that looks at them.

Metres, degrees; z is up, the ground (or still water) is z = 0. Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from typing import Literal

from ..effects.ranges import STRICT, all_within, within
from ..effects.render_data import Colour
from .objects import Material, Vec3


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What everything stands, drives or floats on; endless."""

    __pydantic_config__ = STRICT
    kind: Literal["dry", "wet", "puddles", "glossy", "water"] = "dry"
    """dry: the look as it is; wet: darker and mirroring blurredly; puddles: mirrors in patches; glossy: a polished
    floor; water: a calm lake of the look's colour."""
    look: Material = Material(kind="noise", colour=(0.45, 0.42, 0.38), second=(0.36, 0.33, 0.30), roughness=0.9)
    bumps_m: float = 0.0
    """Height of unevenness (sand, grass, gravel); of the lake's own small waves, which stand still."""

    def __post_init__(self) -> None:
        within(self, "bumps_m", 0, 1)


@dataclass(frozen=True, kw_only=True)
class Wall:
    """An upright slab behind or beside the action."""

    __pydantic_config__ = STRICT
    at: tuple[float, float]
    """Its middle on the ground."""
    width_m: float = 6.0
    height_m: float = 3.0
    heading_deg: float = 90.0
    """Where it faces."""
    look: Material = Material(kind="bricks", colour=(0.5, 0.3, 0.25), second=(0.6, 0.58, 0.55), roughness=0.8)

    def __post_init__(self) -> None:
        all_within(self, "at", -1000, 1000)
        within(self, "width_m", 0.1, 500)
        within(self, "height_m", 0.1, 200)
        within(self, "heading_deg", -720, 720)


@dataclass(frozen=True, kw_only=True)
class Sky:
    """Light from everywhere, and what is behind everything."""

    __pydantic_config__ = STRICT
    kind: Literal["plain", "gradient", "hdri"] = "gradient"
    colour: Colour = (0.75, 0.83, 0.95)
    """plain: all of it; gradient: at the horizon."""
    zenith: Colour = (0.35, 0.55, 0.88)
    hdri: str | None = None
    """city, courtyard, forest, interior, night, studio, sunrise, sunset (these come with Blender), or a file's path."""
    strength: float = 1.0
    turned_deg: float = 0.0

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        all_within(self, "zenith", 0, 1)
        within(self, "strength", 0, 100)
        within(self, "turned_deg", -720, 720)
        if (self.kind == "hdri") != (self.hdri is not None):
            raise ValueError("sky.kind='hdri' and sky.hdri go together; name one, e.g. sunset, or leave both out")


@dataclass(frozen=True, kw_only=True)
class Sun:
    """The one strong light."""

    __pydantic_config__ = STRICT
    elevation_deg: float = 40.0
    azimuth_deg: float = 130.0
    """Where it stands, counter-clockwise from +x."""
    strength: float = 3.0
    """Watts per square metre; 0 is an overcast day."""
    softness_deg: float = 1.0
    """Width of its disc: shadows' edges grow with it."""
    colour: Colour = (1.0, 0.96, 0.9)

    def __post_init__(self) -> None:
        within(self, "elevation_deg", 1, 90)
        within(self, "azimuth_deg", -720, 720)
        within(self, "strength", 0, 100)
        within(self, "softness_deg", 0.1, 60)
        all_within(self, "colour", 0, 1)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where we look from."""

    __pydantic_config__ = STRICT
    kind: Literal["still", "pan", "handheld", "follow"] = "still"
    at: Vec3 = (0.0, -7.0, 2.0)
    look_at: Vec3 = (0.0, 0.0, 0.5)
    focal_mm: float = 35.0
    """On a sensor 36 mm wide."""
    amount: float = 1.0
    """pan: degrees a second; handheld: 1 is a calm hand; follow: 1 keeps the subject in the middle, 0 stays."""

    def __post_init__(self) -> None:
        all_within(self, "at", -1000, 1000)
        all_within(self, "look_at", -1000, 1000)
        within(self, "focal_mm", 8, 400)
        within(self, "amount", -180, 180)
        if self.at == self.look_at:
            raise ValueError(f"camera.at and camera.look_at are both {self.at}; a camera must look somewhere else")
