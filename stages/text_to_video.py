"""Text to video: clips for prompts, each from its own seed; CogVideoX and Wan, run in this process by diffusers.

Both models take a prompt and give a clip. They differ in the lengths and sizes that they were trained for: CogVideoX-5B
makes 49 frames of 480x720 at 8 fps, Wan 81 of 480x832 at 16. Clips are made at the model's own format and then cut to
the corpus's, so a model is only asked for what it was trained on, unless settings say otherwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..arrays import Rgb
from ..extras import require
from ..settings import STRICT, InRange, check_ranges
from ..weights import LocalModel, WeightsNotFound, WeightsRef, find_weights
from .normalise import fit_frame


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """Request for one clip."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """Length, size and rate of a model's clips; a corpus takes the longest 8k+5 frames that fit."""

    frames: int
    """T, 8k+5."""
    size: tuple[int, int]
    """Height and width."""
    fps: float


def corpus_length(frames: int) -> int:
    """Longest length of a clip, 8k+5, within that many frames.

    Raises:
        ValueError: they hold none.
    """
    if frames < 5:
        raise ValueError(f"frames={frames} holds no clip: the shortest has 5 frames; ask for more")
    return (frames - 5) // 8 * 8 + 5


INDEX = "model_index.json"


@dataclass(frozen=True, kw_only=True)
class PipelineFiles:
    """A pipeline on this machine."""

    model: LocalModel
    pipeline: str
    """The name of its class."""


