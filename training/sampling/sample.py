"""Noise to latents with classifier-free guidance, for clips of any length and models of either family.

Both halves of the guidance see the same conditioning channels; they differ in the text alone. The scheduler must keep
no state between its steps, for a step is taken once for every window.

Clips longer than the model takes at once are cut into overlapping windows that are blended at every denoising step.
With CogVideoX a window is 22 latent frames (85 frames) and shares 4 with the next. All counts are of latent frames; its
are even, because the transformer takes them in twos.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float32

from ...extras import require
from ...settings import STRICT, CheckedSettings, InRange
from ..base.family import CogVideoXFamily, Family
from ..base.network import Conditioning, Latents, TextRows

torch = require("torch", extra="train")
STATELESS = ("DDIMScheduler", "CogVideoXDDIMScheduler", "StatelessFlow")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Windows that a long clip is cut into, in latent frames."""

    __pydantic_config__ = STRICT
    together: ClassVar[int] = 2
    """Latent frames that the transformer takes as one."""
    all_full: ClassVar[bool] = False
    """Whether the last window begins earlier rather than being shorter."""
    length: int = 22
    overlap: int = 4

    def __post_init__(self) -> None:
        uneven = self.length % self.together or self.overlap % self.together
        if uneven or not 0 <= self.overlap <= self.length // 2 or self.length < 2:
            raise ValueError(
                f"windows of length={self.length} and overlap={self.overlap} latent frames do not go; both are even, "
                "and the overlap is at most half the length"
            )


@dataclass(frozen=True, kw_only=True)
class WanWindows(WindowSettings):
    """Windows of Wan, in latent frames: 81 frames, of any number of latent frames, all of full length."""

    together: ClassVar[int] = 1
    all_full: ClassVar[bool] = True
    length: int = 21


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(CheckedSettings):
    """Denoising steps, guidance, seed and windows of one video."""

    table: ClassVar[str] = "sampling"
    steps: Annotated[int, InRange(1, 1000)] = 50
    guidance: Annotated[float, InRange(0, 100)] = 6.0
    """1 asks the model once per step, without a negative text; high values shift colours."""
    seed: int = 43
    sequential_cfg: bool = False
    """Ask with and without the text one after the other: half the memory of activations."""
    windows: WindowSettings = field(default_factory=WindowSettings)


def denoise(
    transformer: Any,
    scheduler: Any,
    conditioning: Conditioning,
    texts: tuple[TextRows, TextRows],
    sampling: SamplingSettings,
    *,
    family: Family = CogVideoXFamily(),
    report: Callable[[int, int], None] | None = None,
) -> Latents:
    """Sample latents for a conditioning, which also says how long and large the clip is.

    Args:
        transformer: on its device.
        scheduler: without memory; a copy is used.
        conditioning: mask and video.
        texts: rows of the prompt and of the negative one; the second is not looked at with guidance 1.
        sampling: steps, guidance, seed and windows.
        family: the transformer's.
        report: receives each step's number from 1, and the number of steps.

    Raises:
        ValueError: the scheduler keeps state between steps, or the clip is of an odd number of latent frames.
    """
    name = type(scheduler).__name__
    if name not in STATELESS:
        raise ValueError(f"{name} keeps state between steps, so windows cannot share it; use {' or '.join(STATELESS)}")
    scheduler = type(scheduler).from_config(scheduler.config)
    scheduler.set_timesteps(sampling.steps)
    latents = initial_noise(conditioning, sampling.seed)
    model = _GuidedModel(family, transformer, texts, sampling)
    with torch.no_grad():
        for number, timestep in enumerate(scheduler.timesteps, start=1):
            latents = _denoise_step(model, scheduler, latents, conditioning, timestep)
            if report is not None:
                report(number, sampling.steps)
    return latents


def initial_noise(conditioning: Conditioning, seed: int) -> Latents:
    """The noise that sampling starts from: the same for a seed on every device, and the same at the start of a clip
    whatever its length.
    """
    batch, frames, _, height, width = conditioning.shape
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(batch, 16, height, width, generator=generator) for _ in range(frames)]
    return torch.stack(noise, dim=1).to(conditioning.device)


def window_spans(frames: int, windows: WindowSettings) -> list[range]:
    """The windows of a clip; a clip that fits is one, and the last may be shorter (see `WindowSettings.all_full`).

    Raises:
        ValueError: the number of latent frames is odd where the model takes them in twos.
    """
    if frames % windows.together or frames < windows.together:
        raise ValueError(f"{frames} latent frames are not an even number; pad the clip to 8k+5 frames")
    starts = range(0, max(frames - windows.overlap, 1), windows.length - windows.overlap)
    spans = [range(start, min(start + windows.length, frames)) for start in starts]
    if windows.all_full:
        spans[-1] = range(max(frames - windows.length, 0), frames)
    return spans


def window_weights(window: range, frames: int, overlap: int) -> Float32[np.ndarray, "f"]:
    """Weight of a window in each of its frames: rising where one came before, falling where one follows."""
    weights = np.ones(len(window), np.float32)
    if overlap == 0:
        return weights
    ramp = np.linspace(0, 1, overlap + 2, dtype=np.float32)[1:-1]
    if window.start > 0:
        weights[:overlap] = ramp
    if window.stop < frames:
        weights[-overlap:] = ramp[::-1]
    return weights


class _GuidedModel:
    """The transformer with its texts and classifier-free guidance."""

    def __init__(
        self, family: Family, transformer: Any, texts: tuple[TextRows, TextRows], sampling: SamplingSettings
    ) -> None:
        self.family, self.transformer, self.sampling = family, transformer, sampling
        self.texts = texts
        self.both_texts = torch.cat(texts) if sampling.guidance != 1 and not sampling.sequential_cfg else texts[0]

    def __call__(self, noisy: Latents, conditioning: Conditioning, timestep: Any) -> Latents:
        guidance = self.sampling.guidance
        if guidance == 1:
            return self._predict(noisy, conditioning, self.texts[0], timestep)
        if self.sampling.sequential_cfg:
            positive, negative = (self._predict(noisy, conditioning, text, timestep) for text in self.texts)
        else:
            twice = self._predict(torch.cat([noisy] * 2), torch.cat([conditioning] * 2), self.both_texts, timestep)
            positive, negative = twice.chunk(2)
        return negative + guidance * (positive - negative)

    def _predict(self, noisy: Latents, conditioning: Conditioning, text: TextRows, timestep: Any) -> Latents:
        timesteps = timestep.to(noisy.device).expand(len(noisy))
        return self.family.predict(self.transformer, noisy, conditioning, text, timesteps)


def _denoise_step(
    model: _GuidedModel, scheduler: Any, latents: Latents, conditioning: Conditioning, timestep: Any
) -> Latents:
    """One denoising step over all windows."""
    frames, windows = latents.shape[1], model.sampling.windows
    spans = window_spans(frames, windows)
    if len(spans) == 1:
        return scheduler.step(model(latents, conditioning, timestep), timestep, latents, return_dict=False)[0]
    blended, total_weight = torch.zeros_like(latents), latents.new_zeros(1, frames, 1, 1, 1)
    for span in spans:
        part = slice(span.start, span.stop)
        velocity = model(latents[:, part], conditioning[:, part], timestep)
        denoised = scheduler.step(velocity, timestep, latents[:, part], return_dict=False)[0]
        weights = torch.from_numpy(window_weights(span, frames, windows.overlap)).to(latents).view(1, -1, 1, 1, 1)
        blended[:, part] += weights * denoised
        total_weight[:, part] += weights
    return blended / total_weight
