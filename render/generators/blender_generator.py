"""The `blender` maker: subjects that make their own way, on foot, on wheels, afloat, in leaps and in the air."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..animation.motion import way_of
from ..effects.ranges import STRICT, within
from ..scene.environment import Sun
from ..scene.objects import Body
from ..scene.scene import Scene, Variant
from . import props as furniture
from .assets import Asset, models_in, skies_in
from .backdrops import backdrop
from .clip_format import Film
from .framing import framing
from .lights import light
from .placement import CameraKind, Stage, stage
from .scenarios import ACTS, Act, softened

ACTS_TRIED = 10
VIEWS_TRIED = 20
FURNISHINGS_TRIED = 6


@dataclass(frozen=True, kw_only=True)
class Procedural:
    """Scenes of subjects that move by rules: no simulation, any length."""

    __pydantic_config__ = STRICT
    kind: Literal["blender"] = "blender"
    acts: tuple[str, ...] = ("walk", *ACTS)
    """What may happen; name one twice and it happens twice as often."""
    cameras: tuple[CameraKind, ...] = ("still", "still", "handheld", "pan", "follow")
    """How they may be held, in the same way."""
    variants: tuple[int, int] = (1, 3)
    """How many `gt` each scene has: at least, at most."""
    focal_mm: tuple[float, float] = (26.0, 70.0)
    occluders: float = 0.2
    """Share of scenes with a post before the action."""
    models: str | None = None
    """A folder of .blend, .glb, .obj, .usd ... files: the subjects of `model_share` of the scenes."""
    model_share: float = 0.5
    skies: str | None = None
    """A folder of .hdr or .exr panoramas, in place of those that come with Blender."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.acts if name not in ACTS]
        if unknown or not self.acts:
            raise ValueError(f"maker.acts={list(self.acts)}: name some of {', '.join(ACTS)}")
        if not self.cameras or any(kind not in get_args(CameraKind) for kind in self.cameras):
            raise ValueError(f"maker.cameras={list(self.cameras)}: name some of {', '.join(get_args(CameraKind))}")
        if not 1 <= self.variants[0] <= self.variants[1] <= 4:
            raise ValueError(f"maker.variants={self.variants}: give at least and at most, within 1 to 4")
        if not 8 <= self.focal_mm[0] <= self.focal_mm[1] <= 400:
            raise ValueError(f"maker.focal_mm={self.focal_mm}: give shortest and longest, within 8 to 400")
        within(self, "occluders", 0, 1)
        within(self, "model_share", 0, 1)


def scene_at(maker: Procedural, index: int, seed: int, film: Film) -> Scene:
    """Scene number `index`: the same for the same maker, seed and film, however many others there are.

    Raises:
        ValueError: a folder of models or skies is missing or empty, or no draw puts the subject into the picture.
    """
    rng = np.random.default_rng([seed, index])
    for tried in range(ACTS_TRIED):
        act = _with_model(maker, rng, ACTS[maker.acts[int(rng.integers(len(maker.acts)))]](rng))
        camera = maker.cameras[int(rng.integers(len(maker.cameras)))]
        for _ in range(VIEWS_TRIED):
            bare, staged = _bare(maker, rng, (act, camera), film)
            seen = framing(bare)
            slow = staged.motion.speed_mps < 0.6 * act.speed[0] and tried < ACTS_TRIED // 2
            if seen.fits and not slow and (seen.shadow_fits or not _throws_shadow(bare)):
                named = replace(bare, name=f"blender-{seed}-{index:05d}", seed=int(rng.integers(2**31)))
                return _furnished(maker, rng, (act, staged), named)
    raise ValueError(
        f"scene {index} of the maker blender with seed {seed}: in {ACTS_TRIED * VIEWS_TRIED} draws no camera had its "
        "subject in view; allow more kinds of camera, shorter lenses, or fewer frames"
    )


def models(maker: Procedural) -> tuple[Asset, ...]:
    """What a maker's folder holds.

    Raises:
        ValueError: there is no such folder, or no model in it.
    """
    return () if maker.models is None else models_in(Path(maker.models).expanduser())


def _with_model(maker: Procedural, rng: np.random.Generator, act: Act) -> Act:
    """The act with a user's model in place of its subject, unless that has to walk or to shine."""
    if maker.models is None or rng.random() >= maker.model_share or act.kind == "walk" or act.around == "dark":
        return act
    known = models(maker)
    model = known[int(rng.integers(len(known)))]
    size = round(act.subject.size_m * 0.8, 3)
    body = Body(
        name=model.name.replace("_", " ")[:80], shape="asset", asset=model.uri, size_m=size, look=act.subject.look
    )
    return replace(act, subject=body)


def _bare(maker: Procedural, rng: np.random.Generator, what: tuple[Act, CameraKind], film: Film) -> tuple[Scene, Stage]:
    """Subject, ground, light and camera."""
    act, camera = what
    staged = stage(rng, act, film, camera, maker.focal_mm)
    skies = () if maker.skies is None else tuple(sky.uri for sky in skies_in(Path(maker.skies).expanduser()))
    sky, sun = light(rng, act.light, staged.sun_deg, skies)
    return Scene(
        name="bare", seed=0, frames=film.frames, size=film.size, fps=film.fps, rendering=film.rendering,
        subject=replace(act.subject, motion=staged.motion), ground=act.ground, sky=sky, sun=sun, camera=staged.camera,
        variants=act.variants[:1],
    ), staged  # fmt: skip


def _furnished(maker: Procedural, rng: np.random.Generator, what: tuple[Act, Stage], bare: Scene) -> Scene:
    """The scene with what stands around, so that the subject still shows, and with its variants."""
    act, staged = what
    way = way_of(bare, bare.subject).foot
    walls = furniture.wall(rng, act.around, staged.view, bare.subject.size_m)
    far, screens = backdrop(rng, act.around, staged.view, bare.sky) if not walls else ((), ())
    walled = replace(bare, walls=(*walls, *screens))
    for _ in range(FURNISHINGS_TRIED):
        props = furniture.things(rng, act.around, staged.view, way, bare.subject)
        props = furniture.before_walls(walls, props, staged.view)
        if rng.random() < maker.occluders:
            props = (*props, furniture.occluder(rng, act.around, staged.view))
        if framing(replace(walled, props=props)).fits:
            break
    else:
        props = ()
    whole = replace(walled, props=(*props, *far))
    return replace(whole, variants=_variants(maker, rng, act, whole))


def _variants(maker: Procedural, rng: np.random.Generator, act: Act, scene: Scene) -> tuple[Variant, ...]:
    """As many as are asked for; other suns only where a shadow is sharp and all stands still."""
    found = list(act.variants)
    if scene.holds_still and _sharp(scene.sun):
        found[1:1] = softened(act)
    count = int(rng.integers(maker.variants[0], maker.variants[1] + 1))
    return tuple(found[:count])


def _sharp(sun: Sun) -> bool:
    return sun.strength > 1.5 and sun.softness_deg < 4


def _throws_shadow(scene: Scene) -> bool:
    return scene.sun.strength > 1.5 and any(effect.kind == "shadow" for effect in scene.variants[0].effects)
