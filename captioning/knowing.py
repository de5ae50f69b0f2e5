"""What may be said of a clip: the scene's facts first, then what is measured; what is neither is not there.

`Seen.facts` of a rendered scene is read leniently, each value a word or a mapping with a word in it:
`subject` (name), `motion` (kind), `ground` (kind, pattern), `light` (sky, sun, sun_height), `camera` (kind), and under
`effects` each effect's own facts, by its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .captioner import Seen
from .colours import colour_word, tint_word
from .measuring import Measures, measure
from .naming import Name, subject_in, with_article
from .tagging import Tags, tags
from .vocabulary import EFFECTS, SLOTS, known_word

ACTIONS = {
    "walk": "walk", "drive": "drive", "drift": "drift", "boat": "glide", "bounce": "bounce", "fly": "fly",
    "toss": "move", "still": "stand",
}  # fmt: skip
GROUNDS = {
    "dry": "dry ground", "wet": "wet ground", "puddles": "puddled ground", "glossy": "a glossy floor",
    "water": "calm water",
}  # fmt: skip
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
class Said:
    """What may be said of one effect."""

    word: str
    """Of the corpus's vocabulary, or "darkening", "brightening" for an effect of unknown kind."""
    adjectives: tuple[str, ...] = ()
    """In the order of `vocabulary.SLOTS`."""
    side: str | None = None
    time: str | None = None
    """A relative clause: "which appears midway"."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What may be said of one clip."""

    subject: Name | None
    action: str | None
    """A verb's base form."""
    ground: str | None = None
    """With its preposition: "over dry ground"."""
    direction: str | None = None
    light: str | None = None
    camera: str | None = None
    effects: tuple[Said, ...] = ()
    measures: Measures = Measures()
    tags: Tags


def know(seen: Seen) -> Known:
    """Gather what is known and measured of a clip."""
    measures = measure(seen)
    tagged = tags(seen, measures)
    kind = _kind(seen.facts.get("motion"))
    return Known(
        subject=_subject(seen, measures),
        action=_action(kind, measures),
        ground=_ground(kind, seen.facts.get("ground")),
        direction=_direction(measures),
        light=_light(seen.facts.get("light")),
        camera=_camera(seen, measures),
        effects=_effects(seen, tagged, measures),
        measures=measures,
        tags=tagged,
    )


def _kind(value: Any) -> str | None:
    """A fact's own word, whether it stands alone or in a mapping."""
    if isinstance(value, Mapping):
        value = value.get("kind", value.get("name", value.get("word")))
    return value.strip().lower() if isinstance(value, str) and value.strip() else None


def _subject(seen: Seen, measures: Measures) -> Name | None:
    told = seen.subject or _kind(seen.facts.get("subject"))
    noun = told.strip() if told else subject_in(seen.hint or "", pieces=measures.pieces)
    return Name(noun=noun) if noun else None


def _action(kind: str | None, measures: Measures) -> str | None:
    if kind is not None:
        return ACTIONS.get(kind)
    moving = measures.movement
    return "move" if moving is not None and moving.through != "nowhere" else None


def _ground(motion: str | None, ground: Any) -> str | None:
    kind = _kind(ground)
    if kind not in GROUNDS:
        return None
    pattern = PATTERNS.get(str(ground.get("pattern"))) if isinstance(ground, Mapping) else None
    told = GROUNDS[kind]
    if pattern and kind in ("dry", "glossy", "wet"):
        told = with_article(f"{kind} {pattern} floor")
    return f"{OVER.get(motion or '', 'over' if motion else 'on')} {told}"


def _direction(measures: Measures) -> str | None:
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


def _camera(seen: Seen, measures: Measures) -> str | None:
    if seen.facts:
        return CAMERAS.get(_kind(seen.facts.get("camera")) or "")
    moving = measures.movement
    if moving is None or moving.camera is None or not moving.camera.startswith("panning"):
        return None
    toward = moving.camera.removeprefix("panning ")
    return "the camera pans along" if moving.through == toward else f"the camera pans to the {toward}"


