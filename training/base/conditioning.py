"""Effect masks on their way into the conditioning, as every family needs them.

| meaning        | effect mask | keep mask | fed by CogVideoX | by Wan |
|----------------|-------------|-----------|------------------|--------|
| effect here    | 1           | 0         | 0                | 0      |
| unknown        | 0.5         | 0.5       | 0.35             | 0.5    |
| no effect      | 0           | 1         | 0.7              | 1      |
| no pair at all | -           | -         | all channels 0   | all 0  |

(VACE reads the effect mask itself, not what is to keep.) Of the four frames behind a latent frame a linear resize looks
at the middle two alone, and VACE at one. A mask that is drawn on one frame is therefore repeated over all frames of its
latent frame; otherwise half of all keyframes would do nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ...arrays import Mask, Matte
from ...extras import require
from .latent_shapes import UNKNOWN as UNKNOWN
from .latent_shapes import Downsample, LatentGrid
from .network import Conditioning, Latents, MaskChannels, PixelMask, Tensor, Video

torch = require("torch", extra="train")
functional: Any = require("torch.nn.functional", extra="train")

NoiseSetting = Literal["none", "from_config"] | float
"""Deviation of noise on the conditioning video, in [-1, 1]; from_config is as the base model was trained."""
SAMPLING_NOISE = 0.0563
"""Deviation in sampling with a base model that was trained with noise; in training it is exp(N(-3, 0.5))."""
SoftMask = Float[np.ndarray, "F H W"]
MaskImage = Float[np.ndarray, "H W"]


def resize_mask(
    keep: PixelMask, grid: LatentGrid, *, downsample: Downsample = "trilinear"
) -> Float[Tensor, "b f 1 h w"]:
    """Resize a mask to the latents: the first frame makes the first latent frame, every four others make another.

    `max` is that of the effect mask, so it is the least of what is to keep.
    """
    frames, height, width = grid.latent_shape(*keep.shape[1:])
    resize = {
        "trilinear": partial(functional.interpolate, mode="trilinear", align_corners=False),
        "area": functional.adaptive_avg_pool3d,
        "max": lambda run, size: -functional.adaptive_max_pool3d(-run, size),
    }[downsample]
    runs = [(keep[:, None, :1], 1)] + ([(keep[:, None, 1:], frames - 1)] if frames > 1 else [])
    return torch.cat([resize(run, (length, height, width)) for run, length in runs], dim=2).transpose(1, 2)


def stack_mask(keep: PixelMask, grid: LatentGrid, *, downsample: Downsample = "trilinear") -> MaskChannels:
    """The frames of each latent frame as channels, resized in space alone; the first frame fills its channels alone."""
    count, (_, height, width) = grid.frames_per_latent, grid.latent_shape(*keep.shape[1:])
    packed = torch.cat([keep[:, :1].expand(-1, count, -1, -1), keep[:, 1:]], dim=1).unflatten(1, (-1, count))
    resize = {
        "trilinear": partial(functional.interpolate, mode="bilinear", align_corners=False),
        "area": functional.adaptive_avg_pool2d,
        "max": lambda frames, size: -functional.adaptive_max_pool2d(-frames, size),
    }[downsample]
    return resize(packed.flatten(0, 1), (height, width)).unflatten(0, packed.shape[:2])


def hide_frames(channels: MaskChannels, visible: Any, hidden: Any = UNKNOWN) -> MaskChannels:
    """Mask channels with those of latent frames that are not visible replaced."""
    return torch.where(visible.to(channels.device).view(1, -1, 1, 1, 1), channels, hidden)


def visible_frames(mask: PixelMask, grid: LatentGrid) -> Any:
    """Latent frames of which some pixel of the mask is known, as a tensor of bool [f]."""
    known = (mask != UNKNOWN).any(dim=3).any(dim=2)[0]
    spans = [grid.frame_range(latent) for latent in range(grid.latent_frames(mask.shape[1]))]
    return torch.stack([known[span.start : span.stop].any() for span in spans])


def noise_level(setting: NoiseSetting, *, adds_noise: bool, rng: np.random.Generator | None = None) -> float:
    """Deviation of the noise for one clip: drawn from `rng` in training, fixed in sampling, where it is None."""
    if setting == "none" or (setting == "from_config" and not adds_noise):
        return 0.0
    if setting != "from_config":
        return float(setting)
    return SAMPLING_NOISE if rng is None else float(np.exp(rng.normal(-3.0, 0.5)))


def add_noise(video: Video, level: float, *, seed: int) -> Video:
    """The conditioning video with normal noise of this deviation; pixels of exactly -1 stay, as in the base."""
    if level == 0:
        return video
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(seed)) * level
    return video + torch.where(video == -1, torch.zeros_like(noise), noise.to(video.device))


def empty_conditioning(latents: Latents, channels: int) -> Conditioning:
    """No pair: every channel exactly 0, which is how the base models are asked for text-to-video."""
    batch, frames, _, height, width = latents.shape
    return latents.new_zeros(batch, frames, channels, height, width)


def mask_from_keyframes(keyframes: Mapping[int, MaskImage], frames: int, grid: LatentGrid) -> SoftMask:
    """Masks of single frames as the mask of a clip: each repeated over its latent frame, unknown elsewhere.

    Two keyframes in one latent frame are united, for the model cannot tell them apart.

    Raises:
        ValueError: no keyframes, a frame that the clip does not have, or keyframes of different sizes.
    """
    if not keyframes:
        raise ValueError("no keyframes are given; give at least one FRAME=PNG, or no mask at all")
    outside = [frame for frame in keyframes if not 0 <= frame < frames]
    if outside:
        raise ValueError(f"keyframe {outside[0]} is not in [0, {frames}); number the frames of the clip from 0")
    sizes = sorted({mask.shape for mask in keyframes.values()})
    if len(sizes) > 1:
        raise ValueError(f"keyframes of {sizes[0]} and {sizes[1]} pixels do not go together; give them all one size")
    clip_mask = np.full((frames, *sizes[0]), UNKNOWN, np.float32)
    for span in map(grid.frame_range, map(grid.latent_index, keyframes)):
        masks = [mask for frame, mask in keyframes.items() if frame in span]
        clip_mask[span.start : span.stop] = np.max(masks, axis=0)
    return clip_mask


def to_soft_mask(mask: Mask | Matte | SoftMask) -> SoftMask:
    """Round a mask to the model's three levels: no effect below 0.25 (of 255), effect above 0.75, else unknown."""
    values = mask.astype(np.float32) / (255 if mask.dtype == np.uint8 else 1)
    return np.where(values < 0.25, 0, np.where(values > 0.75, 1, UNKNOWN)).astype(np.float32)
