"""One call of the transformer, and the loss: all that training and sampling have in common."""

from typing import Any, NamedTuple

from jaxtyping import Float, Int

from ...extras import require
from .tensors import Conditioning, Latents, Tensor, TextRows

torch = require("torch", extra="train")

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
    """Mean squared error of the velocity, in 32-bit, each timestep weighted alike.

    Args:
        transformer: wrapped or not.
        batch: on the transformer's device.
        alphas: the schedule's cumulative products.
        rotary: positions of the tokens, from `rotary_embedding`.
    """
    alpha = alphas.to(batch.latents.device)[batch.timesteps].view(-1, 1, 1, 1, 1)
    signal, noise_level = alpha.sqrt(), (1 - alpha).sqrt()
    noisy = signal * batch.latents + noise_level * batch.noise
    velocity = signal * batch.noise - noise_level * batch.latents
    predicted = predict_velocity(transformer, noisy, batch.conditioning, batch.text, batch.timesteps, rotary=rotary)
    return torch.mean((predicted.float() - velocity.float()) ** 2)
