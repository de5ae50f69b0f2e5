"""Dense description of a clip's facts: every effect with its strength, place, size and course in time."""

import numpy as np

from ..language.inflection import (
    UNKNOWN,
    effect_noun,
    effect_phrase,
    is_plural_effect,
    join_list,
    make_sentence,
    third_person,
)
from ..language.subjects import location_phrase
from .clip_facts import ClipFacts, EffectFacts
from .short_caption import fitting_verbs

SIZES = ((0.15, "a small part of"), (0.4, "about a third of"), (0.62, "about half"), (0.85, "about two thirds of"),
         (1.3, "about"), (2.5, "about twice"))  # fmt: skip
"""Phrases for an effect's area as a multiple of its subject's, each with its upper end."""


def write_description(facts: ClipFacts, *, rng: np.random.Generator) -> str:
    """Describe a clip in several sentences; only what is known or measured, and that no effect is known."""
    lines = [_scene(facts), _effects(facts, rng)]
    for index, effect in enumerate(facts.effects):
        lines += [_size(effect, facts, index), _pixels(effect, index)]
    changing = [effect for effect in facts.effects if _changes(effect)]
    lines += [_course(effect) for effect in changing]
    steady = [
        effect
        for effect in facts.effects
        if effect.measures.extent and effect.has_reliable_timing and effect not in changing
    ]
    if steady:
        verb = "are" if len(steady) > 1 or is_plural_effect(steady[0].kind) else "is"
        lines.append(make_sentence(join_list([_the(effect) for effect in steady]), verb, "there from beginning to end"))
    lines += [_following(effect, facts) for effect in facts.effects]
    if not facts.effects:
        lines.append("No effect could be told from the frames.")
    return " ".join(line for line in lines if line)


def _scene(facts: ClipFacts) -> str:
    subject, is_plural = facts.subject.with_article, facts.subject.is_plural
    camera = f", while {facts.camera}" if facts.camera else None
    if facts.action is None:
        return make_sentence(subject, "are" if is_plural else "is", "in view", facts.light, camera)
    verb = third_person(facts.action, plural=is_plural)
    return make_sentence(subject, verb, facts.ground, facts.direction, facts.light, camera)


def _effects(facts: ClipFacts, rng: np.random.Generator) -> str:
    """All effects in one sentence, each with the verb of its making."""
    parts = []
    pronoun = facts.subject.pronoun
    for effect in facts.effects:
        location = location_phrase(effect.side, facts.subject, by_noun=False)
        phrase = f"{effect_phrase(effect.kind, effect.adjectives)} {location}".strip()
        if effect.kind in UNKNOWN:
            return make_sentence("there is", phrase, ", of a kind that cannot be told")
        verbs = fitting_verbs(effect.kind, facts.action, effect.side)
        parts.append(f"{third_person(verbs[int(rng.integers(len(verbs)))], plural=pronoun == 'they')} {phrase}")
    return make_sentence(pronoun, join_list(parts)) if parts else ""


def _size(effect: EffectFacts, facts: ClipFacts, index: int) -> str:
    """Share of the picture; of the first effect, its size beside the subject's too."""
    extent = effect.measures.extent
    if extent is None:
        return ""
    share = "less than 1 %" if extent.share < 0.01 else f"about {round(100 * extent.share)} %"
    if index:
        return make_sentence(share, "of the picture", "is covered by" if index == 1 else "belongs to", _the(effect))
    verb = third_person("cover", plural=is_plural_effect(effect.kind))
    text = f"{_the(effect)} {verb} {share} of the picture"
    if extent.subject_ratio is None:
        return make_sentence(text)
    size = next((phrase for end, phrase in SIZES if extent.subject_ratio < end), "several times")
    return make_sentence(text, ",", size, "the area of the", facts.subject.head_noun)


def _pixels(effect: EffectFacts, index: int) -> str:
    """Change of the picture; of several effects each in other words, so that nothing is said three times."""
    fit, noun = effect.measures.fit, _the(effect)
    if fit is None:
        return ""
    if fit.darker_share > 0.8:
        share = f"about {max(1, round(-100 * fit.relative_change))} %"
        verb = third_person("darken", plural=is_plural_effect(effect.kind))
        sentences = (
            f"where it lies the picture is {share} darker",
            f"{noun} {verb} what lies there by {share}",
            f"{share} of the light is lost behind {noun}",
        )
        return make_sentence(sentences[min(index, 2)])
    if effect.kind in ("dust", "smoke") and fit.is_reliable:
        return make_sentence(f"it hides about {round(100 * fit.opacity)} % of what lies behind it")
    return make_sentence("it brightens most of what it covers") if fit.lighter_share > 0.8 else ""


def _course(effect: EffectFacts) -> str:
    """Course in time: when it comes, goes, grows or shrinks."""
    extent = effect.measures.extent
    if extent is None:
        return ""
    is_plural, parts = is_plural_effect(effect.kind), []
    if extent.start > 0.15:
        parts.append(f"first {third_person('appear', plural=is_plural)} {_moment(extent.start)}")
    if extent.end < 0.85:
        parts.append(f"{'are' if is_plural else 'is'} gone {_moment(extent.end)}")
    if extent.growth > 1.7 or extent.growth < 0.58:
        verb = third_person("grow" if extent.growth > 1 else "shrink", plural=is_plural)
        parts.append(f"{verb} over the course of the clip")
    return make_sentence(_the(effect), join_list(parts))


def _changes(effect: EffectFacts) -> bool:
    """Whether it comes, goes, grows or shrinks, as far as that is known."""
    extent = effect.measures.extent
    if extent is None or not effect.has_reliable_timing:
        return False
    return extent.start > 0.15 or extent.end < 0.85 or not 0.58 <= extent.growth <= 1.7


def _moment(share: float) -> str:
    return "early in the clip" if share < 0.35 else "midway" if share < 0.65 else "late in the clip"


def _following(effect: EffectFacts, facts: ClipFacts) -> str:
    movement = effect.measures.movement if len(facts.effects) == 1 else None
    if movement is None or not movement.follows_subject:
        return ""
    verb = third_person("move", plural=is_plural_effect(effect.kind))
    return make_sentence(_the(effect), verb, "along with the", facts.subject.noun)


def _the(effect: EffectFacts) -> str:
    return f"the {effect_noun(effect.kind)}"
