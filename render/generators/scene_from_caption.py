"""From a caption's words to a scene that shows the effect they describe.

What happens is one of the `blender` maker's acts: one that has the effect, and the subject that the caption names where
there is such a one. The effect's adjectives then set its colour, strength, spread and texture. The same caption and
seed give the same scene.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..effects.render_data import Colour
from ..scene.objects import Shape
from ..scene.scene import Scene, Variant
from .blender_generator import BlenderGenerator
from .blender_generator import scene_at as made_at
from .clip_format import ClipFormat
from .effect_styles import Style, apply_style, light_for
from .framing import framing
from .palettes import PAINTS
from .scenarios import SCENARIOS

VERSION = 2
"""Raise it when other scenes come of the same words."""
TRIES = 40
"""Scenes of the maker that are looked through for one that shows all that the caption names."""

UNSAID = ("shadow", "reflection")
"""Effects that go without saying: a scene has them whether or not its caption names them."""
NEAR = 0.03
"""Share of the picture that the subject's box should cover, so that its effect is seen."""

ACTS_OF: dict[str, tuple[str, ...]] = {
    "shadow": ("walk", "drive", "drift", "glide", "fly", "bounce"),
    "reflection": ("glide", "drive_wet", "paddle", "boat", "walk", "fly", "bounce"),
    "splash": ("bounce", "boat", "walk"),
    "wake": ("boat",),
    "ripple": ("paddle", "bounce"),
    "spray": ("drive_wet",),
    "dust": ("drive", "drift", "bounce", "walk", "fly"),
    "smoke": ("smoking", "drift"),
    "glow": ("shine",),
    "light": ("shine",),
}
"""By effect, the acts that can have it, the likeliest first."""
SUBJECTS: tuple[tuple[str, Shape], ...] = (
    (r"trucks?|lorry|lorries|bus|buses|tractor|digger|pickup", "truck"),
    (r"cars?|vehicles?|vans?|jeep|taxi|suv|sedan|buggy|racer", "car"),
    (r"walkers?|runners?|m[ae]n|wom[ae]n|persons?|people|boys?|girls?|child|hikers?|joggers?|dancers?", "walker"),
    (r"dogs?|pupp(?:y|ies)|hounds?|terrier|retriever", "dog"),
    (r"boats?|ships?|canoe|kayak|ferry|vessel|dinghy", "boat"),
    (r"ducks?|swans?|goose|geese|mallard", "duck"),
    (r"balls?|football|basketball", "ball"),
    (r"birds?|gulls?|seagulls?|crows?|eagles?|pigeons?", "bird"),
    (r"drones?|quadcopters?|helicopters?", "drone"),
    (r"lanterns?|lamps?|torch|candles?", "lantern"),
)
"""Nouns, and the figure that stands for them."""
ACTS_WITH: dict[Shape, tuple[str, ...]] = {
    "truck": ("drive", "drive_wet", "smoking"), "car": ("drive", "drive_wet", "drift", "smoking"), "walker": ("walk",),
    "dog": ("walk",), "boat": ("boat",), "duck": ("paddle",), "ball": ("bounce", "paddle", "glide"), "bird": ("fly",),
    "drone": ("fly", "smoking"), "lantern": ("shine",),
}  # fmt: skip


SIDE = re.compile(
    r"\bshadow(?:(?!\b(?:as|while)\b|[,.;]).)*?\b(?:to (?:the|its|their|his|her)|lower|upper) (left|right)\b",
    re.IGNORECASE,
)
"""Where a caption says that the shadow lies; what moves in a clause of its own does not count."""
IN_LINE_DEG = 50.0
"""Nearer to the way we look, ahead or behind, the sun throws a shadow towards us or away rather than to one side."""


@dataclass(frozen=True, kw_only=True)
class CaptionScene:
    """A scene for a caption, and how far it keeps to it."""

    scene: Scene
    """With one variant, "described"."""
    missing: tuple[str, ...]
    """What the caption names and the scene does not have, in words; empty where it has everything."""


def scene_from_caption(
    caption: str, effects: Mapping[str, Sequence[str]], *, seed: int, clip_format: ClipFormat
) -> CaptionScene:
    """A scene that shows the described effects.

    Args:
        caption: who does what; read for the subject alone.
        effects: by the corpus's word for an effect, the adjectives that the caption gives it; the first matters most.
        seed: what is not described depends on it.
        clip_format: format and quality.

    Raises:
        ValueError: no effect is named that can be drawn, or no draw of the maker brings its subject into view.
    """
    wanted = [effect for effect in effects if effect in ACTS_OF]
    if not wanted:
        raise ValueError(f"{caption!r} names no effect that can be drawn; name one of {', '.join(ACTS_OF)}")
    figure = named_figure(caption)
    chosen, missing = _fitting(effects, figure, seed, clip_format)
    variant = Variant(
        name="described",
        effects=tuple(
            apply_style(effect, Style(words=tuple(effects[effect.word]))) if effect.word in effects else effect
            for effect in chosen.variants[0].effects
            if effect.word in {*wanted, *UNSAID}
        ),
    )
    scene = replace(_painted(chosen, caption), name="worded", seed=seed, variants=(variant,))
    for effect in wanted:
        scene = light_for(scene, effect, Style(words=tuple(effects[effect])))
    if "shadow" in wanted:
        scene = _sided(scene, caption)
    unlike = () if figure is not None else ("the subject",)
    return CaptionScene(scene=scene, missing=(*unlike, *missing))


