"""Wan 2.1 Fun InP: conditioning of 20 channels, text that is masked, frames of any 4k+1, flow matching without memory.

Its mask is packed, not resized, in time: a latent frame holds the four frames behind it as four channels (the first
frame stands alone, and four times). Its scale is 1, not the 0.7 of CogVideoX. Where the transformer looks at a picture
(CLIP's rows of a clip's first frame), rows of zeros stand for none, as the base model was trained at times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float

from ...arrays import Image
from ...extras import require
from .latent_shapes import FRAMES_PER_LATENT, PIXELS_PER_LATENT
from .models import TextModel
from .network import Conditioning, Latents, PixelMask, Tensor, TextRows, Video

torch = require("torch", extra="train")
functional: Any = require("torch.nn.functional", extra="train")
_flow: Any = require("diffusers", extra="train").FlowMatchEulerDiscreteScheduler
TEXT_ROWS = 512
"""Rows of text; the transformer takes whatever goes beyond them for rows of a picture."""
IMAGE_ROWS = 257
SHIFT = 5.0
"""Shift of the noise schedule that the Fun models were trained with."""
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class WanFamily:
    """Wan 2.1 Fun InP."""

    mask_channels: ClassVar[int] = 4
    image_rows: Any = None
    """Rows of the clip's first frame (see `encode_image`); None feeds zeros where the transformer asks for them."""

    def padded_length(self, frames: int) -> int:
        """Shortest length of 4k+1 that is not below this."""
        return frames + (1 - frames) % FRAMES_PER_LATENT

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Encode under the attention mask; rows beyond a text's own length are zero."""
        tokens = model.tokenizer(
            list(texts), padding="max_length", max_length=TEXT_ROWS, truncation=True, return_tensors="pt"
        )
        mask = tokens.attention_mask.to(model.encoder.device)
        with torch.no_grad():
            rows = model.encoder(tokens.input_ids.to(model.encoder.device), attention_mask=mask)[0]
        return rows.float() * mask.unsqueeze(2)

    def encode_video(self, vae: Any, video: Video) -> Latents:
        """Mode of the latents, each channel brought to mean 0 and deviation 1."""
        with torch.no_grad():
            mode = vae.encode(video.to(vae.device, vae.dtype)).latent_dist.mode()
        mean, deviation = _statistics(vae)
        return ((mode.float() - mean) / deviation).transpose(1, 2)

    def encode_keep(self, vae: Any, keep: PixelMask) -> Float[Tensor, "b f m h w"]:
        """Four channels: the four frames of each latent frame, resized in space alone."""
        packed = torch.cat([keep[:, :1].expand(-1, FRAMES_PER_LATENT, -1, -1), keep[:, 1:]], dim=1)
        packed = packed.unflatten(1, (-1, FRAMES_PER_LATENT))
        size = [side // PIXELS_PER_LATENT for side in keep.shape[2:]]
        resized = functional.interpolate(packed.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        return resized.unflatten(0, packed.shape[:2])

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity from noise to clip; the video's channels come first, then mask and video of the conditioning."""
        dtype, config = transformer.patch_embedding.weight.dtype, transformer.config
        image = self.image_rows
        if image is None and config.image_dim:
            image = noisy.new_zeros(1, IMAGE_ROWS, config.image_dim)
        velocity = transformer(
            hidden_states=torch.cat([noisy, conditioning], dim=2).transpose(1, 2).to(dtype),
            timestep=timesteps,
            encoder_hidden_states=text.to(dtype),
            encoder_hidden_states_image=None if image is None else image.to(dtype).expand(len(noisy), -1, -1),
            return_dict=False,
        )[0]
        return velocity.transpose(1, 2).float()

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Decode one latent frame after another: 1 frame, then 4 each."""
        mean, deviation = _statistics(vae)
        planes = (latents.to(mean.device).transpose(1, 2) * deviation + mean).to(vae.dtype)
        vae.clear_cache()
        with torch.no_grad():
            planes = vae.post_quant_conv(planes)
            for number in range(planes.shape[2]):
                vae._conv_idx = [0]  # counts the layers that have been run; the layers' memory is vae._feat_map
                run = planes[:, :, number : number + 1]
                yield (
                    vae.decoder(run, feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=number == 0)
                    .float()
                    .clamp(-1, 1)
                )
        vae.clear_cache()


class StatelessFlow(_flow):  # type: ignore[misc]
    """Euler steps along the flow that keep no state, so that overlapping windows can share them."""

    def step(self, velocity: Any, timestep: Any, sample: Any, return_dict: bool = False) -> tuple[Any]:
        """Take the step that begins at this timestep: x + (sigma_next - sigma) velocity."""
        index = self.index_for_timestep(timestep)
        return (sample + (self.sigmas[index + 1] - self.sigmas[index]) * velocity,)


def encode_image(encoder: Any, frame: Image) -> Float[Tensor, "1 L D"]:
    """Rows of a picture by CLIP's vision model, of its last layer but one.

    The picture is resized to the model's square without antialiasing, as it was when the transformer was trained.
    """
    side = encoder.config.image_size
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    pixels = functional.interpolate(pixels * 2 - 1, size=(side, side), mode="bicubic", align_corners=False) / 2 + 0.5
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))
    with torch.no_grad():
        output = encoder(((pixels - mean) / deviation).to(encoder.device, encoder.dtype), output_hidden_states=True)
    return output.hidden_states[-2].float()


def _statistics(vae: Any) -> tuple[Any, Any]:
    """Mean and deviation of each latent channel, as [1, 16, 1, 1, 1]."""
    config, device = vae.config, vae.device
    return tuple(torch.tensor(values, device=device).view(1, -1, 1, 1, 1)  # type: ignore[return-value]
                 for values in (config.latents_mean, config.latents_std))  # fmt: skip
