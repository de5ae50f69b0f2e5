"""Augmentation without a model: an effect's adjectives in a caption are replaced by others that fit this effect.

Only the effect's noun phrase changes, and the verb of its making; who does what, where and when stay word for word.
Adjectives of weak and of strong effects are never combined, and no effect gets what it cannot have.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..checks.validators import check_variant
from ..language.caption_parsing import CAUSE_VERBS
from ..language.effect_mentions import SAME_AS, named_effects
from ..language.inflection import noun_phrase, participle, third_person, with_article
from ..language.vocabulary import (
    COLOURS,
    CONTAINERS,
    DETERMINERS,
    EFFECTS,
    MODEL_ADJECTIVES,
    SLOTS,
    Slot,
    all_adjectives,
    are_compatible,
    words_for,
)

MAX_DRAWS = 120
"""Drawings for one caption, before fewer variants than requested are returned."""


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
    caption: str, effects: Iterable[str], *, count: int, rng: np.random.Generator, accepted: Sequence[str] = ()
) -> tuple[str, ...]:
    """Write captions of the same scene with another style of the same effects, each checked and unlike the others.

    Args:
        caption: any caption that names its effects.
        effects: those that are there; by default those that the caption names.
        count: variants to be had; fewer are returned where no more can be made, none where no effect is named.
        rng: decides all that is drawn.
        accepted: earlier variants, from which the new ones must differ.
    """
    effects = tuple(effects) or named_effects(caption)
    phrases = find_effect_phrases(caption, effects)
    variants: list[str] = []
    for _ in range(MAX_DRAWS if phrases else 0):
        text = _replace_phrases(caption, phrases, rng)
        if not check_variant(text, caption, effects=effects, accepted=[*accepted, *variants]):
            variants.append(text)
        if len(variants) == count:
            break
    return tuple(variants)


def find_effect_phrases(caption: str, effects: Iterable[str]) -> tuple[EffectPhrase, ...]:
    """Return the first noun phrase of each effect, in the order of the text; none overlap."""
    phrases: list[EffectPhrase] = []
    for effect in effects:
        words = words_for(effect)
        kin_names = [name for kin in words.kin for name in EFFECTS[kin].names]
        same = [noun for noun, meaning in SAME_AS.items() if meaning == effect]
        for names in ([words.noun], [*words.names, *words.scenery], kin_names, same):
            matches = [match for name in names for match in re.finditer(rf"\b{name}\b", caption, re.IGNORECASE)]
            matches = [
                match for match in matches if not any(phrase.start <= match.start() < phrase.end for phrase in phrases)
            ]
            if matches:
                phrases.append(_parse_phrase(caption, min(matches, key=lambda match: match.start()), effect))
                break
    return tuple(sorted(phrases, key=lambda phrase: phrase.start))


def _parse_phrase(caption: str, noun: re.Match[str], effect: str) -> EffectPhrase:
    """Extend a noun to its phrase, leftwards over the words that qualify it."""
    before = list(re.finditer(r"[A-Za-z'-]+", caption[: noun.start()]))
    start, determiner, container = noun.start(), "", ""
    adjectives: list[str] = []
    qualifiers = all_adjectives() | MODEL_ADJECTIVES | COLOURS
    while before:
        token = before.pop()
        word, gap = token.group().lower(), caption[token.end() : start]
        if gap.strip() not in ("", ",") or len(adjectives) > 6:
            break
        if word == "of" and before and before[-1].group().lower() in CONTAINERS:
            container = caption[before[-1].start() : token.end()]
            start = before.pop().start()
        elif word == "and" and adjectives and before and before[-1].group().lower() in qualifiers:
            start = token.start()
        elif word in qualifiers and word not in CAUSE_VERBS:
            adjectives.append(word)
            start = token.start()
        else:
            if word in DETERMINERS and not gap.strip():
                determiner, start = word, token.start()
            break
    return EffectPhrase(
        start=start,
        end=noun.end(),
        effect=effect,
        determiner=determiner,
        container=container.lower(),
        noun=noun.group().lower(),
        adjectives=tuple(adjectives),
    )


def _replace_phrases(caption: str, phrases: Sequence[EffectPhrase], rng: np.random.Generator) -> str:
    text, shift = caption, 0
    adjectives = {word for phrase in phrases for word in phrase.adjectives}
    # Glow and light come from one lamp.
    lamp_colour = _draw([word for word in EFFECTS["light"].colour if word not in adjectives], rng)
    for phrase in phrases:
        replacement, start = _draw_phrase(phrase, lamp_colour, rng), phrase.start
        if cause := _cause_before(caption, phrase):
            verb, alternatives = cause
            new_verb = _draw([word for word in alternatives if f" {word} " not in text] or [verb], rng)
            replacement = f"{new_verb if rng.random() < 0.5 else verb} {replacement}"
            start -= len(verb) + 1
        if start + shift == 0:
            replacement = replacement[:1].upper() + replacement[1:]
        text = text[: start + shift] + replacement + text[phrase.end + shift :]
        shift += len(replacement) - (phrase.end - start)
    return text


def _cause_before(caption: str, phrase: EffectPhrase) -> tuple[str, list[str]] | None:
    """Return the verb of making right before a phrase, and all verbs that may replace it in the same form."""
    before = caption[: phrase.start].rstrip().lower()
    verbs = words_for(phrase.effect).causes
    forms: tuple[Callable[[str], str], ...] = (participle, third_person, partial(third_person, plural=True))
    for inflect in forms:
        for verb in verbs:
            if before.endswith(f" {inflect(verb)}"):
                return inflect(verb), [inflect(alternative) for alternative in verbs]
    return None


def _draw_phrase(phrase: EffectPhrase, lamp_colour: str, rng: np.random.Generator) -> str:
    """Draw another phrase for the same noun: two adjectives and mostly a colour, none of which it had."""
    words = words_for(phrase.effect)
    slots: list[Slot] = [slot for slot in SLOTS if slot != "colour"]
    drawn_slots = [slots[int(index)] for index in rng.permutation(len(slots))[:2]]
    adjectives: list[str] = []

    def fitting(candidates: Iterable[str]) -> list[str]:
        return [
            word
            for word in candidates
            if all(are_compatible(phrase.effect, word, adjective) for adjective in adjectives)
        ]

    for slot in (slot for slot in SLOTS if slot in drawn_slots):
        unused = [word for word in words.adjectives(slot) if word not in (*phrase.adjectives, phrase.noun)]
        if candidates := fitting(unused):
            adjectives.append(_draw(candidates, rng))
    colours = [word for word in fitting(words.colour) if word not in phrase.adjectives]
    is_lamp = phrase.effect in ("glow", "light")
    if is_lamp:
        adjectives.append(lamp_colour)
    elif colours and rng.random() < 0.7:
        adjectives.append(_draw(colours, rng))
    text = noun_phrase(adjectives, phrase.noun, container=phrase.container)
    return with_article(text) if phrase.determiner in ("a", "an") else f"{phrase.determiner} {text}".strip()


def _draw(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
