"""Scenarios: a subject and its motion, the ground, the light, and the variants of effects.

A scenario knows nothing of cameras and positions; `placement.py` draws those.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..effects.light import Reflection, Shadow
from ..effects.registry import AnyEffect
from ..scene.objects import Body, Ground, Shape
from ..scene.scene import Variant
from . import effect_presets, palettes, subjects
from .palettes import DAY, GREY, HALL, LAKE, LOOSE, OPEN, PAVED, POLISHED, GroundKind
from .subjects import choose

Rng = np.random.Generator
Effects = tuple[AnyEffect, ...]
WET: tuple[GroundKind, ...] = ("wet", "puddles")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One draw of a scenario."""

    subject: Body
    """Its motion is not yet set."""
    motion_kind: str
    speed_mps: tuple[float, float]
    """Slowest and fastest."""
    height_m: float = 0.0
    max_turn_deg_s: float = 25.0
    ground: Ground
    light: str
    surroundings: str
    """Kind of the props beside it: street, nature, water, hall, dark."""
    variants: tuple[Variant, ...]
    """Variants in order of interest; the generator takes the first few."""
    lift_deg: tuple[float, float] = (6.0, 26.0)
    """Least and greatest height of the camera above the subject."""
    max_tilt_deg: float = 50.0
    """Greatest angle between the subject's way and straight across the picture."""


def walk(rng: Rng) -> Scenario:
    """Someone walks or runs, or a dog does, on a day with shadows, or on wet ground."""
    body, speed = subjects.dog(rng) if rng.random() < 0.3 else subjects.person(rng)
    wet = rng.random() < 0.4
    name = choose(rng, PAVED if wet else OPEN)
    kind: GroundKind = choose(rng, ("wet", "puddles")) if wet else "dry"
    effects: Effects = (Shadow(), Reflection()) if wet else (Shadow(),)
    variants = [Variant(name="plain", effects=effects)]
    if name in LOOSE and not wet:
        variants = effect_presets.dust_variants(rng, palettes.SURFACES[name].dust, 0.28 * body.size_m)[::2] + variants
    if wet and rng.random() < 0.5:
        variants.append(Variant(name="splashes", effects=(*effects, effect_presets.footstep_splash(rng))))
    return Scenario(
        subject=body, motion_kind="walk", speed_mps=speed, ground=palettes.draw_ground(rng, name, kind),
        surroundings="street", light=choose(rng, (*GREY, "clear") if wet else DAY), max_turn_deg_s=12.0,
        variants=tuple(variants),
    )  # fmt: skip


def drive(rng: Rng) -> Scenario:
    """A car or truck raises dust on loose ground."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    name = choose(rng, LOOSE)
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(2.5, 9.0), ground=palettes.draw_ground(rng, name, "dry"),
        surroundings="nature", light=choose(rng, DAY),
        variants=tuple(effect_presets.dust_variants(rng, palettes.SURFACES[name].dust, 0.16 * body.size_m)),
    )  # fmt: skip


def drive_wet(rng: Rng) -> Scenario:
    """A car or truck on a wet street, with spray at its wheels."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    name, kind = choose(rng, ("asphalt", "asphalt", "concrete", "cobbles")), choose(rng, WET)
    wet: Effects = (Shadow(), Reflection())
    variants = (
        Variant(name="spray", effects=(*wet, effect_presets.wheel_spray(rng, 0.7))),
        Variant(name="calm", effects=wet),
        Variant(name="heavy-spray", effects=(*wet, effect_presets.wheel_spray(rng, 1.8))),
    )
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(2.5, 9.0), surroundings="street", light=choose(rng, GREY),
        ground=palettes.draw_ground(rng, name, kind), variants=variants, lift_deg=(4.0, 16.0),
    )  # fmt: skip


