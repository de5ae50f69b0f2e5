"""Video to latents and back with the base model's VAE.

Encoding is the library's own. Decoding is not: the library takes latent frames in twos from the start when their count
is even, and so makes 88 frames of the 22 latents that 85 frames became, shifted by three. Here the first latent frame
is decoded alone, as it was encoded, and the others in twos; a last single one is doubled and half its frames dropped.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Rgb
from ...extras import require
from .latent_shapes import FRAMES_PER_LATENT, check_shape
from .tensors import Latents, Video

torch = require("torch", extra="train")


class Moments(NamedTuple):
    """Where the encoder believes the latents to be; `mean` and `logvar` are not yet scaled."""

    mean: Latents
    logvar: Latents


def encode(vae: Any, video: Video) -> Moments:
    """Encode whole clips; memory beyond the clip itself does not grow with their length.

    Raises:
        ValueError: the length is not 8k+5 or a side does not divide by 16.
    """
    check_shape(*_clip_shape(video), what="video")
    with torch.no_grad():
        found = vae.encode(video.to(vae.device, vae.dtype)).latent_dist
    return Moments(found.mean.transpose(1, 2).float(), found.logvar.transpose(1, 2).float())


def draw(moments: Moments, noise: Latents, scale: float) -> Latents:
    """A sample of the latents, as training sees them."""
    return (moments.mean + torch.exp(0.5 * moments.logvar.clamp(-30, 20)) * noise) * scale


def decode(vae: Any, latents: Latents) -> Video:
    """Decode scaled latents to exactly 4 (f - 1) + 1 frames."""
    return torch.cat(list(decode_runs(vae, latents)), dim=2)


def decode_runs(vae: Any, latents: Latents) -> Iterator[Video]:
    """The same in runs of at most 8 frames, so that memory does not grow with the clip."""
    planes = (latents / vae.config.scaling_factor).transpose(1, 2).to(vae.device, vae.dtype)
    frames, cache = planes.shape[2], None
    for start in [0, *range(1, frames, 2)]:
        run = planes[:, :, start : start + (2 if start else 1)]
        alone = start > 0 and run.shape[2] == 1
        with torch.no_grad():
            made, cache = vae.decoder(torch.cat([run, run], dim=2) if alone else run, conv_cache=cache)
        yield (made[:, :, :FRAMES_PER_LATENT] if alone else made).float().clamp(-1, 1)


def to_video(frames: Rgb) -> Video:
    """One clip of 8-bit frames as a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))[None].float() / 127.5 - 1


def to_frames(video: Video) -> Rgb:
    """The first clip of a batch as 8-bit frames, rounded to the nearest value."""
    scaled = ((video[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    found: Rgb = np.ascontiguousarray(scaled.permute(1, 2, 3, 0).cpu().numpy())
    return found


def _clip_shape(video: Video) -> tuple[int, int, int]:
    frames, height, width = video.shape[2:]
    return frames, height, width
