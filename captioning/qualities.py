"""An effect's qualities in the vocabulary's words: from the scene's facts, or from what is measured."""

from collections.abc import Mapping
from typing import Any

from .colours import colour_word, tint_word
from .measuring import Measures
from .vocabulary import SLOTS, known_word

CRISP, SOFT = 0.012, 0.03
"""Widths of borders, as shares of the picture's shorter side: below is crisp, above is soft."""
SHARPEST_PX = 3.2
"""No border measures less than about three pixels."""


def adjectives_of(word: str, facts: Mapping[str, Any], measures: Measures) -> tuple[str, ...]:
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
        tint = tint_word(fit.opacity_rgb) if fit.trusted and fit.explained > 0.8 and loss > 0.2 else None
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


def time_of(measures: Measures) -> str | None:
    """When the effect is there, as a relative clause; None where it is there all the time."""
    size = measures.extent
    if size is None:
        return None
    if size.begins > 0.15:
        return f"which appears {'early on' if size.begins < 0.4 else 'midway' if size.begins < 0.65 else 'late'}"
    if size.ends < 0.85:
        return f"which is gone {'soon' if size.ends < 0.35 else 'midway' if size.ends < 0.65 else 'before the end'}"
    return "which grows" if size.growth > 1.7 else "which shrinks" if size.growth < 0.58 else None


def side_of(measures: Measures) -> str | None:
    """Ahead and behind where the subject goes sideways, else the side in the picture."""
    moving, side = measures.movement, measures.side
    if moving is None or moving.through not in ("left", "right") or side not in ("left", "right"):
        return side
    return "ahead" if side == moving.through else "behind"
