"""A clip's captions by any captioner, each step checked, asked again, and filled from the grammar where that serves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .checks.retry import CheckedAnswer, request_replies, request_reply
from .checks.validators import check_caption, check_description, check_variant
from .interface.captioner import STRICT, Captioner, ClipContext, Reply
from .language.caption_parsing import named_effects
from .rule_based.augment import restyle
from .rule_based.captioner import MODEL, RuleBasedCaptioner


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How captions are to be, and how patiently they are asked for."""

    __pydantic_config__ = STRICT
    max_words: int = 30
    """Of the concise caption."""
    variants: int = 3
    """Augmented captions; 0 for none."""
    max_attempts: int = 3
    """How often a step is asked before the grammar answers."""
    fallback_to_rules: bool = True
    """May the grammar answer where a model's answers do not pass? Otherwise the clip goes to review."""

    def __post_init__(self) -> None:
        for name, low, high in (("max_words", 8, 120), ("variants", 0, 20), ("max_attempts", 1, 10)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is not in [{low}, {high}]; give a number between them")


def describe_clip(
    captioner: Captioner, seen: ClipContext, wanted: CaptionSettings = CaptionSettings(), *, seed: int = 0
) -> CheckedAnswer:
    """The dense description."""
    return request_reply(
        lambda attempt, objections: captioner.describe(seen, seed=seed + attempt, objections=objections),
        lambda text: check_description(text, effects=seen.effects, subject=seen.subject),
        max_attempts=wanted.max_attempts,
        otherwise=(lambda: RuleBasedCaptioner().describe(seen, seed=seed)) if wanted.fallback_to_rules else None,
    )


def refine_description(
    captioner: Captioner,
    description: str,
    seen: ClipContext,
    wanted: CaptionSettings = CaptionSettings(),
    *,
    seed: int = 0,
) -> CheckedAnswer:
    """The concise caption; it goes to review where neither source nor caption says which effect is there."""
    words = wanted.max_words
    asked = request_reply(
        lambda attempt, objections: captioner.refine(
            description, seen, max_words=words, seed=seed + attempt, objections=objections
        ),
        lambda text: check_caption(text, max_words=words, effects=seen.effects, subject=seen.subject),
        max_attempts=wanted.max_attempts,
        otherwise=(lambda: RuleBasedCaptioner().refine("", seen, max_words=words, seed=seed))
        if wanted.fallback_to_rules
        else None,
    )
    if asked.reply is not None and not seen.effects and not named_effects(asked.reply.text):
        return replace(asked, verdict="review")
    return asked


def augment_caption(
    captioner: Captioner, caption: str, seen: ClipContext, wanted: CaptionSettings = CaptionSettings(), *, seed: int = 0
) -> CheckedAnswer:
    """Variants of the caption, unlike it and each other."""

    def grammar(missing: int, taken: Sequence[str]) -> tuple[Reply, ...]:
        rng = np.random.default_rng([seed, len(taken)])
        texts = restyle(caption, seen.effects, count=missing, rng=rng, taken=taken)
        return tuple(Reply(text=text, model=MODEL) for text in texts)

    return request_replies(
        lambda missing, attempt, objections: captioner.augment(
            caption, seen, count=missing, seed=seed + attempt, objections=objections
        ),
        lambda text, taken: check_variant(text, caption, effects=seen.effects, subject=seen.subject, others=taken),
        count=wanted.variants,
        max_attempts=wanted.max_attempts,
        otherwise=grammar if wanted.fallback_to_rules else None,
    )
