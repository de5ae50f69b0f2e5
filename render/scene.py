"""A scene: small, typed, seeded, kept as JSON; the description alone rebuilds every frame.

Metres, seconds, degrees; z is up, the ground (or still water) is z = 0, headings turn counter-clockwise from +x.
Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from .effects.effects import AnyEffect
from .effects.media import Colour
from .objections import sentence
from .ranges import STRICT, all_within, within

Vec3 = tuple[float, float, float]
SCHEMA = 1
LARGEST = {"frames": 1000, "size": 4096, "bodies": 200, "variants": 16, "effects": 8}


Pattern = Literal["plain", "metal", "glass", "checker", "stripes", "noise", "bricks", "wood", "tiles", "marble"]


@dataclass(frozen=True, kw_only=True)
class Look:
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
    look: Look = Look()
    motion: Motion = Still()

    def __post_init__(self) -> None:
        within(self, "size_m", 0.01, 200)
        if not self.name.strip() or len(self.name) > 80:
            raise ValueError(f"body.name={self.name!r} must have 1 to 80 characters; call it what it is")
        if (self.shape == "asset") != (self.asset is not None):
            raise ValueError(f"{self.name}: shape 'asset' and an asset's path go together; give both or neither")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What everything stands, drives or floats on; endless."""

    __pydantic_config__ = STRICT
    kind: Literal["dry", "wet", "puddles", "glossy", "water"] = "dry"
    """dry: the look as it is; wet: darker and mirroring blurredly; puddles: mirrors in patches; glossy: a polished
    floor; water: a calm lake of the look's colour."""
    look: Look = Look(kind="noise", colour=(0.45, 0.42, 0.38), second=(0.36, 0.33, 0.30), roughness=0.9)
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
    look: Look = Look(kind="bricks", colour=(0.5, 0.3, 0.25), second=(0.6, 0.58, 0.55), roughness=0.8)

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


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One `gt` of the scene: which effects it shows. Everything else is shared, so all have one `over`."""

    __pydantic_config__ = STRICT
    name: str
    effects: tuple[Annotated[AnyEffect, Field(discriminator="kind")], ...]

    def __post_init__(self) -> None:
        kinds = [effect.kind for effect in self.effects]
        if not 1 <= len(kinds) <= LARGEST["effects"] or len(set(kinds)) != len(kinds):
            raise ValueError(
                f"variant {self.name!r} has the effects {kinds}; give one to {LARGEST['effects']}, each kind once"
            )
        if not self.name.replace("-", "").isalnum():
            raise ValueError(f"variant.name={self.name!r} is not made of letters, digits and '-'")


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How well everything is drawn."""

    __pydantic_config__ = STRICT
    samples: int = 16
    denoise: bool = True
    truth_samples: int = 8
    """Of the passes from which each effect's own mask comes."""
    truth_scale: float = 0.5
    """Their size, as a share of the picture's."""
    composite: Literal["exact", "eq2"] = "exact"
    """How `over` is put together: in linear light as a camera would, or by Eq. 2 in display space."""
    crop: bool = True
    """Draw a variant only where it visibly differs from the background; elsewhere gt is background."""
    device: Literal["CPU", "OPTIX", "CUDA", "HIP", "METAL"] = "CPU"

    def __post_init__(self) -> None:
        within(self, "samples", 1, 16384)
        within(self, "truth_samples", 1, 16384)
        within(self, "truth_scale", 0.1, 1)


def check_format(owner: Any, place: str = "") -> None:
    """Check the frames, size and fps of a scene, or of all scenes of a making.

    Raises:
        ValueError: naming the value, after place, and the rule.
    """
    if owner.frames % 8 != 5 or not 5 <= owner.frames <= LARGEST["frames"]:
        raise ValueError(f"{place}frames={owner.frames} is not 8k+5; give 5, 13, 21, ... 85")
    if any(not 16 <= side <= LARGEST["size"] for side in owner.size):
        raise ValueError(f"{place}size={owner.size} is not within 16 to {LARGEST['size']}; give height and width")
    within(owner, "fps", 1, 240)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that is in the picture, and every picture that is made of it."""

    __pydantic_config__ = STRICT
    schema: Literal[1] = 1
    name: str
    seed: int
    frames: int = 21
    size: tuple[int, int] = (192, 336)
    """Height and width, pixels."""
    fps: float = 16.0
    subject: Body
    props: tuple[Body, ...] = ()
    """Bodies that belong to the background: they occlude, reflect, and are bumped into."""
    ground: Ground = Ground()
    walls: tuple[Wall, ...] = ()
    sky: Sky = Sky()
    sun: Sun = Sun()
    camera: Camera = Camera()
    variants: tuple[Variant, ...]
    rendering: Rendering = Rendering()

    def __post_init__(self) -> None:
        check_format(self, "scene.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"scene.seed={self.seed} is not in [0, 2^31); give such a whole number")
        if len(self.props) > LARGEST["bodies"]:
            raise ValueError(f"scene.props: {len(self.props)} bodies are more than {LARGEST['bodies']}; take some out")
        names = [variant.name for variant in self.variants]
        if not 1 <= len(names) <= LARGEST["variants"] or len(set(names)) != len(names):
            raise ValueError(f"scene.variants {names}: give 1 to {LARGEST['variants']}, each with a name of its own")

    @property
    def holds_still(self) -> bool:
        """Is the background the same in every frame, so that one picture of it serves all?"""
        return self.camera.kind == "still" and all(prop.motion.kind == "still" for prop in self.props)


_ADAPTER: TypeAdapter[Scene] = TypeAdapter(Scene)


def read_scene(path: Path) -> Scene:
    """Read a scene's description.

    Raises:
        ValueError: naming the file, the key and the rule.
    """
    try:
        return scene_of(path.read_bytes())
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read ({problem.strerror}); give the path of a scene's JSON") from problem
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from wrong


def scene_of(content: bytes | str) -> Scene:
    """A scene out of JSON.

    Raises:
        ValueError: naming the key and the rule.
    """
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as wrong:
        raise ValueError(sentence(wrong.errors()[0], _keys())) from wrong


@cache
def _keys() -> tuple[str, ...]:
    """Every key of a scene and of what is in it."""
    schema = _ADAPTER.json_schema()
    parts = (schema, *schema["$defs"].values())
    return tuple(sorted({key for part in parts for key in part.get("properties", {})}))


def as_values(scene: Scene) -> dict[str, Any]:
    """A scene as plain JSON values, the same for equal scenes; `scene_of` reads them back."""
    values: dict[str, Any] = _ADAPTER.dump_python(scene, mode="json")
    return values
