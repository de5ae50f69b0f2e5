"""The generator `blender`: subjects that move by themselves, on foot, on wheels, afloat, in leaps and in the air.

The middle of a subject's way is the origin. All is laid out as the camera sees it (right, and away from it) and then
turned by a random angle, so that no direction of the world is special.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np

from ...settings import InRange
from ..animation.camera import SENSOR_MM
from ..animation.motion import compute_poses
from ..effects.light import Shadow
from ..procedural_models.registry import body_extent
from ..scene.objects import Body, Camera, Travel
from ..scene.scene import Scene, Variant
from . import props
from .framing import CameraView, measure_framing
from .generator import CameraKind, ClipFormat, SceneGenerator
from .palettes import draw_light
from .scenarios import SCENARIOS, Scenario
from .subjects import Rng, choose

SCENARIO_ATTEMPTS = 10
VIEW_ATTEMPTS = 20
PROP_ATTEMPTS = 6
SUN_STRENGTH = 1.5
"""Strength above which the sun throws a shadow to look at."""
MAX_WAY = 0.80
"""Share of the picture's width that a way may take, the subject's own length included, if the camera stays."""


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
        """Generate scene number `index`: a scenario, a view of it, and surroundings."""
        rng = np.random.default_rng([seed, index])
        for attempt in range(SCENARIO_ATTEMPTS):
            scenario = self._with_user_model(rng, SCENARIOS[choose(rng, self.scenarios)](rng))
            camera = choose(rng, self.cameras)
            for _ in range(VIEW_ATTEMPTS):
                scene, view, speed_mps = self._bare_scene(rng, scenario, camera, clip_format)
                framing = measure_framing(scene)
                slow = speed_mps < 0.6 * scenario.speed_mps[0] and attempt < SCENARIO_ATTEMPTS // 2
                has_shadow = any(effect.kind == "shadow" for effect in scene.variants[0].effects)
                shadow_fits = framing.shadow_fits or not has_shadow or scene.sun.strength <= SUN_STRENGTH
                if framing.fits and not slow and shadow_fits:
                    named = replace(scene, name=f"blender-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
                    return self._add_props(rng, scenario, view, named)
        raise ValueError(
            f"scene {index} of the generator blender with seed {seed}: in {SCENARIO_ATTEMPTS * VIEW_ATTEMPTS} draws no "
            "camera had its subject in view; allow more kinds of camera, shorter lenses, or fewer frames"
        )

    def _with_user_model(self, rng: Rng, scenario: Scenario) -> Scenario:
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
        self, rng: Rng, scenario: Scenario, camera: CameraKind, clip_format: ClipFormat
    ) -> tuple[Scene, CameraView, float]:
        """Draw motion, camera and light, with the first variant alone; also return the view and the speed.

        The speed keeps the subject in view of a camera that does not follow it.
        """
        long, wide, tall = body_extent(scenario.subject)
        tilt = np.radians(rng.uniform(-scenario.max_path_angle_deg, scenario.max_path_angle_deg))
        across = long * abs(np.cos(tilt)) + wide * abs(np.sin(tilt))
        share = float(np.exp(rng.uniform(np.log(0.014), np.log(0.16))))
        focal = round(float(np.exp(rng.uniform(*np.log(self.focal_mm)))), 1)
        field_of_view = (SENSOR_MM / focal) ** 2 * clip_format.size[0] / clip_format.size[1]
        view = CameraView(
            away_deg=float(rng.uniform(0, 360)), focal_mm=focal,
            elevation_deg=float(rng.uniform(*scenario.elevation_deg)),
            distance_m=max(float(np.sqrt(across * tall / (share * field_of_view))), 1.2 * long),
        )  # fmt: skip
        speed = float(rng.uniform(*scenario.speed_mps))
        if camera in ("still", "handheld"):
            room = (MAX_WAY * view.width_m() - across) / max(abs(np.cos(tilt)), 0.3)
            speed = min(speed, max(room, 0.0) / clip_format.duration_s)
        motion = _draw_motion(rng, scenario, clip_format.duration_s, view.away_deg, tilt, speed)
        placed_camera = _draw_camera(rng, scenario, view, camera, motion, tall)
        sky, sun = draw_light(rng, scenario.light, view.away_deg, self.user_skies())
        scene = Scene(
            name="bare", seed=0, **vars(clip_format), subject=replace(scenario.subject, motion=motion),
            ground=scenario.ground, sky=sky, sun=sun, camera=placed_camera, variants=scenario.variants[:1],
        )  # fmt: skip
        return scene, view, motion.speed_mps

    def _add_props(self, rng: Rng, scenario: Scenario, view: CameraView, bare: Scene) -> Scene:
        """Add the surroundings, so that the subject still shows, and a number of variants.

        The first variant comes under a veiled and a clear sun too, if it has a sharp shadow and the scene holds still.
        """
        surroundings = scenario.surroundings
        path = compute_poses(bare, bare.subject).foot
        walls = props.draw_walls(rng, surroundings, view, bare.subject.size_m)
        hills, screens = props.draw_backdrop(rng, surroundings, view, bare.sky) if not walls else ((), ())
        walled = replace(bare, walls=(*walls, *screens))
        for _ in range(PROP_ATTEMPTS):
            bodies = props.scatter_props(rng, surroundings, view, path, bare.subject, walls)
            if rng.random() < self.occluder_probability:
                bodies = (*bodies, props.draw_occluder(rng, surroundings, view))
            if measure_framing(replace(walled, props=bodies)).fits:
                break
        else:
            bodies = ()
        scene = replace(walled, props=(*bodies, *hills))
        variants = list(scenario.variants)
        if scene.static_background and scene.sun.strength > SUN_STRENGTH and scene.sun.softness_deg < 4:
            effects = variants[0].effects
            others = tuple(effect for effect in effects if effect.kind != "shadow")
            suns = (("soft-shadow", Shadow(softness_deg=14.0)), ("harsh-shadow", Shadow(softness_deg=0.4)))
            if len(others) < len(effects):
                variants[1:1] = (Variant(name=name, effects=(shadow, *others)) for name, shadow in suns)
        count = int(rng.integers(self.variants[0], self.variants[1] + 1))
        return replace(scene, variants=tuple(variants[:count]))


def _draw_motion(rng: Rng, scenario: Scenario, duration_s: float, away_deg: float, tilt: float, speed: float) -> Travel:
    """Draw a motion from left to right or back, whose middle in time is the origin."""
    limit = scenario.max_turn_deg_s
    turn = float(rng.uniform(-limit, limit)) * (rng.random() < 0.6 or scenario.motion_kind == "drift")
    if abs(turn) * duration_s > 100:
        turn = np.sign(turn) * 100 / duration_s
    middle = np.radians(away_deg - 90) + tilt + (np.pi if rng.random() < 0.5 else 0.0)
    begin = middle - np.radians(turn) * duration_s / 2
    half = duration_s / 2
    swing = np.radians(turn) * half / 2
    chord = speed * half * np.sinc(swing / np.pi)
    return Travel(
        kind=scenario.motion_kind,  # type: ignore[arg-type]
        start=(round(float(-chord * np.cos(begin + swing)), 4), round(float(-chord * np.sin(begin + swing)), 4)),
        heading_deg=round(float(np.degrees(begin)) % 360, 3),
        speed_mps=round(speed, 4),
        turn_deg_s=round(float(turn), 3),
        height_m=scenario.height_m,
        phase=round(float(rng.random()), 3),
    )


def _draw_camera(
    rng: Rng, scenario: Scenario, view: CameraView, kind: CameraKind, motion: Travel, tall: float
) -> Camera:
    lift, away = np.radians(view.elevation_deg), np.radians(view.away_deg)
    height = 0.45 * tall + {"fly": 1.0, "bounce": 0.5}.get(scenario.motion_kind, 0.0) * scenario.height_m
    back = view.distance_m * np.cos(lift)
    lens_m = max(height + view.distance_m * np.sin(lift), 0.25 * tall)
    at = np.array([-back * np.cos(away), -back * np.sin(away), lens_m])
    right, up = rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.07)
    aim = (*view.at(float(right) * view.width_m(), 0.0), height + float(up) * view.width_m())
    amount = {"still": 1.0, "handheld": float(rng.uniform(0.5, 1.8)), "follow": float(rng.uniform(0.75, 1.0))}
    if kind == "pan":
        course = np.arctan2(-motion.start[1], -motion.start[0])
        across = motion.speed_mps * np.sin(course - away)  # to the left as the camera sees it
        pan = float(np.degrees(across / view.distance_m)) * float(rng.uniform(0.7, 1.05))
        amount["pan"] = min(max(pan, -180.0), 180.0)  # a close, fast subject leaves the view of any camera
    back_to = amount["follow"] * np.array([*motion.start, 0.0]) if kind == "follow" else np.zeros(3)
    x, y, z = (round(float(value), 4) for value in at + back_to)  # it begins where the subject does
    u, v, w = (round(float(value), 4) for value in np.array(aim) + back_to)
    return Camera(kind=kind, at=(x, y, z), look_at=(u, v, w), focal_mm=view.focal_mm, amount=round(amount[kind], 4))
