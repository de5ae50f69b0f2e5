"""A scene: small, typed, seeded, kept as JSON; the description alone rebuilds every frame.

Metres, seconds, degrees; z is up, the ground (or still water) is z = 0, headings turn counter-clockwise from +x.
Colours are display-space (sRGB) 0 to 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ...settings import ErrorWording, explain_validation_error
from ..effects.ranges import STRICT, within
from ..effects.registry import AnyEffect
from .environment import Camera, Ground, Sky, Sun, Wall
from .objects import Body

SCHEMA = 1
_EXAMPLE = "compare with what `effectpairs render --example scene.json` writes"
WORDING = ErrorWording(
    owner="scene", unknown_key="{path} is no key", no_suggestion=f"; {_EXAMPLE}", advice=f"; {_EXAMPLE}"
)
"""Words in which a scene's description is refused."""
LIMITS = {"frames": 1000, "size": 4096, "bodies": 200, "variants": 16, "effects": 8}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One `gt` of the scene: which effects it shows. Everything else is shared, so all have one `over`."""

    __pydantic_config__ = STRICT
    name: str
    effects: tuple[Annotated[AnyEffect, Field(discriminator="kind")], ...]

    def __post_init__(self) -> None:
        kinds = [effect.kind for effect in self.effects]
        if not 1 <= len(kinds) <= LIMITS["effects"] or len(set(kinds)) != len(kinds):
            raise ValueError(
                f"variant {self.name!r} has the effects {kinds}; give one to {LIMITS['effects']}, each kind once"
            )
        if not self.name.replace("-", "").isalnum():
            raise ValueError(f"variant.name={self.name!r} is not made of letters, digits and '-'")


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """How well everything is drawn."""

    __pydantic_config__ = STRICT
    samples: int = 16
    denoise: bool = True
    mask_samples: int = 8
    """Of the passes from which each effect's own mask comes."""
    mask_scale: float = 0.5
    """Their size, as a share of the picture's."""
    composite: Literal["exact", "eq2"] = "exact"
    """How `over` is put together: in linear light as a camera would, or by Eq. 2 in display space."""
    crop: bool = True
    """Draw a variant only where it visibly differs from the background; elsewhere gt is background."""
    device: Literal["CPU", "OPTIX", "CUDA", "HIP", "METAL"] = "CPU"

    def __post_init__(self) -> None:
        within(self, "samples", 1, 16384)
        within(self, "mask_samples", 1, 16384)
        within(self, "mask_scale", 0.1, 1)


def check_clip_format(owner: Any, place: str = "") -> None:
    """Check the frames, size and fps of a scene, or of all scenes of a making.

    Raises:
        ValueError: naming the value, after place, and the rule.
    """
    if owner.frames % 8 != 5 or not 5 <= owner.frames <= LIMITS["frames"]:
        raise ValueError(f"{place}frames={owner.frames} is not 8k+5; give 5, 13, 21, ... 85")
    if any(not 16 <= side <= LIMITS["size"] for side in owner.size):
        raise ValueError(f"{place}size={owner.size} is not within 16 to {LIMITS['size']}; give height and width")
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
    rendering: RenderSettings = RenderSettings()

    def __post_init__(self) -> None:
        check_clip_format(self, "scene.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"scene.seed={self.seed} is not in [0, 2^31); give such a whole number")
        if len(self.props) > LIMITS["bodies"]:
            raise ValueError(f"scene.props: {len(self.props)} bodies are more than {LIMITS['bodies']}; take some out")
        names = [variant.name for variant in self.variants]
        if not 1 <= len(names) <= LIMITS["variants"] or len(set(names)) != len(names):
            raise ValueError(f"scene.variants {names}: give 1 to {LIMITS['variants']}, each with a name of its own")

    @property
    def static_background(self) -> bool:
        """Is the background the same in every frame, so that one picture of it serves all?"""
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
    """A scene out of JSON.

    Raises:
        ValueError: naming the key and the rule.
    """
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as wrong:
        raise ValueError(explain_validation_error(wrong, Scene, wording=WORDING)) from wrong


def dump_scene(scene: Scene) -> dict[str, Any]:
    """A scene as plain JSON values, the same for equal scenes; `scene_of` reads them back."""
    values: dict[str, Any] = _ADAPTER.dump_python(scene, mode="json")
    return values
