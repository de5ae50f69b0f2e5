"""Concise caption of a clip's facts in one sentence; the same facts give different sentences by the seed.

It states nothing that `ClipFacts` does not hold. What exceeds the word limit is dropped, least important first:
camera, light, ground, time, direction, place, and then adjectives.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..language.inflection import (
    UNKNOWN,
    effect_phrase,
    is_plural_effect,
    join_list,
    make_sentence,
    participle,
    third_person,
)
from ..language.subjects import SubjectName, location_phrase
from ..language.vocabulary import words_for
from .clip_facts import STAY_IN_PLACE, ClipFacts

MOVING_VERBS = frozenset({"trail", "leave", "draw", "kick up"})
"""Verbs of making that only fit a subject that moves."""


@dataclass(frozen=True, kw_only=True)
class SentencePlan:
    """Facts of a clip and the verbs that were drawn for them."""

    facts: ClipFacts
    cause_verbs: tuple[str, ...]
    """Verbs for the subject, by effect."""
    effect_verb: str
    """Verb of the first effect itself."""
    follow_verb: str
    """Verb that joins an effect without a place to its subject."""

    @property
    def subject(self) -> SubjectName:
        """The clip's subject."""
        return self.facts.subject

    def action(self, inflect: Callable[[str], str]) -> str:
        """Return the inflected action with its ground, direction and light; empty if there is none."""
        if self.facts.action is None:
            return ""
        details = (self.facts.ground, self.facts.direction, self.facts.light)
        return " ".join(part for part in (inflect(self.facts.action), *details) if part)

    def after_noun(self, verb: str) -> str:
        """Inflect a verb for the subject's noun."""
        return third_person(verb, plural=self.subject.is_plural)

    def after_pronoun(self, verb: str) -> str:
        """Inflect a verb for the subject's pronoun."""
        return third_person(verb, plural=self.subject.pronoun == "they")

    def camera(self, link: str) -> str | None:
        """Return the camera's movement behind a conjunction."""
        return f"{link} {self.facts.camera}" if self.facts.camera else None

    @property
    def has_unknown_effect(self) -> bool:
        """Whether any effect is of unknown kind."""
        return any(effect.kind in UNKNOWN for effect in self.facts.effects)

    @property
    def times(self) -> list[str]:
        """When the one effect is made, where that is known."""
        return [effect.time for effect in self.facts.effects if effect.time]

    def effect_phrases(self) -> list[str]:
        """Return every effect with its place; a place that several share is named once, with the last of them."""
        sides = [effect.side for effect in self.facts.effects]
        phrases = []
        for index, effect in enumerate(self.facts.effects):
            is_shared = effect.side in sides[index + 1 :]
            location = "" if is_shared else location_phrase(effect.side, self.subject, by_noun=False)
            phrases.append(f"{effect_phrase(effect.kind, effect.adjectives)} {location}".strip())
        return phrases

    def making(self, inflect: Callable[[str], str]) -> str:
        """Return every effect with the verb of its making: "casts a shadow and a reflection, and kicks up dust"."""
        groups: dict[str, list[str]] = {}
        for phrase, verb in zip(self.effect_phrases(), self.cause_verbs, strict=True):
            groups.setdefault(verb, []).append(phrase)
        parts = [f"{inflect(verb)} {join_list(phrases)}" for verb, phrases in groups.items()]
        is_nested = len(parts) > 1 and any(len(phrases) > 1 for phrases in groups.values())
        text = ", and ".join([", ".join(parts[:-1]), parts[-1]]) if is_nested else join_list(parts)
        return " ".join([text, *self.times])


def write_caption(facts: ClipFacts, *, max_words: int, rng: np.random.Generator) -> str | None:
    """Write the facts in max_words words if the shortest sentence has no more; None where no effect is known.

    Verbs and the form of the sentence are drawn.
    """
    if not facts.effects:
        return None
    cause_verbs = tuple(_draw(fitting_verbs(effect.kind, facts.action, effect.side), rng) for effect in facts.effects)
    first_kind = facts.effects[0].kind
    effect_verb = "show" if first_kind in UNKNOWN else _draw(words_for(first_kind).appears, rng)
    forms = [SENTENCE_FORMS[int(index)] for index in rng.permutation(len(SENTENCE_FORMS))]
    if rng.random() < 0.5 or any(effect.time for effect in facts.effects):  # at most one remark on time
        facts = replace(facts, camera=None)
    follow_verb = _draw(("follow", "accompany"), rng)
    text: str | None = None
    for shorter_facts in _shortened(facts):
        plan = SentencePlan(
            facts=shorter_facts, cause_verbs=cause_verbs, effect_verb=effect_verb, follow_verb=follow_verb
        )
        text = next((sentence for form in forms if (sentence := form(plan)) is not None), None)
        if text is not None and len(text.split()) <= max_words:
            break
    return text


