"""A caption is checked, not believed: what is wrong with it, in sentences that its author can act on; nothing if good.

Whoever wrote it, model, grammar or user, is held to the same: plain English without markup, of the right length, about
effects that are there. Objections are handed back with the next question, so they say what to do.
"""

import re
from collections.abc import Iterable, Sequence

from ..language.caption_parsing import (
    content_stems,
    effect_words,
    named_effects,
    related_effects,
    split_caption,
    stem,
    tokenize,
)
from ..language.subjects import PEOPLE, SubjectName
from ..language.vocabulary import EFFECTS, VIVID, all_adjectives
from .text_checks import check_text

FEWEST = 4
"""Words of a caption."""
LENGTHS = (0.6, 1.7)
"""A variant's length as a multiple of the original's."""
ALIKE = 0.8
"""Two captions whose effect clauses share more of their words are one (Jaccard). Heads are the same by intention."""
KINDS = (
    {*PEOPLE, "figure", "pedestrian", "mannequin"},
    {"car", "truck", "van", "bus", "lorry", "jeep", "buggy", "vehicle"},
    {"motorbike", "motorcycle", "scooter", "moped"},
    {"bike", "bicycle", "cyclist", "rider", "bmx"},
    {"boat", "ship", "ferry", "canoe", "kayak", "barge", "vessel"},
    {"ball", "sphere", "orb"},
    {"box", "cube", "crate", "block"},
    {"plane", "airplane", "aeroplane", "aircraft", "drone", "helicopter"},
    {"lantern", "lamp", "light"},
    {"rabbit", "bunny", "hare"},
    {"swan", "duck", "mallard", "bird", "gull"},
)
"""Words that may stand for each other where a subject is named."""
SHOWS = re.compile(r"^(the|this|in (the|this)|a) (video|clip|scene|frames?|image|footage)\b", re.IGNORECASE)


def check_caption(
    text: str, *, max_words: int, effects: Iterable[str] = (), subject: str | None = None
) -> tuple[str, ...]:
    """What is wrong with a concise caption.

    Args:
        text: the caption.
        max_words: its limit.
        effects: those that are there, where they are known; at least one is to be named, and none beside them.
        subject: what the subject is called, where that is known.
    """
    wrong = check_text(text)
    if wrong:
        return wrong
    count = len(text.split())
    found = []
    if count > max_words:
        found.append(f"It has {count} words; use at most {max_words}.")
    if count < FEWEST:
        found.append(f"It has {count} words; write a whole sentence.")
    if len(_sentences(text)) > 2:
        found.append(f"It has {len(_sentences(text))} sentences; write one, or two.")
    if SHOWS.search(text):
        found.append("Begin with the subject or the effect, not with the video or the scene.")
    return (*found, *_effects(text, tuple(effects)), *_subject(text, subject))


def check_description(
    text: str, *, effects: Iterable[str] = (), subject: str | None = None, max_words: int = 450
) -> tuple[str, ...]:
    """What is wrong with a dense description: long and in several lines it may be, and names subject and effects."""
    wrong = check_text(" ".join(text.split("\n")))
    if wrong:
        return wrong
    count = len(text.split())
    found = []
    if count > max_words:
        found.append(f"It has {count} words; use at most {max_words}.")
    if count < 2 * FEWEST:
        found.append(f"It has {count} words; describe effects, subject and course of events in several sentences.")
    effects = tuple(effects)
    if effects and not _speaks_of(text, effects):
        found.append(f"It does not speak of what is there: {_listed(effects)}.")
    return (*found, *_subject(text, subject))


def check_variant(
    text: str, original: str, *, effects: Iterable[str] = (), subject: str | None = None, others: Sequence[str] = ()
) -> tuple[str, ...]:
    """What is wrong with a caption that should show the same scene with another style of the same effect.

    The head (who does what) and the effect clause are checked apart: the head's words are kept and none are added to
    them; the clause is free but for the effects it names.

    Args:
        text: the variant.
        original: the caption it was made from.
        effects: those that are there; by default what the original names.
        subject: what the subject is called, where that is known.
        others: variants already taken.
    """
    wrong = check_text(text)
    if wrong:
        return wrong
    meant = tuple(effects) or named_effects(original)
    ratio = len(tokenize(text)) / max(len(tokenize(original)), 1)
    found = []
    if not LENGTHS[0] <= ratio <= LENGTHS[1]:
        found.append(f"It is {ratio:.1f} times as long as the original; keep about its length.")
    found += [*_head(text, original, meant), *_same_effects(text, original, meant)]
    if _overlap(text, original, meant) > ALIKE:
        found.append("It says the same as the original; change the style of the effect.")
    if any(_overlap(text, other, meant) > ALIKE for other in others):
        found.append("It says the same as another of the captions; make them differ.")
    return (*found, *(_subject(text, subject) if _subject(original, subject) == () else ()))


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"[.!?]+(?:\s+|$)", text) if part.strip()]


