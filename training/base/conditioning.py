"""Conditioning of the transformer beside text and noise: where the effect may be, and the composite without it.

Seventeen channels, concatenated to the sixteen noisy ones: one of the mask, sixteen of the composite's latents. The
mask is not encoded; it is turned over (the base model reads 0 as "make something here", 1 as "keep"), resized to the
latents and multiplied by their scaling factor:

| meaning        | effect mask | fed to the model |
|----------------|-------------|------------------|
| effect here    | 1           | 0                |
| unknown        | 0.5         | 0.35             |
| no effect      | 0           | 0.7              |
| no pair at all | -           | 17 channels of 0 |

Of the four frames behind a latent frame a linear resize looks at the middle two alone. A mask that is drawn on one
frame is therefore repeated over all frames of its latent frame; otherwise half of all keyframes would do nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from ...arrays import Mask, Matte
from ...extras import require
from .latent_shapes import PIXELS_PER_LATENT, Downsample, check_shape, frame_range, latent_frames, latent_index
from .network import Conditioning, LatentMask, Latents, PixelMask, Tensor

torch = require("torch", extra="train")
functional: Any = require("torch.nn.functional", extra="train")

SCALE = 0.7
"""Scaling factor of the latents in every 5B model of the family."""
UNKNOWN = 0.5
"""Mask of a pixel where the model decides."""
CHANNELS = 17
SoftMask = Float[np.ndarray, "F H W"]
MaskImage = Float[np.ndarray, "H W"]


def encode_mask_channel(mask: PixelMask, *, downsample: Downsample = "trilinear", scale: float = SCALE) -> LatentMask:
    """An effect mask as the model reads it: turned over, resized to the latents, scaled.

    Raises:
        ValueError: the length is not 8k+5 or a side does not divide by 16.
    """
    check_shape(*mask.shape[1:], label="effect mask")
    return resize_mask(1 - mask, downsample=downsample).unsqueeze(2) * scale


def resize_mask(keep: PixelMask, *, downsample: Downsample = "trilinear") -> Float[Tensor, "b f h w"]:
    """Resize a mask to the latents: the first frame makes the first latent frame, every four others make another."""
    frames, height, width = latent_frames(keep.shape[1]), *(side // PIXELS_PER_LATENT for side in keep.shape[2:])
    resize = {
        "trilinear": partial(functional.interpolate, mode="trilinear", align_corners=False),
        "area": functional.adaptive_avg_pool3d,
        "max": lambda run, size: -functional.adaptive_max_pool3d(-run, size),  # the mask's maximum is keep's minimum
    }[downsample]
    runs = (keep[:, None, :1], 1), (keep[:, None, 1:], frames - 1)
    return torch.cat([resize(run, (length, height, width)) for run, length in runs], dim=2)[:, 0]


def concat_conditioning(mask: LatentMask, over: Latents) -> Conditioning:
    """The mask's channel first, then the composite's latents (already scaled)."""
    return torch.cat([mask, over], dim=2)


def empty_conditioning(latents: Latents) -> Conditioning:
    """No pair: every channel exactly 0, which is how the base model is asked for text-to-video."""
    batch, frames, _, height, width = latents.shape
    return latents.new_zeros(batch, frames, CHANNELS, height, width)


def mask_from_keyframes(keyframes: Mapping[int, MaskImage], frames: int) -> SoftMask:
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
    for span in map(frame_range, map(latent_index, keyframes)):
        masks = [mask for frame, mask in keyframes.items() if frame in span]
        clip_mask[span.start : span.stop] = np.max(masks, axis=0)
    return clip_mask


def to_soft_mask(mask: Mask | Matte | SoftMask) -> SoftMask:
    """Round a mask to the model's three levels: no effect below 0.25 (of 255), effect above 0.75, else unknown."""
    values = mask.astype(np.float32) / (255 if mask.dtype == np.uint8 else 1)
    return np.where(values < 0.25, 0, np.where(values > 0.75, 1, UNKNOWN)).astype(np.float32)
