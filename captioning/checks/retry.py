"""Requests for checked answers: ask, check, ask again with the objections; then the rules' answer, or a review.

Nothing here knows a model: a request is a function of the number of the attempt and the objections. What a backend
raises (a server that is down, say) passes through untouched, for it is no bad answer but none.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..interface.captioner import Reply

RECORDED_CHARS = 2000
"""Length to which a recorded answer is cut; an endless one is not worth more."""
ReplyRequest = Callable[[int, tuple[str, ...]], Reply]
"""Gives an answer for the attempt, counted from 0, and the objections to the one before."""
RepliesRequest = Callable[[int, int, tuple[str, ...]], tuple[Reply, ...]]
"""The same for several answers; the first number says how many are missing."""
Check = Callable[[str], Sequence[str]]
"""Gives the objections to a text."""
VariantCheck = Callable[[str, Sequence[str]], Sequence[str]]
"""Gives the objections to a text beside those already accepted."""


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

    @property
    def objections(self) -> tuple[str, ...]:
        """Objections to the last attempt."""
        return self.attempts[-1].objections if self.attempts else ()

    def as_record(self) -> dict[str, Any]:
        """Return plain values for provenance: every attempt with its answers, models, revisions, prompts and tokens."""
        values = asdict(self)
        for attempt in values["attempts"]:
            for reply in attempt["replies"]:
                reply["text"] = reply["text"][:RECORDED_CHARS]
        return values


def request_reply(
    request: ReplyRequest, check: Check, *, max_attempts: int = 3, fallback: Callable[[], Reply | None] | None = None
) -> CheckedAnswer:
    """Request an answer until one passes; then take the fallback, if that passes.

    Args:
        request: makes one request.
        check: gives the objections to a text.
        max_attempts: limit of requests.
        fallback: the rules' answer.
    """
    return request_replies(
        lambda missing, attempt, objections: (request(attempt, objections),),
        lambda text, accepted: check(text),
        count=1,
        max_attempts=max_attempts,
        fallback=None if fallback is None else lambda missing, accepted: tuple(filter(None, [fallback()])),
    )


def request_replies(
    request: RepliesRequest,
    check: VariantCheck,
    *,
    count: int,
    max_attempts: int = 3,
    fallback: Callable[[int, Sequence[str]], tuple[Reply, ...]] | None = None,
) -> CheckedAnswer:
    """Request several answers; good ones are kept, only the missing ones are requested again.

    Args:
        request: makes one request for as many as are missing.
        check: gives the objections to a text beside those already accepted.
        count: answers to be had.
        max_attempts: limit of requests.
        fallback: the rules' answers, for the number that is missing and the texts already accepted.
    """
    if max_attempts < 1 or count < 1:
        raise ValueError(f"max_attempts={max_attempts} and count={count} must be 1 or more; ask at least once for one")
    accepted: list[Reply] = []
    attempts: list[Attempt] = []
    objections: tuple[str, ...] = ()
    for attempt in range(max_attempts):
        replies = request(count - len(accepted), attempt, objections)
        objections = _accept(replies, check, accepted, count)
        attempts.append(Attempt(replies=replies, objections=objections))
        if len(accepted) == count:
            return CheckedAnswer(replies=tuple(accepted), attempts=tuple(attempts))
    from_model = len(accepted)
    if fallback is not None:
        _accept(fallback(count - from_model, [reply.text for reply in accepted]), check, accepted, count)
    return CheckedAnswer(
        replies=tuple(accepted),
        attempts=tuple(attempts),
        filled=len(accepted) - from_model,
        verdict="ok" if len(accepted) == count else "review",
    )


def _accept(replies: Sequence[Reply], check: VariantCheck, accepted: list[Reply], count: int) -> tuple[str, ...]:
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
