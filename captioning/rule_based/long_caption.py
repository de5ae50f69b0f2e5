"""What is known of a clip as a dense description: every effect with its strength, place, size and course in time."""

import numpy as np

from ..language.inflection import (
    UNKNOWN,
    effect_noun,
    effect_phrase,
    is_plural,
    join_list,
    location_phrase,
    make_sentence,
    third_person,
)
from .clip_facts import ClipFacts, EffectFacts
from .short_caption import fitting_verbs

PARTS = ((0.15, "a small part of"), (0.4, "about a third of"), (0.62, "about half"), (0.85, "about two thirds of"),
         (1.3, "about"), (2.5, "about twice"))  # fmt: skip


def write_description(known: ClipFacts, *, rng: np.random.Generator) -> str:
    """Several sentences; only what is known or measured. Without any effect it says that none could be told."""
    lines = [_scene(known), _effects(known, rng)]
    for place, said in enumerate(known.effects):
        lines += [_size(said, known, place), _pixels(said, place)]
    lines += [_course(said) for said in known.effects if _changes(said)]
    steady = [said for said in known.effects if said.measures.extent and said.course and not _changes(said)]
    if steady:
        verb = "are" if len(steady) > 1 or is_plural(steady[0].word) else "is"
        lines.append(make_sentence(join_list([_the(said) for said in steady]), verb, "there from beginning to end"))
    lines += [_together(said, known) for said in known.effects]
    if not known.effects:
        lines.append("No effect could be told from the frames.")
    return " ".join(line for line in lines if line)


def _scene(known: ClipFacts) -> str:
    who = known.subject.a if known.subject else "the subject"
    many = bool(known.subject and known.subject.many)
    way = [part for part in (known.ground, known.direction, known.light) if part]
    camera = f", while {known.camera}" if known.camera else None
    if known.action is None:
        first = make_sentence(who, "are" if many else "is", "in view", known.light, camera)
    else:
        first = make_sentence(who, third_person(known.action, many=many), *way, camera)
    return first


def _effects(known: ClipFacts, rng: np.random.Generator) -> str:
    """All effects in one sentence, each with the verb of its making."""
    parts = []
    many = known.subject is not None and known.subject.pronoun == "they"
    for said in known.effects:
        where = location_phrase(said.side, known.subject, named=False)
        phrase = f"{effect_phrase(said.word, said.adjectives)} {where}".strip()
        if said.word in UNKNOWN:
            return make_sentence("there is", phrase, ", of a kind that cannot be told")
        makes = fitting_verbs(said.word, known.action, said.side)
        parts.append(f"{third_person(makes[int(rng.integers(len(makes)))], many=many)} {phrase}")
    return make_sentence(known.subject.pronoun if known.subject else "it", join_list(parts)) if parts else ""


def _size(said: EffectFacts, known: ClipFacts, place: int) -> str:
    """Its share of the picture; of the first effect, its size beside the subject's too."""
    size = said.measures.extent
    if size is None:
        return ""
    share = "less than 1 %" if size.share < 0.01 else f"about {round(100 * size.share)} %"
    if place:
        return make_sentence(share, "of the picture", "is covered by" if place == 1 else "belongs to", _the(said))
    text = f"{_the(said)} {'cover' if is_plural(said.word) else 'covers'} {share} of the picture"
    if size.to_subject is None:
        return make_sentence(text)
    who = known.subject.last if known.subject else "subject"
    part = next((word for end, word in PARTS if size.to_subject < end), "several times")
    return make_sentence(text, ",", part, "the area of the", who)


def _pixels(said: EffectFacts, place: int) -> str:
    """What it does to the picture; of several effects each in other words, for nobody says one thing three times."""
    fit, the = said.measures.fit, _the(said)
    if fit is None:
        return ""
    if fit.darker > 0.8:
        share = f"about {max(1, round(-100 * fit.relative))} %"
        darkens = f"{the} {'darken' if is_plural(said.word) else 'darkens'} what lies there by {share}"
        ways = (f"where it lies the picture is {share} darker", darkens, f"{share} of the light is lost behind {the}")
        return make_sentence(ways[min(place, 2)])
    if said.word in ("dust", "smoke") and fit.trusted:
        return make_sentence(f"it hides about {round(100 * fit.opacity)} % of what lies behind it")
    return make_sentence("it brightens most of what it covers") if fit.lighter > 0.8 else ""


def _course(said: EffectFacts) -> str:
    size = said.measures.extent
    if size is None:
        return ""
    verbs = ("appear", "are", "grow", "shrink") if is_plural(said.word) else ("appears", "is", "grows", "shrinks")
    parts = []
    if size.begins > 0.15:
        parts.append(f"first {verbs[0]} {_moment(size.begins)}")
    if size.ends < 0.85:
        parts.append(f"{verbs[1]} gone {_moment(size.ends)}")
    if size.growth > 1.7 or size.growth < 0.58:
        parts.append(f"{verbs[2] if size.growth > 1 else verbs[3]} over the course of the clip")
    return make_sentence(_the(said), join_list(parts))


def _changes(said: EffectFacts) -> bool:
    """Does it come, go, grow or shrink?"""
    size = said.measures.extent
    if size is None or not said.course:
        return False
    return size.begins > 0.15 or size.ends < 0.85 or not 0.58 <= size.growth <= 1.7


def _moment(share: float) -> str:
    return "early in the clip" if share < 0.35 else "midway" if share < 0.65 else "late in the clip"


def _together(said: EffectFacts, known: ClipFacts) -> str:
    moving = said.measures.movement if len(known.effects) == 1 else None
    if moving is None or not moving.together:
        return ""
    who = known.subject.noun if known.subject else "subject"
    return make_sentence(_the(said), "move" if is_plural(said.word) else "moves", "along with the", who)


def _the(said: EffectFacts) -> str:
    return f"the {effect_noun(said.word)}"
