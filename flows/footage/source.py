"""All settings of one source of real footage: where it is, and how each stage treats it."""

from dataclasses import dataclass
from typing import Any

from ...captioning.language.effect_mentions import plain_effects
from ...datasets.sources.source import FootageSource
from ...stages.effect_mask import EffectMaskSettings
from ...stages.external import External
from ...stages.normalise import Normalise
from ...stages.plate import Plate
from ...stages.propagate import Propagate
from ...stages.quality_gates import QualityThresholds
from ...stages.sam2 import Sam2
from ...stages.sam3 import Sam3
from ...stages.subject import Provided
from ...training.removal.casper import Casper
from ..captions.stages import CaptionedSource


@dataclass(frozen=True, kw_only=True)
class RealSource(FootageSource, CaptionedSource):
    """A file in `datasets/sources/`, key for key; a table's `kind` chooses the backend."""

    normalise: Normalise = Normalise()
    subject: Provided | Propagate | Sam2 | Sam3 = Provided()
    decompose: Plate | External | Casper = Plate()
    effect_mask: EffectMaskSettings = EffectMaskSettings()
    quality_thresholds: QualityThresholds = QualityThresholds()

    def __post_init__(self) -> None:
        super().__post_init__()
        plain_effects(self.effects)

    @property
    def clip_bytes(self) -> int:
        """Size of one colour layer of the source's longest clips."""
        height, width = self.normalise.size
        return self.normalise.max_frames * height * width * 3

    def stage_settings(self, stage: str) -> Any:
        """The settings of a stage of the pair chain; None for those that have none."""
        return {"subject": self.subject, "decompose": self.decompose, "effect_mask": self.effect_mask}.get(stage)
