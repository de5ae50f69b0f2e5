"""Noise to latents: DDIM with classifier-free guidance, for clips of any length.

Both halves of the guidance see the same seventeen conditioning channels; they differ in the text alone. The scheduler
must keep no state between its steps, for a step is taken once for every window.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...extras import require
from ..base.network import predict_velocity, rotary_embedding
from ..base.strict import STRICT
from ..base.tensors import Conditioning, Latents, TextRows
from .windows import WindowSettings, weights, window_spans

torch = require("torch", extra="train")
STATELESS = ("DDIMScheduler", "CogVideoXDDIMScheduler")


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How to sample."""

    __pydantic_config__ = STRICT
    steps: int = 50
    guidance: float = 6.0
    """1 asks the model once per step, without a negative text; high values shift colours."""
    seed: int = 43
    sequential_cfg: bool = False
    """Ask with and without the text one after the other: half the memory of activations."""
    windows: WindowSettings = field(default_factory=WindowSettings)

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps={self.steps} is not in [1, 1000]; 50 are usual")
        if not 0 <= self.guidance <= 100:
            raise ValueError(f"guidance={self.guidance} is not in [0, 100]; 6 is usual, 1 is none")


def denoise(
    transformer: Any,
    scheduler: Any,
    conditioning: Conditioning,
    texts: tuple[TextRows, TextRows],
    sampling: SamplingSettings,
    *,
    report: Callable[[int, int], None] | None = None,
) -> Latents:
    """Sample latents for a conditioning.

    Args:
        transformer: on its device.
        scheduler: of DDIM's kind; a copy is used.
        conditioning: also says how long and large the clip is.
        texts: rows of the prompt and of the negative one; the second is not looked at with guidance 1.
        sampling: how.
        report: called after each step with its number from 1 and how many there are.

    Raises:
        ValueError: the scheduler keeps state between steps, or the clip is of an odd number of latent frames.
    """
    stepper = _stepper(scheduler, sampling.steps)
    latents = initial_noise(conditioning, sampling.seed)
    ask = _Asking(transformer, texts, sampling)
    with torch.no_grad():
        for number, time in enumerate(stepper.timesteps, start=1):
            latents = _step(ask, stepper, latents, conditioning, time)
            if report is not None:
                report(number, sampling.steps)
    return latents


def initial_noise(conditioning: Conditioning, seed: int) -> Latents:
    """The noise that sampling starts from: the same for a seed on every device, and the same at the start of a clip
    whatever its length.
    """
    batch, frames, _, height, width = conditioning.shape
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(batch, 16, height, width, generator=generator) for _ in range(frames)]
    return torch.stack(drawn, dim=1).to(conditioning.device)


class _Asking:
    """The transformer with its texts, guided."""

    def __init__(self, transformer: Any, texts: tuple[TextRows, TextRows], sampling: SamplingSettings) -> None:
        self.transformer, self.sampling = transformer, sampling
        self.dtype = next(transformer.parameters()).dtype if hasattr(transformer, "parameters") else torch.float32
        self.texts = texts
        self.both = torch.cat(texts) if sampling.guidance != 1 and not sampling.sequential_cfg else texts[0]
        self.where: dict[int, Any] = {}

    def __call__(self, noisy: Latents, conditioning: Conditioning, time: Any) -> Latents:
        guidance = self.sampling.guidance
        if guidance == 1:
            return self._once(noisy, conditioning, self.texts[0], time)
        if self.sampling.sequential_cfg:
            told, untold = (self._once(noisy, conditioning, text, time) for text in self.texts)
        else:
            twice = self._once(torch.cat([noisy] * 2), torch.cat([conditioning] * 2), self.both, time)
            told, untold = twice.chunk(2)
        return untold + guidance * (told - untold)

    def _once(self, noisy: Latents, conditioning: Conditioning, text: TextRows, time: Any) -> Latents:
        frames, _, height, width = noisy.shape[1:]
        if frames not in self.where:
            self.where[frames] = rotary_embedding(self.transformer.config, frames, height, width, noisy.device)
        times = time.to(noisy.device).expand(len(noisy))
        found = predict_velocity(
            self.transformer, noisy.to(self.dtype), conditioning, text, times, where=self.where[frames]
        )
        return found.float()


def _step(ask: _Asking, stepper: Any, latents: Latents, conditioning: Conditioning, time: Any) -> Latents:
    """One denoising step over all windows."""
    frames, windows = latents.shape[1], ask.sampling.windows
    cut = window_spans(frames, windows)
    if len(cut) == 1:
        return stepper.step(ask(latents, conditioning, time), time, latents, return_dict=False)[0]
    total, counted = torch.zeros_like(latents), latents.new_zeros(1, frames, 1, 1, 1)
    for window in cut:
        part = slice(window.start, window.stop)
        velocity = ask(latents[:, part], conditioning[:, part], time)
        moved = stepper.step(velocity, time, latents[:, part], return_dict=False)[0]
        share = torch.from_numpy(weights(window, frames, windows.overlap)).to(latents).view(1, -1, 1, 1, 1)
        total[:, part] += share * moved
        counted[:, part] += share
    return total / counted


def _stepper(scheduler: Any, steps: int) -> Any:
    kind = type(scheduler).__name__
    if kind not in STATELESS:
        raise ValueError(f"{kind} keeps state between steps, so windows cannot share it; use {' or '.join(STATELESS)}")
    stepper = type(scheduler).from_config(scheduler.config)
    stepper.set_timesteps(steps)
    return stepper
