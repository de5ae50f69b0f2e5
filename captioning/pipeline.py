"""The three caption steps by any captioner, each checked, retried, and filled in by the rules where that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from ..settings import CheckedSettings, InRange
from .checks.retry import CheckedAnswer, request_replies, request_reply
from .checks.validators import check_caption, check_description, check_variant
from .interface.captioner import Captioner, ClipContext, Reply
from .language.caption_parsing import named_effects
from .rule_based.augment import restyle
from .rule_based.captioner import MODEL, RuleBasedCaptioner


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(CheckedSettings):
    """Rules for captions, and for retries."""

    max_words: Annotated[int, InRange(8, 120)] = 30
    """Longest concise caption."""
    variants: Annotated[int, InRange(0, 20)] = 3
    """Number of augmented captions; 0 for none."""
    max_attempts: Annotated[int, InRange(1, 10)] = 3
    """Requests for each step before the rules answer."""
    fallback_to_rules: bool = True
    """Let the rules answer where a model's answers do not pass; otherwise the clip goes to review."""


def describe_clip(
    captioner: Captioner, clip: ClipContext, settings: CaptionSettings = CaptionSettings(), *, seed: int = 0
) -> CheckedAnswer:
    """Return the dense description."""
    return request_reply(
        lambda attempt, objections: captioner.describe(clip, seed=seed + attempt, objections=objections),
        lambda text: check_description(text, effects=clip.effects, subject=clip.subject),
        max_attempts=settings.max_attempts,
        fallback=(lambda: RuleBasedCaptioner().describe(clip, seed=seed)) if settings.fallback_to_rules else None,
    )


def refine_description(
    captioner: Captioner,
    description: str,
    clip: ClipContext,
    settings: CaptionSettings = CaptionSettings(),
    *,
    seed: int = 0,
) -> CheckedAnswer:
    """Return the concise caption; it goes to review where neither source nor caption names an effect."""
    max_words = settings.max_words

    def request(attempt: int, objections: tuple[str, ...]) -> Reply:
        return captioner.refine(description, clip, max_words=max_words, seed=seed + attempt, objections=objections)

    def fallback() -> Reply:
        return RuleBasedCaptioner().refine("", clip, max_words=max_words, seed=seed)

    answer = request_reply(
        request,
        lambda text: check_caption(text, max_words=max_words, effects=clip.effects, subject=clip.subject),
        max_attempts=settings.max_attempts,
        fallback=fallback if settings.fallback_to_rules else None,
    )
    if answer.reply is not None and not clip.effects and not named_effects(answer.reply.text):
        return replace(answer, verdict="review")
    return answer


def augment_caption(
    captioner: Captioner,
    caption: str,
    clip: ClipContext,
    settings: CaptionSettings = CaptionSettings(),
    *,
    seed: int = 0,
) -> CheckedAnswer:
    """Return variants of the caption that differ from it and from each other."""

    def request(missing: int, attempt: int, objections: tuple[str, ...]) -> tuple[Reply, ...]:
        return captioner.augment(caption, clip, count=missing, seed=seed + attempt, objections=objections)

    def check(text: str, accepted: Sequence[str]) -> Sequence[str]:
        return check_variant(text, caption, effects=clip.effects, subject=clip.subject, accepted=accepted)

    def fallback(missing: int, accepted: Sequence[str]) -> tuple[Reply, ...]:
        rng = np.random.default_rng([seed, len(accepted)])
        texts = restyle(caption, clip.effects, count=missing, rng=rng, accepted=accepted)
        return tuple(Reply(text=text, model=MODEL) for text in texts)

    return request_replies(
        request,
        check,
        count=settings.variants,
        max_attempts=settings.max_attempts,
        fallback=fallback if settings.fallback_to_rules else None,
    )
