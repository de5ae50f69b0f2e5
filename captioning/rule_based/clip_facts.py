"""What may be said of a clip: the scene's facts first, then what is measured; what is neither is not there.

`Seen.facts` of a rendered scene is read leniently, each value a word or a mapping with a word in it:
`subject` (name), `motion` (kind), `ground` (kind, pattern), `light` (sky, sun, sun_height), `camera` (kind), and under
`effects` each effect's own facts, by its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..interface.captioner import ClipContext
from ..language.subjects import SubjectName, find_subject, with_article
from ..language.vocabulary import EFFECTS
from ..measuring.clip_measures import ClipMeasures, measure_clip, measure_single_effect
from .adjectives import adjectives_of, effect_side, effect_time, is_timing_reliable
from .effect_classifier import EffectTags, classify_effects

ACTIONS = {
    "walk": "walk", "drive": "drive", "drift": "drift", "boat": "glide", "bounce": "bounce", "fly": "fly",
    "toss": "move", "still": "stand",
}  # fmt: skip
GROUNDS = {
    "dry": "dry ground", "wet": "wet ground", "puddles": "puddled ground", "glossy": "a glossy floor",
    "water": "calm water",
}  # fmt: skip
GOES = {
    "drive": ("car", "truck", "van", "bus", "tram", "tuk-tuk", "motorbike", "motorcycle", "scooter"),
    "ride": ("cyclist", "rider"), "glide": ("boat", "ship", "ferry", "canoe", "kayak"), "walk": ("walker", "hiker"),
    "run": ("runner",), "swim": ("swimmer",), "ski": ("skier",), "skate": ("skater",), "surf": ("surfer",),
}  # fmt: skip
"""What a subject does by its very name when it is seen to move; of all others it is said that they move."""
STAYS = "stay in place"
"""What is said of a subject that a still camera sees at one spot."""
OVER = {"boat": "across", "fly": "above", "toss": "over", "still": "on", "drift": "across", "bounce": "on"}
"""The preposition between action and ground; "over" where none is named."""
PATTERNS = {
    "checker": "chequered",
    "stripes": "striped",
    "bricks": "brick",
    "wood": "wooden",
    "tiles": "tiled",
    "marble": "marble",
}
"""Of floors whose pattern everybody sees."""
SKIES = {
    "night": "at night",
    "sunset": "at sunset",
    "sunrise": "at sunrise",
    "studio": "in a studio",
    "interior": "indoors",
}
"""What a panorama around the scene says of time and place."""
CAMERAS = {"pan": "the camera pans", "handheld": "the camera sways a little", "follow": "the camera follows"}


@dataclass(frozen=True, kw_only=True)
class EffectFacts:
    """What may be said of one effect."""

    word: str
    """Of the corpus's vocabulary, or "darkening", "brightening" for an effect of unknown kind."""
    adjectives: tuple[str, ...] = ()
    """In the order of `vocabulary.SLOTS`."""
    side: str | None = None
    time: str | None = None
    """Said of its making: "halfway through"."""
    course: bool = True
    """May its coming and going be told?"""
    measures: ClipMeasures = ClipMeasures()
    """Of this effect alone."""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What may be said of one clip."""

    subject: SubjectName | None
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


def collect_facts(seen: ClipContext) -> ClipFacts:
    """Gather what is known and measured of a clip."""
    measures = measure_clip(seen)
    tagged = classify_effects(seen, measures)
    kind = _kind(seen.facts.get("motion"))
    subject = _subject(seen, measures)
    action = _action(kind, subject, measures)
    return ClipFacts(
        subject=subject,
        action=action,
        ground=_ground(kind, seen.facts.get("ground")),
        direction=_direction(measures),
        light=_light(seen.facts.get("light")),
        camera=_camera(seen, measures),
        effects=_effects(seen, tagged, measures, moves=action not in (None, "stand", STAYS)),
        measures=measures,
        tags=tagged,
    )


def _kind(value: Any) -> str | None:
    """A fact's own word, whether it stands alone or in a mapping."""
    if isinstance(value, Mapping):
        value = value.get("kind", value.get("name", value.get("word")))
    return value.strip().lower() if isinstance(value, str) and value.strip() else None


