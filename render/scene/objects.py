"""Objects of a scene: bodies with their shape, material and motion; ground, walls, sky and sun; the camera.

Metres, seconds, degrees; z is up, the ground (or still water) is z = 0, headings turn counter-clockwise from +x.
Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from ...settings import CheckedSettings, InRange
from ..effects.render_data import Colour

Vec3 = tuple[float, float, float]
Position = Annotated[Vec3, InRange(-1000, 1000)]
"""x, y, z in metres."""
Degrees = Annotated[float, InRange(-720, 720)]
Pattern = Literal["plain", "metal", "glass", "checker", "stripes", "noise", "bricks", "wood", "tiles", "marble"]


@dataclass(frozen=True, kw_only=True)
class Material(CheckedSettings):
    """Appearance of a surface; patterns are procedural, so nothing is fetched."""

    table: ClassVar[str] = "look"
    kind: Pattern = "plain"
    colour: Colour = (0.6, 0.6, 0.6)
    second: Colour = (0.3, 0.3, 0.3)
    """The other colour of a pattern."""
    roughness: Annotated[float, InRange(0, 1)] = 0.5
    scale_m: Annotated[float, InRange(0.001, 100)] = 0.3
    """Size of the pattern's repeat."""
    emission: Annotated[float, InRange(0, 1000)] = 0.0
    """Light given off by the surface itself, seen with and without effects; 1 shows the colour as it is."""


@dataclass(frozen=True, kw_only=True)
class Still(CheckedSettings):
    """Motion of a body that does not move."""

    kind: Literal["still"] = "still"
    at: Position = (0.0, 0.0, 0.0)
    """Position of its lowest point."""
    heading_deg: Degrees = 0.0


@dataclass(frozen=True, kw_only=True)
class Travel(CheckedSettings):
    """Motion of a body that moves by itself: on foot, on wheels, sliding, afloat, in leaps, in the air."""

    kind: Literal["walk", "drive", "drift", "boat", "bounce", "fly"]
    start: Annotated[tuple[float, float], InRange(-1000, 1000)] = (0.0, 0.0)
    """x and y at the first frame."""
    heading_deg: Degrees = 0.0
    speed_mps: Annotated[float, InRange(0, 100)] = 1.0
    turn_deg_s: Degrees = 0.0
    height_m: Annotated[float, InRange(0, 100)] = 0.0
    """bounce: height of a leap; fly: above ground; boat: of the waves it rocks on; drift: tangent of its slip angle."""
    phase: Annotated[float, InRange(0, 1)] = 0.0
    """Point in its cycle (step, leap, wingbeat) at the first frame, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Toss(CheckedSettings):
    """Motion of a rigid body under gravity and collisions with everything else that is tossed or still."""

    kind: Literal["toss"] = "toss"
    at: Position = (0.0, 0.0, 1.0)
    """Its middle at the first frame."""
    velocity: Annotated[Vec3, InRange(-100, 100)] = (0.0, 0.0, 0.0)
    spin: Annotated[Vec3, InRange(-100, 100)] = (0.0, 0.0, 0.0)
    """Radians a second around x, y, z."""
    turned: Annotated[Vec3, InRange(-720, 720)] = (0.0, 0.0, 0.0)
    """Euler angles at the first frame, degrees."""
    mass_kg: Annotated[float, InRange(0.001, 100000)] = 1.0
    friction: Annotated[float, InRange(0, 10)] = 0.5
    restitution: Annotated[float, InRange(0, 1)] = 0.4


Motion = Annotated[Still | Travel | Toss, Field(discriminator="kind")]
Shape = Literal[
    "sphere", "cube", "cylinder", "cone", "torus", "monkey", "rock", "post", "crate", "arch",
    "walker", "dog", "car", "truck", "boat", "duck", "ball", "bird", "drone", "lantern", "asset",
]  # fmt: skip
SHAPES: tuple[Shape, ...] = get_args(Shape)


@dataclass(frozen=True, kw_only=True)
class Body(CheckedSettings):
    """One object of the scene: the subject, or something that stands or moves beside it."""

    name: str
    """Its name in captions, without an article: "red car"."""
    shape: Shape
    asset: str | None = None
    """shape "asset": path of a .blend, .glb, .gltf, .obj, .ply, .stl, .usd, .usdc, .usdz file."""
    size_m: Annotated[float, InRange(0.01, 200)] = 1.0
    """Its largest extent (people and animals: their height; vehicles and boats: their length)."""
    look: Material = Material()
    motion: Motion = Still()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.strip() or len(self.name) > 80:
            raise ValueError(f"body.name={self.name!r} must have 1 to 80 characters; call it what it is")
        if (self.shape == "asset") != (self.asset is not None):
            raise ValueError(f"{self.name}: shape 'asset' and an asset's path go together; give both or neither")


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
