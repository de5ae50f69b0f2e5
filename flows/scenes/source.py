"""All settings of one source of rendered scenes: who makes them, how many, how they are drawn and judged."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...render.blender.process import Blender
from ...render.compositing.effect_masks import MaskFromPasses
from ...render.generators.blender_generator import BlenderGenerator
from ...render.generators.generator import ClipFormat
from ...render.generators.kubric_generator import KubricGenerator
from ...render.scene.scene import RenderSettings
from ...stages.effect_mask import EffectMaskSettings
from ...stages.quality_gates import QualityThresholds
from ..captions.stages import CaptionedSource

RENDERED_THRESHOLDS = QualityThresholds(
    effect_peak_area_max=(0.85, 0.98),
    effect_flicker_max=(0.8, 1.0),
    effect_strength_min=(4.0, 2.0),
    firefly_share_max=(0.001, 0.005),
    subject_area_min=(0.002, 0.0005),
    edge_effect_max=(0.9, 1.0),
)
"""Thresholds of rendered pairs, whose layers are exact: splashes and smoke may come and go, lie close to the subject
and be faint. `firefly_share_max` is for FIREFLY_SIZE: 16 of its pixels, 81."""
FIREFLY_SIZE = (96, 168)
"""Glints on ripples and floors are up to 5 single pixels of a frame at 96x168, hardly one at 192x336."""


@dataclass(frozen=True, kw_only=True)
class SceneSource(CaptionedSource):
    """A file in `datasets/sources/`, key for key; a generator's `kind` chooses it."""

    flow: Literal["synthetic-pairs"] = "synthetic-pairs"
    scenes: str | None = None
    """A glob pattern of scenes' JSON files, instead of a generator; ~ and ${VARIABLE} are expanded."""
    generator: BlenderGenerator | KubricGenerator | None = None
    count: int = 12
    """Scenes that the generator makes; more of them later leaves the first as they are."""
    seed: int = 0
    size: tuple[int, int] = (384, 672)
    frames: int = 85
    fps: float = 16.0
    rendering: RenderSettings = RenderSettings()
    truth: MaskFromPasses = MaskFromPasses()
    effect_mask: EffectMaskSettings = EffectMaskSettings()
    """Recipe of the effect masks, that of real pairs: they mean the same in every row. `truth` stands beside them."""
    quality_thresholds: QualityThresholds = RENDERED_THRESHOLDS
    blender: Blender = Blender()
    licence: str = "CC0-1.0"
    origin: str = "rendered by effectpairs"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.generator is None) == (self.scenes is None):
            raise ValueError("a source of scenes has either a generator or scenes='FOLDER/*.json'; give one of them")
        if not 1 <= self.count <= 1_000_000:
            raise ValueError(f"count={self.count} is not in 1 to 1000000; give how many scenes to make")
        if self.generator is not None:
            self.generator.check(self.clip_format)

    @property
    def clip_bytes(self) -> int:
        """Size of one colour layer of the source's clips."""
        return self.frames * self.size[0] * self.size[1] * 3

    @property
    def clip_format(self) -> ClipFormat:
        """Frames, size, rate and quality of every scene of the generator."""
        return ClipFormat(frames=self.frames, size=self.size, fps=self.fps, rendering=self.rendering)

    @property
    def mask_settings(self) -> dict[str, Any]:
        """The settings that decide a scene's layers, beside the scene itself."""
        return {"truth": asdict(self.truth), "effect_mask": asdict(self.effect_mask)}