def drift(rng: Rng) -> Scenario:
    """A car slides through a bend, in dust or in the smoke of its tyres."""
    body, loose = subjects.car(rng), rng.random() < 0.6
    name = choose(rng, LOOSE if loose else ("asphalt", "concrete"))
    variants = effect_presets.dust_variants(rng, palettes.SURFACES[name].dust, 0.2 * body.size_m)
    if not loose:
        variants = [
            Variant(name=f"{word}-smoke", effects=(Shadow(), effect_presets.tyre_smoke(rng, word)))
            for word in ("white", "grey")
        ]
    return Scenario(
        subject=body, motion_kind="drift", speed_mps=(3.5, 9.0), height_m=subjects.draw_size_m(rng, 0.25, 0.7),
        max_turn_deg_s=45.0, ground=palettes.draw_ground(rng, name, "dry"), light=choose(rng, DAY),
        surroundings="nature" if loose else "street", variants=tuple(variants), lift_deg=(10.0, 32.0),
    )  # fmt: skip


def smoking(rng: Rng) -> Scenario:
    """A truck trails smoke from its stack, a car from its tail, a drone from its middle."""
    draw_subject = choose(rng, (subjects.truck, subjects.truck, subjects.car, subjects.drone))
    body, flies = draw_subject(rng), draw_subject is subjects.drone
    leaves = {"truck": (0.235, 0.36, 1.0), "car": (-0.48, 0.25, 0.2)}.get(body.shape, (0.0, 0.0, 0.5))
    name = choose(rng, OPEN)
    return Scenario(
        subject=body, motion_kind="fly" if flies else "drive", speed_mps=(0.8, 2.5) if flies else (1.5, 5.0),
        height_m=subjects.draw_size_m(rng, 0.8, 2.0) if flies else 0.0, ground=palettes.draw_ground(rng, name, "dry"),
        surroundings="street" if name in PAVED else "nature", light=choose(rng, (*DAY, "overcast")),
        lift_deg=(5.0, 20.0),
        variants=tuple(effect_presets.smoke_variants(rng, (0.7 if flies else 0.13) * body.size_m, leaves)),
    )  # fmt: skip


def boat(rng: Rng) -> Scenario:
    """A boat draws a wake."""
    body = subjects.boat(rng)
    return Scenario(
        subject=body, motion_kind="boat", speed_mps=(1.5, 4.5), height_m=subjects.draw_size_m(rng, 0.02, 0.10),
        max_turn_deg_s=10.0, ground=palettes.draw_lake(rng), surroundings="water", light=choose(rng, LAKE),
        lift_deg=(9.0, 26.0), variants=tuple(effect_presets.wake_variants(rng, body.size_m)),
    )  # fmt: skip


def paddle(rng: Rng) -> Scenario:
    """A duck swims, or a ball bobs on the water."""
    swims = rng.random() < 0.7
    body = subjects.duck(rng) if swims else subjects.ball(rng, 0.3, 0.8)
    return Scenario(
        subject=body, motion_kind="boat", speed_mps=(0.2, 0.8) if swims else (0.05, 0.4), height_m=0.02,
        max_turn_deg_s=12.0, ground=palettes.draw_lake(rng), surroundings="water", light=choose(rng, LAKE),
        lift_deg=(12.0, 32.0),
        variants=tuple(effect_presets.ripple_variants(body.size_m)),
    )  # fmt: skip


def bounce(rng: Rng) -> Scenario:
    """A ball leaps over dry ground, through puddles, over a floor, or skips on water."""
    body = subjects.ball(rng, 0.25, 0.8)
    floor = choose(rng, ("loose", "puddles", "hall", "lake"))
    surface = choose(rng, LOOSE if floor == "loose" else POLISHED if floor == "hall" else PAVED)
    kinds: dict[str, GroundKind] = {"loose": "dry", "puddles": "puddles", "hall": "glossy"}
    return Scenario(
        subject=body, motion_kind="bounce", speed_mps=(0.8, 2.4), max_turn_deg_s=8.0,
        height_m=round(subjects.draw_size_m(rng, 0.8, 1.8) * body.size_m, 3),
        ground=palettes.draw_lake(rng) if floor == "lake" else palettes.draw_ground(rng, surface, kinds[floor]),
        surroundings={"loose": "nature", "puddles": "street", "hall": "hall", "lake": "water"}[floor],
        light=choose(rng, {"hall": HALL, "lake": LAKE}.get(floor, DAY)), lift_deg=(8.0, 26.0),
        variants=tuple(effect_presets.bounce_variants(rng, floor, palettes.SURFACES[surface].dust, body.size_m)),
    )  # fmt: skip


