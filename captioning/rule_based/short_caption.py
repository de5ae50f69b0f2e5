"""What is known of a clip as one concise sentence; the same facts fall into different sentences by the seed.

Nothing is said that `Known` does not hold. What does not fit into the word limit is left out, least important first:
camera, light, ground, time, direction, place, and then adjectives.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..language.inflection import (
    UNKNOWN,
    effect_phrase,
    is_plural,
    join_list,
    location_phrase,
    make_sentence,
    participle,
    third_person,
)
from ..language.vocabulary import EFFECTS
from .clip_facts import STAYS, ClipFacts, EffectFacts

ONLY_MOVING = frozenset({"trail", "leave", "draw", "kick up"})


@dataclass(frozen=True, kw_only=True)
class SentencePlan:
    """Known facts and the choices that were drawn for them."""

    known: ClipFacts
    makes: tuple[str, ...]
    """What the subject does, by effect."""
    lies: str
    """What the first effect itself does."""
    along: str
    """How an effect without a place goes with its subject."""

    @property
    def who(self) -> str:
        """The subject at its first naming."""
        return self.known.subject.a if self.known.subject else "the subject"

    @property
    def pronoun(self) -> str:
        """The subject after that."""
        return self.known.subject.pronoun if self.known.subject else "it"

    @property
    def many(self) -> bool:
        """Is the subject several?"""
        return bool(self.known.subject and self.known.subject.many)

    @property
    def way(self) -> str:
        """Where and under what light it acts."""
        return " ".join(part for part in (self.known.ground, self.known.direction, self.known.light) if part)

    def acts(self, *, form: str = "it") -> str:
        """The action with its way; form: "it" for a noun, "pronoun" after one, "ing" as a participle; "" if unknown."""
        if self.known.action is None:
            return ""
        many = self.many if form == "it" else self.pronoun == "they"
        verb = participle(self.known.action) if form == "ing" else third_person(self.known.action, many=many)
        return f"{verb} {self.way}".strip()


def write_caption(known: ClipFacts, *, max_words: int, rng: np.random.Generator) -> str | None:
    """Word what is known in at most max_words words; None where no effect is known, so that nothing can be said."""
    if not known.effects:
        return None
    makes = tuple(_drawn(fitting_verbs(said.word, known.action, said.side), rng) for said in known.effects)
    first = known.effects[0].word
    lies = _drawn(EFFECTS[first].lies, rng) if first in EFFECTS else "show"
    shapes = [SHAPES[int(place)] for place in rng.permutation(len(SHAPES))]
    if rng.random() < 0.5 or any(said.time for said in known.effects):  # at most one remark on time
        known = replace(known, camera=None)
    along = _drawn(("follow", "accompany"), rng)
    text: str | None = None
    for kept in [known, *_shorter(known)]:
        speech = SentencePlan(known=kept, makes=makes, lies=lies, along=along)
        text = next((said for shape in shapes if (said := shape(speech)) is not None), None)
        if text is not None and len(text.split()) <= max_words:
            return text
    return text


def fitting_verbs(word: str, action: str | None, side: str | None = None) -> tuple[str, ...]:
    """What a subject may be said to do for an effect: what stands trails nothing, nor is a trail above it."""
    if word not in EFFECTS:
        return ("show",)
    makes = EFFECTS[word].makes
    still = action in (None, "stand", STAYS) or side in ("above", "ahead", "around")
    return tuple(verb for verb in makes if verb not in ONLY_MOVING) or makes if still else makes


def _drawn(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _shorter(known: ClipFacts) -> list[ClipFacts]:
    """The same with less and less said, least important first."""
    less = [replace(known, camera=None)]
    less.append(replace(less[-1], light=None))
    less.append(replace(less[-1], ground=None))
    less.append(_less(less[-1], lambda said: replace(said, time=None)))
    less.append(replace(less[-1], direction=None))
    less.append(_less(less[-1], lambda said: replace(said, side=None)))
    return [*less, *(_less(less[-1], partial(_plainer, most=most)) for most in (2, 1, 0))]


def _plainer(said: EffectFacts, *, most: int) -> EffectFacts:
    return replace(said, adjectives=said.adjectives[:most])


def _less(known: ClipFacts, change: Callable[[EffectFacts], EffectFacts]) -> ClipFacts:
    return replace(known, effects=tuple(change(said) for said in known.effects))


def _phrases(speech: SentencePlan) -> list[str]:
    """Every effect with its place, for the end of a clause; a place that serves several is named once."""
    told = []
    sides = [said.side for said in speech.known.effects]
    for place, said in enumerate(speech.known.effects):
        later = said.side in sides[place + 1 :]
        where = "" if later else location_phrase(said.side, speech.known.subject, named=False)
        parts = (effect_phrase(said.word, said.adjectives), where)
        told.append(" ".join(part for part in parts if part))
    return told


def _times(speech: SentencePlan) -> list[str]:
    """When the one effect is made, if that is to be said."""
    return [said.time for said in speech.known.effects if said.time]


def _made(speech: SentencePlan, form: Callable[[str], str]) -> str:
    """Every effect with the verb of its making: "casts a shadow and a reflection, and kicks up dust"."""
    groups: dict[str, list[str]] = {}
    for phrase, verb in zip(_phrases(speech), speech.makes, strict=True):
        groups.setdefault(verb, []).append(phrase)
    parts = [f"{form(verb)} {join_list(phrases)}" for verb, phrases in groups.items()]
    nested = len(parts) > 1 and any(len(phrases) > 1 for phrases in groups.values())
    made = ", and ".join([", ".join(parts[:-1]), parts[-1]]) if nested else join_list(parts)
    return " ".join([made, *_times(speech)])


def _plain(speech: SentencePlan) -> bool:
    """Are all effects of known kinds?"""
    return all(said.word not in UNKNOWN for said in speech.known.effects)


def _camera(speech: SentencePlan, link: str) -> str | None:
    return f"{link} {speech.known.camera}" if speech.known.camera else None


def trailing(speech: SentencePlan) -> str | None:
    """A camel walks over dry ground, casting a long shadow to its left."""
    if not _plain(speech):
        return None
    acts = speech.acts()
    if not acts:
        return make_sentence(
            speech.who, _made(speech, lambda verb: third_person(verb, many=speech.many)), _camera(speech, "as")
        )
    return make_sentence(
        speech.who, acts, ",", _made(speech, participle), _camera(speech, ", as" if speech.known.camera else "")
    )


def leading(speech: SentencePlan) -> str | None:
    """As a camel walks over dry ground, it casts a long shadow to its left."""
    acts = speech.acts()
    if not acts or not _plain(speech):
        return None
    made = _made(speech, lambda verb: third_person(verb, many=speech.pronoun == "they"))
    return make_sentence("as", speech.who, acts, ",", speech.pronoun, made, _camera(speech, "while"))


def effect_first(speech: SentencePlan) -> str | None:
    """A long shadow falls to the left of a camel as it walks over dry ground."""
    if len(speech.known.effects) > 1:
        return None
    said, acts = speech.known.effects[0], speech.acts(form="pronoun")
    phrase = effect_phrase(said.word, said.adjectives)
    place = location_phrase(said.side, speech.known.subject, named=True)
    if not place and speech.known.action in (None, "stand", STAYS):
        return None  # nothing follows what does not move
    verb = third_person(speech.lies if place else speech.along, many=is_plural(said.word))
    rest = f"as {speech.pronoun} {acts}" if acts else None
    link = "while" if acts else "as"
    return make_sentence(phrase, verb, place or speech.who, *_times(speech), rest, _camera(speech, link))


def with_effect(speech: SentencePlan) -> str | None:
    """A camel walks over dry ground with a long shadow to its left."""
    acts, first = speech.acts(), speech.known.effects[0]
    if not acts or _times(speech) or not (first.adjectives or first.side):
        return None  # "rides with a shadow" tells nothing, and "with a splash at the end" something else
    phrases = join_list(_phrases(speech))
    return make_sentence(speech.who, acts, "with", phrases, _camera(speech, "as"))


def inserted(speech: SentencePlan) -> str | None:
    """A camel, walking over dry ground, casts a long shadow to its left."""
    acts = speech.acts(form="ing")
    if not acts or not _plain(speech):
        return None
    made = _made(speech, lambda verb: third_person(verb, many=speech.many))
    return make_sentence(speech.who, ",", acts, ",", made, _camera(speech, "as"))


def patched(speech: SentencePlan) -> str | None:
    """The camel is seen with a darkened patch to its left: when neither action nor kind of effect is known."""
    verb = "are" if speech.many else "is"
    phrases = join_list(_phrases(speech))
    return None if _plain(speech) else make_sentence(speech.who, verb, "seen with", phrases)


SHAPES: tuple[Callable[[SentencePlan], str | None], ...] = (
    trailing, leading, effect_first, with_effect, inserted, patched,
)  # fmt: skip
