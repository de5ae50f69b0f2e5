"""How clips get their words, whatever their source: who captions, and what is wanted of the captions."""

from dataclasses import asdict, dataclass
from typing import Any

from ...captioning.config import CAPTION_STEPS, AnyCaptioner, CaptionStep, cache_key_settings
from ...captioning.pipeline import CaptionSettings
from ...captioning.rule_based.captioner import RuleBasedCaptioner

VERSION = 4
"""Raise it when a check or the grammar changes; captions of older versions are then made again."""


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Who captions, and how the words are to be."""

    caption: AnyCaptioner = RuleBasedCaptioner()
    caption_rules: CaptionSettings = CaptionSettings()

    def settings_of(self, stage: str) -> dict[str, Any]:
        """What decides a stage's words."""
        if stage == "tags":
            return {}
        wanted = asdict(self.caption_rules)
        other = {"describe": ("max_words", "variants"), "refine": ("variants",), "augment": ("max_words",)}[stage]
        step: CaptionStep = next(known for known in CAPTION_STEPS if known == stage)
        return {
            "captioner": cache_key_settings(self.caption, step),
            **{name: value for name, value in wanted.items() if name not in other},
        }

    @property
    def values(self) -> dict[str, Any]:
        """The settings of all stages, for provenance."""
        return {stage: {**self.settings_of(stage), "version": VERSION} for stage in CAPTION_STEPS}
