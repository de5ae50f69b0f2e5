"""Styles of effects: from adjectives (colour, strength, spread, softness), and presets that differ visibly."""

from dataclasses import dataclass, replace
from typing import Any

from ..effects.dust import Dust
from ..effects.light import CastLight, Glow, Reflection, Shadow
from ..effects.registry import AnyEffect
from ..effects.render_data import NAMED_COLOURS, Colour
from ..effects.smoke import Smoke
from ..effects.splash import Splash, Spray
from ..effects.waves import Ripple, Wake
from ..scene.scene import Scene, Variant
from .palettes import draw_between
from .subjects import Rng


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


COLOURS: dict[str, Colour] = NAMED_COLOURS | {
    "pale grey": NAMED_COLOURS["light grey"], "gray": NAMED_COLOURS["grey"], "silver": NAMED_COLOURS["light grey"],
    "beige": NAMED_COLOURS["cream"], "reddish": NAMED_COLOURS["rust-red"], "ochre": (0.76, 0.55, 0.24),
    "blue-grey": (0.45, 0.52, 0.60), "violet": (0.48, 0.22, 0.72), "golden": (1.0, 0.78, 0.35),
    "crimson": (0.72, 0.08, 0.16), "scarlet": (0.86, 0.14, 0.08), "turquoise": (0.15, 0.68, 0.66),
    "cyan": (0.20, 0.78, 0.85), "warm": (1.0, 0.72, 0.38), "brownish": NAMED_COLOURS["brown"],
    "murky": (0.36, 0.31, 0.22), "greenish": (0.40, 0.52, 0.36),
}  # fmt: skip
"""Colour words of captions, and the display-space colours in which effects are rendered."""
WEAK = _set("faint pale light slight gentle mild thin sparse dim hazy wispy subtle delicate fine small tiny")
STRONG = _set(
    "dark deep bright vivid strong heavy violent turbulent dense thick intense pronounced massive huge billowing "
    "rolling dramatic lively rich"
)
WIDE = _set("wide broad long large tall widespread far-reaching billowing rolling massive huge V-shaped")
NARROW = _set("narrow short small low low-hanging tiny slight")
SOFT = _set("soft soft-edged blurred hazy wavering rippled")
CRISP = _set("crisp hard-edged sharp mirror-like glossy glassy")
ROUGH = _set("turbulent foamy frothy choppy ragged violent")
DUST_TINTS: tuple[tuple[str, Colour], ...] = (
    ("red", (0.62, 0.25, 0.16)), ("white", (0.88, 0.87, 0.84)), ("dark", (0.24, 0.20, 0.17)),
)  # fmt: skip
"""Colours of dust that is not the ground's own."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """An effect's adjectives, and their colour, strength, spread and softness."""

    words: tuple[str, ...]

    @property
    def colour_word(self) -> str | None:
        """Colour in one word or two; None without one."""
        text = f" {' '.join(self.words)} "
        return next((word for word in sorted(COLOURS, key=len, reverse=True) if f" {word} " in text), None)

    @property
    def colour(self) -> Colour | None:
        """Display-space colour of the colour word."""
        return None if self.colour_word is None else COLOURS[self.colour_word]

    @property
    def other_words(self) -> frozenset[str]:
        """Words that are no part of the colour."""
        return frozenset(self.words) - frozenset((self.colour_word or "").split())

    def by_strength(self, weak: float, usual: float, strong: float) -> float:
        """Choose a value by the effect's strength."""
        return _choose(self.other_words & STRONG, self.other_words & WEAK, (weak, usual, strong))

    def by_spread(self, narrow: float, usual: float, wide: float) -> float:
        """Choose a value by its spread."""
        return _choose(self.other_words & WIDE, self.other_words & NARROW, (narrow, usual, wide))

    def by_softness(self, crisp: float, usual: float, soft: float) -> float:
        """Choose a value by its softness."""
        return _choose(self.other_words & SOFT, self.other_words & CRISP, (crisp, usual, soft))


