"""A scene: small, typed, seeded, stored as JSON; the description alone rebuilds every frame.

Metres, seconds, degrees; z is up, the ground (or still water) is z = 0, headings turn counter-clockwise from +x.
Colours are display-space (sRGB) 0 to 1.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ...settings import CheckedSettings, ErrorWording, InRange, explain_validation_error
from ...untrusted_input import parse_json, shortened
from ..effects.registry import AnyEffect
from .objects import Body, Camera, Ground, Sky, Sun, Travel, Wall

Fps = Annotated[float, InRange(1, 240)]
_EXAMPLE = "compare with what `effectpairs render --example scene.json` writes"
WORDING = ErrorWording(
    owner="scene", unknown_key="{path} is no key", no_suggestion=f"; {_EXAMPLE}", advice=f"; {_EXAMPLE}"
)
"""Words in which a scene's description is refused."""
OVERCAST_STRENGTH = 0.3
"""A weaker sun throws no shadow that anybody would speak of."""
LIMITS = {"frames": 1000, "size": 4096, "bodies": 200, "variants": 16, "effects": 8}


@dataclass(frozen=True, kw_only=True)
class Variant(CheckedSettings):
    """One `gt` of the scene, by its effects. Everything else is shared, so all variants have one `over`."""

    name: str
    effects: tuple[Annotated[AnyEffect, Field(discriminator="kind")], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = [effect.kind for effect in self.effects]
        if not 1 <= len(kinds) <= LIMITS["effects"] or len(set(kinds)) != len(kinds):
            raise ValueError(
                f"variant {self.name!r} has the effects {kinds}; give one to {LIMITS['effects']}, each kind once"
            )
        if not re.fullmatch(r"[A-Za-z0-9-]{1,24}", self.name) or not self.name.strip("-"):
            raise ValueError(f"variant.name={self.name!r} is not made of up to 24 letters, digits and '-'")


@dataclass(frozen=True, kw_only=True)
class RenderSettings(CheckedSettings):
    """Quality of the pictures, and the device that draws them."""

    table: ClassVar[str] = "rendering"

    samples: Annotated[int, InRange(1, 16384)] = 16
    denoise: bool = True
    mask_samples: Annotated[int, InRange(1, 16384)] = 8
    """Samples of the passes from which each effect's own mask comes."""
    mask_scale: Annotated[float, InRange(0.1, 1)] = 0.5
    """Their size, as a share of the picture's."""
    composite: Literal["exact", "eq2"] = "exact"
    """Way that `over` is composed: in linear light as a camera would, or by Eq. 2 in display space."""
    crop: bool = True
    """Draw a variant only where it visibly differs from the background; elsewhere gt is background."""
    device: Literal["CPU", "OPTIX", "CUDA", "HIP", "METAL"] = "CPU"


def check_clip_format(frames: int, size: tuple[int, int], owner: str = "") -> None:
    """Check the frames and the size of a scene, or of all scenes of a generator.

    Raises:
        ValueError: naming the value, with the owner before it, and the rule.
    """
    if frames % 8 != 5 or not 5 <= frames <= LIMITS["frames"]:
        raise ValueError(f"{owner}frames={frames} is not 8k+5; give 5, 13, 21, ... 85")
    if any(not 16 <= side <= LIMITS["size"] for side in size):
        raise ValueError(f"{owner}size={size} is not within 16 to {LIMITS['size']}; give height and width")


@dataclass(frozen=True, kw_only=True)
class Scene(CheckedSettings):
    """Everything in the picture, and every variant that is drawn of it."""

    schema: Literal[1] = 1
    name: str
    seed: int
    frames: int = 21
    size: tuple[int, int] = (192, 336)
    """Height and width, pixels."""
    fps: Fps = 16.0
    subject: Body
    props: tuple[Body, ...] = ()
    """Bodies that belong to the background: they occlude, reflect, and are bumped into."""
    ground: Ground = Ground()
    walls: tuple[Wall, ...] = ()
    sky: Sky = Sky()
    sun: Sun = Sun()
    camera: Camera = Camera()
    variants: tuple[Variant, ...]
    rendering: RenderSettings = RenderSettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clip_format(self.frames, self.size, "scene.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"scene.seed={self.seed} is not in [0, 2^31); give such a whole number")
        if len(self.props) > LIMITS["bodies"]:
            raise ValueError(f"scene.props: {len(self.props)} bodies are more than {LIMITS['bodies']}; take some out")
        names = [variant.name for variant in self.variants]
        if not 1 <= len(names) <= LIMITS["variants"] or len(set(names)) != len(names):
            raise ValueError(f"scene.variants {names}: give 1 to {LIMITS['variants']}, each with a name of its own")

    @property
    def static_background(self) -> bool:
        """True if the background is the same in every frame, so that one picture of it serves all."""
        return self.camera.kind == "still" and all(prop.motion.kind == "still" for prop in self.props)


_ADAPTER: TypeAdapter[Scene] = TypeAdapter(Scene)


def read_scene(path: Path) -> Scene:
    """Read a scene's description.

    Raises:
        ValueError: naming the file, the key and the rule.
    """
    try:
        return parse_scene(path.read_bytes())
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read ({problem.strerror}); give the path of a scene's JSON") from problem
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from wrong


def parse_scene(content: bytes | str) -> Scene:
    """Parse a scene from JSON.

    Raises:
        ValueError: naming the key and the rule.
    """
    try:
        parse_json(content)  # has limits of size and depth
    except ValueError as wrong:
        raise ValueError(f"is no scene ({shortened(str(wrong), 300)}); {_EXAMPLE}") from wrong
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as wrong:
        raise ValueError(explain_validation_error(wrong, Scene, wording=WORDING)) from wrong


def dump_scene(scene: Scene) -> dict[str, Any]:
    """Return a scene as plain JSON values, the same for equal scenes; `parse_scene` reads them back."""
    values: dict[str, Any] = _ADAPTER.dump_python(scene, mode="json")
    return values


def scene_facts(scene: Scene, variant: Variant) -> dict[str, Any]:
    """Facts for a variant's captions: subject, motion, ground, light, camera, and by effect its own; as JSON values."""
    motion = scene.subject.motion
    motion_facts: dict[str, Any] = {"kind": motion.kind}
    if isinstance(motion, Travel):
        motion_facts |= {"speed_mps": motion.speed_mps, "turns": abs(motion.turn_deg_s) > 5}
    sun_shines = scene.sun.strength > OVERCAST_STRENGTH
    light: dict[str, Any] = {"sky": scene.sky.hdri if scene.sky.kind == "hdri" else scene.sky.kind, "sun": sun_shines}
    if sun_shines:
        elevation = scene.sun.elevation_deg
        height = "low" if elevation < 25 else "high" if elevation > 55 else "middling"
        light |= {"sun_elevation_deg": elevation, "sun_height": height}
    return {
        "subject": scene.subject.name,
        "shape": scene.subject.shape,
        "motion": motion_facts,
        "ground": {"kind": scene.ground.kind, "pattern": scene.ground.look.kind},
        "light": light,
        "camera": scene.camera.kind,
        "beside": [prop.name for prop in scene.props],
        "seconds": round(scene.frames / scene.fps, 3),
        "effects": {effect.kind: dict(effect.facts()) for effect in variant.effects},
    }
