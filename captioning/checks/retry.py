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
Step = Callable[[int, tuple[str, ...]], Reply]
"""From the attempt, counted from 0, and the objections to the one before, to an answer."""
Steps = Callable[[int, int, tuple[str, ...]], tuple[Reply, ...]]
"""The same for several answers; the first number says how many are still wanted."""
Check = Callable[[str], Sequence[str]]
CheckAmong = Callable[[str, Sequence[str]], Sequence[str]]
"""Checks a text beside those already taken."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One question's answers, and what was wrong with them."""

    replies: tuple[Reply, ...]
    objections: tuple[str, ...] = ()
    """Empty where every answer was taken."""


@dataclass(frozen=True, kw_only=True)
class Asked:
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


def ask(step: Step, check: Check, *, tries: int = 3, otherwise: Callable[[], Reply | None] | None = None) -> Asked:
    """Ask until an answer passes, at most `tries` times; then take `otherwise`, if that passes.

    Args:
        step: asks once.
        check: what is wrong with a text; nothing, if it is good.
        tries: how often it is asked.
        otherwise: the grammar's answer, where there is one.
    """
    among = None if otherwise is None else lambda missing, taken: tuple(filter(None, [otherwise()]))
    return ask_many(
        lambda missing, attempt, objections: (step(attempt, objections),),
        lambda text, taken: check(text),
        count=1,
        tries=tries,
        otherwise=among,
    )


def ask_many(
    step: Steps,
    check: CheckAmong,
    *,
    count: int,
    tries: int = 3,
    otherwise: Callable[[int, Sequence[str]], tuple[Reply, ...]] | None = None,
) -> Asked:
    """The same for several answers: good ones are kept, only those missing are asked for again.

    Args:
        step: asks once, for as many as are missing.
        check: what is wrong with a text beside those already taken.
        count: how many are wanted.
        tries: how often it is asked.
        otherwise: from how many are missing and the texts already taken, the grammar's answers.
    """
    if tries < 1 or count < 1:
        raise ValueError(f"tries={tries} and count={count} must be 1 or more; ask at least once for at least one")
    taken: list[Reply] = []
    attempts: list[Attempt] = []
    objections: tuple[str, ...] = ()
    for attempt in range(tries):
        replies = step(count - len(taken), attempt, objections)
        objections = _sift(replies, check, taken, count)
        attempts.append(Attempt(replies=replies, objections=objections))
        if len(taken) == count:
            return Asked(replies=tuple(taken), attempts=tuple(attempts))
    asked = len(taken)
    if otherwise is not None:
        _sift(otherwise(count - asked, [reply.text for reply in taken]), check, taken, count)
    return Asked(
        replies=tuple(taken),
        attempts=tuple(attempts),
        filled=len(taken) - asked,
        verdict="ok" if len(taken) == count else "review",
    )


def _sift(replies: Sequence[Reply], check: CheckAmong, taken: list[Reply], count: int) -> tuple[str, ...]:
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
