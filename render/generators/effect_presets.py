"""Presets of dust and splashes that differ visibly: thin and dense, pale and coloured."""

from dataclasses import replace

from ..effects.dust import Dust
from ..effects.light import Reflection, Shadow
from ..effects.render_data import Colour
from ..effects.splash import Splash
from ..scene.scene import Variant
from .palettes import draw_between
from .subjects import Rng

TINTS: tuple[tuple[str, Colour], ...] = (
    ("red", (0.62, 0.25, 0.16)), ("white", (0.88, 0.87, 0.84)), ("dark", (0.24, 0.20, 0.17)),
)  # fmt: skip
"""Colours of dust that is not the ground's own."""


def dust_variants(rng: Rng, colour: Colour, spread_m: float) -> list[Variant]:
    """Dust of the ground's colour, thin and dense, and dust of another colour; a shadow with each."""
    spread, lasts = round(spread_m * float(rng.uniform(0.8, 1.3)), 3), draw_between(rng, 1.2, 2.6, 2)
    thin = Dust(colour=colour, density=vary(rng, 0.9) / spread, spread_m=spread, lasts_s=lasts)
    dense = Dust(colour=colour, density=vary(rng, 2.6) / spread, spread_m=round(spread * 1.2, 3), lasts_s=lasts)
    word, tint = TINTS[int(rng.integers(len(TINTS)))]
    tinted = Dust(colour=tint, density=vary(rng, 1.6) / spread, spread_m=spread, lasts_s=lasts)
    kinds = [("dense-dust", dense), ("thin-dust", thin), (f"{word}-dust", tinted)]
    if rng.random() < 0.5:
        kinds[:2] = kinds[1::-1]
    return [Variant(name=name, effects=(Shadow(), dust)) for name, dust in kinds]


def impact_variants(rng: Rng, ground: str, dust: Colour, size_m: float) -> list[Variant]:
    """Effects of a body that hits the ground: dust, splashes, or none on a floor."""
    mirror = (Shadow(), Reflection())
    if ground == "dry":
        return dust_variants(rng, dust, 0.45 * size_m)
    if ground == "glossy":
        return [Variant(name="plain", effects=mirror)]
    drops = impact_splash(rng, size_m)
    mud = replace(drops, colour=(0.34, 0.26, 0.18), clear=0.0)
    return [
        Variant(name="splash", effects=(*mirror, drops)),
        Variant(name="mud", effects=(*mirror, mud)),
        Variant(name="plain", effects=mirror),
    ]


def impact_splash(rng: Rng, size_m: float) -> Splash:
    """Drops that a body of that size throws up where it lands."""
    return Splash(amount=vary(rng, 1.0), speed_mps=vary(rng, 2.2), drop_m=round(0.03 * size_m + 0.006, 4))


def vary(rng: Rng, value: float) -> float:
    """Draw a value about as large."""
    return round(value * float(rng.uniform(0.75, 1.3)), 4)
