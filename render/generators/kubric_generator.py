"""The `kubric` maker: rigid bodies that fall, slide and collide on a floor; one of them is the subject.

Where it hits, it raises dust or water; polished floors mirror it; walls send it back.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..animation.motion import compute_poses
from ..effects.ranges import STRICT, within
from ..scene.environment import Camera
from ..scene.objects import Body, Shape, Still, Toss
from ..scene.scene import Scene
from . import effect_presets, palettes, subjects
from . import props as furniture
from .assets import Asset, fetch, models_in, read_manifest, skies_in
from .clip_format import ClipFormat
from .framing import framing
from .lights import DAY, HALL, azimuth_deg, light
from .palettes import GroundKind
from .placement import CameraKind, View
from .subjects import one

Rng = np.random.Generator
ATTEMPTS = 60
SHORTEST_S = 0.5
"""What falls needs so long to hit the ground and to raise something in view: below, hardly a draw in fifty does."""
SHAPES: tuple[Shape, ...] = ("sphere", "cube", "cylinder", "cone", "torus", "monkey", "rock", "crate")
FLOORS: dict[str, tuple[GroundKind, tuple[str, ...], tuple[str, ...]]] = {
    "loose": ("dry", palettes.LOOSE, DAY),
    "puddles": ("puddles", palettes.PAVED, (*DAY, "overcast")),
    "wet": ("wet", palettes.PAVED, (*DAY, "overcast")),
    "glossy": ("glossy", palettes.POLISHED, (*HALL, "outdoor panorama")),
}
"""Name of a floor to its kind, its surfaces and its lights."""


@dataclass(frozen=True, kw_only=True)
class KubricGenerator:
    """Scenes of rigid bodies, simulated by Kubric's PyBullet view."""

    __pydantic_config__ = STRICT
    kind: Literal["kubric"] = "kubric"
    bodies: tuple[int, int] = (3, 10)
    """How many there are, the subject counted: at least, at most."""
    resting: float = 0.3
    """Share of the others that stand still until they are hit by nothing: obstacles."""
    floors: tuple[str, ...] = ("loose", "loose", "puddles", "wet", "glossy", "glossy")
    cameras: tuple[CameraKind, ...] = ("still", "still", "handheld", "pan")
    walls: float = 0.4
    """Share of scenes with a wall behind the action."""
    variants: tuple[int, int] = (1, 3)
    focal_mm: tuple[float, float] = (28.0, 55.0)
    manifest: str | None = None
    """Path or address of a Kubric asset manifest, whose models take the place of `model_probability` of the bodies."""
    models: str | None = None
    """A folder of model files, used in the same way."""
    model_probability: float = 0.6
    cache: str = "~/.cache/effectpairs/assets"
    """Where models that lie elsewhere are kept."""
    skies: str | None = None
    """A folder of .hdr or .exr panoramas, in place of those that come with Blender."""

    def __post_init__(self) -> None:
        if not 1 <= self.bodies[0] <= self.bodies[1] <= 40:
            raise ValueError(f"generator.bodies={self.bodies}: give at least and at most, within 1 to 40")
        if not self.floors or any(floor not in FLOORS for floor in self.floors):
            raise ValueError(f"generator.floors={list(self.floors)}: name some of {', '.join(FLOORS)}")
        if not self.cameras or any(kind not in get_args(CameraKind) for kind in self.cameras):
            raise ValueError(f"generator.cameras={list(self.cameras)}: name some of {', '.join(get_args(CameraKind))}")
        if not 1 <= self.variants[0] <= self.variants[1] <= 4:
            raise ValueError(f"generator.variants={self.variants}: give at least and at most, within 1 to 4")
        if not 8 <= self.focal_mm[0] <= self.focal_mm[1] <= 400:
            raise ValueError(f"generator.focal_mm={self.focal_mm}: give shortest and longest, within 8 to 400")
        for name in ("resting", "walls", "model_probability"):
            within(self, name, 0, 1)

    def check(self, clip_format: ClipFormat) -> None:
        """Can bodies fall and hit within the film?

        Raises:
            ValueError: it is too short.
        """
        if clip_format.lasts_s < SHORTEST_S:
            frames = 8 * int(np.ceil((SHORTEST_S * clip_format.fps - 4) / 8)) + 5
            raise ValueError(
                f"frames={clip_format.frames} at fps={clip_format.fps:g} last {clip_format.lasts_s:.2g} s, and what "
                f"falls needs {SHORTEST_S:g} s to hit the ground; give frames={frames} or more, or a lower fps"
            )


