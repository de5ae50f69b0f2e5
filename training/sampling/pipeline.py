"""Pipeline from a composite without effects to a video with them, in the manner of diffusers.

`EffectPipeline.load(BaseModelRef(id=...), trained)` takes the base model's parts and the weights of a training run;
`save_pretrained`, `to` and `enable_model_cpu_offload` are the library's own. Any length goes: the clip is padded by
reflection to a length that the family takes, sampled in overlapping windows, and cropped back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...arrays import Rgb
from ...datasets.gallery.thumbnails import encode_mp4
from ...datasets.store.atomic_io import atomic_write
from ...extras import require
from ...weights import LocalModel
from ..base import checkpoint, encoders, models
from ..base.conditioning import (
    UNKNOWN,
    NoiseSetting,
    add_noise,
    empty_conditioning,
    noise_level,
    to_soft_mask,
    visible_frames,
)
from ..base.families import family_of_configs, family_of_model, family_of_record, load_transformer
from ..base.family import Family, decode_latents
from ..base.latent_shapes import Downsample
from ..base.lora import attach_lora, layers_of, linear_shapes, merge_lora, read_lora
from ..base.network import Conditioning, Latents, PixelMask, Video
from ..base.optimiser import LoraSettings
from ..latents.cache import open_cache
from .sample import SamplingSettings, denoise

torch = require("torch", extra="train")
DiffusionPipeline: Any = require("diffusers", extra="train").DiffusionPipeline
FPS = 16.0
"""Frame rate of decoded validation samples."""
STRIP_FRAMES = 4
"""Rows of the picture of a validation sample."""
CRF = 17
"""Quality of H.264 at which no loss is seen, for videos by a model."""
Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PipelineInput:
    """Prompt, composite and effect mask of one video."""

    prompt: str
    negative: str = ""
    over: Rgb | None = None
    """The subject over the clean background; None makes a video of the text alone."""
    effect_mask: np.ndarray | None = None
    """Every frame's pixels: effect (True, 1 or 255), no effect (0), not known (0.5 or 128). None: not known at all."""
    shape: tuple[int, int, int] | None = None
    """Frames, height and width of a video of text alone."""
    noise_seed: int = 43
    """Seed of the noise on the composite, where the model takes it with noise."""
    mask_downsample: Downsample = "trilinear"
    """Resize of the mask to the latents: trilinear as while training; max keeps thin strokes that were drawn."""

    def __post_init__(self) -> None:
        if (self.over is None) == (self.shape is None):
            raise ValueError("give either over, the composite, or shape, the size of a video of text alone")
        if self.over is None and self.effect_mask is not None:
            raise ValueError("an effect mask needs a composite; give over as well, or no mask")
        if self.over is not None and self.effect_mask is not None and self.effect_mask.shape != self.over.shape[:3]:
            raise ValueError(
                f"the effect mask has {_describe(self.effect_mask.shape)}, the video {_describe(self.over.shape[:3])}; "
                "give a mask for every frame, or keyframes"
            )

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        frames, height, width = self.shape or (self.over.shape[:3] if self.over is not None else (0, 0, 0))
        return frames, height, width


@dataclass(frozen=True, kw_only=True)
class LoraRequest:
    """A LoRA to be put onto the transformer."""

    path: Path
    """File in any of the names of `base/lora.py`, or a run's `trained` folder."""
    factor: float = 1.0
    merge: bool = False
    """Add it to the weights, which is faster; otherwise it stays beside them, which needs peft."""


class EffectPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Tokenizer, text encoder, video autoencoder, transformer and schedule, working together."""

    model_cpu_offload_seq = "text_encoder->vae->transformer"

    def __init__(self, tokenizer: Any, text_encoder: Any, vae: Any, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.family: Family = family_of_configs(transformer.config, vae.config)
        self.conditioning_noise: NoiseSetting = "none"
        self.register_modules(
            tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer, scheduler=scheduler
        )

    @classmethod
    def load(
        cls,
        model: models.BaseModelRef,
        trained: Path | None = None,
        *,
        family: Family | None = None,
        lora: LoraRequest | None = None,
        dtype: str = "bfloat16",
    ) -> "EffectPipeline":
        """Put a base model together with a run's `trained` folder, or with one of its checkpoints, all as one dtype.

        The family is the base model's where none is named.

        Raises:
            WeightsNotFound: the base model is not on this machine.
            ValueError: the trained weights or the LoRA do not fit it.
        """
        local = models.locate_model(model)
        folder, family = local.path, family or family_of_model(local)
        text = models.load_text_model(folder, dtype=dtype)
        if trained is not None and (trained / "transformer").is_dir():
            transformer = family.load_transformer(trained, dtype=dtype)
        else:
            transformer = load_transformer(local, dtype=dtype)
            if trained is not None and (trained / checkpoint.MANIFEST).exists():
                _load_checkpoint(transformer, trained)
            elif trained is not None:
                apply_lora(transformer, LoraRequest(path=trained), local)
        if lora is not None:
            apply_lora(transformer, lora, local)
        vae, scheduler = family.load_vae(folder, dtype=dtype), family.load_scheduler(folder)
        return cls(text.tokenizer, text.encoder, vae, transformer.eval(), scheduler)

    def __call__(
        self, inputs: PipelineInput, sampling: SamplingSettings = SamplingSettings(), *, report: Report | None = None
    ) -> Rgb:
        """Make a video of the length and size of the inputs; equal seeds give equal videos.

        Raises:
            ValueError: a side is none that the model takes.
        """
        latents = self.latents(inputs, sampling, report=report)
        self._move_to_device(self.vae)
        runs = [encoders.video_to_frames(run) for run in self.family.decode_in_runs(self.vae, latents)]
        frames: Rgb = np.concatenate(runs)[: inputs.size[0]]
        self.maybe_free_model_hooks()
        return frames

    def latents(self, inputs: PipelineInput, sampling: SamplingSettings, *, report: Report | None = None) -> Latents:
        """Latents of the video before decoding, of the padded length."""
        self._move_to_device(self.text_encoder)
        length = int(getattr(self.transformer.config, "max_text_seq_length", 226))
        model = models.TextModel(self.tokenizer, self.text_encoder, length)
        rows = self.family.encode_texts(model, [inputs.prompt, inputs.negative]).to(self._execution_device)
        conditioning = self.conditioning(inputs).to(self._execution_device)
        self._move_to_device(self.transformer)
        texts = rows[:1], rows[1:]
        return denoise(self.family, self.transformer, self.scheduler, conditioning, texts, sampling, report=report)

    def conditioning(self, inputs: PipelineInput) -> Conditioning:
        """Conditioning channels of the composite and the mask, for the padded length."""
        (frames, *sides), grid = inputs.size, self.family.grid
        length = grid.padded_length(frames)
        grid.check_shape(length, *sides, label="the video")
        if inputs.over is None:
            latents = torch.zeros(1, grid.latent_frames(length), 1, *grid.latent_shape(length, *sides)[1:])
            return empty_conditioning(latents, self.family.conditioning_channels)
        index = reflect_indices(frames, length)
        mask = np.full(inputs.size, UNKNOWN, np.float32)
        if inputs.effect_mask is not None:
            mask = to_soft_mask(inputs.effect_mask)
        pixels = torch.from_numpy(mask[index])[None]
        level = noise_level(self.conditioning_noise, adds_noise=self.family.adds_noise)
        over = add_noise(encoders.frames_to_video(inputs.over[index]), level, seed=inputs.noise_seed)
        return self._condition(over, pixels, inputs.mask_downsample)

    def _condition(self, over: Video, mask: PixelMask, downsample: Downsample) -> Conditioning:
        """Conditioning of a clip that the model can take."""
        self._move_to_device(self.vae)
        visible = visible_frames(mask, self.family.grid)
        videos = self.family.condition_videos(over, mask, visible)
        layers = {name: self.family.encode_video(self.vae, video).mean for name, (video, _) in videos.items()}
        return self.family.condition(layers, mask, visible, downsample)

    def _move_to_device(self, module: Any) -> None:
        """Under offload a module moves when its forward is called; we call its parts, so we ask for the move."""
        hook = getattr(module, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(module)


def apply_lora(transformer: Any, request: LoraRequest, base: LocalModel) -> None:
    """Put a LoRA onto a transformer, beside its weights or into them.

    Raises:
        ValueError: it cannot be read, or was trained on another base.
    """
    file = read_lora(request.path, linear_shapes(transformer), base=base.id)
    trained_on = file.origin.get("base", {})
    if trained_on and trained_on["transformer"] != base.sha256("transformer"):
        raise ValueError(
            f"{request.path}: was trained on {trained_on['id']}, whose weights are others than those of {base.id}; "
            "take that base"
        )
    (merge_lora if request.merge else attach_lora)(transformer, file.layers, request.factor)


def _load_checkpoint(transformer: Any, path: Path) -> None:
    """Lay a checkpoint's weights over the transformer's own, or put its LoRA beside them."""
    manifest = checkpoint.read_manifest(path)  # refuses a damaged one
    tensors = checkpoint.read_tensors(path, checkpoint.EMA)  # the moving average, where there is one
    tensors = tensors or checkpoint.read_tensors(path, checkpoint.WEIGHTS)
    lora = manifest["identity"].get("lora")
    if lora is not None:
        attach_lora(transformer, layers_of(tensors, LoraSettings(**lora | {"targets": tuple(lora["targets"])})))
        return
    weights = dict(transformer.named_parameters())
    unfit = [name for name in tensors if name not in weights or weights[name].shape != tensors[name].shape]
    if unfit:
        raise ValueError(f"{path}: weight {unfit[0]} does not fit the base model; take the one it was trained on")
    checkpoint.copy_tensors(weights, tensors)


def decode_folder(folder: Path, cache_folder: Path, model: Path, device: str) -> None:
    """Decode all latents in a folder into strips of what was shown, its mask, the result and the truth, side by side.

    Each becomes a video, and a picture of four of its frames.
    """
    safetensors, device = require("safetensors", extra="train"), models.select_device(device)
    cache = open_cache(cache_folder)
    family = family_of_record(cache.manifest["family"])
    vae = family.load_vae(model, dtype="float32" if device == "cpu" else "bfloat16").to(device)
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            row, latents = cache.read(file.metadata()["key"]), file.get_tensor("latents")
        layers = [row.conditions.get("video"), row.target]
        over, gt = (None if layer is None else torch.from_numpy(layer.mean)[None] for layer in layers)
        parts = [decode_latents(family, vae, part) for part in (over, latents, gt) if part is not None]
        columns = [encoders.video_to_frames(part) for part in parts]
        if row.mask is not None:
            grey = row.mask.astype(np.uint8) * np.uint8(255)
            columns.insert(1, np.repeat(grey[..., None], 3, axis=3))
        strip = np.concatenate(columns, axis=2)
        numbers = np.linspace(0, len(strip) - 1, min(STRIP_FRAMES, len(strip))).round().astype(int)
        picture = np.concatenate(list(strip[numbers]))
        atomic_write(path.with_suffix(".mp4"), encode_mp4(strip, fps=FPS, crf=CRF))
        atomic_write(path.with_suffix(".png"), cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def reflect_indices(frames: int, length: int) -> np.ndarray:
    """Numbers of the frames that fill a longer clip: forwards, then backwards from the last, and so on."""
    return np.pad(np.arange(frames), (0, length - frames), "symmetric")


def _describe(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} frames of {shape[1]}x{shape[2]}"
