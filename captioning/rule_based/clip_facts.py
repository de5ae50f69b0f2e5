"""Facts of a clip that captions may state: from the rendered scene where there is one, else from measurement.

A rendered scene gives its facts as `render.scene.scene.scene_facts` does; `motion`, `ground` and
`camera` are words or mappings with a `kind`, `light` maps `sky`, `sun` and `sun_height`, `effects` maps kinds to facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..interface.captioner import ClipContext
from ..language.inflection import with_article
from ..language.subjects import MOTION_VERBS, UNNAMED, SubjectName, find_subject
from .adjectives import FLEETING, adjectives_of, effect_side, effect_time
from .effect_classifier import EffectTags, classify_effects
from .extent_and_motion import ClipMeasures, measure_clip, measure_single_effect

VERB_BY_MOTION = {
    "walk": "walk", "drive": "drive", "drift": "drift", "boat": "glide", "bounce": "bounce", "fly": "fly",
    "toss": "move", "still": "stand",
}  # fmt: skip
STAY_IN_PLACE = "stay in place"
"""Action of a subject that moves but keeps its place in the picture of a still camera."""
GROUND_PHRASES = {
    "dry": "dry ground", "wet": "wet ground", "puddles": "puddled ground", "glossy": "a glossy floor",
    "water": "calm water",
}  # fmt: skip
GROUND_PREPOSITIONS = {
    "boat": "across", "fly": "above", "toss": "over", "still": "on", "drift": "across", "bounce": "on",
}  # fmt: skip
"""Prepositions between action and ground, by motion; "over" for any other motion, "on" where it is unknown."""
FLOOR_PATTERN_ADJECTIVES = {
    "checker": "chequered", "stripes": "striped", "bricks": "brick", "wood": "wooden", "tiles": "tiled",
    "marble": "marble",
}  # fmt: skip
"""Adjectives for floors, by their pattern."""
SETTING_PHRASES = {
    "night": "at night", "sunset": "at sunset", "sunrise": "at sunrise", "studio": "in a studio", "interior": "indoors",
}  # fmt: skip
"""Time or place that the panorama around a scene shows."""
CAMERA_MOTION_CLAUSES = {
    "pan": "the camera pans",
    "handheld": "the camera sways a little",
    "follow": "the camera follows",
}


@dataclass(frozen=True, kw_only=True)
class EffectFacts:
    """Facts of one effect that captions may state."""

    kind: str
    """A word of the corpus's vocabulary, or "darkening", "brightening" for an effect of unknown kind."""
    adjectives: tuple[str, ...] = ()
    """Adjectives in the order in which a caption names them."""
    side: str | None = None
    time: str | None = None
    """Phrase for when the effect appears, e.g. "halfway through"."""
    has_reliable_timing: bool = True
    """Whether captions may tell when the effect comes and goes."""
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
    stated_subject = clip.subject or _kind_of(clip.facts.get("subject"))
    noun = stated_subject.strip() if stated_subject else find_subject(clip.hint or "", pieces=measures.subject_pieces)
    subject = SubjectName(noun=noun) if noun else UNNAMED
    action = _action_verb(motion, subject, measures)
    return ClipFacts(
        subject=subject,
        action=action,
        ground=_ground_phrase(motion, clip.facts.get("ground")),
        direction=_direction_phrase(measures),
        light=_light_phrase(clip.facts.get("light")),
        camera=_camera_clause(clip, measures),
        effects=_collect_effect_facts(clip, tags, measures, subject_moves=action not in (None, "stand", STAY_IN_PLACE)),
        measures=measures,
        tags=tags,
    )


def _kind_of(fact: Any) -> str | None:
    """Return a fact's own word, whether it stands alone or in a mapping."""
    if isinstance(fact, Mapping):
        fact = fact.get("kind", fact.get("name", fact.get("word")))
    return fact.strip().lower() if isinstance(fact, str) and fact.strip() else None