PIPELINES = ("CogVideoXPipeline", "WanPipeline")
OffloadMode = Literal["none", "model_offload", "sequential_offload"]


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
    native_fps: Annotated[float, InRange(1, 120)] = 8.0
    """8 for CogVideoX-5B; 16 for CogVideoX 1.5 and for Wan."""
    steps: Annotated[int, InRange(1, 1000)] = 50
    guidance: Annotated[float, InRange(0, 50)] = 6.0
    negative_prompt: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    offload: OffloadMode = "model_offload"
    """none: all weights on the GPU, 21 GB and more; model_offload: one part at a time; sequential_offload: layer by
    layer, from 5 GB, three to four times slower. Says nothing on a machine without a GPU."""
    tiling: bool = True
    """Decode in tiles and frame by frame, in less memory."""
    batch: Annotated[int, InRange(1, 64)] = 1
    """Clips made at once on a GPU."""
    device: str = "auto"
    """auto: the GPU with the most free memory, else the processor."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.native_frames % 4 != 1 or not 5 <= self.native_frames <= 257:
            raise ValueError(
                f"native_frames={self.native_frames} is not 4n+1 within 5 to 257, as the models' decoders have it; "
                "give 49 for CogVideoX-5B, 81 for Wan"
            )
        if any(side % 16 or not 16 <= side <= 2048 for side in self.native_size):
            raise ValueError(
                f"native_size={self.native_size}: height and width must be multiples of 16 up to 2048; give 480x720"
            )

    required_packages: ClassVar[Mapping[str, str]] = dict.fromkeys(("torch", "diffusers", "transformers"), "train")
    required_memory_bytes: ClassVar[int] = 21 * 10**9
    """Bytes of CogVideoX-5B's weights, which lie in memory while parts of them are on a GPU."""
    required_gpu_bytes: ClassVar[int] = 5 * 10**9
    """Bytes of GPU memory under sequential_offload; the other modes take more."""

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The pipeline; its parts are named by its index."""
        return (WeightsRef(model=self.model, revision=self.revision, parts=(INDEX,)),)

    def format(self, frames: int, size: tuple[int, int]) -> VideoFormat:
        """Format of the requested size, with as many of the frames as the model makes, at its own rate."""
        return VideoFormat(frames=corpus_length(min(frames, self.native_frames)), size=size, fps=self.native_fps)

    def generate(self, requests: Sequence[VideoRequest], video_format: VideoFormat) -> tuple[Rgb, ...]:
        """Generate clips for up to `batch` requests, in order; each is the beginning of the model's own clip.

        On one machine the same request gives the same clip, up to a rounding of one step of 255 where the requests
        beside it differ.

        Raises:
            WeightsNotFound: the weights are not on this machine.
            ValueError: the folder holds no pipeline of these.
        """
        files = find_pipeline(self.required_weights[0])
        pipeline = _load_pipeline(files, self.dtype, self.offload, self.device)
        pipeline.set_progress_bar_config(disable=True)
        for switch in ("tiling", "slicing"):
            getattr(pipeline.vae, f"{'enable' if self.tiling else 'disable'}_{switch}")()
        torch = require("torch", extra="train")
        # Number of text tokens that the transformer was made for: 226 in CogVideoX; Wan's pipeline has its own default.
        tokens = getattr(pipeline.transformer.config, "max_text_seq_length", None)
        height, width = self.native_size
        with torch.inference_mode():
            frames = pipeline(
                prompt=[request.prompt for request in requests],
                # Noise is drawn on the processor, so that a seed means the same on every machine and in every batch.
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
                negative_prompt=[self.negative_prompt] * len(requests),
                height=height,
                width=width,
                num_frames=self.native_frames,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                output_type="np",
                **({} if tokens is None else {"max_sequence_length": int(tokens)}),
            ).frames
        return tuple(_to_corpus_format(np.asarray(clip), video_format) for clip in frames)


def _to_corpus_format(frames: np.ndarray, video_format: VideoFormat) -> Rgb:
    """From floats 0 to 1 to the corpus's frames; what is not finite (a broken model) becomes black, which is found."""
    if len(frames) < video_format.frames:
        raise ValueError(f"the model made {len(frames)} frames, fewer than the {video_format.frames} asked of it")
    clip = np.empty((video_format.frames, *video_format.size, 3), np.uint8)
    for index in range(video_format.frames):
        picture = np.rint(np.nan_to_num(frames[index], nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255)
        clip[index] = fit_frame(picture.astype(np.uint8), video_format.size)
    return clip


@lru_cache(maxsize=1)
def _load_pipeline(files: PipelineFiles, dtype: str, offload: OffloadMode, device: str) -> Any:
    """The pipeline, kept in this process, where it is to run."""
    torch, diffusers = require("torch", extra="train"), require("diffusers", extra="train")
    require("transformers", extra="train").utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    target = "cpu" if device == "auto" else device
    if device == "auto" and torch.cuda.is_available():
        free_bytes = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
        target = f"cuda:{free_bytes.index(max(free_bytes))}"
    precision = torch.float32 if target == "cpu" and dtype == "float16" else getattr(torch, dtype)
    pipeline = getattr(diffusers, files.pipeline).from_pretrained(
        files.model.path, dtype=precision, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=True
    )
    if target == "cpu" or offload == "none":
        pipeline.to(target)
    elif offload == "model_offload":
        pipeline.enable_model_cpu_offload(device=target)
    else:
        pipeline.enable_sequential_cpu_offload(device=target)
    return pipeline


def find_pipeline(ref: WeightsRef) -> PipelineFiles:
    """Find a text-to-video pipeline on this machine: a folder, or a revision of a hub repository that was fetched.

    Raises:
        WeightsNotFound: it is not there, or not whole.
        ValueError: it is a pipeline of another kind.
    """
    local = find_weights(ref)
    try:
        index: dict[str, Any] = json.loads((local.path / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        raise WeightsNotFound(
            f"{ref.model}: {local.path} has no readable {INDEX}; name the folder of a whole diffusers pipeline"
        ) from broken
    kind = str(index.get("_class_name"))
    if kind not in PIPELINES:
        raise ValueError(f"{ref.model}: is a {kind}, not {' or '.join(PIPELINES)}; name a text-to-video model of these")
    parts = [name for name, library in index.items() if isinstance(library, list) and library[0] is not None]
    return PipelineFiles(model=find_weights(replace(ref, parts=(INDEX, *parts))), pipeline=kind)
