"""CogVideoX and Wan, run in this process by diffusers, through one door.

Both take a prompt and give a clip. They differ in the lengths and sizes that they were trained for: CogVideoX-5B makes
49 frames of 480x720 at 8 a second, Wan 81 of 480x832 at 16. Clips are made at the model's own format and then cut to
the corpus's; what the model never saw is never asked of it, unless settings say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ...arrays import Rgb
from ...extras import require
from ..geometry import fit_frame
from .diffusion_weights import Located, locate
from .text_to_video import STRICT, Format, GeneratedClips, Shot, corpus_length

PIPELINES = ("CogVideoXPipeline", "WanPipeline")
Memory = Literal["none", "model_offload", "sequential_offload"]


@dataclass(frozen=True, kw_only=True)
class CogVideoX:
    """Text to video by CogVideoX, or by Wan; the folder's own `model_index.json` says which."""

    __pydantic_config__ = STRICT
    kind: Literal["cogvideox"] = "cogvideox"
    model: str = "zai-org/CogVideoX-5b"
    """A folder, or the name of a hub repository that was fetched before, e.g. Wan-AI/Wan2.1-T2V-1.3B-Diffusers."""
    revision: str | None = None
    """Commit, tag or branch; None takes what was fetched as main, and its commit is recorded."""
    native_frames: int = 49
    """Made by the model; 8n+1 up to 49 for CogVideoX-5B, 16n+1 up to 161 for CogVideoX 1.5, 4n+1 up to 81 for Wan."""
    native_size: tuple[int, int] = (480, 720)
    """Height and width that it was trained for: (480, 720); 1.5: (768, 1360); Wan: (480, 832)."""
    native_fps: float = 8.0
    """8 for CogVideoX-5B; 16 for CogVideoX 1.5 and for Wan."""
    steps: int = 50
    guidance: float = 6.0
    negative_prompt: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    offload: Memory = "model_offload"
    """none: all weights on the GPU, 21 GB and more; model_offload: one part at a time; sequential_offload: layer by
    layer, from 5 GB, three to four times slower. Says nothing on a machine without a GPU."""
    tiling: bool = True
    """Decode in tiles and frame by frame, in less memory."""
    batch: int = 1
    """Clips made at once on a GPU."""
    device: str = "auto"
    """auto: the GPU with the most free memory, else the processor."""

    def __post_init__(self) -> None:
        for name, low, high in (("steps", 1, 1000), ("batch", 1, 64), ("guidance", 0, 50), ("native_fps", 1, 120)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is not in [{low}, {high}]; give a number between them")
        if self.native_frames % 4 != 1 or not 5 <= self.native_frames <= 257:
            raise ValueError(
                f"native_frames={self.native_frames} is not 4n+1 within 5 to 257, as the models' decoders have it; "
                "give 49 for CogVideoX-5B, 81 for Wan"
            )
        if any(side % 16 or not 16 <= side <= 2048 for side in self.native_size):
            raise ValueError(
                f"native_size={self.native_size}: height and width must be multiples of 16 up to 2048; give 480x720"
            )

    def format(self, frames: int, size: tuple[int, int]) -> Format:
        """The wanted size, and as many of the wanted frames as the model makes, at the model's own rate."""
        return Format(frames=corpus_length(min(frames, self.native_frames)), size=size, fps=self.native_fps)

    def make(self, shots: Sequence[Shot], wanted: Format) -> GeneratedClips:
        """Clips for the shots, from the beginning of what the model made.

        Raises:
            ModelMissing: the weights are not on this machine.
            ValueError: the folder holds no pipeline of these.
        """
        located = locate(self.model, self.revision, PIPELINES)
        pipeline = _loaded(located, self.dtype, self.offload, self.device)
        self._set_up(pipeline)
        torch = require("torch", extra="train")
        height, width = self.native_size
        with torch.inference_mode():
            frames = pipeline(
                prompt=[shot.prompt for shot in shots],
                # Noise is drawn on the processor, so that a seed means the same on every machine and in every batch.
                generator=[torch.Generator("cpu").manual_seed(shot.seed) for shot in shots],
                negative_prompt=[self.negative_prompt] * len(shots),
                height=height,
                width=width,
                num_frames=self.native_frames,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                output_type="np",
                **_text_length(pipeline),
            ).frames
        clips = tuple(_cut(np.asarray(clip), wanted) for clip in frames)
        return GeneratedClips(clips=clips, model=self.model, revision=located.revision)

    def _set_up(self, pipeline: Any) -> None:
        pipeline.set_progress_bar_config(disable=True)
        for switch in ("tiling", "slicing"):
            getattr(pipeline.vae, f"{'enable' if self.tiling else 'disable'}_{switch}")()


def _cut(frames: np.ndarray, wanted: Format) -> Rgb:
    """From floats 0 to 1 to the corpus's frames; what is not finite (a broken model) becomes black, which is found."""
    if len(frames) < wanted.frames:
        raise ValueError(f"the model made {len(frames)} frames, fewer than the {wanted.frames} asked of it")
    clip = np.empty((wanted.frames, *wanted.size, 3), np.uint8)
    for place in range(wanted.frames):
        picture = np.rint(np.nan_to_num(frames[place], nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255)
        clip[place] = fit_frame(picture.astype(np.uint8), wanted.size)
    return clip


def _text_length(pipeline: Any) -> dict[str, int]:
    """How many tokens of text the transformer was made for: 226 in CogVideoX; Wan's pipeline knows its own."""
    length = getattr(pipeline.transformer.config, "max_text_seq_length", None)
    return {} if length is None else {"max_sequence_length": int(length)}


@lru_cache(maxsize=1)
def _loaded(located: Located, dtype: str, offload: Memory, device: str) -> Any:
    """The pipeline, kept in this process, where it is to run."""
    torch, diffusers = require("torch", extra="train"), require("diffusers", extra="train")
    require("transformers", extra="train").utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    place = _device(torch) if device == "auto" else device
    kind = getattr(diffusers, located.pipeline)
    precision = torch.float32 if place == "cpu" and dtype == "float16" else getattr(torch, dtype)
    pipeline = kind.from_pretrained(
        located.folder, dtype=precision, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=True
    )
    if place == "cpu" or offload == "none":
        pipeline.to(place)
    elif offload == "model_offload":
        pipeline.enable_model_cpu_offload(device=place)
    else:
        pipeline.enable_sequential_cpu_offload(device=place)
    return pipeline


def _device(torch: Any) -> str:
    if not torch.cuda.is_available():
        return "cpu"
    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    return f"cuda:{free.index(max(free))}"