def _effects(seen: Seen, tagged: Tags, measures: Measures) -> tuple[Said, ...]:
    words = [word for word in tagged.effects if word in EFFECTS]
    alone = len(words) == 1  # one mask holds all effects: what it measures is of one effect only where there is one
    said = [
        Said(
            word=word,
            adjectives=_adjectives(word, _facts_of(seen, word), measures if alone else Measures()),
            side=_side(measures) if alone else None,
            time=_time(measures) if alone else None,
        )
        for word in words
    ]
    if not said and measures.fit is not None:
        unknown = "darkening" if measures.fit.change < 0 else "brightening"
        said = [Said(word=unknown, side=_side(measures), time=_time(measures))]
    return tuple(said)


def _side(measures: Measures) -> str | None:
    """Ahead and behind where the subject goes sideways, else the side in the picture."""
    moving, side = measures.movement, measures.side
    if moving is None or moving.through not in ("left", "right") or side not in ("left", "right"):
        return side
    return "ahead" if side == moving.through else "behind"


def _facts_of(seen: Seen, word: str) -> Mapping[str, Any]:
    effects = seen.facts.get("effects")
    own = effects.get(word) if isinstance(effects, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _adjectives(word: str, facts: Mapping[str, Any], measures: Measures) -> tuple[str, ...]:
    """One word a slot; the scene's goes before the measured one."""
    measured = _measured(word, measures)
    texture = facts.get("texture", facts.get("edge", facts.get("manner")))
    found = []
    for slot in SLOTS:
        told = texture if slot == "texture" else facts.get(slot)
        chosen = known_word(word, slot, told) if told is not None else None
        # A scene that says "moderate" has spoken: then no measurement makes it more.
        if told is None and slot in measured and known_word(word, slot, measured[slot]):
            chosen = known_word(word, slot, measured[slot])
        if chosen:
            found.append(chosen)
    return tuple(found)


def _measured(word: str, measures: Measures) -> dict[str, str]:
    """Adjectives by slot, for the kinds of effects whose pixels say so."""
    found: dict[str, str] = {}
    fit = measures.fit
    if fit is not None and word == "shadow":
        loss = -fit.relative
        found["intensity"] = _step(
            loss, (0.14, "faint"), (0.26, "light"), (0.5, "distinct"), (0.72, "dark"), (9.0, "deep")
        )
        tint = tint_word(fit.opacity_rgb) if fit.trusted and loss > 0.2 else None
        if tint:
            found["colour"] = tint
    elif fit is not None and word == "reflection" and max(fit.darker, fit.lighter) > 0.9 and abs(fit.relative) > 0.3:
        found["intensity"] = "dark" if fit.change < 0 else "bright"
    elif fit is not None and word in ("dust", "smoke", "spray") and fit.trusted:
        if not 0.3 <= fit.opacity <= 0.55:
            found["intensity"] = "thin" if fit.opacity < 0.3 else "dense"
        found["colour"] = colour_word(fit.colour)
    return found | _shape(word, measures)


def _step(value: float, *steps: tuple[float, str]) -> str:
    return next(word for end, word in steps if value < end)


def _shape(word: str, measures: Measures) -> dict[str, str]:
    found: dict[str, str] = {}
    size, edge = measures.extent, measures.edge
    clear = word == "shadow" and edge is not None and measures.shorter_px >= 180
    if clear and edge is not None and not 0.012 <= edge <= 0.03:
        found["texture"] = "crisp" if edge < 0.012 else "soft"
    if size is None or size.to_subject is None:
        return found
    if word in ("shadow", "reflection", "wake") and size.length > 4.5 and size.to_subject > 0.3:
        found["spread"] = "long"
    elif word in ("shadow", "reflection", "ripple", "glow") and size.to_subject < 0.25:
        found["spread"] = "small"
    elif word in ("dust", "smoke", "wake", "ripple", "spray") and size.to_subject > 2.5:
        found["spread"] = "widespread" if word in ("dust", "smoke") else "wide"
    return found


def _time(measures: Measures) -> str | None:
    size = measures.extent
    if size is None:
        return None
    if size.begins > 0.15:
        return f"which appears {'early on' if size.begins < 0.4 else 'midway' if size.begins < 0.65 else 'late'}"
    if size.ends < 0.85:
        return f"which is gone {'soon' if size.ends < 0.35 else 'midway' if size.ends < 0.65 else 'before the end'}"
    return "which grows" if size.growth > 1.7 else "which shrinks" if size.growth < 0.58 else None
