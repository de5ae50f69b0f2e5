"""Adjectives, side and time of an effect, in the vocabulary's words: from the scene's facts, or from measurement."""

from collections.abc import Mapping
from typing import Any

from ..language.colours import colour_name, tint_name
from ..language.inflection import UNKNOWN
from ..language.vocabulary import EFFECTS, SLOTS, vocabulary_word, words_for
from .extent_and_motion import ClipMeasures

CRISP, SOFT = 0.012, 0.03
"""Widths of borders, as shares of the picture's shorter side, below which one is crisp, and above which soft."""
SHARPEST_PX = 3.2
"""Width that the sharpest border measures."""
SHADOW_INTENSITIES = ((0.14, "faint"), (0.26, "pale"), (0.5, "distinct"), (0.72, "dark"), (9.0, "deep"))
"""Adjectives for shares of the light that a shadow takes away, each with its upper end."""
START_TIMES = ((0.4, "soon after the start"), (0.65, "halfway through"), (1.1, "towards the end"))
"""Phrases for the moment at which an effect begins, as a share of the clip, each with its upper end."""
FLEETING = frozenset(EFFECTS) - {"shadow", "reflection", "fog", "footprints"}
"""Effects that come and go by themselves: what a decomposition finds of others waxes and wanes with the ground."""
TRAILS = frozenset({"dust", "smoke", "wake", "spray", "snow", "mud", "leaves", "debris", "footprints"})
"""Effects that a moving subject leaves behind."""


def adjectives_of(
    effect: str, facts: Mapping[str, Any], measures: ClipMeasures, *, has_reliable_timing: bool
) -> tuple[str, ...]:
    """Return at most one adjective a slot; the scene's goes before the measured one."""
    measured = _intensity_and_colour(effect, measures) | _texture_and_spread(effect, measures)
    extent = measures.extent
    is_partial = extent is not None and (extent.start > 0.3 or extent.end < 0.7)
    if is_partial and not has_reliable_timing:
        measured.pop("spread", None)  # a mask that finds a shadow in half of the clip does not know its size
    texture = facts.get("texture", facts.get("edge", facts.get("manner")))
    adjectives = []
    for slot in SLOTS:
        fact = texture if slot == "texture" else facts.get(slot)
        # A scene that says "moderate" has spoken: then no measurement makes it more.
        word = fact if fact is not None else measured.get(slot)
        if word is not None and (adjective := vocabulary_word(effect, slot, word)):
            adjectives.append(adjective)
    return tuple(adjectives)


def _intensity_and_colour(effect: str, measures: ClipMeasures) -> dict[str, str]:
    words: dict[str, str] = {}
    fit = measures.fit
    if fit is not None and effect == "shadow":
        words["intensity"] = next(word for end, word in SHADOW_INTENSITIES if -fit.relative_change < end)
    elif fit is not None and effect == "reflection":
        if max(fit.darker_share, fit.lighter_share) > 0.9 and abs(fit.relative_change) > 0.3:
            words["intensity"] = "dark" if fit.mean_change < 0 else "bright"
        tint = tint_name(fit.mean_gt)
        if tint and tint != tint_name(fit.mean_over):  # on blue water all is bluish
            words["colour"] = tint
    elif fit is not None and effect in ("dust", "smoke", "spray") and fit.is_reliable:
        if not 0.3 <= fit.opacity <= 0.55:
            words["intensity"] = "thin" if fit.opacity < 0.3 else "dense"
        colour = colour_name(fit.colour)
        if effect != "dust" or colour in EFFECTS["dust"].adjectives("colour"):
            words["colour"] = colour  # a scene may have blue dust; measured, it is an error
    return words


def _texture_and_spread(effect: str, measures: ClipMeasures) -> dict[str, str]:
    words: dict[str, str] = {}
    extent, edge_width = measures.extent, measures.edge_width
    if effect == "shadow" and edge_width is not None and measures.shorter_side_px >= 180:
        if edge_width < max(CRISP, SHARPEST_PX / measures.shorter_side_px):
            words["texture"] = "crisp"
        elif edge_width > SOFT:
            words["texture"] = "soft"
    if extent is None or extent.subject_ratio is None:
        return words
    if effect in ("shadow", "reflection", "wake") and extent.elongation > 4.5 and extent.subject_ratio > 0.3:
        words["spread"] = "long"
    elif effect in ("shadow", "reflection", "ripple", "glow") and extent.subject_ratio < 0.25:
        words["spread"] = "small"
    elif effect in ("dust", "smoke", "wake", "ripple", "spray") and extent.subject_ratio > 2.5:
        words["spread"] = "widespread" if effect in ("dust", "smoke") else "wide"
    return words


def effect_time(measures: ClipMeasures) -> str | None:
    """Return when the effect is made: "raising dust halfway through"; None where it is there throughout.

    An effect that ends in the clip's second half is not timed: it was there for the most part.
    """
    extent = measures.extent
    if extent is None:
        return None
    if extent.start > 0.15:
        return next(phrase for end, phrase in START_TIMES if extent.start < end)
    return "at the start" if extent.end < 0.35 else "in the first half" if extent.end < 0.6 else None


def effect_side(effect: str, measures: ClipMeasures, *, subject_moves: bool = False) -> str | None:
    """Return ahead or behind where the subject goes sideways, else the side in the picture.

    Each kind is only placed where it can be (`EffectWords.positions`), and where the subject moves, a trail's side in
    the picture, without the subject's direction, says nothing: then there is none.
    """
    movement, words = measures.movement, None if effect in UNKNOWN else words_for(effect)
    side: str | None = measures.side
    if side in ("lower left", "lower right") and words is not None and side not in words.positions:
        side = "left" if side == "lower left" else "right"
    if side in ("left", "right"):
        if movement is not None and movement.scene_heading in ("left", "right"):
            side = "ahead" if side == movement.scene_heading else "behind"
        elif subject_moves and effect in TRAILS:
            return None
    return side if words is None or side in words.positions else None
