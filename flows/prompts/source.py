"""All settings of one source of unpaired clips: whose captions, what makes the clips, how they are judged."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...render.blender.process import Blender
from ...render.scene.scene import RenderSettings
from ...settings import STRICT
from ...stages.text_to_video import CogVideoX, VideoFormat, corpus_length
from ...stages.unpaired_quality import UnpairedThresholds
from ..captions.stages import CaptionedSource

OPERATIONAL = frozenset({"offload", "batch", "device", "blender"})
"""Settings of where and in how much memory a clip is made; its pixels do not hang on them."""


@dataclass(frozen=True, kw_only=True)
class BlenderTextToVideo:
    """No model: Blender draws a scene that shows the described effect."""

    __pydantic_config__ = STRICT
    kind: Literal["rendered"] = "rendered"
    fps: float = 16.0
    rendering: RenderSettings = RenderSettings()
    blender: Blender = Blender()
    batch: int = 1

    def __post_init__(self) -> None:
        if self.batch != 1:
            raise ValueError(f"batch={self.batch}: scenes are drawn one by one; leave it at 1")

    def format(self, frames: int, size: tuple[int, int]) -> VideoFormat:
        """Any length and size can be drawn."""
        return VideoFormat(frames=corpus_length(frames), size=size, fps=self.fps)


@dataclass(frozen=True, kw_only=True)
class UnpairedSource(CaptionedSource):
    """A file in `datasets/sources/`, key for key; the `kind` of the table `video` chooses what makes the clips."""

    flow: Literal["unpaired"] = "unpaired"
    prompts: str | None = None
    """A text file, one caption a line; empty lines and those that begin with # are passed over."""
    corpus: str | None = None
    """A corpus, folder or fsspec URL, whose captions are taken where there are no prompts."""
    kinds: tuple[Literal["real", "synthetic", "unpaired"], ...] = ("real", "synthetic")
    """Kinds of the corpus's clips; unpaired ones were made for captions already and would only come again."""
    prompts_as: Literal["augmented", "as_written"] = "augmented"
    """augmented: captions of the same scenes with other styles of their effects, those of the corpus where it has them;
    as_written: as they stand."""
    count: int = 0
    """So many captions of the corpus or file at most, the first; 0 takes all."""
    seed: int = 0
    """Other clips for the same captions."""
    size: tuple[int, int] = (384, 672)
    frames: int = 85
    """At most; a model that makes fewer gives as many as fit 8k+5."""
    video: BlenderTextToVideo | CogVideoX = BlenderTextToVideo()
    limits: UnpairedThresholds = UnpairedThresholds()
    licence: str = "CC0-1.0"
    origin: str = "made by effectpairs from captions"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompts is None and self.corpus is None:
            raise ValueError("captions come from prompts='FILE.txt' or from corpus='FOLDER'; give one of them")
        if self.frames % 8 != 5 or not 5 <= self.frames <= 1000:
            raise ValueError(f"frames={self.frames} is not 8k+5; give 5, 13, 21, ... 85")
        if any(side % 2 or not 16 <= side <= 4096 for side in self.size):
            raise ValueError(f"size={self.size}: height and width are even, from 16 to 4096; give 384x672")
        if self.count < 0 or not 0 <= self.seed < 2**31:
            raise ValueError(f"count={self.count} and seed={self.seed} are 0 or more; give such whole numbers")
        if self.prompts_as == "augmented" and not self.caption_rules.variants:
            raise ValueError(
                "prompts_as='augmented' and caption_rules.variants=0 make no clip; "
                "give variants, or prompts_as='as_written'"
            )

    @property
    def renders(self) -> bool:
        """Whether Blender draws the clips; otherwise a model generates them."""
        return self.video.kind == "rendered"

    @property
    def clip_bytes(self) -> int:
        """Size of one colour layer of the source's clips."""
        return self.format.frames * self.size[0] * self.size[1] * 3

    @property
    def format(self) -> VideoFormat:
        """Length, size and rate of its clips."""
        return self.video.format(self.frames, self.size)

    @property
    def generation_settings(self) -> dict[str, Any]:
        """The settings that decide a clip's pixels, beside its caption and seed."""
        video = {name: value for name, value in asdict(self.video).items() if name not in OPERATIONAL}
        return {"video": video, "format": asdict(self.format)}
