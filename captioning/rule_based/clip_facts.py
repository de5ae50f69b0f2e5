"""Facts of a clip that captions may state: from the scene where there is one, else from measurement.

A rendered scene gives its facts as `render.scene.scene_facts.facts_of` does; `motion`, `ground`, `light` and `camera`
are words or mappings with a `kind`, and `effects` holds each effect's own facts, by its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..interface.captioner import ClipContext
from ..language.inflection import with_article
from ..language.subjects import MOTION_VERBS, UNNAMED, SubjectName, find_subject
from ..language.vocabulary import EFFECTS
from .adjectives import adjectives_of, effect_side, effect_time, is_timing_reliable
from .effect_classifier import EffectTags, classify_effects
from .extent_and_motion import ClipMeasures, measure_clip, measure_single_effect

ACTIONS = {
    "walk": "walk", "drive": "drive", "drift": "drift", "boat": "glide", "bounce": "bounce", "fly": "fly",
    "toss": "move", "still": "stand",
}  # fmt: skip
STAYS = "stay in place"
"""Action of a subject that a still camera sees at one spot."""
GROUNDS = {
    "dry": "dry ground", "wet": "wet ground", "puddles": "puddled ground", "glossy": "a glossy floor",
    "water": "calm water",
}  # fmt: skip
GROUND_PREPOSITIONS = {
    "boat": "across", "fly": "above", "toss": "over", "still": "on", "drift": "across", "bounce": "on",
}  # fmt: skip
"""Prepositions between action and ground, by motion; "over" for all others."""
PATTERNS = {
    "checker": "chequered", "stripes": "striped", "bricks": "brick", "wood": "wooden", "tiles": "tiled",
    "marble": "marble",
}  # fmt: skip
"""Adjectives for floors whose pattern is obvious."""
SKIES = {
    "night": "at night", "sunset": "at sunset", "sunrise": "at sunrise", "studio": "in a studio", "interior": "indoors",
}  # fmt: skip
"""Time and place that a panorama around the scene shows."""
CAMERAS = {"pan": "the camera pans", "handheld": "the camera sways a little", "follow": "the camera follows"}


@dataclass(frozen=True, kw_only=True)
class EffectFacts:
    """Facts of one effect that captions may state."""

    kind: str
    """A word of the corpus's vocabulary, or "darkening", "brightening" for an effect of unknown kind."""
    adjectives: tuple[str, ...] = ()
    """In the order of `SLOTS`."""
    side: str | None = None
    time: str | None = None
    """When it is made: "halfway through"."""
    has_reliable_timing: bool = True
    """Whether captions may tell when it comes and goes."""
    measures: ClipMeasures = ClipMeasures()
    """Measures of this effect alone."""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """Facts of one clip that captions may state."""

    subject: SubjectName
    action: str | None
    """A verb's base form."""
    ground: str | None = None
    """With its preposition: "over dry ground"."""
    direction: str | None = None
    light: str | None = None
    camera: str | None = None
    effects: tuple[EffectFacts, ...] = ()
    measures: ClipMeasures = ClipMeasures()
    tags: EffectTags


def collect_facts(clip: ClipContext) -> ClipFacts:
    """Collect what is known and measured of a clip."""
    measures = measure_clip(clip)
    tags = classify_effects(clip, measures)
    motion = _kind_of(clip.facts.get("motion"))
    name = clip.subject or _kind_of(clip.facts.get("subject"))
    noun = name.strip() if name else find_subject(clip.hint or "", pieces=measures.subject_pieces)
    subject = SubjectName(noun=noun) if noun else UNNAMED
    action = _action(motion, subject, measures)
    return ClipFacts(
        subject=subject,
        action=action,
        ground=_ground(motion, clip.facts.get("ground")),
        direction=_direction(measures),
        light=_light(clip.facts.get("light")),
        camera=_camera(clip, measures),
        effects=_effects(clip, tags, measures, subject_moves=action not in (None, "stand", STAYS)),
        measures=measures,
        tags=tags,
    )


