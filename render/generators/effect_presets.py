"""Presets of effects that differ visibly: thin and dense, pale and coloured, mild and wild."""

from dataclasses import replace

import numpy as np

from ..effects.dust import Dust
from ..effects.light import CastLight, Glow, Reflection, Shadow
from ..effects.registry import AnyEffect
from ..effects.render_data import Colour
from ..effects.smoke import Smoke
from ..effects.splash import Splash, Spray
from ..effects.waves import Ripple, Wake
from ..scene.objects import Body
from ..scene.scene import Variant

Rng = np.random.Generator
SMOKES: dict[str, Colour] = {
    "black": (0.06, 0.06, 0.06), "grey": (0.42, 0.42, 0.43), "white": (0.90, 0.90, 0.90), "red": (0.72, 0.10, 0.08),
    "blue": (0.14, 0.26, 0.68), "yellow": (0.86, 0.70, 0.18), "green": (0.16, 0.50, 0.22), "purple": (0.45, 0.18, 0.55),
}  # fmt: skip


def dust_variants(rng: Rng, colour: Colour, spread_m: float) -> list[Variant]:
    """Dust of the ground's colour, thin and dense, and dust of another colour; a shadow with each."""
    spread, lasts = round(spread_m * float(rng.uniform(0.8, 1.3)), 3), round(float(rng.uniform(1.2, 2.6)), 2)
    thin = Dust(colour=colour, density=_vary(rng, 0.9) / spread, spread_m=spread, lasts_s=lasts)
    dense = Dust(colour=colour, density=_vary(rng, 2.6) / spread, spread_m=round(spread * 1.2, 3), lasts_s=lasts)
    word, tint = (("red", (0.62, 0.25, 0.16)), ("white", (0.88, 0.87, 0.84)), ("dark", (0.24, 0.20, 0.17)))[
        int(rng.integers(3))
    ]
    tinted = Dust(colour=tint, density=_vary(rng, 1.6) / spread, spread_m=spread, lasts_s=lasts)
    kinds = [("dense-dust", dense), ("thin-dust", thin), (f"{word}-dust", tinted)]
    if rng.random() < 0.5:
        kinds[:2] = kinds[1::-1]
    return [Variant(name=name, effects=(Shadow(), dust)) for name, dust in kinds]


def smoke_variants(rng: Rng, spread_m: float, leaves: tuple[float, float, float]) -> list[Variant]:
    """The same plume in three colours, from hazy to thick, out of the same place."""
    wind = (round(float(rng.uniform(-0.6, 0.6)), 2), round(float(rng.uniform(-0.6, 0.6)), 2))
    rise, lasts = round(float(rng.uniform(0.5, 1.3)), 2), round(float(rng.uniform(1.5, 3.0)), 2)
    words = [str(word) for word in rng.choice(list(SMOKES), 3, replace=False)]
    return [
        Variant(
            name=f"{word}-smoke",
            effects=(
                Shadow(),
                Smoke(
                    colour=SMOKES[word], density=_vary(rng, thick) / spread_m, wind=wind, rise_mps=rise, lasts_s=lasts,
                    spread_m=round(spread_m, 3), leaves=leaves,
                ),
            ),
        )
        for word, thick in zip(words, (2.5, 1.0, 5.0), strict=True)
    ]  # fmt: skip


def tyre_smoke(rng: Rng, word: str) -> Smoke:
    """Smoke of tyres on asphalt: it hangs low and spreads."""
    return Smoke(
        colour=SMOKES[word], density=_vary(rng, 1.8), spread_m=_vary(rng, 0.85), rise_mps=_vary(rng, 0.35),
        lasts_s=_vary(rng, 2.0), wind=(0.0, 0.0), leaves=(-0.3, 0.0, 0.05),
    )  # fmt: skip


