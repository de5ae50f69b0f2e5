"""What happens in a scene: who moves how, on what, in which light, and what that does to the world.

An act knows nothing of cameras and places; `staging.py` finds those.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..effects.reflection import Reflection
from ..effects.registry import AnyEffect
from ..effects.shadow import Shadow
from ..scene.environment import Ground
from ..scene.objects import Body, Shape
from ..scene.scene import Variant
from . import effect_presets, palettes, subjects
from .lights import DAY, GREY, HALL, LAKE
from .palettes import LOOSE, OPEN, PAVED, POLISHED, GroundKind
from .subjects import one

Rng = np.random.Generator
Effects = tuple[AnyEffect, ...]
WET: tuple[GroundKind, ...] = ("wet", "puddles")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One draw of an act."""

    subject: Body
    """Its motion is not yet set."""
    kind: str
    """Of its motion."""
    speed: tuple[float, float]
    """Range, m/s."""
    height_m: float = 0.0
    turn: float = 25.0
    """How sharply it may turn, degrees a second."""
    ground: Ground
    light: str
    around: str
    """What stands beside: street, nature, water, hall, dark."""
    variants: tuple[Variant, ...]
    """In order of interest; the maker takes the first few."""
    lift_deg: tuple[float, float] = (6.0, 26.0)
    """How high the camera stands above the subject."""
    facing: float = 50.0
    """How far the subject's way may turn from straight across the picture, degrees."""


def walk(rng: Rng) -> Scenario:
    """Someone walks or runs, or a dog does, on a day with shadows, or on wet ground."""
    body, speed = subjects.dog(rng) if rng.random() < 0.3 else subjects.person(rng)
    wet = rng.random() < 0.4
    name = one(rng, PAVED if wet else OPEN)
    kind: GroundKind = one(rng, ("wet", "puddles")) if wet else "dry"
    plain: Effects = (Shadow(), Reflection()) if wet else (Shadow(),)
    variants = [Variant(name="plain", effects=plain)]
    if name in LOOSE and not wet:
        variants = effect_presets.dusty(rng, palettes.SURFACES[name].dust, 0.28 * body.size_m)[::2] + variants
    if wet and rng.random() < 0.5:
        variants.append(Variant(name="splashes", effects=(*plain, effect_presets.steps(rng))))
    return Scenario(
        subject=body, kind="walk", speed=speed, ground=palettes.ground(rng, name, kind), around="street",
        light=one(rng, (*GREY, "clear") if wet else DAY), variants=tuple(variants), turn=12.0,
    )  # fmt: skip


def drive(rng: Rng) -> Scenario:
    """A car or truck raises dust on loose ground."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    name = one(rng, LOOSE)
    return Scenario(
        subject=body, kind="drive", speed=(2.5, 9.0), ground=palettes.ground(rng, name, "dry"), around="nature",
        light=one(rng, DAY),
        variants=tuple(effect_presets.dusty(rng, palettes.SURFACES[name].dust, 0.16 * body.size_m)),
    )  # fmt: skip


def drive_wet(rng: Rng) -> Scenario:
    """A car or truck on a wet street, with spray at its wheels."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    name, kind = one(rng, ("asphalt", "asphalt", "concrete", "cobbles")), one(rng, WET)
    wet: Effects = (Shadow(), Reflection())
    variants = (
        Variant(name="spray", effects=(*wet, effect_presets.spray(rng, 0.7))),
        Variant(name="calm", effects=wet),
        Variant(name="heavy-spray", effects=(*wet, effect_presets.spray(rng, 1.8))),
    )
    return Scenario(
        subject=body, kind="drive", speed=(2.5, 9.0), around="street", light=one(rng, GREY),
        ground=palettes.ground(rng, name, kind), variants=variants, lift_deg=(4.0, 16.0),
    )  # fmt: skip


def drift(rng: Rng) -> Scenario:
    """A car slides through a bend, in dust or in the smoke of its tyres."""
    body, loose = subjects.car(rng), rng.random() < 0.6
    name = one(rng, LOOSE if loose else ("asphalt", "concrete"))
    variants = effect_presets.dusty(rng, palettes.SURFACES[name].dust, 0.2 * body.size_m)
    if not loose:
        variants = [
            Variant(name=f"{word}-smoke", effects=(Shadow(), effect_presets.tyre_smoke(rng, word)))
            for word in ("white", "grey")
        ]
    return Scenario(
        subject=body, kind="drift", speed=(3.5, 9.0), height_m=subjects.size(rng, 0.25, 0.7), turn=45.0,
        ground=palettes.ground(rng, name, "dry"), around="nature" if loose else "street", light=one(rng, DAY),
        variants=tuple(variants), lift_deg=(10.0, 32.0),
    )  # fmt: skip


def smoking(rng: Rng) -> Scenario:
    """A truck trails smoke from its stack, a car from its tail, a drone from its middle."""
    which = one(rng, (subjects.truck, subjects.truck, subjects.car, subjects.drone))
    body, flies = which(rng), which is subjects.drone
    leaves = {"truck": (0.235, 0.36, 1.0), "car": (-0.48, 0.25, 0.2)}.get(body.shape, (0.0, 0.0, 0.5))
    name = one(rng, OPEN)
    return Scenario(
        subject=body, kind="fly" if flies else "drive", speed=(0.8, 2.5) if flies else (1.5, 5.0),
        height_m=subjects.size(rng, 0.8, 2.0) if flies else 0.0, ground=palettes.ground(rng, name, "dry"),
        around="street" if name in PAVED else "nature", light=one(rng, (*DAY, "overcast")), lift_deg=(5.0, 20.0),
        variants=tuple(effect_presets.smoky(rng, (0.7 if flies else 0.13) * body.size_m, leaves)),
    )  # fmt: skip


