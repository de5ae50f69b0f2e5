"""Removal of subject and effects by a video model, from a clip and a trimask of what goes and what stays.

Tensors are those of Generative Omnimatte's public inference code. The clip itself (nothing is blanked out) and the
trimask are the conditioning: 0 where something goes, 0.5 where the model decides, 1 where something stays. A clip is
padded by reflection, to the model's window at least; longer ones go in overlapping windows.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Matte, Rgb
from ...extras import require
from ..base.conditioning import add_noise, noise_level
from ..base.encoders import frames_to_video, video_to_frames
from ..base.families import open_family
from ..base.family import Family
from ..base.lora import match_layers, merge_lora
from ..base.memory import free_memory_bytes
from ..base.models import load_text_model, select_device
from ..base.network import Conditioning
from ..base.published import UnusableWeights, WeightsFile, class_of, open_weights
from ..sampling.pipeline import reflect_indices
from ..sampling.sample import SamplingSettings, WindowSettings, denoise

torch = require("torch", extra="train")


class TooLittleMemory(RuntimeError):
    """A model or a clip does not fit the memory that is free; the message says how much is and what to do."""

    is_sentence = True
    is_unavailable = True


@dataclass(frozen=True, kw_only=True)
class RemovalSettings:
    """Weights, base and sampling of a removal model: all that decides what it returns."""

    weights: Path
    """File of a transformer, or of a LoRA."""
    base: Path
    """Folder of the base model."""
    lora_base: Path | None
    """File or folder of the transformer that a LoRA changes; None takes the base's."""
    lora_weight: float
    steps: int
    guidance: float
    seed: int
    window_frames: int | None
    """Frames of a window; None takes as many as the family was trained on."""
    overlap_frames: int
    device: str


class Remover:
    """A removal model in memory: transformer and video autoencoder; the text encoder comes and goes."""

    def __init__(self, settings: RemovalSettings) -> None:
        """Load the weights.

        Raises:
            UnusableWeights: the weights are damaged or of another model.
            TooLittleMemory: they do not fit.
        """
        self.settings, self.device = settings, select_device(settings.device)
        self.dtype = "float32" if self.device == "cpu" else "bfloat16"
        self.folder, weights = settings.base, open_weights(settings.weights)
        need_memory(open_transformer(weights, self.folder, settings.lora_base), self.folder, self.device, self.dtype)
        self.family, transformer = load_removal_transformer(
            weights, self.folder, lora_base=settings.lora_base, lora_weight=settings.lora_weight, dtype=self.dtype
        )
        self.windows = self._windows()
        self.transformer = transformer.to(self.device)
        self.vae = self.family.load_vae(self.folder, dtype=self.dtype).to(self.device)
        self.scheduler = self.family.load_scheduler(self.folder)
        self.encode_prompt = functools.cache(self._encode_prompt)

    def remove(self, gt: Rgb, trimask: Matte, prompt: str) -> Rgb:
        """Return the clip without what the trimask removes; equal inputs and seeds give equal clips on one machine.

        Args:
            gt: the clip, of any length and size.
            trimask: 0 what goes, with its effects; 255 what stays, with its effects; 128 the rest.
            prompt: what is to be seen instead.
        """
        height, width = gt.shape[1:3]
        index = self._padded_frames(len(gt))
        sides = ((0, 0), *((0, -side % self.family.grid.side_multiple) for side in (height, width)))
        clip = np.pad(gt[index], (*sides, (0, 0)), "edge")
        conditioning = self.conditioning(clip, np.pad(trimask[index], sides, "edge"))
        settings = self.settings
        sampling = SamplingSettings(
            steps=settings.steps, guidance=settings.guidance, seed=settings.seed, windows=self.windows
        )
        texts = tuple(rows.to(self.device) for rows in self.encode_prompt(prompt))
        family = self.family.prepare_clip(self.folder, self.transformer, clip)
        latents = denoise(family, self.transformer, self.scheduler, conditioning, texts, sampling)
        runs = [video_to_frames(run) for run in self.family.decode_in_runs(self.vae, latents)]
        return np.ascontiguousarray(np.concatenate(runs)[: len(gt), :height, :width])

    def conditioning(self, gt: Rgb, trimask: Matte) -> Conditioning:
        """Mask and video channels of a clip that the model can take."""
        level = noise_level("from_config", adds_noise=self.family.adds_noise)
        video = add_noise(frames_to_video(gt), level, seed=self.settings.seed).to(self.device)
        mask = 1 - torch.from_numpy(trimask.astype(np.float32) / 255)[None].to(self.device)
        visible = torch.ones(self.family.grid.latent_frames(len(gt)), dtype=torch.bool)
        videos = self.family.condition_videos(video, mask, visible)
        layers = {name: self.family.encode_video(self.vae, video).mean for name, (video, _) in videos.items()}
        return self.family.condition(layers, mask, visible)

    def _windows(self) -> WindowSettings:
        """Windows in latent frames."""
        grid = self.family.grid
        try:
            grid.check_length(self._window_frames, "decompose.window_frames")
            overlap = self.settings.overlap_frames // grid.frames_per_latent
            return WindowSettings(length=grid.latent_frames(self._window_frames), overlap=overlap)
        except ValueError as error:
            raise UnusableWeights(
                f"{self.settings.weights}: cannot take decompose.window_frames={self._window_frames} at once; it takes "
                f"{grid.rule}, and decompose.overlap_frames is at most half of it"
            ) from error

    @property
    def _window_frames(self) -> int:
        return self.settings.window_frames or self.family.trained_shape[0]

    def _padded_frames(self, frames: int) -> np.ndarray:
        """Numbers of the frames of a clip that the model takes: its own, then those before its end, reflected."""
        return reflect_indices(frames, self.family.grid.padded_length(max(frames, self._window_frames)))

    def _encode_prompt(self, prompt: str) -> tuple[Any, Any]:
        """Rows of the prompt and of an empty text; the encoder, as large as the transformer, takes its place."""
        self.transformer.to("cpu")
        model = load_text_model(self.folder, dtype=self.dtype)
        rows = self.family.encode_texts(model._replace(encoder=model.encoder.to(self.device)), [prompt, ""]).cpu()
        del model
        self.transformer.to(self.device)
        return rows[:1], rows[1:]


