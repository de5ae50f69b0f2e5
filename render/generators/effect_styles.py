"""What adjectives do to an effect: its colour, how strong it is, how far it spreads, how fine its grain."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..effects.colours import NAMED_COLOURS
from ..effects.dust import Dust
from ..effects.glow import CastLight, Glow
from ..effects.registry import AnyEffect
from ..effects.render_data import Colour
from ..effects.shadow import Shadow
from ..effects.smoke import Smoke
from ..effects.splash import Splash, Spray
from ..effects.waves import Ripple, Wake
from ..scene.scene import Scene


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


COLOURS: dict[str, Colour] = NAMED_COLOURS | {
    "pale grey": NAMED_COLOURS["light grey"], "gray": NAMED_COLOURS["grey"], "silver": NAMED_COLOURS["light grey"],
    "beige": NAMED_COLOURS["cream"], "reddish": NAMED_COLOURS["rust-red"], "ochre": (0.76, 0.55, 0.24),
    "blue-grey": (0.45, 0.52, 0.60),
    "violet": (0.48, 0.22, 0.72), "golden": (1.0, 0.78, 0.35), "crimson": (0.72, 0.08, 0.16),
    "scarlet": (0.86, 0.14, 0.08), "turquoise": (0.15, 0.68, 0.66), "cyan": (0.20, 0.78, 0.85),
    "warm": (1.0, 0.72, 0.38), "brownish": NAMED_COLOURS["brown"], "murky": (0.36, 0.31, 0.22),
    "greenish": (0.40, 0.52, 0.36),
}  # fmt: skip
"""Every colour word of a caption that something can be drawn in."""
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


@dataclass(frozen=True, kw_only=True)
class Style:
    """An effect's adjectives, and what they come to."""

    words: tuple[str, ...]

    @property
    def colour_word(self) -> str | None:
        """The colour, in one word or two; None where none is said."""
        text = " ".join(self.words)
        for word in sorted(COLOURS, key=len, reverse=True):
            if f" {word} " in f" {text} ":
                return word
        return None

    @property
    def colour(self) -> Colour | None:
        """The same, to draw with."""
        return None if self.colour_word is None else COLOURS[self.colour_word]

    @property
    def plain(self) -> frozenset[str]:
        """The words that are no part of the colour."""
        return frozenset(self.words) - frozenset((self.colour_word or "").split())

    def between(self, weak: float, usual: float, strong: float) -> float:
        """By how strong the effect is said to be."""
        return _between(self.plain & STRONG, self.plain & WEAK, (weak, usual, strong))

    def reach(self, narrow: float, usual: float, wide: float) -> float:
        """By how far it is said to spread."""
        return _between(self.plain & WIDE, self.plain & NARROW, (narrow, usual, wide))

    def edge(self, crisp: float, usual: float, soft: float) -> float:
        """By how soft it is said to be."""
        return _between(self.plain & SOFT, self.plain & CRISP, (crisp, usual, soft))


def apply_style(effect: AnyEffect, style: Style) -> AnyEffect:
    """The effect as it is described; what is not said stays."""
    change: Callable[[Any, Style], AnyEffect] | None = _STYLED.get(type(effect))
    return effect if change is None else change(effect, style)


def light_for(scene: Scene, effect: str, style: Style) -> Scene:
    """The scene with what of an effect is a matter of light and ground: shadows, mirror images, a lamp's own colour."""
    if effect == "shadow":
        height = style.reach(62.0, scene.sun.elevation_deg, 18.0)
        force = style.between(0.55, 1.0, 1.35)
        sun = replace(scene.sun, elevation_deg=height, strength=round(scene.sun.strength * force, 3))
        sky = replace(scene.sky, strength=round(scene.sky.strength * style.between(1.25, 1.0, 0.7), 3))
        return replace(scene, sun=sun if scene.sky.kind != "hdri" else scene.sun, sky=sky)
    if effect == "reflection":
        rough = style.edge(0.03, scene.ground.look.roughness, 0.35)
        return replace(scene, ground=replace(scene.ground, look=replace(scene.ground.look, roughness=rough)))
    if effect in ("glow", "light") and style.colour is not None and scene.subject.look.emission > 0:
        look = replace(scene.subject.look, colour=style.colour)
        return replace(scene, subject=replace(scene.subject, look=look))
    return scene