def fly(rng: Rng) -> Scenario:
    """A bird or a drone flies low over the ground, or over water."""
    over_water, flaps = rng.random() < 0.3, rng.random() < 0.5
    body = subjects.bird(rng) if flaps else subjects.drone(rng)
    surface = choose(rng, OPEN)
    variants = [Variant(name="plain", effects=(Reflection(),) if over_water else (Shadow(),))]
    if not flaps and surface in LOOSE and not over_water:
        variants = effect_presets.dust_variants(rng, palettes.SURFACES[surface].dust, 0.6 * body.size_m)
    return Scenario(
        subject=body, motion_kind="fly", speed_mps=(1.2, 4.0) if flaps else (0.6, 2.5), max_turn_deg_s=30.0,
        light=choose(rng, LAKE if over_water else DAY),
        height_m=round(subjects.draw_size_m(rng, 0.35, 1.3) * body.size_m, 3), lift_deg=(14.0, 38.0),
        variants=tuple(variants),
        ground=palettes.draw_lake(rng) if over_water else palettes.draw_ground(rng, surface, "dry"),
        surroundings="water" if over_water else "street" if surface in PAVED else "nature",
    )  # fmt: skip


def shine(rng: Rng) -> Scenario:
    """A lantern drifts along at dusk or at night, and lights what it passes."""
    body, wet = subjects.lantern(rng), rng.random() < 0.5
    mirror: Effects = (Reflection(),) if wet else ()
    kind: GroundKind = choose(rng, WET) if wet else "dry"
    return Scenario(
        subject=body, motion_kind="fly", speed_mps=(0.3, 1.0), height_m=subjects.draw_size_m(rng, 0.15, 0.7),
        max_turn_deg_s=15.0, ground=palettes.draw_ground(rng, choose(rng, PAVED), kind),
        light=choose(rng, ("dusk", "dusk", "night")), surroundings="dark", lift_deg=(5.0, 20.0),
        variants=tuple(effect_presets.lantern_variants(rng, body, mirror)),
    )  # fmt: skip


def glide(rng: Rng) -> Scenario:
    """A solid slides, or a ball rolls, over a polished floor."""
    shapes: tuple[Shape, ...] = ("cube", "torus", "monkey", "cone", "cylinder")
    body = subjects.ball(rng, 0.3, 0.9) if rng.random() < 0.3 else subjects.solid(rng, shapes, 0.3, 0.9)
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(0.25, 1.2),
        ground=palettes.draw_ground(rng, choose(rng, POLISHED), "glossy"), surroundings="hall",
        light=choose(rng, HALL), lift_deg=(7.0, 24.0),
        variants=(Variant(name="plain", effects=(Shadow(), Reflection())),),
    )  # fmt: skip


SCENARIOS: dict[str, Callable[[Rng], Scenario]] = {
    scenario.__name__: scenario
    for scenario in (walk, drive, drive_wet, drift, smoking, boat, paddle, bounce, fly, shine, glide)
}


def sun_variants(scenario: Scenario) -> tuple[Variant, ...]:
    """Repeat the first variant under a veiled sun and under a clear one, if it throws a shadow."""
    first = scenario.variants[0]
    if not any(effect.kind == "shadow" for effect in first.effects):
        return ()
    remaining = tuple(effect for effect in first.effects if effect.kind != "shadow")
    return (
        Variant(name="soft-shadow", effects=(Shadow(softness_deg=14.0), *remaining)),
        Variant(name="harsh-shadow", effects=(Shadow(softness_deg=0.4), *remaining)),
    )
