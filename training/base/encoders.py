"""Video autoencoder and text encoder of the base model: clips to latents and back, captions to rows of text.

Encoding video is the library's own. Decoding is not: the library takes latent frames in twos from the start when their
count is even, and so makes 88 frames of the 22 latents that 85 frames became, shifted by three. Here the first latent
frame is decoded alone, as it was encoded, and the others in twos; a last single one is doubled and half its frames
dropped.

Every caption is padded or cut to the same length and encoded without an attention mask, as the base model was trained:
the padding rows are not zero, and the real rows depend on them. All rows are therefore kept; none is trimmed or masked.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Rgb
from ...extras import require
from .latent_shapes import FRAMES_PER_LATENT, check_shape
from .models import TextModel
from .network import Latents, TextRows, Video

torch = require("torch", extra="train")


class Moments(NamedTuple):
    """The encoder's normal distribution of the latents; `mean` and `logvar` are not yet scaled."""

    mean: Latents
    logvar: Latents


def encode_video(vae: Any, video: Video) -> Moments:
    """Encode whole clips; memory beyond the clip itself does not grow with their length.

    Raises:
        ValueError: the length is not 8k+5 or a side does not divide by 16.
    """
    frames, height, width = video.shape[2:]
    check_shape(frames, height, width, label="video")
    with torch.no_grad():
        posterior = vae.encode(video.to(vae.device, vae.dtype)).latent_dist
    return Moments(posterior.mean.transpose(1, 2).float(), posterior.logvar.transpose(1, 2).float())


def sample_latents(moments: Moments, noise: Latents, scale: float) -> Latents:
    """A sample of the latents, as training sees them."""
    return (moments.mean + torch.exp(0.5 * moments.logvar.clamp(-30, 20)) * noise) * scale


def decode_latents(vae: Any, latents: Latents) -> Video:
    """Decode scaled latents to exactly 4 (f - 1) + 1 frames."""
    return torch.cat(list(decode_in_runs(vae, latents)), dim=2)


def decode_in_runs(vae: Any, latents: Latents) -> Iterator[Video]:
    """Decode in runs of at most 8 frames, so that memory does not grow with the clip."""
    planes = (latents / vae.config.scaling_factor).transpose(1, 2).to(vae.device, vae.dtype)
    frames, cache = planes.shape[2], None
    for start in [0, *range(1, frames, 2)]:
        run = planes[:, :, start : start + (2 if start else 1)]
        alone = start > 0 and run.shape[2] == 1
        with torch.no_grad():
            video, cache = vae.decoder(torch.cat([run, run], dim=2) if alone else run, conv_cache=cache)
        yield (video[:, :, :FRAMES_PER_LATENT] if alone else video).float().clamp(-1, 1)


def frames_to_video(frames: Rgb) -> Video:
    """One clip of 8-bit frames as a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))[None].float() / 127.5 - 1


def video_to_frames(video: Video) -> Rgb:
    """The first clip of a batch as 8-bit frames, rounded to the nearest value."""
    scaled = ((video[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    frames: Rgb = np.ascontiguousarray(scaled.permute(1, 2, 3, 0).cpu().numpy())
    return frames


def encode_texts(model: TextModel, texts: Sequence[str]) -> TextRows:
    """Encode texts, each to the same number of rows, in 32-bit."""
    tokens = model.tokenizer(
        list(texts), padding="max_length", max_length=model.length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        rows = model.encoder(tokens.input_ids.to(model.encoder.device))[0]
    return rows.float()