def _effects(text: str, effects: tuple[str, ...]) -> list[str]:
    found = []
    if effects and not _speaks_of(text, effects):
        found.append(f"It does not name what is there: {_listed(effects)}.")
    if effects:
        foreign = _foreign(text, effects)
        if foreign:
            found.append(f"It names {_listed(foreign)}, which is not there; there is {_listed(effects)}.")
    denied = re.search(rf"\b(no|without(?: an?| any)?) (\w+ )?({'|'.join(sorted(_core()))})\b", text.lower())
    if denied:
        found.append(f"It denies an effect ('{denied.group()}'); say what is there.")
    return [*found, *_implausible(text)]


def _core() -> set[str]:
    """The plain names of effects; others, as "sand" or "beam", may be mere scenery."""
    return {name for effect, known in EFFECTS.items() if effect != "light" for name in known.names[:2]}


def _foreign(text: str, effects: Iterable[str]) -> tuple[str, ...]:
    near = related_effects(effect for effect in effects if effect in EFFECTS)
    core = _core()
    return tuple(sorted(token for token, stands in effect_words(text).items() if token in core and not stands & near))


def _speaks_of(text: str, effects: Iterable[str]) -> bool:
    wanted = related_effects(effect for effect in effects if effect in EFFECTS)
    return any(stands & wanted for stands in effect_words(text).values())


def _implausible(text: str) -> list[str]:
    tokens = tokenize(text)
    for place, token in enumerate(tokens):
        vivid = [word for word in tokens[max(0, place - 2) : place] if word in VIVID]
        if token in ("shadow", "shadows") and vivid:
            return [f"A shadow is not {vivid[0]}; choose what a shadow can be."]
    return []


def _subject(text: str, subject: str | None) -> tuple[str, ...]:
    """Is the subject named, by its noun or another of its kind?"""
    if not subject or not tokenize(subject):
        return ()
    noun = SubjectName(noun=subject).last
    kinds = {stem(noun)}
    for kind in KINDS:
        if noun in kind or noun.removesuffix("s") in kind:
            kinds |= {stem(word) for word in kind}
    return () if kinds & {stem(word) for word in tokenize(text)} else (f"It does not name the subject: {subject}.",)


def _head(text: str, original: str, effects: tuple[str, ...]) -> list[str]:
    was, now = split_caption(original, effects), split_caption(text, effects)
    lost = content_stems(was.head) - content_stems(text)
    added = content_stems(now.head) - content_stems(original) - {stem(word) for word in all_adjectives()}
    found = []
    if lost:
        found.append(f"It changes who does what: keep the words of '{was.head}'.")
    elif added:
        found.append(f"It adds to who does what ({_listed(sorted(added))}); change the effect alone.")
    return found


def _same_effects(text: str, original: str, effects: tuple[str, ...]) -> list[str]:
    found = []
    for effect in effects:
        if effect in EFFECTS and _speaks_of(original, [effect]) and not _speaks_of(text, [effect]):
            found.append(f"It no longer names the {effect}.")
    known = {*effects, *named_effects(original)}
    foreign = _foreign(text, known)
    if known and foreign:
        found.append(f"It adds {_listed(foreign)}; keep to the effects of the original.")
    return [*found, *_implausible(text)]


def _overlap(one: str, other: str, effects: Iterable[str]) -> float:
    """The share of words that two captions' effect clauses have in common; of the whole captions without clauses."""
    clauses = [split_caption(text, effects).clause or text for text in (one, other)]
    a, b = (set(tokenize(clause)) for clause in clauses)
    return len(a & b) / max(len(a | b), 1)


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)