def boat(rng: Rng) -> Scenario:
    """A boat draws a wake."""
    body = subjects.boat(rng)
    return Scenario(
        subject=body, kind="boat", speed=(1.5, 4.5), height_m=subjects.size(rng, 0.02, 0.10), turn=10.0,
        ground=palettes.lake(rng), around="water", light=one(rng, LAKE), lift_deg=(9.0, 26.0),
        variants=tuple(effect_presets.wakes(rng, body.size_m)),
    )  # fmt: skip


def paddle(rng: Rng) -> Scenario:
    """A duck swims, or a ball bobs on the water."""
    swims = rng.random() < 0.7
    body = subjects.duck(rng) if swims else subjects.ball(rng, 0.3, 0.8)
    return Scenario(
        subject=body, kind="boat", speed=(0.2, 0.8) if swims else (0.05, 0.4), height_m=0.02, turn=12.0,
        ground=palettes.lake(rng), around="water", light=one(rng, LAKE), lift_deg=(12.0, 32.0),
        variants=tuple(effect_presets.rings(body.size_m)),
    )  # fmt: skip


def bounce(rng: Rng) -> Scenario:
    """A ball leaps over dry ground, through puddles, over a floor, or skips on water."""
    body = subjects.ball(rng, 0.25, 0.8)
    place = one(rng, ("loose", "puddles", "hall", "lake"))
    surface = one(rng, LOOSE if place == "loose" else POLISHED if place == "hall" else PAVED)
    kinds: dict[str, GroundKind] = {"loose": "dry", "puddles": "puddles", "hall": "glossy"}
    return Scenario(
        subject=body, kind="bounce", speed=(0.8, 2.4), turn=8.0,
        height_m=round(subjects.size(rng, 0.8, 1.8) * body.size_m, 3),
        ground=palettes.lake(rng) if place == "lake" else palettes.ground(rng, surface, kinds[place]),
        around={"loose": "nature", "puddles": "street", "hall": "hall", "lake": "water"}[place],
        light=one(rng, {"hall": HALL, "lake": LAKE}.get(place, DAY)), lift_deg=(8.0, 26.0),
        variants=tuple(effect_presets.bouncing(rng, place, palettes.SURFACES[surface].dust, body.size_m)),
    )  # fmt: skip


def fly(rng: Rng) -> Scenario:
    """A bird or a drone flies low over the ground, or over water."""
    over_water, flaps = rng.random() < 0.3, rng.random() < 0.5
    body = subjects.bird(rng) if flaps else subjects.drone(rng)
    surface = one(rng, OPEN)
    variants = [Variant(name="plain", effects=(Reflection(),) if over_water else (Shadow(),))]
    if not flaps and surface in LOOSE and not over_water:
        variants = effect_presets.dusty(rng, palettes.SURFACES[surface].dust, 0.6 * body.size_m)
    return Scenario(
        subject=body, kind="fly", speed=(1.2, 4.0) if flaps else (0.6, 2.5), turn=30.0,
        light=one(rng, LAKE if over_water else DAY),
        height_m=round(subjects.size(rng, 0.35, 1.3) * body.size_m, 3), lift_deg=(14.0, 38.0), variants=tuple(variants),
        ground=palettes.lake(rng) if over_water else palettes.ground(rng, surface, "dry"),
        around="water" if over_water else "street" if surface in PAVED else "nature",
    )  # fmt: skip


def shine(rng: Rng) -> Scenario:
    """A lantern drifts along at dusk or at night, and lights what it passes."""
    body, wet = subjects.lantern(rng), rng.random() < 0.5
    mirror: Effects = (Reflection(),) if wet else ()
    kind: GroundKind = one(rng, WET) if wet else "dry"
    return Scenario(
        subject=body, kind="fly", speed=(0.3, 1.0), height_m=subjects.size(rng, 0.15, 0.7), turn=15.0,
        ground=palettes.ground(rng, one(rng, PAVED), kind), light=one(rng, ("dusk", "dusk", "night")), around="dark",
        lift_deg=(5.0, 20.0), variants=tuple(effect_presets.shining(rng, body, mirror)),
    )  # fmt: skip


def glide(rng: Rng) -> Scenario:
    """A solid slides, or a ball rolls, over a polished floor."""
    shapes: tuple[Shape, ...] = ("cube", "torus", "monkey", "cone", "cylinder")
    body = subjects.ball(rng, 0.3, 0.9) if rng.random() < 0.3 else subjects.solid(rng, shapes, 0.3, 0.9)
    return Scenario(
        subject=body, kind="drive", speed=(0.25, 1.2), ground=palettes.ground(rng, one(rng, POLISHED), "glossy"),
        around="hall", light=one(rng, HALL), lift_deg=(7.0, 24.0),
        variants=(Variant(name="plain", effects=(Shadow(), Reflection())),),
    )  # fmt: skip


SCENARIOS: dict[str, Callable[[Rng], Scenario]] = {
    scenario.__name__: scenario
    for scenario in (walk, drive, drive_wet, drift, smoking, boat, paddle, bounce, fly, shine, glide)
}


def softened(scenario: Scenario) -> tuple[Variant, ...]:
    """The first variant under a veiled sun and under a clear one, if it throws a shadow."""
    first = scenario.variants[0]
    if not any(effect.kind == "shadow" for effect in first.effects):
        return ()
    rest = tuple(effect for effect in first.effects if effect.kind != "shadow")
    return (
        Variant(name="soft-shadow", effects=(Shadow(softness_deg=14.0), *rest)),
        Variant(name="harsh-shadow", effects=(Shadow(softness_deg=0.4), *rest)),
    )
