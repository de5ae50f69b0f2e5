"""An effect's qualities in the vocabulary's words: from the scene's facts, or from what is measured."""

from collections.abc import Mapping
from typing import Any

from ..language.vocabulary import EFFECTS, SLOTS, vocabulary_word, without_marks
from ..measuring.clip_measures import ClipMeasures
from ..measuring.colour_names import colour_name, tint_name

CRISP, SOFT = 0.012, 0.03
"""Widths of borders, as shares of the picture's shorter side: below is crisp, above is soft."""
BEGINS = ((0.4, "soon after the start"), (0.65, "halfway through"), (1.1, "towards the end"))
FLEETING = frozenset({"splash", "spray", "dust", "smoke", "wake", "ripple", "glow", "light"})
"""Effects that come and go by themselves."""
TRAILS = frozenset({"dust", "smoke", "wake", "spray"})
"""Effects that what moves leaves behind."""
SHARPEST_PX = 3.2
"""No border measures less than about three pixels."""


def adjectives_of(
    word: str, facts: Mapping[str, Any], measures: ClipMeasures, *, rendered: bool = True
) -> tuple[str, ...]:
    """One word a slot; the scene's goes before the measured one."""
    measured = _measured(word, measures)
    size = measures.extent
    if size is not None and not is_timing_reliable(word, rendered=rendered) and (size.begins > 0.3 or size.ends < 0.7):
        measured.pop("spread", None)  # a mask that finds a shadow in half of the clip does not know its size
    texture = facts.get("texture", facts.get("edge", facts.get("manner")))
    found = []
    for slot in SLOTS:
        told = texture if slot == "texture" else facts.get(slot)
        chosen = vocabulary_word(word, slot, told) if told is not None else None
        # A scene that says "moderate" has spoken: then no measurement makes it more.
        if told is None and slot in measured and vocabulary_word(word, slot, measured[slot]):
            chosen = vocabulary_word(word, slot, measured[slot])
        if chosen:
            found.append(chosen)
    return tuple(found)


def _measured(word: str, measures: ClipMeasures) -> dict[str, str]:
    """Adjectives by slot, for the kinds of effects whose pixels say so."""
    found: dict[str, str] = {}
    fit = measures.fit
    if fit is not None and word == "shadow":
        loss = -fit.relative
        found["intensity"] = _step(
            loss, (0.14, "faint"), (0.26, "pale"), (0.5, "distinct"), (0.72, "dark"), (9.0, "deep")
        )
    elif fit is not None and word == "reflection":
        if max(fit.darker, fit.lighter) > 0.9 and abs(fit.relative) > 0.3:
            found["intensity"] = "dark" if fit.change < 0 else "bright"
        tint = tint_name(fit.shows)
        if tint and tint != tint_name(fit.ground):  # on blue water all is bluish
            found["colour"] = tint
    elif fit is not None and word in ("dust", "smoke", "spray") and fit.trusted:
        if not 0.3 <= fit.opacity <= 0.55:
            found["intensity"] = "thin" if fit.opacity < 0.3 else "dense"
        found["colour"] = name = colour_name(fit.colour)
        if word == "dust" and name not in without_marks(EFFECTS["dust"].colour):
            del found["colour"]  # a scene may have blue dust; of a measurement it is an error
    return found | _shape(word, measures)


def _step(value: float, *steps: tuple[float, str]) -> str:
    return next(word for end, word in steps if value < end)


def _shape(word: str, measures: ClipMeasures) -> dict[str, str]:
    found: dict[str, str] = {}
    size, edge = measures.extent, measures.edge
    if word == "shadow" and edge is not None and measures.shorter_px >= 180:
        crisp = edge < max(CRISP, SHARPEST_PX / measures.shorter_px)
        found |= {"texture": "crisp"} if crisp else {"texture": "soft"} if edge > SOFT else {}
    if size is None or size.to_subject is None:
        return found
    if word in ("shadow", "reflection", "wake") and size.length > 4.5 and size.to_subject > 0.3:
        found["spread"] = "long"
    elif word in ("shadow", "reflection", "ripple", "glow") and size.to_subject < 0.25:
        found["spread"] = "small"
    elif word in ("dust", "smoke", "wake", "ripple", "spray") and size.to_subject > 2.5:
        found["spread"] = "widespread" if word in ("dust", "smoke") else "wide"
    return found


def is_timing_reliable(word: str, *, rendered: bool) -> bool:
    """May a mask be believed on when the effect comes and goes?

    What a decomposition finds of a shadow or mirror image waxes and wanes with the ground, and of an unknown effect
    nobody knows; a renderer's mask is the truth.
    """
    return rendered or word in FLEETING


def effect_time(measures: ClipMeasures) -> str | None:
    """When the effect is there, said of its making: "raising dust halfway through"; None where it is there throughout.

    An effect that is gone in the clip's second half is not timed: it was there for the most part.
    """
    size = measures.extent
    if size is None:
        return None
    if size.begins > 0.15:
        return next(when for end, when in BEGINS if size.begins < end)
    return "at the start" if size.ends < 0.35 else "in the first half" if size.ends < 0.6 else None


def effect_side(word: str, measures: ClipMeasures, *, moves: bool = False) -> str | None:
    """Ahead and behind where the subject goes sideways, else the side in the picture; None where that is no place.

    Args:
        word: the effect; each kind is only ever said to lie where it can (`vocabulary.EffectWords.places`).
        measures: of this effect.
        moves: its subject is known to move; then a trail's side in the picture, without its direction, says nothing.
    """
    moving, side = measures.movement, measures.side
    words = EFFECTS.get(word)
    if side in ("lower left", "lower right") and words is not None and side not in words.places:
        side = "left" if side == "lower left" else "right"
    told: str | None = side
    if side in ("left", "right"):
        if moving is not None and moving.through in ("left", "right"):
            told = "ahead" if side == moving.through else "behind"
        elif moves and word in TRAILS:
            return None
    return told if words is None or told in words.places else None
