"""Types of tensors, one call of the transformer, and the loss: all that training and sampling have in common.

Tensors are of b clips with F frames, H rows and W columns of pixels; f, h, w are the same of latents. F = 4 (f - 1) + 1
(see `latent_shapes`), H = 8 h, W = 8 w.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Float, Int

from ...extras import require

torch = require("torch", extra="train")
if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = torch.Tensor

Video = Float[Tensor, "b 3 F H W"]  # colour in [-1, 1]
PixelMask = Float[Tensor, "b F H W"]  # effect mask: 1 effect here, 0 no effect, 0.5 unknown
LatentMask = Float[Tensor, "b f 1 h w"]  # what the model is fed: 0 effect here, 0.7 no effect, 0.35 unknown
Latents = Float[Tensor, "b f 16 h w"]  # scaled (CogVideoX: times 0.7), as the transformer sees them
Conditioning = Float[Tensor, "b f c h w"]  # mask (CogVideoX 1, Wan 4), then 16 of a video; all zero: no conditioning
TextRows = Float[Tensor, "b L D"]  # every row of the text encoder, padding too
Timesteps = Int[Tensor, "b"]  # 0 to 999; 999 is pure noise
Scalar = Float[Tensor, ""]
Rotary = tuple[Any, Any]
"""Cosines and sines of the tokens' places, float [tokens, D] each."""


class TrainingBatch(NamedTuple):
    """Everything that a training step needs: nothing random happens after it."""

    latents: Latents
    conditioning: Conditioning
    text: TextRows
    noise: Latents
    timesteps: Timesteps


def rotary_embedding(config: Any, frames: int, height: int, width: int, device: Any) -> Rotary:
    """Positions of the tokens: cosines and sines over latent frames, rows and columns, counted from 0."""
    embeddings = require("diffusers.models.embeddings", extra="train")
    rotary: Rotary = embeddings.get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim,
        crops_coords=None,
        grid_size=(height // config.patch_size, width // config.patch_size),
        temporal_size=(frames + config.patch_size_t - 1) // config.patch_size_t,
        grid_type="slice",
        max_size=(config.sample_height // config.patch_size, config.sample_width // config.patch_size),
        device=device,
    )
    return rotary


def predict_velocity(
    transformer: Any,
    noisy: Latents,
    conditioning: Conditioning,
    text: TextRows,
    timesteps: Timesteps,
    *,
    rotary: Rotary,
) -> Latents:
    """The transformer's velocity for noisy latents."""
    velocity: Latents = transformer(
        hidden_states=torch.cat([noisy, conditioning.to(noisy.dtype)], dim=2),
        encoder_hidden_states=text.to(noisy.dtype),
        timestep=timesteps,
        image_rotary_emb=rotary,
        return_dict=False,
    )[0]
    return velocity


def velocity_loss(transformer: Any, batch: TrainingBatch, alphas: Float[Tensor, "1000"], *, rotary: Rotary) -> Scalar:
    """Mean squared error of the velocity, in 32-bit, each timestep weighted alike; `alphas` are cumulative products."""
    alpha = alphas.to(batch.latents.device)[batch.timesteps].view(-1, 1, 1, 1, 1)
    signal, noise_level = alpha.sqrt(), (1 - alpha).sqrt()
    noisy = signal * batch.latents + noise_level * batch.noise
    velocity = signal * batch.noise - noise_level * batch.latents
    predicted = predict_velocity(transformer, noisy, batch.conditioning, batch.text, batch.timesteps, rotary=rotary)
    return torch.mean((predicted.float() - velocity.float()) ** 2)
