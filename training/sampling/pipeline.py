"""From a composite without effects to a video with them: the pipeline class, in the manner of diffusers.

`EffectPipeline.load(BaseModelRef(id=...), trained)` takes the base model's parts and the weights of a training run;
`save_pretrained`, `from_pretrained`, `to` and `enable_model_cpu_offload` are the library's own. Any length goes: the
clip is padded by reflection to 8k+5 frames, sampled in overlapping windows, and cropped back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Mask, Matte, Rgb
from ...extras import require
from ..base import checkpoint, models, text, vae
from ..base.conditioning import CHANNELS, SoftMask, encode_mask_channel, join, quantise_mask, unknown_mask
from ..base.latent_shapes import PIXELS_PER_LATENT, check_shape, latent_frames, padded_length
from ..base.tensors import Conditioning, Latents
from ..base.trimask import Downsample
from .sample import SamplingSettings, denoise

torch = require("torch", extra="train")
DiffusionPipeline: Any = require("diffusers", extra="train").DiffusionPipeline
Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PipelineInput:
    """What a video is to be made of."""

    prompt: str
    negative: str = ""
    over: Rgb | None = None
    """The subject over the clean background; None makes a video of the text alone."""
    effect_mask: np.ndarray | None = None
    """Of every frame: effect here (True, 1 or 255), none here (0), not known (0.5 or 128). None: not known at all."""
    shape: tuple[int, int, int] | None = None
    """Frames, height and width of a video of text alone."""
    mask_downsample: Downsample = "trilinear"
    """How the mask shrinks to the latents: trilinear as while training; max keeps thin strokes that were drawn."""

    def __post_init__(self) -> None:
        if (self.over is None) == (self.shape is None):
            raise ValueError("give either over, the composite, or shape, the size of a video of text alone")
        if self.over is None and self.effect_mask is not None:
            raise ValueError("an effect mask needs a composite; give over as well, or no mask")
        if self.over is not None and self.effect_mask is not None and self.effect_mask.shape != self.over.shape[:3]:
            raise ValueError(
                f"the effect mask has {_said(self.effect_mask.shape)}, the video {_said(self.over.shape[:3])}; "
                "give a mask for every frame, or keyframes"
            )

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        frames, height, width = self.shape or (self.over.shape[:3] if self.over is not None else (0, 0, 0))
        return frames, height, width


class EffectPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Tokenizer, text encoder, video autoencoder, transformer and schedule, working together."""

    model_cpu_offload_seq = "text_encoder->vae->transformer"

    def __init__(self, tokenizer: Any, text_encoder: Any, vae: Any, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer, text_encoder=text_encoder, vae=vae, transformer=transformer, scheduler=scheduler
        )

    @classmethod
    def load(
        cls, model: models.BaseModelRef, trained: Path | None = None, *, dtype: str = "bfloat16"
    ) -> "EffectPipeline":
        """Put a base model together with what a run has trained.

        Args:
            model: the base model.
            trained: a run's `trained` folder or one of its checkpoints; None keeps the base model as it is.
            dtype: of all weights.

        Raises:
            BaseModelNotFound: the base model is not on this machine.
            ValueError: the trained weights do not fit it.
        """
        folder = models.locate_model(model).folder
        tokenizer, encoder = models.load_text_model(folder, dtype=dtype)
        overlay = trained is not None and (trained / checkpoint.MANIFEST).exists()
        transformer = models.load_transformer(folder if trained is None or overlay else trained, dtype=dtype)
        if trained is not None and overlay:
            load_checkpoint_into(transformer, trained)
        parts = models.load_vae(folder, dtype=dtype), transformer.eval(), models.load_scheduler(folder)
        return cls(tokenizer, encoder, *parts)

    def __call__(
        self, asked: PipelineInput, sampling: SamplingSettings = SamplingSettings(), *, report: Report | None = None
    ) -> Rgb:
        """Make a video of the length and size that was asked for; equal seeds give equal videos.

        Raises:
            ValueError: a side does not divide by 16.
        """
        latents = self.latents(asked, sampling, report=report)
        self._wake(self.vae)
        runs = [vae.to_frames(run) for run in vae.decode_runs(self.vae, latents)]
        frames: Rgb = np.concatenate(runs)[: asked.size[0]]
        self.maybe_free_model_hooks()
        return frames

    def latents(self, asked: PipelineInput, sampling: SamplingSettings, *, report: Report | None = None) -> Latents:
        """The same before decoding, of the padded length."""
        texts = self._texts(asked)
        conditioning = self.conditioning(asked).to(self._execution_device)
        self._wake(self.transformer)
        return denoise(self.transformer, self.scheduler, conditioning, texts, sampling, report=report)

    def conditioning(self, asked: PipelineInput) -> Conditioning:
        """What the transformer is told of the composite and the mask, for the padded length."""
        frames, height, width = asked.size
        length = padded_length(frames)
        check_shape(length, height, width, what="the video")
        if asked.over is None:
            sides = (side // PIXELS_PER_LATENT for side in (height, width))
            return torch.zeros(1, latent_frames(length), CHANNELS, *sides)
        index = reflect_indices(frames, length)
        mask = unknown_mask(*asked.size) if asked.effect_mask is None else soft(asked.effect_mask)
        scale = float(self.vae.config.scaling_factor)
        fed = encode_mask_channel(torch.from_numpy(mask[index])[None], how=asked.mask_downsample, scale=scale)
        self._wake(self.vae)
        over = vae.encode(self.vae, vae.to_video(asked.over[index])).mean * scale
        return join(fed.to(over.device), over)

    def _texts(self, asked: PipelineInput) -> tuple[Any, Any]:
        length = int(getattr(self.transformer.config, "max_text_seq_length", 226))
        self._wake(self.text_encoder)
        model = text.TextModel(self.tokenizer, self.text_encoder, length)
        rows = text.encode_texts(model, [asked.prompt, asked.negative]).to(self._execution_device)
        return rows[:1], rows[1:]

    def _wake(self, module: Any) -> None:
        """Under offload a module moves when its forward is called; we call its parts, so we ask for the move."""
        hook = getattr(module, "_hf_hook", None)
        if hook is not None:
            hook.pre_forward(module)


def load_checkpoint_into(transformer: Any, place: Path) -> None:
    """Put a checkpoint's weights over a base model's, their running mean where one was kept.

    Raises:
        ValueError: the checkpoint is damaged or of another model.
    """
    checkpoint.read_manifest(place)
    found = checkpoint.read(place, checkpoint.MEAN) or checkpoint.read(place, checkpoint.WEIGHTS)
    held = dict(transformer.named_parameters())
    strange = [name for name, weight in found.items() if name not in held or held[name].shape != weight.shape]
    if strange:
        raise ValueError(f"{place}: weight {strange[0]} does not fit the base model; take the one it was trained on")
    with torch.no_grad():
        for name, weight in found.items():
            held[name].copy_(weight)


def reflect_indices(frames: int, length: int) -> np.ndarray:
    """Which frames stand for a longer clip: forwards, then backwards from the last, and so on."""
    turn = np.arange(length) % (2 * frames)
    return np.where(turn < frames, turn, 2 * frames - 1 - turn)


def soft(mask: Mask | Matte | SoftMask) -> SoftMask:
    """A mask of any kind as 0, 0.5 (not known) and 1."""
    values = mask.astype(np.float32)
    return quantise_mask(values / 255 if mask.dtype == np.uint8 else values)


def _said(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} frames of {shape[1]}x{shape[2]}"
