"""Families of video models: what sampling and removal ask of a model, so that both are written once.

A family is a value without weights; the loaded parts are handed to its methods. All latents are [b, f, 16, h, w] as the
transformer sees them, whatever order of axes and scale the family's own classes use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float

from ...extras import require
from .conditioning import resize_mask
from .encoders import decode_in_runs, encode_texts, encode_video
from .latent_shapes import padded_length
from .models import TextModel
from .network import Conditioning, Latents, PixelMask, Tensor, TextRows, Video, predict_velocity, rotary_embedding

torch = require("torch", extra="train")


@runtime_checkable
class Family(Protocol):
    """Encoding, conditioning, prediction and decoding of one family of video models."""

    def padded_length(self, frames: int) -> int:
        """Shortest number of frames that the model takes and that is not below this."""
        ...

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Rows of text as the transformer expects them, in 32-bit."""
        ...

    def encode_video(self, vae: Any, video: Video) -> Latents:
        """Mode of the latents of a clip, scaled."""
        ...

    def encode_keep(self, vae: Any, keep: PixelMask) -> Float[Tensor, "b f m h w"]:
        """Mask channels of the conditioning: 1 keep, 0 make anew, in between not known."""
        ...

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity of noisy latents, in 32-bit; the transformer may be of another dtype."""
        ...

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Decode scaled latents in runs of frames, so that memory does not grow with the clip."""
        ...


@dataclass(frozen=True)
class CogVideoXFamily:
    """CogVideoX 1.5 and its Fun variants, whose transformer takes latent frames in twos."""

    mask_channels: ClassVar[int] = 1

    def padded_length(self, frames: int) -> int:
        """Shortest length of 8k+5 that is not below this."""
        return padded_length(frames)

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Every row of the encoder, padding too."""
        return encode_texts(model, texts)

    def encode_video(self, vae: Any, video: Video) -> Latents:
        """Mode of the latents, times the scaling factor."""
        return encode_video(vae, video).mean * vae.config.scaling_factor

    def encode_keep(self, vae: Any, keep: PixelMask) -> Float[Tensor, "b f m h w"]:
        """One channel: resized to the latents in time and space, times the scaling factor."""
        return resize_mask(keep).unsqueeze(2) * vae.config.scaling_factor

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity, with positions counted from the first of these frames."""
        dtype = next(transformer.parameters()).dtype if hasattr(transformer, "parameters") else torch.float32
        frames, _, height, width = noisy.shape[1:]
        rotary = rotary_embedding(transformer.config, frames, height, width, noisy.device)
        return predict_velocity(transformer, noisy.to(dtype), conditioning, text, timesteps, rotary=rotary).float()

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Decode in runs of at most 8 frames."""
        return decode_in_runs(vae, latents)