def named_figure(caption: str) -> Shape | None:
    """The figure for the first noun of a caption that has one."""
    found = [
        (match.start(), shape)
        for nouns, shape in SUBJECTS
        for match in [re.search(rf"\b(?:{nouns})\b", caption, re.IGNORECASE)]
        if match is not None
    ]
    return min(found)[1] if found else None


def _fitting(
    effects: Mapping[str, Sequence[str]], figure: Shape | None, seed: int, clip_format: ClipFormat
) -> tuple[Scene, tuple[str, ...]]:
    """The first scene that has it all, else the one that lacks least; with that variant alone."""
    wanted = [effect for effect in effects if effect in ACTS_OF]
    able = ACTS_OF[wanted[0]]
    clouds = [Style(words=tuple(effects[effect])).colour for effect in wanted if effect in ("dust", "smoke")]
    scenarios = tuple(scenario for scenario in able if figure is None or scenario in ACTS_WITH[figure]) or able[:1]
    assert set(scenarios) <= set(SCENARIOS), scenarios
    generator = BlenderGenerator(scenarios=scenarios, variants=(4, 4), occluder_probability=0.0)
    best: tuple[tuple[int, int], Scene, tuple[str, ...]] | None = None
    for index in range(TRIES):
        scene = made_at(generator, index, seed, clip_format)
        poor = _hides(scene, wanted) + sum(_alike(colour, scene.ground.look.colour) for colour in clouds if colour)
        for place, variant in enumerate(scene.variants):
            has = {effect.word for effect in variant.effects}
            lacks = tuple(effect for effect in wanted if effect not in has)
            other = figure is not None and scene.subject.shape != figure
            rank = (8 * (wanted[0] in lacks) + 4 * other + 2 * len(lacks) + poor, place)
            if best is None or rank < best[0]:
                best = (rank, replace(scene, variants=(variant,)), (*(["the subject"] if other else []), *lacks))
        if best is not None and best[0][0] == 0:
            break
    assert best is not None, "the maker gives scenes with variants"
    return best[1], best[2]


def _hides(scene: Scene, wanted: Sequence[str]) -> int:
    """Is the effect hard to see: a shadow without a strong sun, anything around a subject that is far away?"""
    dull = "shadow" in wanted and (scene.sky.kind == "hdri" or scene.sun.strength < 2 or scene.sun.softness_deg > 4)
    return int(dull) + int(float(framing(scene).area.mean()) < NEAR)


def _alike(one: Colour, other: Colour) -> bool:
    """Is one hard to see before the other?"""
    return max(abs(mine - theirs) for mine, theirs in zip(one, other, strict=True)) < 0.25


def _painted(scene: Scene, caption: str) -> Scene:
    """The subject in the colour that the caption gives it, where it names one right before it."""
    figure = next((nouns for nouns, shape in SUBJECTS if shape == scene.subject.shape), None)
    paints = "|".join(sorted(PAINTS, key=len, reverse=True))
    found = figure and re.search(rf"\b({paints}) (?:\w+ )?(?:{figure})\b", caption, re.IGNORECASE)
    if not found or scene.subject.shape == "lantern":
        return scene
    name = found.group(1).lower()
    look = replace(scene.subject.look, colour=PAINTS[name])
    return replace(scene, subject=replace(scene.subject, name=f"{name} {scene.subject.name.split()[-1]}", look=look))


def _sided(scene: Scene, caption: str) -> Scene:
    """The sun on the side where the shadow falls to the other one, as the caption has it."""
    found = SIDE.search(caption)
    if not found:
        return scene
    (x, y, _), (to_x, to_y, _) = scene.camera.at, scene.camera.look_at
    ahead = math.degrees(math.atan2(to_y - y, to_x - x))
    turned = (scene.sun.azimuth_deg - ahead + 180) % 360 - 180  # positive: the sun is on the left
    beside = min(max(abs(turned), IN_LINE_DEG), 180 - IN_LINE_DEG)
    azimuth = ahead + (beside if found.group(1).lower() == "right" else -beside)
    return replace(scene, sun=replace(scene.sun, azimuth_deg=round(azimuth, 3)))