def apply_style(effect: AnyEffect, style: Style) -> AnyEffect:
    """Bring an effect into a style; properties without an adjective stay."""
    words, strength, spread = style.other_words, style.by_strength, style.by_spread
    tint: dict[str, Any] = {"colour": style.colour} if style.colour else {}
    match effect:
        case Dust():
            density = min(50.0, strength(0.9, 1.8, 3.6) / effect.spread_m)
            spread_m = effect.spread_m * spread(0.7, 1.0, 1.5)
            return replace(effect, **tint, density=round(density, 4), spread_m=round(spread_m, 4))
        case Smoke():
            density = min(100.0, strength(1.1, 2.5, 5.5) / effect.spread_m)
            spread_m = effect.spread_m * spread(0.75, 1.0, 1.45)
            rise_mps = 0.25 if "low-hanging" in words else effect.rise_mps
            return replace(effect, **tint, density=round(density, 4), spread_m=round(spread_m, 4), rise_mps=rise_mps)
        case Shadow() if words & (SOFT | CRISP):
            return replace(effect, softness_deg=style.by_softness(0.4, 3.0, 14.0))
        case Wake():
            height_m = effect.height_m * strength(0.6, 1.0, 1.6)
            turbulence = 0.85 if words & ROUGH else 0.05 if "smooth" in words else strength(0.1, 0.35, 0.7)
            return replace(effect, height_m=round(height_m, 4), turbulence=turbulence)
        case Ripple():
            height_m, length_m = effect.height_m * strength(0.6, 1.0, 1.8), effect.length_m * spread(0.8, 1.0, 1.4)
            return replace(effect, height_m=round(height_m, 4), length_m=round(length_m, 4))
        case Splash():
            amount = min(10.0, effect.amount * strength(0.5, 1.0, 2.2))
            speed_mps = effect.speed_mps * spread(0.75, 1.0, 1.4)
            mud = {**tint, "clear": 0.0} if style.colour_word not in (None, "white", "silver") else {}
            return replace(effect, **mud, amount=round(amount, 4), speed_mps=round(speed_mps, 4))
        case Spray():
            return replace(effect, amount=round(min(10.0, effect.amount * strength(0.5, 1.0, 2.4)), 4))
        case Glow():
            shine, radius_m = effect.strength * strength(0.5, 1.0, 2.2), effect.radius_m * spread(0.7, 1.0, 1.6)
            return replace(effect, **tint, strength=round(shine, 3), radius_m=round(radius_m, 3))
        case CastLight():
            flicker = 0.6 if "flickering" in words else 0.0 if "steady" in words else effect.flicker
            power_w = effect.power_w * strength(0.5, 1.0, 2.2)
            return replace(effect, **tint, power_w=round(power_w, 2), flicker=flicker)
    return effect


def style_scene(scene: Scene, effect: str, style: Style) -> Scene:
    """Bring sun, sky, ground and lamp of a scene into an effect's style: shadows, mirror images, a lamp's colour."""
    if effect == "shadow":
        height = style.by_spread(62.0, scene.sun.elevation_deg, 18.0)
        force = style.by_strength(0.55, 1.0, 1.35)
        sun = replace(scene.sun, elevation_deg=height, strength=round(scene.sun.strength * force, 3))
        sky = replace(scene.sky, strength=round(scene.sky.strength * style.by_strength(1.25, 1.0, 0.7), 3))
        return replace(scene, sun=sun if scene.sky.kind != "hdri" else scene.sun, sky=sky)
    if effect == "reflection":
        rough = style.by_softness(0.03, scene.ground.look.roughness, 0.35)
        return replace(scene, ground=replace(scene.ground, look=replace(scene.ground.look, roughness=rough)))
    if effect in ("glow", "light") and style.colour is not None and scene.subject.look.emission > 0:
        look = replace(scene.subject.look, colour=style.colour)
        return replace(scene, subject=replace(scene.subject, look=look))
    return scene


def _choose(raising: frozenset[str], lowering: frozenset[str], values: tuple[float, float, float]) -> float:
    difference = len(raising) - len(lowering)
    return values[1] if difference == 0 else values[2] if difference > 0 else values[0]


def dust_variants(rng: Rng, colour: Colour, spread_m: float) -> list[Variant]:
    """Dust of the ground's colour, thin and dense, and dust of another colour; a shadow with each."""
    spread, lasts = round(spread_m * float(rng.uniform(0.8, 1.3)), 3), draw_between(rng, 1.2, 2.6, 2)
    thin = Dust(colour=colour, density=vary(rng, 0.9) / spread, spread_m=spread, lasts_s=lasts)
    dense = Dust(colour=colour, density=vary(rng, 2.6) / spread, spread_m=round(spread * 1.2, 3), lasts_s=lasts)
    word, tint = DUST_TINTS[int(rng.integers(len(DUST_TINTS)))]
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
