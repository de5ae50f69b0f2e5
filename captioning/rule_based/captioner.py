"""The captioner without weights: it states the scene's facts and what the frames show, and nothing else.

Its dense description has every effect with its strength, place, size and course in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...settings import STRICT
from ..interface.captioner import ClipContext, Reply
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
from .augment import restyle
from .clip_facts import ClipFacts, EffectFacts, collect_facts
from .short_caption import fitting_verbs, write_caption

MODEL = "measured-3"
"""Raise the number when the same clip gets other words; captions are then made again."""
SIZES = ((0.15, "a small part of"), (0.4, "about a third of"), (0.62, "about half"), (0.85, "about two thirds of"),
         (1.3, "about"), (2.5, "about twice"))  # fmt: skip
"""Phrases for an effect's area as a multiple of its subject's, each with its upper end."""


@dataclass(frozen=True, kw_only=True)
class RuleBasedCaptioner:
    """Caption from a scene's facts and from measurement; the default."""

    __pydantic_config__ = STRICT
    kind: Literal["measured"] = "measured"

    def describe(self, clip: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """Return several sentences of all that is known; the same for the same seed, whatever the objections."""
        text = write_description(collect_facts(clip), rng=np.random.default_rng(seed))
        return Reply(text=text, model=MODEL)

    def refine(
        self, description: str, clip: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """Return one sentence, from the clip rather than from the description; empty if no effect is known."""
        rng = np.random.default_rng([seed, len(objections)])
        return Reply(text=write_caption(collect_facts(clip), max_words=max_words, rng=rng) or "", model=MODEL)

    def augment(
        self, caption: str, clip: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """Return the caption with other adjectives for its effects."""
        rng = np.random.default_rng([seed, len(objections)])
        texts = restyle(caption, clip.effects, count=count, rng=rng)
        return tuple(Reply(text=text, model=MODEL) for text in texts)


def write_description(facts: ClipFacts, *, rng: np.random.Generator) -> str:
    """Describe a clip in several sentences; only what is known or measured, and that no effect is known."""
    lines = [_scene(facts), _effects(facts, rng)]
    for index, effect in enumerate(facts.effects):
        lines += [_size(effect, facts, index), _pixels(effect, index)]
    timed = [effect for effect in facts.effects if effect.measures.extent and effect.has_reliable_timing]
    lines += [_course(effect) for effect in timed]
    steady = [effect for effect in timed if not _course(effect)]
    if steady:
        verb = "are" if len(steady) > 1 or is_plural_effect(steady[0].kind) else "is"
        lines.append(make_sentence(join_list([_the(effect) for effect in steady]), verb, "there from beginning to end"))
    movement = facts.effects[0].measures.movement if len(facts.effects) == 1 else None
    if movement is not None and movement.follows_subject:
        effect = facts.effects[0]
        verb = third_person("move", plural=is_plural_effect(effect.kind))
        lines.append(make_sentence(_the(effect), verb, "along with the", facts.subject.noun))
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
    """Course in time: when it comes, goes, grows or shrinks; empty where it is there from beginning to end."""
    extent = effect.measures.extent
    assert extent is not None, effect.kind
    is_plural, parts = is_plural_effect(effect.kind), []
    if extent.start > 0.15:
        parts.append(f"first {third_person('appear', plural=is_plural)} {_moment(extent.start)}")
    if extent.end < 0.85:
        parts.append(f"{'are' if is_plural else 'is'} gone {_moment(extent.end)}")
    if extent.growth > 1.7 or extent.growth < 0.58:
        verb = third_person("grow" if extent.growth > 1 else "shrink", plural=is_plural)
        parts.append(f"{verb} over the course of the clip")
    return make_sentence(_the(effect), join_list(parts)) if parts else ""


def _moment(share: float) -> str:
    return "early in the clip" if share < 0.35 else "midway" if share < 0.65 else "late in the clip"


def _the(effect: EffectFacts) -> str:
    return f"the {effect_noun(effect.kind)}"
