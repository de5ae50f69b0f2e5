"""A caption taken apart: its words, the effects it names, its head (who does what) and its effect clause."""

import re
from collections.abc import Iterable, Set
from typing import NamedTuple

from .inflection import participle, third_person
from .vocabulary import EFFECTS, all_adjectives

STOP = frozenset(
    ["a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "by", "as", "it", "its", "is", "are", "with", "while",
     "from", "into", "over", "under", "behind", "below", "beneath", "above", "around", "through", "across", "that",
     "which", "their", "they", "his", "her", "he", "she", "them", "him", "along", "for", "be", "then", "this", "these"]
)  # fmt: skip
"""Words that carry grammar and nothing of the scene."""
LINKS = frozenset(["with", "it", "its", "they", "their", "he", "she", "his", "her", "a", "an", "the", "leaving", "and"])
"""After a comma these begin a new clause; an adjective does not."""
MAKERS = frozenset(
    form.split()[0]
    for tokenize in EFFECTS.values()
    for verb in (
        *tokenize.makes,
        "unleash",
        "create",
        "produce",
        "leave",
        "send",
        "release",
        "emit",
        "generate",
        "spew",
    )
    for form in (participle(verb), third_person(verb), third_person(verb, many=True))
)
"""Verbs by which a subject makes an effect, in the forms that begin an effect clause."""


class CaptionParts(NamedTuple):
    """A caption in two: who does what, and what the effect is like; put together they hold all its words."""

    head: str
    clause: str


def tokenize(text: str) -> list[str]:
    """A text's words in lower case; hyphens bind."""
    found: list[str] = re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower().replace("’", "'"))
    return found


def stem(word: str) -> str:
    """A word without its ending, so that "drives" and "driving" are one."""
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return re.sub(r"(ing|es|ed|s|e)$", "", word) if len(word) > 3 else word


def content_stems(text: str) -> set[str]:
    """The stems of the words that say something."""
    return {stem(word) for word in tokenize(text) if word not in STOP}


def effect_words(text: str) -> dict[str, set[str]]:
    """Every word that may name an effect, with the effects it may stand for; "light" only where it is a noun."""
    tokens = tokenize(text)
    found: dict[str, set[str]] = {}
    for place, token in enumerate(tokens):
        if token in ("light", "lights") and not _is_noun(tokens, place):
            continue
        effects = {effect for effect, known in EFFECTS.items() if token in known.names}
        if effects:
            found[token] = effects
    return found


def related_effects(effects: Iterable[str]) -> set[str]:
    """The effects, and those so near to them that their names may stand for them."""
    return {word for effect in effects for word in (effect, *EFFECTS[effect].kin)}


def named_effects(text: str) -> tuple[str, ...]:
    """The effects a caption names, in the vocabulary's order; of words that may stand for several, the first meant."""
    found: set[str] = set()
    for token, effects in effect_words(text).items():
        found |= {effect for effect in effects if token in EFFECTS[effect].names[:2]}
    if not found:
        found = {min(effects, key=list(EFFECTS).index) for effects in effect_words(text).values()}
    return tuple(effect for effect in EFFECTS if effect in found)


def split_caption(caption: str, effects: Iterable[str] = ()) -> CaptionParts:
    """Part a caption at the clause that speaks of the effects (of any effect, where none are given).

    Where the effect comes first, the head is what follows: "dust hangs behind a car | as it drives". A caption that
    names no effect is all head.
    """
    wanted = set(EFFECTS if not effects else related_effects(effect for effect in effects if effect in EFFECTS))
    names = {name for name, stands in effect_words(caption).items() if stands & wanted}
    spots = [spot for name in names for spot in [_spot(caption, name)] if spot is not None]
    if not spots:
        return CaptionParts(caption, "")
    spot = min(spots)
    begins = _begin(caption, spot)
    if begins > 0:
        return CaptionParts(caption[:begins].strip(" ,"), caption[begins:].strip(" ,"))
    after = re.search(r",? (as|while|when) |, (?=\w+ing\b)", caption[spot:])
    if after is None:
        return CaptionParts("", caption)
    return CaptionParts(caption[spot + after.start() :].strip(" ,"), caption[: spot + after.start()])


def _spot(caption: str, name: str) -> int | None:
    found = re.search(rf"\b{re.escape(name)}\b", caption.lower())
    return found.start() if found else None


def _begin(caption: str, spot: int) -> int:
    """Where the clause that holds the effect begins: behind the last comma that parts clauses, else at its verb."""
    known = all_adjectives()
    commas = []
    for found in re.finditer(r",\s+(?:and\s+)?([A-Za-z'-]+)", caption[:spot]):
        word = found.group(1).lower()
        if (word in LINKS or word in MAKERS or word.endswith("ing")) and word not in known:
            commas.append(found.start())
    if commas:
        return commas[0] if len(commas) == 1 else _first_after_head(caption, commas)
    verbs = [
        found for found in re.finditer(r"[A-Za-z'-]+", caption[:spot]) if found.group().lower() in MAKERS | {"with"}
    ]
    return verbs[0].start() if verbs else 0


def _first_after_head(caption: str, commas: list[int]) -> int:
    """Of several clauses before the effect, the first that makes it: its verb is one of making."""
    for comma in commas:
        following = tokenize(caption[comma:])[:3]
        if set(following) & (MAKERS | {"with"}):
            return comma
    return commas[-1]


def _is_noun(tokens: list[str], place: int) -> bool:
    """Is this "light" a thing rather than a quality? Then no noun or adjective of an effect follows it."""
    after: Set[str] = set(tokens[place + 1 : place + 2])
    nouns = {name for known in EFFECTS.values() for name in known.names}
    return not after & (nouns | all_adjectives() | {"grey", "gray", "cloud", "clouds", "veil", "trail", "plume"})
