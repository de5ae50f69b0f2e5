"""The captioner without weights: it states the scene's facts and what the frames show, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...settings import STRICT
from ..interface.captioner import ClipContext, Reply
from .augment import restyle
from .clip_facts import collect_facts
from .long_caption import write_description
from .short_caption import write_caption

MODEL = "measured-2"
"""Raise the number when the same clip gets other words; captions are then made again."""


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