def fitting_verbs(kind: str, action: str | None, side: str | None = None) -> tuple[str, ...]:
    """Return verbs for a subject that makes an effect: one that stands trails nothing, nor is a trail above it."""
    if kind in UNKNOWN:
        return ("show",)
    verbs = words_for(kind).causes
    if action in (None, "stand", STAY_IN_PLACE) or side in ("above", "ahead", "around"):
        return tuple(verb for verb in verbs if verb not in MOVING_VERBS) or verbs
    return verbs


def _draw(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _shortened(facts: ClipFacts) -> Iterator[ClipFacts]:
    """Yield the facts with fewer and fewer of them, least important first."""

    def without(**changes: Any) -> ClipFacts:
        return replace(facts, effects=tuple(replace(effect, **changes) for effect in facts.effects))

    yield facts
    yield (facts := replace(facts, camera=None))
    yield (facts := replace(facts, light=None))
    yield (facts := replace(facts, ground=None))
    yield (facts := without(time=None))
    yield (facts := replace(facts, direction=None))
    yield (facts := without(side=None))
    for count in (2, 1, 0):
        yield replace(
            facts, effects=tuple(replace(effect, adjectives=effect.adjectives[:count]) for effect in facts.effects)
        )


def trailing_form(plan: SentencePlan) -> str | None:
    """A camel walks over dry ground, casting a long shadow to its left."""
    if plan.has_unknown_effect:
        return None
    action = plan.action(plan.after_noun)
    if not action:
        return make_sentence(plan.subject.with_article, plan.making(plan.after_noun), plan.camera("as"))
    return make_sentence(plan.subject.with_article, action, ",", plan.making(participle), plan.camera(", as"))


def leading_form(plan: SentencePlan) -> str | None:
    """As a camel walks over dry ground, it casts a long shadow to its left."""
    action = plan.action(plan.after_noun)
    if not action or plan.has_unknown_effect:
        return None
    making = plan.making(plan.after_pronoun)
    return make_sentence(
        "as", plan.subject.with_article, action, ",", plan.subject.pronoun, making, plan.camera("while")
    )


def effect_first_form(plan: SentencePlan) -> str | None:
    """A long shadow falls to the left of a camel as it walks over dry ground."""
    if len(plan.facts.effects) > 1:
        return None
    effect, action = plan.facts.effects[0], plan.action(plan.after_pronoun)
    location = location_phrase(effect.side, plan.subject, by_noun=True)
    if not location and plan.facts.action in (None, "stand", STAY_IN_PLACE):
        return None  # nothing follows what does not move
    return make_sentence(
        effect_phrase(effect.kind, effect.adjectives),
        third_person(plan.effect_verb if location else plan.follow_verb, plural=is_plural_effect(effect.kind)),
        location or plan.subject.with_article,
        *plan.times,
        f"as {plan.subject.pronoun} {action}" if action else None,
        plan.camera("while" if action else "as"),
    )


def with_effect_form(plan: SentencePlan) -> str | None:
    """A camel walks over dry ground with a long shadow to its left."""
    action, effect = plan.action(plan.after_noun), plan.facts.effects[0]
    if not action or plan.times or not (effect.adjectives or effect.side):
        return None  # "rides with a shadow" tells nothing, and "with a splash at the end" something else
    return make_sentence(plan.subject.with_article, action, "with", join_list(plan.effect_phrases()), plan.camera("as"))


def inserted_form(plan: SentencePlan) -> str | None:
    """A camel, walking over dry ground, casts a long shadow to its left."""
    action = plan.action(participle)
    if not action or plan.has_unknown_effect:
        return None
    return make_sentence(plan.subject.with_article, ",", action, ",", plan.making(plan.after_noun), plan.camera("as"))


def unknown_effect_form(plan: SentencePlan) -> str | None:
    """The camel is seen with a darkened patch to its left."""
    if not plan.has_unknown_effect:
        return None
    return make_sentence(
        plan.subject.with_article,
        "are" if plan.subject.is_plural else "is",
        "seen with",
        join_list(plan.effect_phrases()),
    )


SENTENCE_FORMS: tuple[Callable[[SentencePlan], str | None], ...] = (
    trailing_form, leading_form, effect_first_form, with_effect_form, inserted_form, unknown_effect_form,
)  # fmt: skip
