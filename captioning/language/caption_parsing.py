"""Parsing of captions: the head (who does what) and the clause of the effect."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from .effect_mentions import STOP_WORDS, effect_words, related_effects
from .inflection import participle, stem, third_person, tokenize
from .vocabulary import EFFECTS, all_adjectives, terms

CLAUSE_STARTS = frozenset(terms("with it its they their he she his her a an the leaving and"))
"""Words that begin a new clause after a comma."""
CAUSE_VERBS = frozenset(
    form.split()[0]
    for effect in EFFECTS.values()
    for verb in (*effect.causes, *terms("unleash create produce leave send release emit generate spew"))
    for form in (participle(verb), third_person(verb), verb)
)
"""Verbs by which a subject makes an effect, in the forms that begin an effect clause."""


class CaptionParts(NamedTuple):
    """The two parts of a caption, which together hold all its words."""

    head: str
    """The clause of subject and action."""
    clause: str
    """The clause that describes the effect."""


def content_stems(text: str) -> set[str]:
    """Return the stems of a text's words, without words of grammar."""
    return {stem(word) for word in tokenize(text) if word not in STOP_WORDS}


def split_caption(caption: str, effects: Iterable[str] = ()) -> CaptionParts:
    """Split a caption at the clause about the effects (about any effect, where none are given).

    Where the effect comes first, the head is what follows: "dust hangs behind a car | as it drives". A caption that
    names no effect is all head.
    """
    effects = tuple(effects)
    relevant = related_effects(effects) if effects else set(EFFECTS)
    names = [name for name, meanings in effect_words(caption, effects).items() if meanings & relevant]
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
