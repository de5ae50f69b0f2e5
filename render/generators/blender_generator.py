"""The `blender` maker: subjects that make their own way, on foot, on wheels, afloat, in leaps and in the air."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..animation.motion import compute_poses
from ..effects.ranges import STRICT, within
from ..scene.environment import Sun
from ..scene.objects import Body
from ..scene.scene import Scene, Variant
from . import props as furniture
from .assets import Asset, models_in, skies_in
from .backdrops import backdrop
from .clip_format import ClipFormat
from .framing import framing
from .lights import light
from .placement import CameraKind, Placement, stage
from .scenarios import SCENARIOS, Scenario, softened

ACTS_TRIED = 10
VIEWS_TRIED = 20
FURNISHINGS_TRIED = 6


@dataclass(frozen=True, kw_only=True)
class BlenderGenerator:
    """Scenes of subjects that move by rules: no simulation, any length."""

    __pydantic_config__ = STRICT
    kind: Literal["blender"] = "blender"
    scenarios: tuple[str, ...] = ("walk", *SCENARIOS)
    """What may happen; name one twice and it happens twice as often."""
    cameras: tuple[CameraKind, ...] = ("still", "still", "handheld", "pan", "follow")
    """How they may be held, in the same way."""
    variants: tuple[int, int] = (1, 3)
    """How many `gt` each scene has: at least, at most."""
    focal_mm: tuple[float, float] = (26.0, 70.0)
    occluder_probability: float = 0.2
    """Share of scenes with a post before the action."""
    models: str | None = None
    """A folder of .blend, .glb, .obj, .usd ... files: the subjects of `model_probability` of the scenes."""
    model_probability: float = 0.5
    skies: str | None = None
    """A folder of .hdr or .exr panoramas, in place of those that come with Blender."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.scenarios if name not in SCENARIOS]
        if unknown or not self.scenarios:
            raise ValueError(f"generator.scenarios={list(self.scenarios)}: name some of {', '.join(SCENARIOS)}")
        if not self.cameras or any(kind not in get_args(CameraKind) for kind in self.cameras):
            raise ValueError(f"generator.cameras={list(self.cameras)}: name some of {', '.join(get_args(CameraKind))}")
        if not 1 <= self.variants[0] <= self.variants[1] <= 4:
            raise ValueError(f"generator.variants={self.variants}: give at least and at most, within 1 to 4")
        if not 8 <= self.focal_mm[0] <= self.focal_mm[1] <= 400:
            raise ValueError(f"generator.focal_mm={self.focal_mm}: give shortest and longest, within 8 to 400")
        within(self, "occluder_probability", 0, 1)
        within(self, "model_probability", 0, 1)


def scene_at(generator: BlenderGenerator, index: int, seed: int, clip_format: ClipFormat) -> Scene:
    """Scene number `index`: the same for the same maker, seed and film, however many others there are.

    Raises:
        ValueError: a folder of models or skies is missing or empty, or no draw puts the subject into the picture.
    """
    rng = np.random.default_rng([seed, index])
    for tried in range(ACTS_TRIED):
        scenario = _with_model(
            generator, rng, SCENARIOS[generator.scenarios[int(rng.integers(len(generator.scenarios)))]](rng)
        )
        camera = generator.cameras[int(rng.integers(len(generator.cameras)))]
        for _ in range(VIEWS_TRIED):
            bare, staged = _bare(generator, rng, (scenario, camera), clip_format)
            seen = framing(bare)
            slow = staged.motion.speed_mps < 0.6 * scenario.speed[0] and tried < ACTS_TRIED // 2
            if seen.fits and not slow and (seen.shadow_fits or not _throws_shadow(bare)):
                named = replace(bare, name=f"blender-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
                return _furnished(generator, rng, (scenario, staged), named)
    raise ValueError(
        f"scene {index} of the generator blender with seed {seed}: in {ACTS_TRIED * VIEWS_TRIED} draws no camera "
        "had its subject in view; allow more kinds of camera, shorter lenses, or fewer frames"
    )


def models(generator: BlenderGenerator) -> tuple[Asset, ...]:
    """What a maker's folder holds.

    Raises:
        ValueError: there is no such folder, or no model in it.
    """
    return () if generator.models is None else models_in(Path(generator.models).expanduser())


def _with_model(generator: BlenderGenerator, rng: np.random.Generator, scenario: Scenario) -> Scenario:
    """The act with a user's model in place of its subject, unless that has to walk or to shine."""
    if (
        generator.models is None
        or rng.random() >= generator.model_probability
        or scenario.kind == "walk"
        or scenario.around == "dark"
    ):
        return scenario
    known = models(generator)
    model = known[int(rng.integers(len(known)))]
    size = round(scenario.subject.size_m * 0.8, 3)
    body = Body(
        name=model.name.replace("_", " ")[:80], shape="asset", asset=model.uri, size_m=size, look=scenario.subject.look
    )
    return replace(scenario, subject=body)


def _bare(
    generator: BlenderGenerator, rng: np.random.Generator, what: tuple[Scenario, CameraKind], clip_format: ClipFormat
) -> tuple[Scene, Placement]:
    """Subject, ground, light and camera."""
    scenario, camera = what
    staged = stage(rng, scenario, clip_format, camera, generator.focal_mm)
    skies = () if generator.skies is None else tuple(sky.uri for sky in skies_in(Path(generator.skies).expanduser()))
    sky, sun = light(rng, scenario.light, staged.sun_deg, skies)
    return Scene(
        name="bare", seed=0, frames=clip_format.frames, size=clip_format.size, fps=clip_format.fps,
        rendering=clip_format.rendering,
        subject=replace(scenario.subject, motion=staged.motion), ground=scenario.ground,
        sky=sky, sun=sun, camera=staged.camera,
        variants=scenario.variants[:1],
    ), staged  # fmt: skip


def _furnished(
    generator: BlenderGenerator, rng: np.random.Generator, what: tuple[Scenario, Placement], bare: Scene
) -> Scene:
    """The scene with what stands around, so that the subject still shows, and with its variants."""
    scenario, staged = what
    way = compute_poses(bare, bare.subject).foot
    walls = furniture.wall(rng, scenario.around, staged.view, bare.subject.size_m)
    far, screens = backdrop(rng, scenario.around, staged.view, bare.sky) if not walls else ((), ())
    walled = replace(bare, walls=(*walls, *screens))
    for _ in range(FURNISHINGS_TRIED):
        props = furniture.things(rng, scenario.around, staged.view, way, bare.subject)
        props = furniture.before_walls(walls, props, staged.view)
        if rng.random() < generator.occluder_probability:
            props = (*props, furniture.occluder(rng, scenario.around, staged.view))
        if framing(replace(walled, props=props)).fits:
            break
    else:
        props = ()
    whole = replace(walled, props=(*props, *far))
    return replace(whole, variants=_variants(generator, rng, scenario, whole))


def _variants(
    generator: BlenderGenerator, rng: np.random.Generator, scenario: Scenario, scene: Scene
) -> tuple[Variant, ...]:
    """As many as are asked for; other suns only where a shadow is sharp and all stands still."""
    found = list(scenario.variants)
    if scene.static_background and _sharp(scene.sun):
        found[1:1] = softened(scenario)
    count = int(rng.integers(generator.variants[0], generator.variants[1] + 1))
    return tuple(found[:count])


def _sharp(sun: Sun) -> bool:
    return sun.strength > 1.5 and sun.softness_deg < 4


def _throws_shadow(scene: Scene) -> bool:
    return scene.sun.strength > 1.5 and any(effect.kind == "shadow" for effect in scene.variants[0].effects)
