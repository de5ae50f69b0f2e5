"""How clips get their words, whatever their source: who captions, and what is wanted of the captions."""

from dataclasses import asdict, dataclass
from typing import Any

from ...captioning.config import STEPS, ChosenCaptioner, Step, decisive
from ...captioning.pipeline import Wanted
from ...captioning.rule_based.captioner import Measured

VERSION = 3
"""Raise it when a check or the grammar changes; captions of older versions are then made again."""


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Who captions, and how the words are to be."""

    caption: ChosenCaptioner = Measured()
    wording: Wanted = Wanted()

    def settings_of(self, stage: str) -> dict[str, Any]:
        """What decides a stage's words."""
        if stage == "tags":
            return {}
        wanted = asdict(self.wording)
        other = {"describe": ("max_words", "variants"), "refine": ("variants",), "augment": ("max_words",)}[stage]
        step: Step = next(known for known in STEPS if known == stage)
        return {
            "captioner": decisive(self.caption, step),
            **{name: value for name, value in wanted.items() if name not in other},
        }

    @property
    def values(self) -> dict[str, Any]:
        """The settings of all stages, for provenance."""
        return {stage: {**self.settings_of(stage), "version": VERSION} for stage in STEPS}
