"""The generator `kubric`: rigid bodies that fall, slide and collide on a floor; one of them is the subject.

Its hits raise dust or water; polished floors mirror it; walls send it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from ...requirements import Lack
from ...settings import InRange
from ..animation.camera import SENSOR_MM
from ..animation.kubric_packages import find_kubric
from ..animation.motion import compute_poses
from ..scene.objects import Body, Camera, Shape, Still, Toss
from ..scene.scene import Scene
from . import palettes, subjects
from .assets import Asset, fetch_asset, list_files, read_manifest
from .effect_styles import impact_variants
from .framing import CameraView, measure_framing
from .generator import CameraKind, ClipFormat, SceneGenerator
from .palettes import DAY_LIGHTS, HALL_LIGHTS, GroundKind, draw_between
from .props import draw_walls
from .subjects import Rng, choose

MAX_ATTEMPTS = 60
MIN_DURATION_S = 0.5
"""Time that a falling body needs to hit the ground and to raise something in view: with less, hardly a draw in fifty
does."""
SHAPES: tuple[Shape, ...] = ("sphere", "cube", "cylinder", "cone", "torus", "monkey", "rock", "crate")
FLOORS: dict[str, tuple[GroundKind, tuple[str, ...], tuple[str, ...]]] = {
    "loose": ("dry", palettes.LOOSE_SURFACES, DAY_LIGHTS),
    "puddles": ("puddles", palettes.PAVED_SURFACES, (*DAY_LIGHTS, "overcast")),
    "wet": ("wet", palettes.PAVED_SURFACES, (*DAY_LIGHTS, "overcast")),
    "glossy": ("glossy", palettes.POLISHED_SURFACES, (*HALL_LIGHTS, "outdoor panorama")),
}
"""Kind, surfaces and lights of each floor."""


@dataclass(frozen=True, kw_only=True)
class KubricGenerator(SceneGenerator):
    """Scenes of rigid bodies, simulated by Kubric's PyBullet view."""

    required_packages: ClassVar[Mapping[str, str]] = {}
    kind: Literal["kubric"] = "kubric"
    bodies: tuple[int, int] = (3, 10)
    """Least and greatest number of bodies, the subject counted."""
    resting: Annotated[float, InRange(0, 1)] = 0.3
    """Share of the bodies beside the subject that stand still, as obstacles."""
    floors: tuple[str, ...] = ("loose", "loose", "puddles", "wet", "glossy", "glossy")
    cameras: tuple[CameraKind, ...] = ("still", "still", "handheld", "pan")
    walls: Annotated[float, InRange(0, 1)] = 0.4
    """Share of scenes with a wall behind the action."""
    focal_mm: tuple[float, float] = (28.0, 55.0)
    manifest: str | None = None
    """Path or address of a Kubric asset manifest, whose models are used like those of `models`."""
    model_probability: Annotated[float, InRange(0, 1)] = 0.6
    cache: str = "~/.cache/effectpairs/assets"
    """Folder for models that lie elsewhere."""

    def missing_programs(self) -> tuple[Lack, ...]:
        """Kubric, which no extra can bring: it asks for much that it never imports."""
        if find_kubric():
            return ()
        remedy = "pip install 'effectpairs[render]', then: pip install --no-deps kubric-nightly==2023.12.27"
        return (Lack(kind="package", fault="kubric is not installed", remedy=remedy),)

    def __post_init__(self) -> None:
        if not 1 <= self.bodies[0] <= self.bodies[1] <= 40:
            raise ValueError(f"generator.bodies={self.bodies}: give at least and at most, within 1 to 40")
        if not self.floors or any(floor not in FLOORS for floor in self.floors):
            raise ValueError(f"generator.floors={list(self.floors)}: name some of {', '.join(FLOORS)}")
        super().__post_init__()

    def check(self, clip_format: ClipFormat) -> None:
        """Refuse a format in which bodies have no time to fall and hit."""
        if clip_format.duration_s < MIN_DURATION_S:
            frames = 8 * int(np.ceil((MIN_DURATION_S * clip_format.fps - 4) / 8)) + 5
            raise ValueError(
                f"frames={clip_format.frames} at fps={clip_format.fps:g} last {clip_format.duration_s:.2g} s, and what "
                f"falls needs {MIN_DURATION_S:g} s to hit the ground; give frames={frames} or more, or a lower fps"
            )

    def scene_at(self, index: int, seed: int, clip_format: ClipFormat) -> Scene:
        """Generate scene number `index`: bodies, drawn until the subject falls, hits and stays in view."""
        rng = np.random.default_rng([seed, index])
        for _ in range(MAX_ATTEMPTS):
            scene = self._draw_scene(rng, clip_format)
            if measure_framing(scene).fits and _is_eventful(scene):
                return replace(scene, name=f"kubric-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
        raise ValueError(
            f"scene {index} of the generator kubric with seed {seed}: in {MAX_ATTEMPTS} draws its subject never fell, "
            f"hit and stayed in view within {clip_format.duration_s:.2g} s; set more frames, a lower fps, or other "
            "generator.floors"
        )

    def user_models(self) -> tuple[Asset, ...]:
        """List the models of the manifest and of the folder; nothing is fetched."""
        return _list_models(self.manifest, self.models)

    def _draw_scene(self, rng: Rng, clip_format: ClipFormat) -> Scene:
        """Draw bodies in the air over a floor, and a camera that sees where they come down."""
        kind, surfaces, lights = FLOORS[choose(rng, self.floors)]
        surface = choose(rng, surfaces)
        body, dust = self._draw_body(rng, (0.25, 0.65)), palettes.SURFACES[surface].dust
        share = float(np.exp(rng.uniform(np.log(0.013), np.log(0.08))))
        focal_mm = round(float(np.exp(rng.uniform(*np.log(self.focal_mm)))), 1)
        field_of_view = (SENSOR_MM / focal_mm) ** 2 * clip_format.size[0] / clip_format.size[1]
        view = CameraView(
            away_deg=float(rng.uniform(0, 360)), focal_mm=focal_mm, elevation_deg=float(rng.uniform(12, 34)),
            distance_m=body.size_m / float(np.sqrt(share * field_of_view)),
        )  # fmt: skip
        sky, sun = palettes.draw_light(rng, choose(rng, lights), view.away_deg, self.user_skies())
        surroundings = "hall" if kind == "glossy" else "street"
        walls = draw_walls(rng, surroundings, view, 2.0) if rng.random() < self.walls else ()
        subject, props = self._toss_bodies(rng, view, body)
        ground, camera = palettes.draw_ground(rng, surface, kind), self._draw_camera(rng, view)
        variants = impact_variants(rng, kind, dust, body.size_m)
        count = int(rng.integers(self.variants[0], self.variants[1] + 1))
        return Scene(
            name="bare", seed=0, **vars(clip_format), subject=subject, props=props, walls=walls, sky=sky, sun=sun,
            ground=ground, camera=camera, variants=tuple(variants[:count]),
        )  # fmt: skip

    def _draw_camera(self, rng: Rng, view: CameraView) -> Camera:
        lift, away = np.radians(view.elevation_deg), np.radians(view.away_deg)
        back = view.distance_m * np.cos(lift)
        aim = view.at(float(rng.uniform(-0.05, 0.05)) * view.width_m(), 0.0)
        up = 0.08 * view.width_m()
        kind = choose(rng, self.cameras)
        handheld, pan = float(rng.uniform(0.5, 1.6)), float(rng.choice([-1, 1])) * float(rng.uniform(1, 5))
        at = (-back * np.cos(away), -back * np.sin(away), up + view.distance_m * np.sin(lift))
        x, y, z = (round(float(value), 4) for value in at)
        amount = round({"handheld": handheld, "pan": pan}.get(kind, 1.0), 3)
        return Camera(kind=kind, focal_mm=view.focal_mm, amount=amount, at=(x, y, z), look_at=(*aim, round(up, 4)))

    def _toss_bodies(self, rng: Rng, view: CameraView, body: Body) -> tuple[Body, tuple[Body, ...]]:
        """Toss the subject across the picture, and place the other bodies, all apart from each other at first."""
        reach = 0.34 * view.width_m()
        side = float(rng.choice([-1, 1]))
        right, away = side * float(rng.uniform(0.3, 0.95)) * reach, float(rng.uniform(-0.4, 0.5)) * reach
        start = np.array([*view.at(right, away)])
        subject = _toss(rng, body, start, -start * float(rng.uniform(0.7, 1.5)))
        placed = [(subject, start)]
        count = int(rng.integers(self.bodies[0], self.bodies[1] + 1)) - 1
        for _ in range(4 * count):
            if len(placed) > count:
                break
            prop = self._draw_body(rng, (0.2, 0.8))
            spot = _draw_spot(rng, view, reach)
            if any(np.hypot(*(spot - at)) < 0.75 * (prop.size_m + neighbour.size_m) for neighbour, at in placed):
                continue
            if rng.random() < self.resting:
                x, y = round(spot[0], 4), round(spot[1], 4)
                motion = Still(at=(x, y, 0.0), heading_deg=draw_between(rng, 0.0, 360.0, 1))
                placed.append((replace(prop, motion=motion), spot))
            else:
                velocity = (_draw_spot(rng, view, reach) - spot) * float(rng.uniform(0.2, 0.9))
                placed.append((_toss(rng, prop, spot, velocity), spot))
        return subject, tuple(body for body, _ in placed[1:])

    def _draw_body(self, rng: Rng, sizes_m: tuple[float, float]) -> Body:
        models = self.user_models()
        if models and rng.random() < self.model_probability:
            model = choose(rng, models)
            path = fetch_asset(model, Path(self.cache).expanduser())
            name = (model.category or model.name).replace("_", " ")[:80]
            return Body(name=name, shape="asset", asset=str(path), size_m=draw_between(rng, *sizes_m))
        if rng.random() < 0.2:
            return subjects.ball(rng, *sizes_m)
        return subjects.solid(rng, SHAPES, *sizes_m)


@lru_cache(maxsize=4)
def _list_models(manifest: str | None, folder: str | None) -> tuple[Asset, ...]:
    assets = () if manifest is None else read_manifest(manifest)
    files = () if folder is None else list_files(Path(folder).expanduser(), "model")
    return (*(asset for asset in assets if asset.kind == "model"), *files)


def _is_eventful(scene: Scene) -> bool:
    """Does the subject come from somewhere, and does it hit what its effects need, early enough to be seen?"""
    way = compute_poses(scene, scene.subject)
    path_m = float(np.linalg.norm(np.diff(way.foot, axis=0), axis=1).sum())
    has_hits = any(hit.frame < scene.frames - 3 and hit.at[2] < 0.05 for hit in way.contacts)
    needs_hits = any(effect.kind in ("dust", "splash") for effect in scene.variants[0].effects)
    return path_m > 1.2 * scene.subject.size_m and (has_hits or not needs_hits)


def _draw_spot(rng: Rng, view: CameraView, reach: float) -> np.ndarray:
    """Draw a position on the floor around the middle."""
    return np.array([*view.at(float(rng.uniform(-1.3, 1.3)) * reach, float(rng.uniform(-0.7, 1.6)) * reach)])


def _toss(rng: Rng, body: Body, start: np.ndarray, velocity: np.ndarray) -> Body:
    """Put a body into the air, turned and spun at random, with that velocity along the floor."""
    size = body.size_m
    height = size * float(rng.uniform(0.9, 1.4)) + float(rng.uniform(0.0, 0.9))
    x, y, z = (round(float(value), 4) for value in (*start, height))
    vx, vy, vz = (round(float(value), 4) for value in (*velocity, rng.uniform(-0.5, 1.5)))
    spin, turned = (tuple(round(float(value), 3) for value in rng.uniform(-1, 1, 3) * limit) for limit in (5, 180))
    motion = Toss(
        at=(x, y, z), velocity=(vx, vy, vz),
        spin=spin, turned=turned, mass_kg=round(600 * size**3, 3),  # type: ignore[arg-type]
        friction=draw_between(rng, 0.15, 0.8), restitution=draw_between(rng, 0.2, 0.7),
    )  # fmt: skip
    return replace(body, motion=motion)
