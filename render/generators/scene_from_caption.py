"""Scenes from captions: each shows the effect that the caption describes.

A scene is drawn from those scenarios of the generator `blender` that can have the effect, with the subject that the
caption names if one of them has it. The effect's adjectives then set its colour, strength, spread and softness. The
same caption and seed give the same scene.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..scene.objects import Shape
from ..scene.scene import Scene, Variant
from .blender_generator import BlenderGenerator
from .effect_styles import Style, apply_style, style_scene
from .framing import measure_framing
from .generator import ClipFormat
from .palettes import PAINTS

VERSION = 2
"""Raise it when the same words give other scenes."""
MAX_SCENES = 40
"""Scenes that are generated to find one that shows all that the caption names."""
COMMON_EFFECTS = ("shadow", "reflection")
"""Effects that a scene has whether or not its caption names them."""
MIN_SUBJECT_AREA = 0.03
"""Share of the picture that the subject's box should cover, so that its effect is seen."""
EFFECT_SCENARIOS: dict[str, tuple[str, ...]] = {
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
"""Scenarios that can have each effect, the likeliest first."""
SUBJECTS: dict[Shape, tuple[str, tuple[str, ...]]] = {
    "truck": (r"trucks?|lorry|lorries|bus|buses|tractor|digger|pickup", ("drive", "drive_wet", "smoking")),
    "car": (r"cars?|vehicles?|vans?|jeep|taxi|suv|sedan|buggy|racer", ("drive", "drive_wet", "drift", "smoking")),
    "walker": (
        r"walkers?|runners?|m[ae]n|wom[ae]n|persons?|people|boys?|girls?|child|hikers?|joggers?|dancers?", ("walk",),
    ),
    "dog": (r"dogs?|pupp(?:y|ies)|hounds?|terrier|retriever", ("walk",)),
    "boat": (r"boats?|ships?|canoe|kayak|ferry|vessel|dinghy", ("boat",)),
    "duck": (r"ducks?|swans?|goose|geese|mallard", ("paddle",)),
    "ball": (r"balls?|football|basketball", ("bounce", "paddle", "glide")),
    "bird": (r"birds?|gulls?|seagulls?|crows?|eagles?|pigeons?", ("fly",)),
    "drone": (r"drones?|quadcopters?|helicopters?", ("fly", "smoking")),
    "lantern": (r"lanterns?|lamps?|torch|candles?", ("shine",)),
}  # fmt: skip
"""Pattern of the nouns of each figure, and its scenarios."""
SHADOW_SIDE = re.compile(
    r"\bshadow(?:(?!\b(?:as|while)\b|[,.;]).)*?\b(?:to (?:the|its|their|his|her)|lower|upper) (left|right)\b",
    re.IGNORECASE,
)
"""Side on which a caption puts the shadow; a motion in a clause of its own does not count."""
MIN_SIDE_ANGLE_DEG = 50.0
"""Angle to the viewing direction, ahead or behind, below which the sun throws a shadow towards or away from the camera
rather than to one side."""


@dataclass(frozen=True, kw_only=True)
class CaptionScene:
    """A scene for a caption, and the parts of the caption that it lacks."""

    scene: Scene
    """Its only variant is "described"."""
    missing: tuple[str, ...]
    """Things that the caption names and the scene does not have, in words; empty if it has everything."""


def scene_from_caption(
    caption: str, effects: Mapping[str, Sequence[str]], *, seed: int, clip_format: ClipFormat
) -> CaptionScene:
    """Find a scene that shows the described effects.

    Args:
        caption: names the subject, its colour and the side of its shadow.
        effects: adjectives that the caption gives each effect, by the corpus's word for it; the first matters most.
        seed: decides all that is not described.
        clip_format: format and quality.

    Raises:
        ValueError: no effect is named that can be drawn, or no draw brings a subject into view.
    """
    styles = {effect: Style(words=tuple(words)) for effect, words in effects.items() if effect in EFFECT_SCENARIOS}
    if not styles:
        raise ValueError(f"{caption!r} names no effect that can be drawn; name one of {', '.join(EFFECT_SCENARIOS)}")
    patterns = [(re.compile(rf"\b(?:{nouns})\b", re.IGNORECASE), shape) for shape, (nouns, _) in SUBJECTS.items()]
    matches = [(match.start(), shape) for pattern, shape in patterns if (match := pattern.search(caption))]
    figure = min(matches, default=(0, None))[1]
    scene, missing = _best_scene(styles, figure, seed, clip_format)
    variant = Variant(
        name="described",
        effects=tuple(
            apply_style(effect, styles[effect.kind]) if effect.kind in styles else effect
            for effect in scene.variants[0].effects
            if effect.kind in {*styles, *COMMON_EFFECTS}
        ),
    )
    scene = replace(_paint_subject(scene, caption), name="worded", seed=seed, variants=(variant,))
    for effect, style in styles.items():
        scene = style_scene(scene, effect, style)
    if "shadow" in styles:
        scene = _turn_sun(scene, caption)
    undrawn = (effect for effect in effects if effect not in styles)
    return CaptionScene(scene=scene, missing=(*(() if figure is not None else ("the subject",)), *missing, *undrawn))


def _best_scene(
    styles: Mapping[str, Style], figure: Shape | None, seed: int, clip_format: ClipFormat
) -> tuple[Scene, tuple[str, ...]]:
    """Return the first scene that has everything, else the one that lacks least; with its best variant alone."""
    first_effect = next(iter(styles))
    able = EFFECT_SCENARIOS[first_effect]
    scenarios = tuple(name for name in able if figure is None or name in SUBJECTS[figure][1]) or able[:1]
    generator = BlenderGenerator(scenarios=scenarios, variants=(4, 4), occluder_probability=0.0)
    best: tuple[tuple[int, int], Scene, tuple[str, ...]] | None = None
    for index in range(MAX_SCENES):
        scene = generator.scene_at(index, seed, clip_format)
        faults = _visibility_faults(scene, styles)
        unlike = figure is not None and scene.subject.shape != figure
        for number, variant in enumerate(scene.variants):
            words = {effect.kind for effect in variant.effects}
            lacking = tuple(effect for effect in styles if effect not in words)
            rank = (8 * (first_effect in lacking) + 4 * unlike + 2 * len(lacking) + faults, number)
            if best is None or rank < best[0]:
                best = (rank, replace(scene, variants=(variant,)), (*(["the subject"] if unlike else []), *lacking))
        if best is not None and best[0][0] == 0:
            break
    assert best is not None, "the generator gives scenes with variants"
    return best[1], best[2]


def _visibility_faults(scene: Scene, styles: Mapping[str, Style]) -> int:
    """Count what hides the effects: a weak sun, a subject far away, a cloud in the colour of the ground."""
    sun = scene.sun
    weak_sun = "shadow" in styles and (scene.sky.kind == "hdri" or sun.strength < 2 or sun.softness_deg > 4)
    small = float(measure_framing(scene).area.mean()) < MIN_SUBJECT_AREA
    clouds = [style.colour for effect, style in styles.items() if effect in ("dust", "smoke") and style.colour]
    blending = [np.abs(np.subtract(colour, scene.ground.look.colour)).max() < 0.25 for colour in clouds]
    return weak_sun + small + int(sum(blending))


def _paint_subject(scene: Scene, caption: str) -> Scene:
    """Give the subject the colour that the caption names right before it, if there is one."""
    figure, _ = SUBJECTS.get(scene.subject.shape, (None, ()))
    paints = "|".join(sorted(PAINTS, key=len, reverse=True))
    match = figure and re.search(rf"\b({paints}) (?:\w+ )?(?:{figure})\b", caption, re.IGNORECASE)
    if not match or scene.subject.shape == "lantern":
        return scene
    name = match.group(1).lower()
    look = replace(scene.subject.look, colour=PAINTS[name])
    return replace(scene, subject=replace(scene.subject, name=f"{name} {scene.subject.name.split()[-1]}", look=look))


def _turn_sun(scene: Scene, caption: str) -> Scene:
    """Turn the sun so that the shadow falls to the side that the caption names, if it names one."""
    match = SHADOW_SIDE.search(caption)
    if not match:
        return scene
    (x, y, _), (to_x, to_y, _) = scene.camera.at, scene.camera.look_at
    ahead = math.degrees(math.atan2(to_y - y, to_x - x))
    angle = (scene.sun.azimuth_deg - ahead + 180) % 360 - 180  # positive: the sun is on the left
    beside = min(max(abs(angle), MIN_SIDE_ANGLE_DEG), 180 - MIN_SIDE_ANGLE_DEG)
    azimuth = ahead + (beside if match.group(1).lower() == "right" else -beside)
    return replace(scene, sun=replace(scene.sun, azimuth_deg=round(azimuth, 3)))
