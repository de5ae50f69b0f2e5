"""CogVideoX with pixels in place of latents: the transformer's true class, in a size that a CPU trains in an hour.

Where the real family has a video autoencoder, this one rearranges pixels: four frames of a square of 2x2 pixels become
the 48 channels of a latent, the first frame alone as four copies. Nothing is lost or learnt by it, so whatever a
trained model does wrong comes of masks, loss, schedule, sampling or weights. Masks are stacked: a channel for each of
the four frames. All else is CogVideoX's own code.

The transformer predicts what the composite does not tell. The clip is taken to be `over` but for a spread of
`RESIDUAL`; by that alone the noisy latents have a most likely velocity, and the transformer's output, scaled to the
error that is left, is added to it (preconditioning as in Karras et al. 2022, around `over` in place of 0). A network of
this size would take many hours to learn to copy; the loss is still that of the velocity, and all else is learnt.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...extras import require
from .cogvideox import CogVideoXFamily
from .encoders import Moments
from .latent_shapes import LatentGrid
from .models import Layout, assemble, load_weights, read_config
from .network import Conditioning, Latents, TextRows, Video
from .published import WeightsFile
from .tiny import SCHEDULER

torch = require("torch", extra="train")
Module: Any = torch.nn.Module
RESIDUAL = 0.15
"""Standard deviation, in latents, by which a clip is expected to differ from its composite."""
LOGVAR = -30.0
"""Log-variance of latents that are no distribution: a draw differs from the mean by a millionth of its scale."""


class PixelShuffle(Module):  # type: ignore[misc]
    """Pixels to channels and back, bit for bit; in the place of an autoencoder, without weights."""

    def __init__(self, frames: int, pixels: int) -> None:
        super().__init__()
        self.frames, self.pixels = frames, pixels
        self.config = {"_class_name": type(self).__name__}
        self.register_buffer("anchor", torch.zeros(0), persistent=False)

    @property
    def device(self) -> Any:
        """Device that it was sent to."""
        return self.anchor.device

    @property
    def dtype(self) -> Any:
        """Dtype that it was brought to."""
        return self.anchor.dtype

    def encode(self, video: Video) -> Latents:
        """Channels in the order colour, frame, row, column."""
        whole = torch.cat([video[:, :, :1].expand(-1, -1, self.frames, -1, -1), video[:, :, 1:]], dim=2)
        split = whole.unflatten(4, (-1, self.pixels)).unflatten(3, (-1, self.pixels)).unflatten(2, (-1, self.frames))
        latents: Latents = split.permute(0, 2, 1, 3, 5, 7, 4, 6).flatten(2, 5)
        return latents

    def decode(self, latents: Latents) -> Video:
        """All frames of the latents, four of the first too."""
        split = latents.unflatten(2, (3, self.frames, self.pixels, self.pixels)).permute(0, 2, 1, 3, 6, 4, 7, 5)
        video: Video = split.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return video


@dataclass(frozen=True, kw_only=True)
class PixelShuffleFamily(CogVideoXFamily):
    """CogVideoX without an autoencoder."""

    name: ClassVar[str] = "pixel-shuffle"
    grid: ClassVar[LatentGrid] = LatentGrid(pixels_per_latent=2)
    trained_shape: ClassVar[tuple[int, int, int]] = (13, 48, 80)
    latent_channels: ClassVar[int] = 48
    mask_channels: int = 4
    scale: float = 2.0
    """Factor that brings pixels in [-1, 1] to a variance of about 1."""

    @classmethod
    def recognise(
        cls, config: Mapping[str, Any], vae: Mapping[str, Any], layout: Layout = "auto"
    ) -> "PixelShuffleFamily | None":
        """The family of a model by its transformer's config; None where it is another."""
        is_cogvideox = config.get("_class_name", cls.transformer_class) == cls.transformer_class
        return cls() if is_cogvideox and config.get("out_channels") == cls.latent_channels else None

    @property
    def title(self) -> str:
        """Name in model cards."""
        return "small CogVideoX without an autoencoder"

    @property
    def conditioning_channels(self) -> int:
        """Those of the mask and of the composite."""
        return self.mask_channels + self.latent_channels

    def load_transformer(
        self, folder: Path, *, dtype: str | None = "float32", published: WeightsFile | None = None
    ) -> Any:
        """Load the transformer."""
        path = folder / "transformer" if (folder / "transformer").is_dir() else folder
        model_class = require("diffusers", extra="train").CogVideoXTransformer3DModel
        return assemble(model_class, read_config(path), load_weights(path, dtype), path)

    def load_vae(self, folder: Path, *, dtype: str = "float32") -> Any:
        """Make the rearrangement, which has no weights."""
        return PixelShuffle(self.grid.frames_per_latent, self.grid.pixels_per_latent).to(getattr(torch, dtype))

    def encode_video(self, vae: Any, video: Video) -> Moments:
        """Rearrange the pixels of a clip."""
        self.grid.check_shape(*video.shape[2:], label="video")
        mean = vae.encode(video.to(vae.device, vae.dtype)).float() * self.scale
        return Moments(mean, torch.full_like(mean, LOGVAR))

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity that composite and noisy latents tell, and the transformer's share."""
        output = super().predict(transformer, noisy, conditioning, text, timesteps)
        alpha = _alphas().to(noisy.device)[timesteps].view(-1, 1, 1, 1, 1)
        variance = RESIDUAL**2 * alpha + (1 - alpha)
        over = conditioning[:, :, self.mask_channels :]
        known = (1 - alpha).sqrt() * (alpha.sqrt() * (1 - RESIDUAL**2) * noisy - over) / variance
        return known + RESIDUAL / variance.sqrt() * output

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Rearrange latent frames one by one; the first frame is the mean of its four copies."""
        for number in range(latents.shape[1]):
            run = vae.decode(latents[:, number : number + 1].to(vae.device, vae.dtype) / self.scale).float()
            yield (run if number else run.mean(dim=2, keepdim=True)).clamp(-1, 1)

    def decoding_numbers(self, vae: Mapping[str, Any]) -> int:
        """Colours of a run's frames, before and after."""
        return 6 * self.grid.frames_per_latent


@functools.cache
def _alphas() -> Any:
    return require("diffusers", extra="train").DDIMScheduler(**SCHEDULER).alphas_cumprod
