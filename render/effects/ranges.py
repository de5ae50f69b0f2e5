"""Checks of settings: a value out of its range is refused in one sentence."""

import math
from typing import Any

STRICT: Any = {"extra": "forbid"}
"""For `__pydantic_config__`: a key that a settings class does not know is refused."""


def within(owner: Any, name: str, low: float | int, high: float | int) -> None:
    """Check that a number of a frozen value lies in [low, high].

    Raises:
        ValueError: naming the value, the rule and what to give.
    """
    value = getattr(owner, name)
    if not (math.isfinite(value) and low <= value <= high):
        kind = getattr(owner, "kind", type(owner).__name__.lower())
        raise ValueError(f"{kind}.{name}={value:g} is not in [{low:g}, {high:g}]; give a value between them")


def all_within(owner: Any, name: str, low: float | int, high: float | int) -> None:
    """The same for every number of a tuple."""
    for value in getattr(owner, name):
        if not (math.isfinite(value) and low <= value <= high):
            kind = getattr(owner, "kind", type(owner).__name__.lower())
            raise ValueError(f"{kind}.{name} holds {value:g}, not in [{low:g}, {high:g}]; give values between them")


def among(owner: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Check that a word is one of those known."""
    value = getattr(owner, name)
    if value not in allowed:
        kind = getattr(owner, "kind", type(owner).__name__.lower())
        raise ValueError(f"{kind}.{name}={value!r} is none of {', '.join(allowed)}")