def _action_verb(motion: str | None, subject: SubjectName, measures: ClipMeasures) -> str | None:
    if motion is not None:
        return VERB_BY_MOTION.get(motion)
    movement = measures.movement
    if movement is None or movement.scene_heading == "nowhere":
        return STAY_IN_PLACE if movement is not None and movement.stays else None
    noun = subject.head_noun
    verbs = (verb for verb, nouns in MOTION_VERBS.items() if noun in nouns or noun.removesuffix("s") in nouns)
    return next(verbs, "move")


def _ground_phrase(motion: str | None, fact: Any) -> str | None:
    kind = _kind_of(fact)
    if kind not in GROUND_PHRASES:
        return None
    pattern = FLOOR_PATTERN_ADJECTIVES.get(str(fact.get("pattern"))) if isinstance(fact, Mapping) else None
    phrase = GROUND_PHRASES[kind]
    if pattern and kind in ("dry", "glossy", "wet"):
        phrase = with_article(f"{kind} {pattern} floor")
    return f"{GROUND_PREPOSITIONS.get(motion or '', 'over' if motion else 'on')} {phrase}"


def _direction_phrase(measures: ClipMeasures) -> str | None:
    movement = measures.movement
    if movement is None or movement.scene_heading == "nowhere":
        return None
    if movement.picture_heading not in (movement.scene_heading, "nowhere"):
        return None  # the camera overtakes the subject: its direction in the picture is not that in the scene
    if movement.picture_heading in ("left", "right"):
        return "from left to right" if movement.picture_heading == "right" else "from right to left"
    is_followed_sideways = movement.scene_heading in ("left", "right") and movement.picture_heading == "nowhere"
    return f"to the {movement.scene_heading}" if is_followed_sideways else None


def _light_phrase(fact: Any) -> str | None:
    if not isinstance(fact, Mapping):
        return None
    sun_height = fact.get("sun_height") if fact.get("sun") else None
    sun = {"low": "under a low sun", "high": "under a high sun"}.get(str(sun_height))
    return SETTING_PHRASES.get(str(fact.get("sky"))) or sun


def _camera_clause(clip: ClipContext, measures: ClipMeasures) -> str | None:
    if clip.facts:
        return CAMERA_MOTION_CLAUSES.get(_kind_of(clip.facts.get("camera")) or "")
    movement = measures.movement
    if movement is None or movement.camera is None or not movement.camera.startswith("panning"):
        return None
    direction = movement.camera.removeprefix("panning ")
    return "the camera pans along" if movement.scene_heading == direction else f"the camera pans to the {direction}"


def _collect_effect_facts(
    clip: ClipContext, tags: EffectTags, measures: ClipMeasures, *, subject_moves: bool
) -> tuple[EffectFacts, ...]:
    kinds = list(tags.effects)
    # A scene may hold an effect that no frame shows; if no frame shows any, all stay, and the checks will object.
    kinds = [kind for kind in kinds if kind not in clip.effect_masks or clip.effect_masks[kind].any()] or kinds
    if not kinds and measures.fit is not None:
        fallback_kind = "darkening" if measures.fit.mean_change < 0 else "brightening"
        side = effect_side(fallback_kind, measures)
        return (EffectFacts(kind=fallback_kind, side=side, has_reliable_timing=False, measures=measures),)
    scene_effects, effects = clip.facts.get("effects"), []
    for kind in kinds:
        # The clip's mask covers all effects together, so its measures describe one effect only if there is one.
        effect_measures = measures if len(kinds) == 1 else measure_single_effect(clip, kind, measures)
        scene_effect = scene_effects.get(kind) if isinstance(scene_effects, Mapping) else None
        effect_facts = scene_effect if isinstance(scene_effect, Mapping) else {}
        is_reliable = bool(clip.facts) or kind in FLEETING  # a renderer's mask is the truth
        effects.append(
            EffectFacts(
                kind=kind,
                adjectives=adjectives_of(kind, effect_facts, effect_measures, has_reliable_timing=is_reliable),
                side=effect_side(kind, effect_measures, subject_moves=subject_moves),
                time=effect_time(effect_measures) if is_reliable and len(kinds) == 1 else None,
                has_reliable_timing=is_reliable,
                measures=effect_measures,
            )
        )
    return tuple(effects)