def scene_at(generator: KubricGenerator, index: int, seed: int, clip_format: ClipFormat) -> Scene:
    """Scene number `index`: the same for the same maker, seed and film, however many others there are.

    Raises:
        ValueError: assets are missing, or no draw keeps the subject in the picture.
        ImportError: Kubric is not installed.
    """
    rng = np.random.default_rng([seed, index])
    for _ in range(ATTEMPTS):
        scene = _draw(generator, rng, clip_format)
        if framing(scene).fits and _happens(scene):
            return replace(scene, name=f"kubric-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
    raise ValueError(
        f"scene {index} of the generator kubric with seed {seed}: in {ATTEMPTS} draws its subject never fell, hit and "
        f"stayed in view within {clip_format.lasts_s:.2g} s; set more frames, a lower fps, or other generator.floors"
    )


def _draw(generator: KubricGenerator, rng: Rng, clip_format: ClipFormat) -> Scene:
    """Bodies in the air over a floor, and a camera that sees where they come down."""
    kind, surfaces, times = FLOORS[one(rng, generator.floors)]
    surface = one(rng, surfaces)
    body, dust = _body(generator, rng, (0.25, 0.65)), palettes.SURFACES[surface].dust
    view = _view(generator, rng, clip_format, body)
    skies = () if generator.skies is None else tuple(sky.uri for sky in skies_in(Path(generator.skies).expanduser()))
    sky, sun = light(rng, one(rng, times), azimuth_deg(rng, view.away_deg), skies)
    walls = (
        furniture.wall(rng, "hall" if kind == "glossy" else "street", view, 2.0)
        if rng.random() < generator.walls
        else ()
    )
    subject, props = _tossed(generator, rng, view, body)
    bare = Scene(
        name="bare", seed=0, frames=clip_format.frames, size=clip_format.size, fps=clip_format.fps,
        rendering=clip_format.rendering,
        subject=subject, props=props, walls=walls, sky=sky, sun=sun, ground=palettes.ground(rng, surface, kind),
        camera=_camera(generator, rng, view), variants=tuple(effect_presets.hitting(rng, kind, dust, body.size_m)),
    )  # fmt: skip
    count = int(rng.integers(generator.variants[0], generator.variants[1] + 1))
    return replace(bare, variants=bare.variants[:count])


def _happens(scene: Scene) -> bool:
    """Does the subject come from somewhere, and does it hit what its effects need, early enough to be seen?"""
    way = compute_poses(scene, scene.subject)
    path = float(np.linalg.norm(np.diff(way.foot, axis=0), axis=1).sum())
    hits = [hit for hit in way.contacts if hit.frame < scene.frames - 3 and hit.at[2] < 0.05]
    needs = any(effect.kind in ("dust", "splash") for effect in scene.variants[0].effects)
    return path > 1.2 * scene.subject.size_m and (bool(hits) or not needs)


def _view(generator: KubricGenerator, rng: Rng, clip_format: ClipFormat, body: Body) -> View:
    height, width = clip_format.size
    share = float(np.exp(rng.uniform(np.log(0.013), np.log(0.08))))
    focal_mm = round(float(np.exp(rng.uniform(*np.log(generator.focal_mm)))), 1)
    seen = (36 / focal_mm) ** 2 * height / width
    return View(
        away_deg=float(rng.uniform(0, 360)), focal_mm=focal_mm, lift_deg=float(rng.uniform(12, 34)),
        distance_m=body.size_m / float(np.sqrt(share * seen)),
    )  # fmt: skip


def _camera(generator: KubricGenerator, rng: Rng, view: View) -> Camera:
    lift, away = np.radians(view.lift_deg), np.radians(view.away_deg)
    back = view.distance_m * np.cos(lift)
    aim = view.at(float(rng.uniform(-0.05, 0.05)) * view.width_m(), 0.0)
    up = 0.08 * view.width_m()
    kind = one(rng, generator.cameras)
    amount = {"handheld": float(rng.uniform(0.5, 1.6)), "pan": float(rng.choice([-1, 1])) * float(rng.uniform(1, 5))}
    return Camera(
        kind=kind, focal_mm=view.focal_mm, amount=round(amount.get(kind, 1.0), 3),
        at=(
            round(float(-back * np.cos(away)), 4), round(float(-back * np.sin(away)), 4),
            round(float(up + view.distance_m * np.sin(lift)), 4),
        ),
        look_at=(aim[0], aim[1], round(up, 4)),
    )  # fmt: skip


def _tossed(generator: KubricGenerator, rng: Rng, view: View, body: Body) -> tuple[Body, tuple[Body, ...]]:
    """The subject on a way across the picture, and the others, all apart from each other at first."""
    reach = 0.34 * view.width_m()
    side = float(rng.choice([-1, 1]))
    begin = np.array([*view.at(side * float(rng.uniform(0.3, 0.95)) * reach, float(rng.uniform(-0.4, 0.5)) * reach)])
    subject = _thrown(rng, body, begin, -begin * float(rng.uniform(0.7, 1.5)))
    placed = [(subject, begin)]
    others = int(rng.integers(generator.bodies[0], generator.bodies[1] + 1)) - 1
    for _ in range(4 * others):
        if len(placed) > others:
            break
        other = _body(generator, rng, (0.2, 0.8))
        spot = _spot(rng, view, reach)
        if any(np.hypot(*(spot - at)) < 0.75 * (other.size_m + near.size_m) for near, at in placed):
            continue
        if rng.random() < generator.resting:
            rest = Still(
                at=(round(spot[0], 4), round(spot[1], 4), 0.0), heading_deg=round(float(rng.uniform(0, 360)), 1)
            )
            placed.append((replace(other, motion=rest), spot))
        else:
            placed.append(
                (_thrown(rng, other, spot, (_spot(rng, view, reach) - spot) * float(rng.uniform(0.2, 0.9))), spot)
            )
    return subject, tuple(body for body, _ in placed[1:])


def _spot(rng: Rng, view: View, reach: float) -> np.ndarray:
    """A place on the floor around the middle."""
    return np.array([*view.at(float(rng.uniform(-1.3, 1.3)) * reach, float(rng.uniform(-0.7, 1.6)) * reach)])


def _thrown(rng: Rng, body: Body, begin: np.ndarray, along: np.ndarray) -> Body:
    """A body in the air, turned and spun at random, on its way along that velocity."""
    size = body.size_m
    x, y, z = (
        round(float(value), 4) for value in (*begin, size * float(rng.uniform(0.9, 1.4)) + float(rng.uniform(0.0, 0.9)))
    )
    vx, vy, vz = (round(float(value), 4) for value in (*along, rng.uniform(-0.5, 1.5)))
    spin, turned = (tuple(round(float(value), 3) for value in rng.uniform(-1, 1, 3) * most) for most in (5, 180))
    motion = Toss(
        at=(x, y, z), velocity=(vx, vy, vz),
        spin=spin, turned=turned, mass_kg=round(600 * size**3, 3),  # type: ignore[arg-type]
        friction=round(float(rng.uniform(0.15, 0.8)), 3), restitution=round(float(rng.uniform(0.2, 0.7)), 3),
    )  # fmt: skip
    return replace(body, motion=motion)


def _body(generator: KubricGenerator, rng: Rng, sizes: tuple[float, float]) -> Body:
    known = models(generator)
    if known and rng.random() < generator.model_probability:
        model = one(rng, known)
        path = fetch(model, Path(generator.cache).expanduser())
        name = (model.category or model.name).replace("_", " ")[:80]
        return Body(name=name, shape="asset", asset=str(path), size_m=subjects.size(rng, *sizes))
    if rng.random() < 0.2:
        return subjects.ball(rng, *sizes)
    return subjects.solid(rng, SHAPES, *sizes)


@lru_cache(maxsize=4)
def models(generator: KubricGenerator) -> tuple[Asset, ...]:
    """What a maker's manifest and folder hold; nothing is fetched.

    Raises:
        ValueError: one of them cannot be read, or holds none.
    """
    listed = (
        ()
        if generator.manifest is None
        else tuple(one for one in read_manifest(generator.manifest) if one.kind == "model")
    )
    return (*listed, *(() if generator.models is None else models_in(Path(generator.models).expanduser())))
