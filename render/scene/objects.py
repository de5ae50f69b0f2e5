"""What a scene's bodies are: their shape, what they look like, and how they move.

Metres, seconds, degrees; z is up, headings turn counter-clockwise from +x. Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..effects.ranges import STRICT, all_within, within
from ..effects.render_data import Colour

Vec3 = tuple[float, float, float]
Pattern = Literal["plain", "metal", "glass", "checker", "stripes", "noise", "bricks", "wood", "tiles", "marble"]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a surface looks like; patterns are procedural, so nothing is fetched."""

    __pydantic_config__ = STRICT
    kind: Pattern = "plain"
    colour: Colour = (0.6, 0.6, 0.6)
    second: Colour = (0.3, 0.3, 0.3)
    """The other colour of a pattern."""
    roughness: float = 0.5
    scale_m: float = 0.3
    """Size of the pattern's repeat."""
    emission: float = 0.0
    """Light given off by the surface itself, seen with and without effects; 1 shows the colour as it is."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        all_within(self, "second", 0, 1)
        within(self, "roughness", 0, 1)
        within(self, "scale_m", 0.001, 100)
        within(self, "emission", 0, 1000)


@dataclass(frozen=True, kw_only=True)
class Still:
    """A body that stays."""

    __pydantic_config__ = STRICT
    kind: Literal["still"] = "still"
    at: Vec3 = (0.0, 0.0, 0.0)
    """Where its lowest point stands."""
    heading_deg: float = 0.0

    def __post_init__(self) -> None:
        all_within(self, "at", -1000, 1000)
        within(self, "heading_deg", -720, 720)


@dataclass(frozen=True, kw_only=True)
class Travel:
    """A body that makes its own way: on foot, on wheels, sliding, afloat, in leaps, in the air."""

    __pydantic_config__ = STRICT
    kind: Literal["walk", "drive", "drift", "boat", "bounce", "fly"]
    start: tuple[float, float] = (0.0, 0.0)
    """x and y at the first frame."""
    heading_deg: float = 0.0
    speed_mps: float = 1.0
    turn_deg_s: float = 0.0
    """How fast the heading turns."""
    height_m: float = 0.0
    """bounce: how high it leaps; fly: how high it flies; boat and drift: how much it rocks or slides; else unused."""
    phase: float = 0.0
    """Where in its cycle (step, leap, wingbeat) it begins, 0 to 1."""

    def __post_init__(self) -> None:
        all_within(self, "start", -1000, 1000)
        within(self, "heading_deg", -720, 720)
        within(self, "speed_mps", 0, 100)
        within(self, "turn_deg_s", -720, 720)
        within(self, "height_m", 0, 100)
        within(self, "phase", 0, 1)


@dataclass(frozen=True, kw_only=True)
class Toss:
    """A rigid body left to gravity and collisions with everything else that is tossed or still."""

    __pydantic_config__ = STRICT
    kind: Literal["toss"] = "toss"
    at: Vec3 = (0.0, 0.0, 1.0)
    """Its middle at the first frame."""
    velocity: Vec3 = (0.0, 0.0, 0.0)
    spin: Vec3 = (0.0, 0.0, 0.0)
    """Radians a second around x, y, z."""
    turned: Vec3 = (0.0, 0.0, 0.0)
    """Euler angles at the first frame, degrees."""
    mass_kg: float = 1.0
    friction: float = 0.5
    restitution: float = 0.4

    def __post_init__(self) -> None:
        all_within(self, "at", -1000, 1000)
        all_within(self, "velocity", -100, 100)
        all_within(self, "spin", -100, 100)
        all_within(self, "turned", -720, 720)
        within(self, "mass_kg", 0.001, 100000)
        within(self, "friction", 0, 10)
        within(self, "restitution", 0, 1)


Motion = Annotated[Still | Travel | Toss, Field(discriminator="kind")]
SHAPES = (
    "sphere", "cube", "cylinder", "cone", "torus", "monkey", "rock", "post", "crate", "arch",
    "walker", "dog", "car", "truck", "boat", "duck", "ball", "bird", "drone", "lantern", "asset",
)  # fmt: skip
Shape = Literal[
    "sphere", "cube", "cylinder", "cone", "torus", "monkey", "rock", "post", "crate", "arch",
    "walker", "dog", "car", "truck", "boat", "duck", "ball", "bird", "drone", "lantern", "asset",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Body:
    """One thing in the scene: the subject, or something that stands or moves beside it."""

    __pydantic_config__ = STRICT
    name: str
    """What a caption calls it, without an article: "red car"."""
    shape: Shape
    asset: str | None = None
    """shape "asset": path of a .blend, .glb, .gltf, .obj, .ply, .stl, .usd, .usdc, .usdz file."""
    size_m: float = 1.0
    """Its largest extent (figures: their height; vehicles and boats: their length)."""
    look: Material = Material()
    motion: Motion = Still()

    def __post_init__(self) -> None:
        within(self, "size_m", 0.01, 200)
        if not self.name.strip() or len(self.name) > 80:
            raise ValueError(f"body.name={self.name!r} must have 1 to 80 characters; call it what it is")
        if (self.shape == "asset") != (self.asset is not None):
            raise ValueError(f"{self.name}: shape 'asset' and an asset's path go together; give both or neither")