def _kind_of(fact: Any) -> str | None:
    """Return a fact's own word, whether it stands alone or in a mapping."""
    if isinstance(fact, Mapping):
        fact = fact.get("kind", fact.get("name", fact.get("word")))
    return fact.strip().lower() if isinstance(fact, str) and fact.strip() else None


def _action(motion: str | None, subject: SubjectName, measures: ClipMeasures) -> str | None:
    if motion is not None:
        return ACTIONS.get(motion)
    movement = measures.movement
    if movement is None or movement.scene_heading == "nowhere":
        return STAYS if movement is not None and movement.stays else None
    noun = subject.head_noun
    verbs = (verb for verb, nouns in MOTION_VERBS.items() if noun in nouns or noun.removesuffix("s") in nouns)
    return next(verbs, "move")


def _ground(motion: str | None, fact: Any) -> str | None:
    kind = _kind_of(fact)
    if kind not in GROUNDS:
        return None
    pattern = PATTERNS.get(str(fact.get("pattern"))) if isinstance(fact, Mapping) else None
    phrase = GROUNDS[kind]
    if pattern and kind in ("dry", "glossy", "wet"):
        phrase = with_article(f"{kind} {pattern} floor")
    return f"{GROUND_PREPOSITIONS.get(motion or '', 'over' if motion else 'on')} {phrase}"


def _direction(measures: ClipMeasures) -> str | None:
    movement = measures.movement
    if movement is None or movement.scene_heading == "nowhere":
        return None
    if movement.picture_heading not in (movement.scene_heading, "nowhere"):
        return None  # the camera is faster: the direction in the picture is not that in the scene
    if movement.picture_heading in ("left", "right"):
        return "from left to right" if movement.picture_heading == "right" else "from right to left"
    is_sideways = movement.scene_heading in ("left", "right") and movement.picture_heading == "nowhere"
    return f"to the {movement.scene_heading}" if is_sideways else None


def _light(fact: Any) -> str | None:
    if not isinstance(fact, Mapping):
        return None
    sun_height = fact.get("sun_height") if fact.get("sun") else None
    sun = {"low": "under a low sun", "high": "under a high sun"}.get(str(sun_height))
    return SKIES.get(str(fact.get("sky"))) or sun


def _camera(clip: ClipContext, measures: ClipMeasures) -> str | None:
    if clip.facts:
        return CAMERAS.get(_kind_of(clip.facts.get("camera")) or "")
    movement = measures.movement
    if movement is None or movement.camera is None or not movement.camera.startswith("panning"):
        return None
    direction = movement.camera.removeprefix("panning ")
    return "the camera pans along" if movement.scene_heading == direction else f"the camera pans to the {direction}"


def _effects(
    clip: ClipContext, tags: EffectTags, measures: ClipMeasures, *, subject_moves: bool
) -> tuple[EffectFacts, ...]:
    kinds = [kind for kind in tags.effects if kind in EFFECTS]
    # A scene may hold an effect that no frame shows.
    kinds = [kind for kind in kinds if kind not in clip.effect_masks or clip.effect_masks[kind].any()] or kinds
    if not kinds and measures.fit is not None:
        unknown = "darkening" if measures.fit.mean_change < 0 else "brightening"
        side = effect_side(unknown, measures)
        return (EffectFacts(kind=unknown, side=side, has_reliable_timing=False, measures=measures),)
    is_rendered, effects = bool(clip.facts), []
    for kind in kinds:
        # One mask holds all effects: what it measures is of one effect only where there is one.
        effect_measures = measures if len(kinds) == 1 else measure_single_effect(clip, kind, measures)
        facts = clip.facts.get("effects")
        effect_facts = facts.get(kind) if isinstance(facts, Mapping) else None
        if not isinstance(effect_facts, Mapping):
            effect_facts = {}
        timing = is_timing_reliable(kind, is_rendered=is_rendered)
        effects.append(
            EffectFacts(
                kind=kind,
                adjectives=adjectives_of(kind, effect_facts, effect_measures, is_rendered=is_rendered),
                side=effect_side(kind, effect_measures, subject_moves=subject_moves),
                time=effect_time(effect_measures) if timing and len(kinds) == 1 else None,
                has_reliable_timing=timing,
                measures=effect_measures,
            )
        )
    return tuple(effects)
