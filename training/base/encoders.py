"""Between 8-bit frames and a family's latents: distributions of latents, and samples of them."""

from typing import NamedTuple

import numpy as np

from ...arrays import Rgb
from ...extras import require
from .network import Latents, Video

torch = require("torch", extra="train")


class Moments(NamedTuple):
    """The encoder's normal distribution of the latents, scaled as the transformer sees them."""

    mean: Latents
    logvar: Latents


def sample_latents(moments: Moments, noise: Latents) -> Latents:
    """A sample of the latents, as training sees them."""
    return moments.mean + torch.exp(0.5 * moments.logvar) * noise


def frames_to_video(frames: Rgb) -> Video:
    """One clip of 8-bit frames as a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))[None].float() / 127.5 - 1


def video_to_frames(video: Video) -> Rgb:
    """The first clip of a batch as 8-bit frames, rounded to the nearest value."""
    scaled = ((video[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    frames: Rgb = np.ascontiguousarray(scaled.permute(1, 2, 3, 0).cpu().numpy())
    return frames