def _subject(seen: ClipContext, measures: ClipMeasures) -> SubjectName | None:
    told = seen.subject or _kind(seen.facts.get("subject"))
    noun = told.strip() if told else find_subject(seen.hint or "", pieces=measures.pieces)
    return SubjectName(noun=noun) if noun else None


def _action(kind: str | None, subject: SubjectName | None, measures: ClipMeasures) -> str | None:
    if kind is not None:
        return ACTIONS.get(kind)
    moving = measures.movement
    if moving is None or moving.through == "nowhere":
        return STAYS if moving is not None and moving.stays else None
    last = subject.last if subject else ""
    return next((verb for verb, names in GOES.items() if last in names or last.removesuffix("s") in names), "move")


def _ground(motion: str | None, ground: Any) -> str | None:
    kind = _kind(ground)
    if kind not in GROUNDS:
        return None
    pattern = PATTERNS.get(str(ground.get("pattern"))) if isinstance(ground, Mapping) else None
    told = GROUNDS[kind]
    if pattern and kind in ("dry", "glossy", "wet"):
        told = with_article(f"{kind} {pattern} floor")
    return f"{OVER.get(motion or '', 'over' if motion else 'on')} {told}"


def _direction(measures: ClipMeasures) -> str | None:
    moving = measures.movement
    if moving is None or moving.through == "nowhere" or moving.across not in (moving.through, "nowhere"):
        return None  # the camera is faster: then what the picture shows and where it goes are two things
    if moving.across in ("left", "right"):
        return "from left to right" if moving.across == "right" else "from right to left"
    return f"to the {moving.through}" if moving.through in ("left", "right") and moving.across == "nowhere" else None


def _light(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    sky = SKIES.get(str(value.get("sky")))
    height = value.get("sun_height") if value.get("sun") else None
    return sky or {"low": "under a low sun", "high": "under a high sun"}.get(str(height))


def _camera(seen: ClipContext, measures: ClipMeasures) -> str | None:
    if seen.facts:
        return CAMERAS.get(_kind(seen.facts.get("camera")) or "")
    moving = measures.movement
    if moving is None or moving.camera is None or not moving.camera.startswith("panning"):
        return None
    toward = moving.camera.removeprefix("panning ")
    return "the camera pans along" if moving.through == toward else f"the camera pans to the {toward}"


def _effects(seen: ClipContext, tagged: EffectTags, measures: ClipMeasures, *, moves: bool) -> tuple[EffectFacts, ...]:
    words = [word for word in tagged.effects if word in EFFECTS]
    shown = [word for word in words if word not in seen.effect_masks or seen.effect_masks[word].any()]
    words = shown or words  # a scene may hold an effect that no frame shows
    if not words and measures.fit is not None:
        unknown = "darkening" if measures.fit.change < 0 else "brightening"
        return (EffectFacts(word=unknown, side=effect_side(unknown, measures), course=False, measures=measures),)
    said = []
    for word in words:
        # One mask holds all effects: what it measures is of one effect only where there is one.
        own = measures if len(words) == 1 else measure_single_effect(seen, word, measures)
        course = is_timing_reliable(word, rendered=bool(seen.facts))
        said.append(
            EffectFacts(
                word=word,
                adjectives=adjectives_of(word, _facts_of(seen, word), own, rendered=bool(seen.facts)),
                side=effect_side(word, own, moves=moves),
                time=effect_time(own) if course and len(words) == 1 else None,
                course=course,
                measures=own,
            )
        )
    return tuple(said)


def _facts_of(seen: ClipContext, word: str) -> Mapping[str, Any]:
    effects = seen.facts.get("effects")
    own = effects.get(word) if isinstance(effects, Mapping) else None
    return own if isinstance(own, Mapping) else {}
