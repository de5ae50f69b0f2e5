"""Scenarios: a subject and its motion, the ground, the light, and the variants of effects.

A scenario sets limits for the camera; `blender_generator.py` draws its position, and the subject's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..effects.light import CastLight, Glow, Reflection, Shadow
from ..effects.registry import AnyEffect
from ..effects.render_data import Colour
from ..effects.smoke import Smoke
from ..effects.splash import Splash, Spray
from ..effects.waves import Ripple, Wake
from ..scene.objects import Body, Ground, Shape
from ..scene.scene import Variant
from . import palettes, subjects
from .effect_styles import dust_variants, impact_splash, impact_variants, vary
from .palettes import (
    DAY_LIGHTS,
    GREY_LIGHTS,
    HALL_LIGHTS,
    LAKE_LIGHTS,
    LOOSE_SURFACES,
    OPEN_SURFACES,
    PAVED_SURFACES,
    POLISHED_SURFACES,
    SURFACES,
    GroundKind,
    draw_between,
)
from .subjects import Rng, choose

Effects = tuple[AnyEffect, ...]
WET: tuple[GroundKind, ...] = ("wet", "puddles")
SMOKES: dict[str, Colour] = {
    "black": (0.06, 0.06, 0.06), "grey": (0.42, 0.42, 0.43), "white": (0.90, 0.90, 0.90), "red": (0.72, 0.10, 0.08),
    "blue": (0.14, 0.26, 0.68), "yellow": (0.86, 0.70, 0.18), "green": (0.16, 0.50, 0.22), "purple": (0.45, 0.18, 0.55),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario as it was drawn: all but the positions of subject and camera."""

    subject: Body
    """Its motion is not yet set."""
    motion_kind: str
    speed_mps: tuple[float, float]
    """Slowest and fastest."""
    height_m: float = 0.0
    """As in `Travel`: altitude, height of the leaps or of the waves, or the tangent of a drift's slip angle."""
    max_turn_deg_s: float = 25.0
    ground: Ground
    light: str
    surroundings: str
    """Kind of the props beside it: street, nature, water, hall, dark."""
    variants: tuple[Variant, ...]
    """Variants in order of interest; the generator takes the first few."""
    elevation_deg: tuple[float, float] = (6.0, 26.0)
    """Least and greatest elevation of the camera above the subject."""
    max_path_angle_deg: float = 50.0
    """Greatest angle between the subject's path and the picture's horizontal."""


def walk(rng: Rng) -> Scenario:
    """Someone walks or runs, or a dog does, on a day with shadows, or on wet ground."""
    body, speed = subjects.dog(rng) if rng.random() < 0.3 else subjects.person(rng)
    wet = rng.random() < 0.4
    surface = choose(rng, PAVED_SURFACES if wet else OPEN_SURFACES)
    kind: GroundKind = choose(rng, WET) if wet else "dry"
    effects: Effects = (Shadow(), Reflection()) if wet else (Shadow(),)
    variants = [Variant(name="plain", effects=effects)]
    if surface in LOOSE_SURFACES and not wet:
        variants = dust_variants(rng, SURFACES[surface].dust, 0.28 * body.size_m)[::2] + variants
    if wet and rng.random() < 0.5:
        drops = Splash(amount=vary(rng, 0.5), speed_mps=vary(rng, 1.3), drop_m=0.012)
        variants.append(Variant(name="splashes", effects=(*effects, drops)))
    return Scenario(
        subject=body, motion_kind="walk", speed_mps=speed, ground=palettes.draw_ground(rng, surface, kind),
        surroundings="street", light=choose(rng, (*GREY_LIGHTS, "clear") if wet else DAY_LIGHTS), max_turn_deg_s=12.0,
        variants=tuple(variants),
    )  # fmt: skip


