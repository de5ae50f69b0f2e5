"""The three caption steps by any captioner: ask, check, ask again with the objections; then the rules, or a review.

What a backend raises (a server that is down, say) passes through untouched, for it is no bad answer but none.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from ..settings import CheckedSettings, InRange
from .checks.validators import check_caption, check_description, check_refinement, check_variant
from .interface.captioner import Captioner, ClipContext, Reply
from .language.effect_mentions import effect_words, named_effects
from .rule_based.augment import restyle
from .rule_based.captioner import MODEL, RuleBasedCaptioner

RECORDED_CHARS = 2000
"""Length to which a recorded answer is cut; an endless one is not worth more."""
Check = Callable[[str, Sequence[str]], Sequence[str]]
"""Gives the objections to a text beside those already accepted."""


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


DEFAULTS = CaptionSettings()


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Answers to one request, and the objections to them."""

    replies: tuple[Reply, ...]
    objections: tuple[str, ...] = ()
    """Empty where every answer was accepted."""


@dataclass(frozen=True, kw_only=True)
class CheckedAnswer:
    """Accepted replies and all attempts at them, for provenance."""

    replies: tuple[Reply, ...]
    """Replies that passed the checks; those of the rules come last."""
    attempts: tuple[Attempt, ...]
    filled: int = 0
    """Number of replies by the rules, because the model's did not pass."""
    verdict: Literal["ok", "review"] = "ok"
    """review: too few replies passed; a person should look."""

    @property
    def reply(self) -> Reply | None:
        """The first reply, if there is one."""
        return self.replies[0] if self.replies else None

    def as_record(self) -> dict[str, Any]:
        """Return plain values for provenance: every attempt with its answers, models, revisions, prompts and tokens."""
        values = asdict(self)
        for attempt in values["attempts"]:
            for reply in attempt["replies"]:
                reply["text"] = reply["text"][:RECORDED_CHARS]
        return values


def describe_clip(
    captioner: Captioner, clip: ClipContext, settings: CaptionSettings = DEFAULTS, *, seed: int = 0
) -> CheckedAnswer:
    """Return the dense description."""
    return _request_replies(
        lambda missing, attempt, objections: (captioner.describe(clip, seed=seed + attempt, objections=objections),),
        lambda text, accepted: check_description(text, effects=clip.effects, subject=clip.subject),
        lambda missing, accepted: (RuleBasedCaptioner().describe(clip, seed=seed),),
        settings,
    )


def refine_description(
    captioner: Captioner, description: str, clip: ClipContext, settings: CaptionSettings = DEFAULTS, *, seed: int = 0
) -> CheckedAnswer:
    """Return the concise caption; it goes to review where neither scene nor caption names an effect.

    A model's caption of a clip whose effects are not known keeps to those that the description speaks of.
    """
    words = settings.max_words

    def request(missing: int, attempt: int, objections: tuple[str, ...]) -> tuple[Reply, ...]:
        return (captioner.refine(description, clip, max_words=words, seed=seed + attempt, objections=objections),)

    def check(text: str, accepted: Sequence[str]) -> Sequence[str]:
        return check_caption(text, max_words=words, effects=clip.effects, subject=clip.subject)

    def check_model(text: str, accepted: Sequence[str]) -> Sequence[str]:
        return (*check(text, accepted), *(() if clip.effects else check_refinement(text, description)))

    answer = _request_replies(
        request,
        check_model,
        lambda missing, accepted: (RuleBasedCaptioner().refine("", clip, max_words=words, seed=seed),),
        settings,
        check_fallback=check,  # the rules word the clip, not the model's description
    )
    if answer.reply is None or clip.effects:
        return answer
    text = answer.reply.text
    is_named = named_effects(text) or effect_words(text, clip.expected_effects)
    return answer if is_named else replace(answer, verdict="review")


def augment_caption(
    captioner: Captioner, caption: str, clip: ClipContext, settings: CaptionSettings = DEFAULTS, *, seed: int = 0
) -> CheckedAnswer:
    """Return variants of the caption that differ from it and from each other.

    Raises:
        ValueError: the settings ask for no variant.
    """

    def request(missing: int, attempt: int, objections: tuple[str, ...]) -> tuple[Reply, ...]:
        return captioner.augment(caption, clip, count=missing, seed=seed + attempt, objections=objections)

    def check(text: str, accepted: Sequence[str]) -> Sequence[str]:
        return check_variant(text, caption, effects=clip.effects, subject=clip.subject, accepted=accepted)

    def fallback(missing: int, accepted: Sequence[str]) -> tuple[Reply, ...]:
        rng = np.random.default_rng([seed, len(accepted)])
        texts = restyle(caption, clip.effects, count=missing, rng=rng, accepted=accepted)
        return tuple(Reply(text=text, model=MODEL) for text in texts)

    return _request_replies(request, check, fallback, settings, count=settings.variants)


def _request_replies(
    request: Callable[[int, int, tuple[str, ...]], tuple[Reply, ...]],
    check: Check,
    fallback: Callable[[int, Sequence[str]], tuple[Reply, ...]],
    settings: CaptionSettings,
    *,
    count: int = 1,
    check_fallback: Check | None = None,
) -> CheckedAnswer:
    """Request answers; good ones are kept, only the missing ones are requested again.

    Args:
        request: makes one request for so many answers; takes the number of the attempt, from 0, and the objections to
            the one before.
        check: gives the objections to a text beside those already accepted.
        fallback: the rules' answers, for the number that is missing and the texts already accepted.
        settings: limit of requests, and whether the rules may answer.
        count: answers to be had.
        check_fallback: gives the objections to the rules' answers; by default as to the others.
    """
    if count < 1:
        raise ValueError(f"count={count} must be 1 or more; ask at least once for one")
    accepted: list[Reply] = []
    attempts: list[Attempt] = []
    objections: tuple[str, ...] = ()
    for attempt in range(settings.max_attempts):
        replies = request(count - len(accepted), attempt, objections)
        objections = _accept(replies, check, accepted, count)
        attempts.append(Attempt(replies=replies, objections=objections))
        if len(accepted) == count:
            return CheckedAnswer(replies=tuple(accepted), attempts=tuple(attempts))
    from_model = len(accepted)
    if settings.fallback_to_rules:
        replies = fallback(count - from_model, [reply.text for reply in accepted])
        _accept(replies, check_fallback or check, accepted, count)
    return CheckedAnswer(
        replies=tuple(accepted),
        attempts=tuple(attempts),
        filled=len(accepted) - from_model,
        verdict="ok" if len(accepted) == count else "review",
    )


def _accept(replies: Sequence[Reply], check: Check, accepted: list[Reply], count: int) -> tuple[str, ...]:
    """Append the replies that pass to accepted, up to count; return the objections to the others."""
    objections: list[str] = []
    for reply in replies:
        if len(accepted) == count:
            break
        faults = tuple(check(reply.text, [accepted_reply.text for accepted_reply in accepted]))
        if not faults:
            accepted.append(reply)
        elif len(replies) == 1:
            objections += faults
        else:
            start = " ".join(reply.text.split())[:60]
            objections += [f"'{start}': {fault}" for fault in faults]
    if not objections and len(accepted) < count:
        objections.append(f"There were {len(replies)} answers; {count - len(accepted)} more are wanted.")
    return tuple(dict.fromkeys(objections))
