"""The generator `blender`: subjects that move by themselves, on foot, on wheels, afloat, in leaps and in the air."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from ...settings import InRange
from ..animation.motion import compute_poses
from ..scene.objects import Body
from ..scene.scene import Scene, Variant
from . import props
from .framing import measure_framing
from .generator import CameraKind, ClipFormat, SceneGenerator
from .palettes import draw_light
from .placement import Placement, draw_placement
from .scenarios import SCENARIOS, Scenario, sun_variants
from .subjects import choose

SCENARIO_ATTEMPTS = 10
VIEW_ATTEMPTS = 20
PROP_ATTEMPTS = 6
SUN_STRENGTH = 1.5
"""Strength above which the sun throws a shadow to look at."""


@dataclass(frozen=True, kw_only=True)
class BlenderGenerator(SceneGenerator):
    """Scenes of subjects that move by rules: no simulation, any length."""

    kind: Literal["blender"] = "blender"
    scenarios: tuple[str, ...] = ("walk", *SCENARIOS)
    """Scenarios to draw from; name one twice and it is drawn twice as often."""
    cameras: tuple[CameraKind, ...] = ("still", "still", "handheld", "pan", "follow")
    focal_mm: tuple[float, float] = (26.0, 70.0)
    model_probability: Annotated[float, InRange(0, 1)] = 0.5
    occluder_probability: Annotated[float, InRange(0, 1)] = 0.2
    """Probability of a post before the action."""

    def __post_init__(self) -> None:
        if not self.scenarios or any(name not in SCENARIOS for name in self.scenarios):
            raise ValueError(f"generator.scenarios={list(self.scenarios)}: name some of {', '.join(SCENARIOS)}")
        super().__post_init__()

    def scene_at(self, index: int, seed: int, clip_format: ClipFormat) -> Scene:
        """Generate scene number `index`; it does not depend on the number of other scenes.

        Raises:
            ValueError: a folder of models or skies is missing or empty, or no draw puts the subject into the picture.
        """
        rng = np.random.default_rng([seed, index])
        for attempt in range(SCENARIO_ATTEMPTS):
            scenario = self._with_user_model(rng, SCENARIOS[choose(rng, self.scenarios)](rng))
            camera = choose(rng, self.cameras)
            for _ in range(VIEW_ATTEMPTS):
                scene, placement = self._bare_scene(rng, scenario, camera, clip_format)
                framing = measure_framing(scene)
                slow = placement.motion.speed_mps < 0.6 * scenario.speed_mps[0] and attempt < SCENARIO_ATTEMPTS // 2
                has_shadow = any(effect.kind == "shadow" for effect in scene.variants[0].effects)
                shadow_fits = framing.shadow_fits or not has_shadow or scene.sun.strength <= SUN_STRENGTH
                if framing.fits and not slow and shadow_fits:
                    named = replace(scene, name=f"blender-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
                    return self._add_props(rng, scenario, placement, named)
        raise ValueError(
            f"scene {index} of the generator blender with seed {seed}: in {SCENARIO_ATTEMPTS * VIEW_ATTEMPTS} draws no "
            "camera had its subject in view; allow more kinds of camera, shorter lenses, or fewer frames"
        )

    def _with_user_model(self, rng: np.random.Generator, scenario: Scenario) -> Scenario:
        """Put a user's model in place of the subject, unless that has to walk or to shine."""
        if self.models is None or rng.random() >= self.model_probability:
            return scenario
        if scenario.motion_kind == "walk" or scenario.surroundings == "dark":
            return scenario
        model = choose(rng, self.user_models())
        size, look = round(scenario.subject.size_m * 0.8, 3), scenario.subject.look
        name = model.name.replace("_", " ")[:80]
        return replace(scenario, subject=Body(name=name, shape="asset", asset=model.uri, size_m=size, look=look))

    def _bare_scene(
        self, rng: np.random.Generator, scenario: Scenario, camera: CameraKind, clip_format: ClipFormat
    ) -> tuple[Scene, Placement]:
        """Draw subject, ground, light and camera, with the first variant alone."""
        placement = draw_placement(rng, scenario, clip_format, camera, self.focal_mm)
        skies = tuple(sky.uri for sky in self.user_skies())
        sky, sun = draw_light(rng, scenario.light, placement.sun_azimuth_deg, skies)
        return Scene(
            name="bare", seed=0, frames=clip_format.frames, size=clip_format.size, fps=clip_format.fps,
            rendering=clip_format.rendering, subject=replace(scenario.subject, motion=placement.motion),
            ground=scenario.ground, sky=sky, sun=sun, camera=placement.camera, variants=scenario.variants[:1],
        ), placement  # fmt: skip

    def _add_props(self, rng: np.random.Generator, scenario: Scenario, placement: Placement, bare: Scene) -> Scene:
        """Add the surroundings, so that the subject still shows, and all variants."""
        view, surroundings = placement.view, scenario.surroundings
        path = compute_poses(bare, bare.subject).foot
        walls = props.draw_walls(rng, surroundings, view, bare.subject.size_m)
        hills, screens = props.draw_backdrop(rng, surroundings, view, bare.sky) if not walls else ((), ())
        walled = replace(bare, walls=(*walls, *screens))
        for _ in range(PROP_ATTEMPTS):
            bodies = props.scatter_props(rng, surroundings, view, path, bare.subject)
            bodies = props.before_walls(walls, bodies, view)
            if rng.random() < self.occluder_probability:
                bodies = (*bodies, props.draw_occluder(rng, surroundings, view))
            if measure_framing(replace(walled, props=bodies)).fits:
                break
        else:
            bodies = ()
        scene = replace(walled, props=(*bodies, *hills))
        return replace(scene, variants=self._variants(rng, scenario, scene))

    def _variants(self, rng: np.random.Generator, scenario: Scenario, scene: Scene) -> tuple[Variant, ...]:
        """Draw the number of variants; other suns come only with a sharp shadow in a scene that holds still."""
        variants = list(scenario.variants)
        if scene.static_background and scene.sun.strength > SUN_STRENGTH and scene.sun.softness_deg < 4:
            variants[1:1] = sun_variants(scenario)
        count = int(rng.integers(self.variants[0], self.variants[1] + 1))
        return tuple(variants[:count])