def drive(rng: Rng) -> Scenario:
    """A car or truck raises dust on loose ground."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    surface = choose(rng, LOOSE_SURFACES)
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(2.5, 9.0), ground=palettes.draw_ground(rng, surface, "dry"),
        surroundings="nature", light=choose(rng, DAY_LIGHTS),
        variants=tuple(dust_variants(rng, SURFACES[surface].dust, 0.16 * body.size_m)),
    )  # fmt: skip


def drive_wet(rng: Rng) -> Scenario:
    """A car or truck on a wet street, with spray at its wheels."""
    body = subjects.truck(rng) if rng.random() < 0.3 else subjects.car(rng)
    surface, kind = choose(rng, ("asphalt", "asphalt", "concrete", "cobbles")), choose(rng, WET)
    mirrored: Effects = (Shadow(), Reflection())
    fine, heavy = (Spray(amount=vary(rng, amount), speed_mps=vary(rng, 1.5)) for amount in (0.7, 1.8))
    variants = (
        Variant(name="spray", effects=(*mirrored, fine)),
        Variant(name="calm", effects=mirrored),
        Variant(name="heavy-spray", effects=(*mirrored, heavy)),
    )
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(2.5, 9.0), surroundings="street", light=choose(rng, GREY_LIGHTS),
        ground=palettes.draw_ground(rng, surface, kind), variants=variants, elevation_deg=(4.0, 16.0),
    )  # fmt: skip


def drift(rng: Rng) -> Scenario:
    """A car slides through a bend, in dust or in the smoke of its tyres."""
    body, loose = subjects.car(rng), rng.random() < 0.6
    surface = choose(rng, LOOSE_SURFACES if loose else ("asphalt", "concrete"))
    variants = dust_variants(rng, SURFACES[surface].dust, 0.2 * body.size_m)
    if not loose:
        variants = []
        for colour_name in ("white", "grey"):  # it hangs low and spreads
            smoke = Smoke(
                colour=SMOKES[colour_name], density=vary(rng, 1.8), spread_m=vary(rng, 0.85), rise_mps=vary(rng, 0.35),
                lasts_s=vary(rng, 2.0), wind=(0.0, 0.0), leaves=(-0.3, 0.0, 0.05),
            )  # fmt: skip
            variants.append(Variant(name=f"{colour_name}-smoke", effects=(Shadow(), smoke)))
    return Scenario(
        subject=body, motion_kind="drift", speed_mps=(3.5, 9.0), height_m=draw_between(rng, 0.25, 0.7),
        max_turn_deg_s=45.0, ground=palettes.draw_ground(rng, surface, "dry"), light=choose(rng, DAY_LIGHTS),
        surroundings="nature" if loose else "street", variants=tuple(variants), elevation_deg=(10.0, 32.0),
    )  # fmt: skip


def smoking(rng: Rng) -> Scenario:
    """A truck trails smoke from its stack, a car from its tail, a drone from its middle."""
    draw_subject = choose(rng, (subjects.truck, subjects.truck, subjects.car, subjects.drone))
    body, flies = draw_subject(rng), draw_subject is subjects.drone
    leaves = {"truck": (0.235, 0.36, 1.0), "car": (-0.48, 0.25, 0.2)}.get(body.shape, (0.0, 0.0, 0.5))
    surface = choose(rng, OPEN_SURFACES)
    height_m = draw_between(rng, 0.8, 2.0) if flies else 0.0
    ground, light = palettes.draw_ground(rng, surface, "dry"), choose(rng, (*DAY_LIGHTS, "overcast"))
    wind = (draw_between(rng, -0.6, 0.6, 2), draw_between(rng, -0.6, 0.6, 2))
    rise, lasts = draw_between(rng, 0.5, 1.3, 2), draw_between(rng, 1.5, 3.0, 2)
    colour_names = rng.choice(list(SMOKES), 3, replace=False)
    spread_m = (0.7 if flies else 0.13) * body.size_m
    variants = []
    for colour_name, density in zip(colour_names, (2.5, 1.0, 5.0), strict=True):  # one plume: medium, thin, thick
        smoke = Smoke(
            colour=SMOKES[colour_name], density=vary(rng, density) / spread_m, wind=wind, rise_mps=rise, lasts_s=lasts,
            spread_m=round(spread_m, 3), leaves=leaves,
        )  # fmt: skip
        variants.append(Variant(name=f"{colour_name}-smoke", effects=(Shadow(), smoke)))
    return Scenario(
        subject=body, motion_kind="fly" if flies else "drive", speed_mps=(0.8, 2.5) if flies else (1.5, 5.0),
        height_m=height_m, ground=ground, surroundings="street" if surface in PAVED_SURFACES else "nature", light=light,
        elevation_deg=(5.0, 20.0), variants=tuple(variants),
    )  # fmt: skip


def boat(rng: Rng) -> Scenario:
    """A boat draws a wake."""
    body = subjects.boat(rng)
    height_m, ground, light = draw_between(rng, 0.02, 0.10), palettes.draw_lake(rng), choose(rng, LAKE_LIGHTS)
    mild = Wake(height_m=round(vary(rng, 0.009) * body.size_m, 4), turbulence=0.1)
    bow = Splash(amount=vary(rng, 1.0), speed_mps=vary(rng, 2.4))
    wave_m, turbulence = round(vary(rng, 0.02) * body.size_m, 4), draw_between(rng, 0.55, 0.9, 2)
    wild = Wake(height_m=wave_m, turbulence=turbulence)
    return Scenario(
        subject=body, motion_kind="boat", speed_mps=(1.5, 4.5), height_m=height_m, max_turn_deg_s=10.0, ground=ground,
        surroundings="water", light=light, elevation_deg=(9.0, 26.0),
        variants=(
            Variant(name="turbulent-wake", effects=(Reflection(), wild)),
            Variant(name="mild-wake", effects=(Reflection(), mild)),
            Variant(name="bow-splash", effects=(Reflection(), wild, bow)),
        ),
    )  # fmt: skip


def paddle(rng: Rng) -> Scenario:
    """A duck swims, or a ball bobs on the water."""
    swims = rng.random() < 0.7
    body = subjects.duck(rng) if swims else subjects.ball(rng, 0.3, 0.8)
    length_m, heights_m = round(0.5 * body.size_m, 3), (round(share * body.size_m, 4) for share in (0.02, 0.045))
    faint, strong = (Ripple(height_m=height_m, length_m=length_m) for height_m in heights_m)
    return Scenario(
        subject=body, motion_kind="boat", speed_mps=(0.2, 0.8) if swims else (0.05, 0.4), height_m=0.02,
        max_turn_deg_s=12.0, ground=palettes.draw_lake(rng), surroundings="water", light=choose(rng, LAKE_LIGHTS),
        elevation_deg=(12.0, 32.0),
        variants=(
            Variant(name="ripples", effects=(Reflection(), faint)),
            Variant(name="strong-ripples", effects=(Reflection(), strong)),
            Variant(name="mirror", effects=(Reflection(),)),
        ),
    )  # fmt: skip


def bounce(rng: Rng) -> Scenario:
    """A ball leaps over dry ground, through puddles, over a floor, or skips on water."""
    body = subjects.ball(rng, 0.25, 0.8)
    floor = choose(rng, ("loose", "puddles", "hall", "lake"))
    surface = choose(
        rng, LOOSE_SURFACES if floor == "loose" else POLISHED_SURFACES if floor == "hall" else PAVED_SURFACES
    )
    kinds: dict[str, GroundKind] = {"loose": "dry", "puddles": "puddles", "hall": "glossy"}
    height_m = round(draw_between(rng, 0.8, 1.8) * body.size_m, 3)
    ground = palettes.draw_lake(rng) if floor == "lake" else palettes.draw_ground(rng, surface, kinds[floor])
    light = choose(rng, {"hall": HALL_LIGHTS, "lake": LAKE_LIGHTS}.get(floor, DAY_LIGHTS))
    if floor == "lake":
        drops = impact_splash(rng, body.size_m)
        rings = Ripple(height_m=round(vary(rng, 0.04) * body.size_m, 4), length_m=round(0.7 * body.size_m, 3))
        variants = [
            Variant(name="splash", effects=(Reflection(), rings, drops)),
            Variant(name="rings", effects=(Reflection(), rings)),
        ]
    else:
        variants = impact_variants(rng, kinds[floor], SURFACES[surface].dust, body.size_m)
    return Scenario(
        subject=body, motion_kind="bounce", speed_mps=(0.8, 2.4), max_turn_deg_s=8.0, height_m=height_m, ground=ground,
        surroundings={"loose": "nature", "puddles": "street", "hall": "hall", "lake": "water"}[floor], light=light,
        elevation_deg=(8.0, 26.0), variants=tuple(variants),
    )  # fmt: skip


def fly(rng: Rng) -> Scenario:
    """A bird or a drone flies low over the ground, or over water."""
    over_water, flaps = rng.random() < 0.3, rng.random() < 0.5
    body = subjects.bird(rng) if flaps else subjects.drone(rng)
    surface = choose(rng, OPEN_SURFACES)
    variants = [Variant(name="plain", effects=(Reflection(),) if over_water else (Shadow(),))]
    if not flaps and surface in LOOSE_SURFACES and not over_water:
        variants = dust_variants(rng, SURFACES[surface].dust, 0.6 * body.size_m)
    return Scenario(
        subject=body, motion_kind="fly", speed_mps=(1.2, 4.0) if flaps else (0.6, 2.5), max_turn_deg_s=30.0,
        light=choose(rng, LAKE_LIGHTS if over_water else DAY_LIGHTS),
        height_m=round(draw_between(rng, 0.35, 1.3) * body.size_m, 3), elevation_deg=(14.0, 38.0),
        variants=tuple(variants),
        ground=palettes.draw_lake(rng) if over_water else palettes.draw_ground(rng, surface, "dry"),
        surroundings="water" if over_water else "street" if surface in PAVED_SURFACES else "nature",
    )  # fmt: skip


def shine(rng: Rng) -> Scenario:
    """A lantern drifts along at dusk or at night, and lights what it passes."""
    body, wet = subjects.lantern(rng), rng.random() < 0.5
    reflection: Effects = (Reflection(),) if wet else ()
    kind: GroundKind = choose(rng, WET) if wet else "dry"
    height_m, ground = draw_between(rng, 0.15, 0.7), palettes.draw_ground(rng, choose(rng, PAVED_SURFACES), kind)
    light, watts = choose(rng, ("dusk", "dusk", "night")), draw_between(rng, 9.0, 24.0, 1)
    cast_light = CastLight(colour=body.look.colour, power_w=watts)
    halo = Glow(colour=body.look.colour, radius_m=round(1.1 * body.size_m, 3))
    return Scenario(
        subject=body, motion_kind="fly", speed_mps=(0.3, 1.0), height_m=height_m, max_turn_deg_s=15.0, ground=ground,
        light=light, surroundings="dark", elevation_deg=(5.0, 20.0),
        variants=(
            Variant(name="light", effects=(*reflection, cast_light)),
            Variant(name="halo", effects=(*reflection, cast_light, halo)),
            Variant(name="flicker", effects=(*reflection, replace(cast_light, flicker=0.6))),
        ),
    )  # fmt: skip


def glide(rng: Rng) -> Scenario:
    """A solid slides, or a ball rolls, over a polished floor."""
    shapes: tuple[Shape, ...] = ("cube", "torus", "monkey", "cone", "cylinder")
    body = subjects.ball(rng, 0.3, 0.9) if rng.random() < 0.3 else subjects.solid(rng, shapes, 0.3, 0.9)
    return Scenario(
        subject=body, motion_kind="drive", speed_mps=(0.25, 1.2),
        ground=palettes.draw_ground(rng, choose(rng, POLISHED_SURFACES), "glossy"), surroundings="hall",
        light=choose(rng, HALL_LIGHTS), elevation_deg=(7.0, 24.0),
        variants=(Variant(name="plain", effects=(Shadow(), Reflection())),),
    )  # fmt: skip


SCENARIOS: dict[str, Callable[[Rng], Scenario]] = {
    scenario.__name__: scenario
    for scenario in (walk, drive, drive_wet, drift, smoking, boat, paddle, bounce, fly, shine, glide)
}
