"""Ask, check, ask again with what was wrong, at most so often; then the grammar's own answer, or a person's look.

Nothing here knows a model: a step is a function from the number of the attempt and the objections to replies. What a
backend raises (a server that is down, say) passes through untouched: that is no bad answer but none.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..interface.captioner import Reply

KEPT_CHARS = 2000
"""Of a refused answer so much is kept; an endless one is not worth more."""
ReplyRequest = Callable[[int, tuple[str, ...]], Reply]
"""From the attempt, counted from 0, and the objections to the one before, to an answer."""
RepliesRequest = Callable[[int, int, tuple[str, ...]], tuple[Reply, ...]]
"""The same for several answers; the first number says how many are still wanted."""
Check = Callable[[str], Sequence[str]]
CheckAgainst = Callable[[str, Sequence[str]], Sequence[str]]
"""Checks a text beside those already taken."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One question's answers, and what was wrong with them."""

    replies: tuple[Reply, ...]
    objections: tuple[str, ...] = ()
    """Empty where every answer was taken."""


@dataclass(frozen=True, kw_only=True)
class CheckedAnswer:
    """What came of asking, and the whole way there: provenance keeps all of it."""

    replies: tuple[Reply, ...]
    """What passed the checks; those of the grammar come last."""
    attempts: tuple[Attempt, ...]
    filled: int = 0
    """How many of the replies are the grammar's, because the model's did not pass."""
    verdict: Literal["ok", "review"] = "ok"
    """review: fewer replies than wanted passed; somebody should look."""

    @property
    def reply(self) -> Reply | None:
        """The one reply, where one was asked for."""
        return self.replies[0] if self.replies else None

    @property
    def objections(self) -> tuple[str, ...]:
        """What was wrong with the last answer."""
        return self.attempts[-1].objections if self.attempts else ()

    def as_values(self) -> dict[str, Any]:
        """Plain values for provenance: every attempt with its answers, models, revisions, prompts and tokens."""
        values = asdict(self)
        for attempt in values["attempts"]:
            for reply in attempt["replies"]:
                reply["text"] = reply["text"][:KEPT_CHARS]
        return values


def request_reply(
    step: ReplyRequest, check: Check, *, max_attempts: int = 3, otherwise: Callable[[], Reply | None] | None = None
) -> CheckedAnswer:
    """Ask until an answer passes, at most `max_attempts` times; then take `otherwise`, if that passes.

    Args:
        step: asks once.
        check: what is wrong with a text; nothing, if it is good.
        max_attempts: how often it is asked.
        otherwise: the grammar's answer, where there is one.
    """
    among = None if otherwise is None else lambda missing, taken: tuple(filter(None, [otherwise()]))
    return request_replies(
        lambda missing, attempt, objections: (step(attempt, objections),),
        lambda text, taken: check(text),
        count=1,
        max_attempts=max_attempts,
        otherwise=among,
    )


def request_replies(
    step: RepliesRequest,
    check: CheckAgainst,
    *,
    count: int,
    max_attempts: int = 3,
    otherwise: Callable[[int, Sequence[str]], tuple[Reply, ...]] | None = None,
) -> CheckedAnswer:
    """The same for several answers: good ones are kept, only those missing are asked for again.

    Args:
        step: asks once, for as many as are missing.
        check: what is wrong with a text beside those already taken.
        count: how many are wanted.
        max_attempts: how often it is asked.
        otherwise: from how many are missing and the texts already taken, the grammar's answers.
    """
    if max_attempts < 1 or count < 1:
        raise ValueError(
            f"max_attempts={max_attempts} and count={count} must be 1 or more; ask at least once for at least one"
        )
    taken: list[Reply] = []
    attempts: list[Attempt] = []
    objections: tuple[str, ...] = ()
    for attempt in range(max_attempts):
        replies = step(count - len(taken), attempt, objections)
        objections = _sift(replies, check, taken, count)
        attempts.append(Attempt(replies=replies, objections=objections))
        if len(taken) == count:
            return CheckedAnswer(replies=tuple(taken), attempts=tuple(attempts))
    asked = len(taken)
    if otherwise is not None:
        _sift(otherwise(count - asked, [reply.text for reply in taken]), check, taken, count)
    return CheckedAnswer(
        replies=tuple(taken),
        attempts=tuple(attempts),
        filled=len(taken) - asked,
        verdict="ok" if len(taken) == count else "review",
    )


def _sift(replies: Sequence[Reply], check: CheckAgainst, taken: list[Reply], count: int) -> tuple[str, ...]:
    """Take what passes, up to count; say what was wrong with the rest."""
    found: list[str] = []
    for reply in replies:
        if len(taken) == count:
            break
        wrong = tuple(check(reply.text, [other.text for other in taken]))
        if not wrong:
            taken.append(reply)
        elif len(replies) == 1:
            found += wrong
        else:
            begin = " ".join(reply.text.split())[:60]
            found += [f"'{begin}': {objection}" for objection in wrong]
    if not found and len(taken) < count:
        found.append(f"There were {len(replies)} answers; {count - len(taken)} more are wanted.")
    return tuple(dict.fromkeys(found))
