"""What is wrong with a description that cannot be read, in a sentence that says what to do about it."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

EXAMPLE = "what `effectpairs render --example scene.json` writes"
MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def sentence(error: Mapping[str, Any], keys: Sequence[str]) -> str:
    """One of pydantic's errors in our words.

    Args:
        error: as it stands in `ValidationError.errors()`.
        keys: every key that a description may have, to guess which one was meant.
    """
    where, message = ".".join(str(part) for part in error["loc"]), str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":  # a check of ours: it says what to do, and mostly names its value
        return message if not where or "=" in message.split(" ")[0] else f"{where}: {message}"
    if not where:
        return f"is no scene ({_small(message)}); compare with {EXAMPLE}"
    if error["type"] == "unexpected_keyword_argument":
        meant = difflib.get_close_matches(str(error["loc"][-1]), keys, n=1)
        return f"{where} is no key; {f'did you mean {meant[0]!r}?' if meant else f'compare with {EXAMPLE}'}"
    if error["type"] in MISSING:
        return f"{where} is missing; add it, or compare with {EXAMPLE}"
    value = error["input"]
    shown = f"={value!r}" if isinstance(value, str | int | float | bool | None) else ""
    return f"{where}{shown} does not do: {_small(message)}; compare with {EXAMPLE}"


def _small(message: str) -> str:
    return message[:1].lower() + message[1:]