def wake_variants(rng: Rng, long_m: float) -> list[Variant]:
    """Wakes: churned, mild, and with spray at the bow."""
    mild = Wake(height_m=round(_vary(rng, 0.009) * long_m, 4), turbulence=0.1)
    bow = Splash(amount=_vary(rng, 1.0), speed_mps=_vary(rng, 2.4))
    wild = Wake(height_m=round(_vary(rng, 0.02) * long_m, 4), turbulence=round(float(rng.uniform(0.55, 0.9)), 2))
    return [
        Variant(name="turbulent-wake", effects=(Reflection(), wild)),
        Variant(name="mild-wake", effects=(Reflection(), mild)),
        Variant(name="bow-splash", effects=(Reflection(), wild, bow)),
    ]  # fmt: skip


def ripple_variants(size_m: float) -> list[Variant]:
    """Ripples around a floating subject: faint, strong, and none."""
    faint, strong = (
        Ripple(height_m=round(share * size_m, 4), length_m=round(0.5 * size_m, 3)) for share in (0.02, 0.045)
    )
    return [
        Variant(name="ripples", effects=(Reflection(), faint)),
        Variant(name="strong-ripples", effects=(Reflection(), strong)),
        Variant(name="mirror", effects=(Reflection(),)),
    ]  # fmt: skip


def lantern_variants(rng: Rng, lantern: Body, mirror: tuple[AnyEffect, ...]) -> list[Variant]:
    """Light of a lantern: a pool of light, with a halo, or flickering."""
    colour, watts = lantern.look.colour, round(float(rng.uniform(9, 24)), 1)
    pool = CastLight(colour=colour, power_w=watts)
    return [
        Variant(name="light", effects=(*mirror, pool)),
        Variant(name="halo", effects=(*mirror, pool, Glow(colour=colour, radius_m=round(1.1 * lantern.size_m, 3)))),
        Variant(name="flicker", effects=(*mirror, CastLight(colour=colour, power_w=watts, flicker=0.6))),
    ]


def wheel_spray(rng: Rng, amount: float) -> Spray:
    """Fine drops at wheels."""
    return Spray(amount=_vary(rng, amount), speed_mps=_vary(rng, 1.5))


def footstep_splash(rng: Rng) -> Splash:
    """Drops at feet in puddles."""
    return Splash(amount=_vary(rng, 0.5), speed_mps=_vary(rng, 1.3), drop_m=0.012)


def bounce_variants(rng: Rng, floor: str, dust: Colour, size_m: float) -> list[Variant]:
    """Effects of a ball where it lands."""
    if floor == "lake":
        drops = _impact_splash(rng, size_m)
        rings = Ripple(height_m=round(_vary(rng, 0.04) * size_m, 4), length_m=round(0.7 * size_m, 3))
        return [
            Variant(name="splash", effects=(Reflection(), rings, drops)),
            Variant(name="rings", effects=(Reflection(), rings)),
        ]
    return impact_variants(rng, {"loose": "dry", "puddles": "puddles", "hall": "glossy"}[floor], dust, size_m)


def impact_variants(rng: Rng, ground: str, dust: Colour, size_m: float) -> list[Variant]:
    """Effects of a body that hits the ground: dust, splashes, or none on a floor."""
    mirror = (Shadow(), Reflection())
    if ground == "dry":
        return dust_variants(rng, dust, 0.45 * size_m)
    if ground == "glossy":
        return [Variant(name="plain", effects=mirror)]
    drops = _impact_splash(rng, size_m)
    mud = replace(drops, colour=(0.34, 0.26, 0.18), clear=0.0)
    return [
        Variant(name="splash", effects=(*mirror, drops)),
        Variant(name="mud", effects=(*mirror, mud)),
        Variant(name="plain", effects=mirror),
    ]


def _impact_splash(rng: Rng, size_m: float) -> Splash:
    return Splash(amount=_vary(rng, 1.0), speed_mps=_vary(rng, 2.2), drop_m=round(0.03 * size_m + 0.006, 4))


def _vary(rng: Rng, value: float) -> float:
    return round(value * float(rng.uniform(0.75, 1.3)), 4)