def _between(more: frozenset[str], less: frozenset[str], values: tuple[float, float, float]) -> float:
    return values[1] if len(more) == len(less) else values[2] if len(more) > len(less) else values[0]


def _dust(effect: Dust, style: Style) -> Dust:
    spread = effect.spread_m * style.reach(0.7, 1.0, 1.5)
    thick = style.between(0.9, 1.8, 3.6) / effect.spread_m
    return replace(
        effect, colour=style.colour or effect.colour, density=round(min(50.0, thick), 4), spread_m=round(spread, 4)
    )


def _smoke(effect: Smoke, style: Style) -> Smoke:
    spread = effect.spread_m * style.reach(0.75, 1.0, 1.45)
    thick = style.between(1.1, 2.5, 5.5) / effect.spread_m
    rise = 0.25 if "low-hanging" in style.plain else effect.rise_mps
    return replace(
        effect, colour=style.colour or effect.colour, density=round(min(100.0, thick), 4), spread_m=round(spread, 4),
        rise_mps=rise,
    )  # fmt: skip


def _shadow(effect: Shadow, style: Style) -> Shadow:
    if not style.plain & (SOFT | CRISP):
        return effect
    return replace(effect, softness_deg=style.edge(0.4, 3.0, 14.0))


def _wake(effect: Wake, style: Style) -> Wake:
    rough = 0.85 if style.plain & ROUGH else 0.05 if "smooth" in style.plain else style.between(0.1, 0.35, 0.7)
    return replace(effect, height_m=round(effect.height_m * style.between(0.6, 1.0, 1.6), 4), turbulence=rough)


def _ripple(effect: Ripple, style: Style) -> Ripple:
    height, length = effect.height_m * style.between(0.6, 1.0, 1.8), effect.length_m * style.reach(0.8, 1.0, 1.4)
    return replace(effect, height_m=round(height, 4), length_m=round(length, 4))


def _splash(effect: Splash, style: Style) -> Splash:
    speed = effect.speed_mps * style.reach(0.75, 1.0, 1.4)
    made = replace(
        effect, amount=round(min(10.0, effect.amount * style.between(0.5, 1.0, 2.2)), 4), speed_mps=round(speed, 4)
    )
    word = style.colour_word
    if word is None or word in ("white", "silver"):
        return made
    return replace(made, colour=COLOURS[word], clear=0.0)


def _spray(effect: Spray, style: Style) -> Spray:
    return replace(effect, amount=round(min(10.0, effect.amount * style.between(0.5, 1.0, 2.4)), 4))


def _glow(effect: Glow, style: Style) -> Glow:
    return replace(
        effect, colour=style.colour or effect.colour, strength=round(effect.strength * style.between(0.5, 1.0, 2.2), 3),
        radius_m=round(effect.radius_m * style.reach(0.7, 1.0, 1.6), 3),
    )  # fmt: skip


def _light(effect: CastLight, style: Style) -> CastLight:
    flicker = 0.6 if "flickering" in style.plain else 0.0 if "steady" in style.plain else effect.flicker
    power = effect.power_w * style.between(0.5, 1.0, 2.2)
    return replace(effect, colour=style.colour or effect.colour, power_w=round(power, 2), flicker=flicker)


_STYLED: dict[type, Callable[[Any, Style], AnyEffect]] = {
    Dust: _dust, Smoke: _smoke, Shadow: _shadow, Wake: _wake, Ripple: _ripple, Splash: _splash, Spray: _spray,
    Glow: _glow, CastLight: _light,
}  # fmt: skip
