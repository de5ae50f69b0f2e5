"""The captioner without weights: it words what the scene says and what the frames show, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..interface.captioner import STRICT, ClipContext, Reply
from . import long_caption, short_caption
from .augment import restyle
from .clip_facts import collect_facts

MODEL = "measured-2"
"""Raise the number when the same clip gets other words; captions are then made again."""


@dataclass(frozen=True, kw_only=True)
class RuleBasedCaptioner:
    """Caption from a scene's facts and from measurement; the default."""

    __pydantic_config__ = STRICT
    kind: Literal["measured"] = "measured"

    def describe(self, seen: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """Several sentences of all that is known; the same for the same seed, whatever was objected."""
        return _reply(long_caption.write_description(collect_facts(seen), rng=np.random.default_rng(seed)))

    def refine(
        self, description: str, seen: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """One sentence, worded from the clip itself rather than from the description; empty if no effect is known."""
        rng = np.random.default_rng([seed, len(objections)])
        return _reply(short_caption.write_caption(collect_facts(seen), max_words=max_words, rng=rng) or "")

    def augment(
        self, caption: str, seen: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """The caption with other adjectives for its effects; fewer than count where it names none."""
        rng = np.random.default_rng([seed, len(objections)])
        return tuple(_reply(text) for text in restyle(caption, seen.effects, count=count, rng=rng))


def _reply(text: str) -> Reply:
    return Reply(text=text, model=MODEL)
