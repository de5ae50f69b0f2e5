"""Noise to latents with classifier-free guidance, for clips of any length and models of any family.

Both halves of the guidance see the same conditioning channels; they differ in the text alone. The scheduler must keep
no state between its steps, for a step is taken once for every window.

Clips longer than the model takes at once are cut into overlapping windows that are blended at every denoising step.
With CogVideoX a window is 22 latent frames (85 frames) and shares 4 with the next; its counts are even, because the
transformer takes latent frames in twos. With Wan it is 21 (81 frames).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float32

from ...extras import require
from ...settings import STRICT, CheckedSettings, InRange
from ..base.family import Family
from ..base.models import DENOISING_STEPS
from ..base.network import Conditioning, Latents, TextRows

torch = require("torch", extra="train")
STATELESS = ("DDIMScheduler", "CogVideoXDDIMScheduler", "StatelessFlow")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Windows that a long clip is cut into, in latent frames."""

    __pydantic_config__ = STRICT
    length: int
    overlap: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.length // 2 or self.length < 1:
            raise ValueError(
                f"windows of length={self.length} and overlap={self.overlap} latent frames do not go; the overlap is "
                "at most half the length"
            )


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(CheckedSettings):
    """Denoising steps, guidance, seed and windows of one video."""

    table: ClassVar[str] = "sampling"
    steps: Annotated[int, InRange(1, 1000)] = DENOISING_STEPS
    guidance: Annotated[float, InRange(0, 100)] = 6.0
    """1 asks the model once per step, without a negative text; high values shift colours."""
    seed: int = 43
    sequential_cfg: bool = False
    """Ask with and without the text one after the other: half the memory of activations."""
    windows: WindowSettings | None = None
    """None takes windows of the length that the base model was trained on."""


def denoise(
    family: Family,
    transformer: Any,
    scheduler: Any,
    conditioning: Conditioning,
    texts: tuple[TextRows, TextRows],
    sampling: SamplingSettings,
    *,
    report: Callable[[int, int], None] | None = None,
) -> Latents:
    """Sample latents for a conditioning, which also says how long and large the clip is.

    Args:
        family: the transformer's.
        transformer: on its device.
        scheduler: without memory; a copy is used.
        conditioning: mask and video.
        texts: rows of the prompt and of the negative one; the second is not looked at with guidance 1.
        sampling: steps, guidance, seed and windows.
        report: receives each step's number from 1, and the number of steps.

    Raises:
        ValueError: the scheduler keeps state between steps, or clip or windows are of latent frames that do not go.
    """
    name = type(scheduler).__name__
    if name not in STATELESS:
        raise ValueError(f"{name} keeps state between steps, so windows cannot share it; use {' or '.join(STATELESS)}")
    scheduler = type(scheduler).from_config(scheduler.config)
    scheduler.set_timesteps(sampling.steps)
    latents = initial_noise(conditioning, sampling.seed, family.latent_channels)
    windows = sampling.windows or trained_windows(family)
    cut = _ClipWindows(window_spans(family, latents.shape[1], windows), windows.overlap)
    model = _GuidedModel(family, transformer, texts, sampling)
    with torch.no_grad():
        for number, timestep in enumerate(scheduler.timesteps, start=1):
            latents = _denoise_step(model, scheduler, latents, conditioning, timestep, cut)
            if report is not None:
                report(number, sampling.steps)
    return latents


def trained_windows(family: Family) -> WindowSettings:
    """Windows of the length that the base model was trained on, which share four latent frames, or half of them."""
    length, together = family.grid.latent_frames(family.trained_shape[0]), family.grid.frames_together
    return WindowSettings(length=length, overlap=min(4, length // 2 // together * together))


def initial_noise(conditioning: Conditioning, seed: int, channels: int) -> Latents:
    """The noise that sampling starts from: the same for a seed on every device, and the same at the start of a clip
    whatever its length.
    """
    batch, frames, _, height, width = conditioning.shape
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(batch, channels, height, width, generator=generator) for _ in range(frames)]
    return torch.stack(noise, dim=1).to(conditioning.device)


def window_spans(family: Family, frames: int, windows: WindowSettings) -> list[range]:
    """The windows of a clip; one that fits is one, and the last may be shorter (see `Family.has_full_windows`).

    Raises:
        ValueError: latent frames of clip or windows make no whole tokens.
    """
    together = family.grid.frames_together
    uneven = [count for count in (frames, windows.length, windows.overlap) if count % together]
    if uneven or not frames:
        raise ValueError(
            f"{frames} latent frames in windows of {windows.length} that share {windows.overlap} do not go; each "
            f"divides by {together}, pad the clip to {family.grid.rule} frames"
        )
    starts = range(0, max(frames - windows.overlap, 1), windows.length - windows.overlap)
    spans = [range(start, min(start + windows.length, frames)) for start in starts]
    if family.has_full_windows:
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


class _ClipWindows(NamedTuple):
    """Windows of one clip, and how many latent frames each blends into the next."""

    spans: Sequence[range]
    overlap: int


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
    model: _GuidedModel,
    scheduler: Any,
    latents: Latents,
    conditioning: Conditioning,
    timestep: Any,
    windows: _ClipWindows,
) -> Latents:
    """One denoising step over all windows."""
    if len(windows.spans) == 1:
        return scheduler.step(model(latents, conditioning, timestep), timestep, latents, return_dict=False)[0]
    frames = latents.shape[1]
    blended, total_weight = torch.zeros_like(latents), latents.new_zeros(1, frames, 1, 1, 1)
    for span in windows.spans:
        part = slice(span.start, span.stop)
        velocity = model(latents[:, part], conditioning[:, part], timestep)
        denoised = scheduler.step(velocity, timestep, latents[:, part], return_dict=False)[0]
        weights = torch.from_numpy(window_weights(span, frames, windows.overlap)).to(latents).view(1, -1, 1, 1, 1)
        blended[:, part] += weights * denoised
        total_weight[:, part] += weights
    return blended / total_weight
