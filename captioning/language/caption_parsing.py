"""Parsing of captions: words, stems, the effects that are named, the head (who does what), the effect clause."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from .inflection import participle, third_person
from .vocabulary import EFFECTS, all_adjectives, terms

STOP_WORDS = frozenset(
    terms(
        "a an the and or of in on at to by as it its is are with while from into over under behind below beneath above "
        "around through across that which their they his her he she them him along for be then this these"
    )
)
"""Words of grammar, which say nothing about the scene."""
CLAUSE_STARTS = frozenset(terms("with it its they their he she his her a an the leaving and"))
"""Words that begin a new clause after a comma."""
CAUSE_VERBS = frozenset(
    form.split()[0]
    for effect in EFFECTS.values()
    for verb in (*effect.causes, *terms("unleash create produce leave send release emit generate spew"))
    for form in (participle(verb), third_person(verb), verb)
)
"""Verbs by which a subject makes an effect, in the forms that begin an effect clause."""
QUALIFIED_BY_LIGHT = frozenset(
    {name for words in EFFECTS.values() for name in words.names}
    | all_adjectives()
    | {"grey", "gray", "cloud", "clouds", "veil", "trail", "plume"}
)
"""Words before which "light" is a quality and names no effect."""


class CaptionParts(NamedTuple):
    """The two parts of a caption, which together hold all its words."""

    head: str
    """The clause of subject and action."""
    clause: str
    """The clause that describes the effect."""


def tokenize(text: str) -> list[str]:
    """Return a text's words in lower case; hyphens join words."""
    tokens: list[str] = re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower().replace("’", "'"))
    return tokens


def stem(word: str) -> str:
    """Return a word without its ending, so that "drives" and "driving" are equal."""
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return re.sub(r"(ing|es|ed|s|e)$", "", word) if len(word) > 3 else word


def content_stems(text: str) -> set[str]:
    """Return the stems of a text's words, without words of grammar."""
    return {stem(word) for word in tokenize(text) if word not in STOP_WORDS}


def effect_words(text: str) -> dict[str, set[str]]:
    """Return every word that may name an effect, with the effects it may stand for."""
    tokens = tokenize(text)
    words: dict[str, set[str]] = {}
    for index, token in enumerate(tokens):
        if token in ("light", "lights") and not QUALIFIED_BY_LIGHT.isdisjoint(tokens[index + 1 : index + 2]):
            continue
        effects = {effect for effect, vocabulary in EFFECTS.items() if token in vocabulary.names}
        if effects:
            words[token] = effects
    return words


def related_effects(effects: Iterable[str]) -> set[str]:
    """Return the effects, and those so similar that their names may stand for them."""
    return {related for effect in effects if effect in EFFECTS for related in (effect, *EFFECTS[effect].kin)}


def named_effects(text: str) -> tuple[str, ...]:
    """Return the effects that a caption names, in the vocabulary's order.

    A word that may stand for several counts only where no other word names an effect, and then for the first of them.
    """
    words = effect_words(text)
    effects = {effect for word, meanings in words.items() for effect in meanings if word in EFFECTS[effect].names[:2]}
    if not effects:
        effects = {min(meanings, key=list(EFFECTS).index) for meanings in words.values()}
    return tuple(effect for effect in EFFECTS if effect in effects)


def split_caption(caption: str, effects: Iterable[str] = ()) -> CaptionParts:
    """Split a caption at the clause about the effects (about any effect, where none are given).

    Where the effect comes first, the head is what follows: "dust hangs behind a car | as it drives". A caption that
    names no effect is all head.
    """
    relevant = related_effects(effects) if effects else set(EFFECTS)
    names = [name for name, meanings in effect_words(caption).items() if meanings & relevant]
    matches = [match for name in names if (match := re.search(rf"\b{re.escape(name)}\b", caption.lower()))]
    if not matches:
        return CaptionParts(caption, "")
    noun_start = min(match.start() for match in matches)
    clause_start = _clause_start(caption, noun_start)
    if clause_start > 0:
        return CaptionParts(caption[:clause_start].strip(" ,"), caption[clause_start:].strip(" ,"))
    head = re.search(r",? (as|while|when) |, (?=\w+ing\b)", caption[noun_start:])
    if head is None:
        return CaptionParts("", caption)
    head_start = noun_start + head.start()
    return CaptionParts(caption[head_start:].strip(" ,"), caption[:head_start])


def _clause_start(caption: str, noun_start: int) -> int:
    """Return where the clause of the effect begins: after a comma between clauses, else at its verb, else 0."""
    commas = []
    for match in re.finditer(r",\s+(?:and\s+)?([A-Za-z'-]+)", caption[:noun_start]):
        word = match.group(1).lower()
        if (word in CLAUSE_STARTS | CAUSE_VERBS or word.endswith("ing")) and word not in all_adjectives():
            commas.append(match.start())
    starters = CAUSE_VERBS | {"with"}
    for comma in commas:
        if set(tokenize(caption[comma:])[:3]) & starters:
            return comma
    if commas:
        return commas[-1]
    verbs = (match for match in re.finditer(r"[A-Za-z'-]+", caption[:noun_start]) if match.group().lower() in starters)
    return next((verb.start() for verb in verbs), 0)
