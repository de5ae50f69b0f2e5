"""Bodies of a scene: their shape, material and motion.

Metres, seconds, degrees; z is up, headings turn counter-clockwise from +x. Colours are display-space (sRGB) 0 to 1.
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
