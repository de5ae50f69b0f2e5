"""Augmentation without a model: the effect's adjectives in a caption are swapped for others that fit this effect.

Only the effect's noun phrase changes, and the verb of its making; who does what, where and when stay word for word.
Adjectives of weak and of strong effects never meet, and no effect gets what it cannot have.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..checks.validators import check_variant
from ..language.caption_parsing import MAKERS, named_effects
from ..language.inflection import noun_phrase, participle, third_person
from ..language.subjects import with_article
from ..language.vocabulary import (
    COLOURS,
    CONTAINERS,
    EFFECTS,
    SLOTS,
    Slot,
    all_adjectives,
    are_compatible,
    terms,
    without_marks,
)

TRIES = 120
"""Drawings for one caption, before fewer variants than wanted are given."""
LOOSE = frozenset(
    terms(
        "fine rising lingering drifting sweeping massive huge tiny subtle slight sharp rich rolling churning elongated "
        "stretched moving dramatic delicate swift sudden whirling glistening sparkling shimmering dusty cold cool hot "
        "big little great"
    )
)
"""Adjectives that models write of effects, beside the vocabulary's own."""
DETERMINERS = frozenset(["a", "an", "the", "its", "their", "his", "her", "some"])


@dataclass(frozen=True, kw_only=True)
class EffectPhrase:
    """An effect's noun phrase in a caption."""

    start: int
    end: int
    effect: str
    determiner: str
    container: str
    """"clouds of", or nothing."""
    noun: str
    adjectives: tuple[str, ...]


def restyle(
    caption: str, effects: Iterable[str], *, count: int, rng: np.random.Generator, taken: Sequence[str] = ()
) -> tuple[str, ...]:
    """Captions of the same scene with another style of the same effects, each checked and unlike the others.

    Args:
        caption: any caption that names its effects.
        effects: those that are there; by default what the caption names.
        count: how many are wanted.
        rng: what is drawn depends on it alone.
        taken: variants that are there already.

    Returns:
        As many as could be made; none where no effect is named.
    """
    meant = tuple(effects) or named_effects(caption)
    found = find_effect_phrases(caption, meant)
    made: list[str] = []
    for _ in range(TRIES if found else 0):
        text = _swapped(caption, found, rng)
        if not check_variant(text, caption, effects=meant, others=[*taken, *made]):
            made.append(text)
        if len(made) == count:
            break
    return tuple(made)


def find_effect_phrases(caption: str, effects: Iterable[str]) -> tuple[EffectPhrase, ...]:
    """The first noun phrase of each effect, in the order of the text; none overlap."""
    found: list[EffectPhrase] = []
    for effect in effects:
        if effect not in EFFECTS:
            continue
        own = EFFECTS[effect]
        near = [name for kin in own.kin for name in EFFECTS[kin].names]
        for names in ([own.noun], own.names, near):
            spots = [match for name in names for match in re.finditer(rf"\b{name}\b", caption, re.IGNORECASE)]
            free = [spot for spot in spots if not any(one.start <= spot.start() < one.end for one in found)]
            if free:
                found.append(_phrase(caption, min(free, key=lambda spot: spot.start()), effect))
                break
    return tuple(sorted(found, key=lambda one: one.start))


def _phrase(caption: str, spot: re.Match[str], effect: str) -> EffectPhrase:
    """Grow a noun to its phrase, leftwards over what qualifies it."""
    before = list(re.finditer(r"[A-Za-z'-]+", caption[: spot.start()]))
    start, determiner, container = spot.start(), "", ""
    found: list[str] = []
    known = all_adjectives() | LOOSE | COLOURS
    while before:
        token = before.pop()
        word, gap = token.group().lower(), caption[token.end() : start]
        if gap.strip() not in ("", ",") or len(found) > 6:
            break
        if word == "of" and before and before[-1].group().lower() in CONTAINERS:
            container = caption[before[-1].start() : token.end()]
            start = before.pop().start()
        elif word == "and" and found and before and before[-1].group().lower() in known:
            start = token.start()
        elif word in known and word not in MAKERS:
            found.append(word)
            start = token.start()
        else:
            if word in DETERMINERS and not gap.strip():
                determiner, start = word, token.start()
            break
    return EffectPhrase(
        start=start,
        end=spot.end(),
        effect=effect,
        determiner=determiner,
        container=container.lower(),
        noun=spot.group().lower(),
        adjectives=tuple(found),
    )


def _swapped(caption: str, found: Sequence[EffectPhrase], rng: np.random.Generator) -> str:
    text, shift = caption, 0
    had = {word for one in found for word in one.adjectives}
    shine = _one([word for word in EFFECTS["light"].colour if word not in had], rng)  # glow and light are of one lamp
    for one in found:
        new = _drawn(one, shine, rng)
        verb = _verb(caption, one)
        if verb:
            said = _one([other for other in verb[1] if f" {other} " not in text] or [verb[0]], rng)
            new = f"{said if rng.random() < 0.5 else verb[0]} {new}"
        start = one.start - (len(verb[0]) + 1 if verb else 0)
        begin, end = start + shift, one.end + shift
        if begin == 0:
            new = new[:1].upper() + new[1:]
        text = text[:begin] + new + text[end:]
        shift += len(new) - (one.end - start)
    return text


def _verb(caption: str, one: EffectPhrase) -> tuple[str, list[str]] | None:
    """The verb of making that stands right before a phrase, and all verbs that may stand there in the same form."""
    before = caption[: one.start].rstrip().lower()
    makes = EFFECTS[one.effect].makes
    forms: tuple[Callable[[str], str], ...] = (participle, third_person, partial(third_person, many=True))
    for form in forms:
        for verb in makes:
            if before.endswith(f" {form(verb)}"):
                return form(verb), [form(other) for other in makes]
    return None


def _drawn(one: EffectPhrase, shine: str, rng: np.random.Generator) -> str:
    """Another phrase for the same noun: two adjectives and mostly a colour, none of which it had."""
    words = EFFECTS[one.effect]
    slots: list[Slot] = [slot for slot in SLOTS if slot != "colour"]
    chosen = [slots[int(place)] for place in rng.permutation(len(slots))[:2]]
    drawn: list[str] = []
    for slot in (slot for slot in SLOTS if slot in chosen):
        free = [word for word in without_marks(getattr(words, slot)) if word not in (*one.adjectives, one.noun)]
        free = [word for word in free if all(are_compatible(one.effect, word, other) for other in drawn)]
        drawn += [_one(free, rng)] if free else []
    colours = [word for word in words.colour if all(are_compatible(one.effect, word, other) for other in drawn)]
    colours = [shine] if one.effect in ("glow", "light") else [word for word in colours if word not in one.adjectives]
    if colours and (one.effect in ("glow", "light") or rng.random() < 0.7):
        drawn.append(_one(colours, rng))
    phrase = noun_phrase(drawn, one.noun, container=one.container)
    return with_article(phrase) if one.determiner in ("a", "an") else f"{one.determiner} {phrase}".strip()


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