def open_transformer(weights: WeightsFile, base: Path, lora_base: Path | None) -> WeightsFile:
    """Open the whole transformer: the weights themselves, or what a LoRA changes, of the base where none is named."""
    return open_weights(lora_base or base / "transformer") if weights.is_lora else weights


def load_removal_transformer(
    weights: WeightsFile, base: Path, *, lora_base: Path | None = None, lora_weight: float = 1.0, dtype: str = "float32"
) -> tuple[Family, Any]:
    """Load the transformer onto the CPU, frozen, with its family.

    Args:
        weights: a whole transformer, or a LoRA.
        base: folder of the base model, whose `transformer/config.json` says how large it is.
        lora_base: file or folder of the transformer that a LoRA changes; None takes the base's.
        lora_weight: factor of a LoRA's changes.
        dtype: torch's name of the weights' type; those that the class wants exact stay 32-bit.

    Raises:
        UnusableWeights: the weights are of another family, size or mask encoding than the base, or are cut short.
    """
    class_of(weights)  # refuses what is neither
    published = open_transformer(weights, base, lora_base)
    try:
        family = open_family(base, published=published)
        transformer = family.load_transformer(base, dtype=dtype, published=published)
        if weights.is_lora:
            matrices = {name: weight for name, weight in transformer.named_parameters() if weight.ndim == 2}
            shapes = {name.removesuffix(".weight"): tuple(weight.shape) for name, weight in matrices.items()}
            layers = match_layers(weights.read(torch.float32), shapes, label=str(weights.path), base=str(base))
            merge_lora(transformer, layers, lora_weight)
    except ValueError as error:
        raise UnusableWeights(str(error)) from error
    return family, transformer.eval().requires_grad_(False)


@functools.lru_cache(maxsize=1)
def load_remover(settings: RemovalSettings) -> Remover:
    """Load a removal model once a process."""
    return Remover(settings)


def need_memory(weights: WeightsFile, base: Path, device: str, dtype: str) -> None:
    """Refuse weights that do not fit the memory that is free, before they are read.

    Raises:
        TooLittleMemory: naming both.
    """
    available = free_memory_bytes(device)
    size = torch.finfo(getattr(torch, dtype)).bits // 8
    needed = weights.numbers * size + sum(file.stat().st_size for file in (base / "vae").glob("*.safetensors"))
    needed = max(needed, sum(file.stat().st_size for file in (base / "text_encoder").glob("*.safetensors")))
    if needed > available:
        raise TooLittleMemory(
            f"{weights.path}: takes {needed / 1e9:.1f} GB of memory as {dtype}, and {device} has "
            f"{available / 1e9:.1f} GB free; end what else uses it, name another "
            "decompose.device, or take Casper on Wan2.1 Fun 1.3B"
        )


@contextmanager
def explain_failures(shape: Sequence[int], device: str) -> Iterator[None]:
    """Turn errors of too little memory, as torch and Python word it, and of a base's files into sentences.

    Raises:
        TooLittleMemory: in place of the first.
        UnusableWeights: in place of a ValueError, which would say that the clip cannot be used.
    """
    try:
        yield
    except ValueError as error:
        raise UnusableWeights(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, TooLittleMemory) or not is_out_of_memory(error):
            raise
        size = "x".join(map(str, shape))
        raise TooLittleMemory(
            f"a clip of {size} does not fit the memory of {device} beside the model; lower normalise.max_frames or "
            "decompose.window_frames, or choose another decompose.device"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch says so on a CPU in words alone."""
    words = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        part in words for part in ("not enough memory", "can't allocate memory", "out of memory")
    )
