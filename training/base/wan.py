"""Wan 2.1: text that is masked, frames of any 4k+1, flow matching without memory, and two layouts of conditioning.

"fun-inp" joins twenty channels to the noisy ones: the mask, whose four channels are the four frames behind a latent
frame (the first frame stands alone, and four times), and the composite. Nothing is scaled. Where the transformer looks
at a picture (CLIP's rows of a clip's first frame), rows of zeros stand for none: the base was trained so at times.

"vace" feeds 96 channels to a branch of blocks: the composite where it stays and where it is to change, each with grey
in place of the other, and the mask, whose 64 channels are the pixels behind a latent. VACE was trained to look at one
frame for each latent frame, which need not be one behind it, and never at the first; here it is the nearest of those
behind it. A mask that is hidden in some latent frames leaves the whole composite where it stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxtyping import Float

from ...arrays import Image, Rgb
from ...extras import require
from .conditioning import hide_frames, stack_mask
from .encoders import Moments
from .latent_shapes import Downsample, LatentGrid
from .models import Layout, TextModel, assemble, load_vae
from .network import (
    Conditioning,
    Latents,
    MaskChannels,
    PixelMask,
    Scalar,
    Tensor,
    TextRows,
    TrainingBatch,
    Video,
    input_dtype,
    unwrap,
)
from .published import WeightsFile, read_transformer

torch = require("torch", extra="train")
functional: Any = require("torch.nn.functional", extra="train")
_flow: Any = require("diffusers", extra="train").FlowMatchEulerDiscreteScheduler
TEXT_ROWS = 512
"""Rows of text; the transformer takes whatever goes beyond them for rows of a picture."""
IMAGE_ROWS = 257
SHIFT = 5.0
"""Shift of the noise schedule that the Fun models were trained with."""
WanLayout = Literal["fun-inp", "vace"]
CLASSES: dict[WanLayout, str] = {"fun-inp": "WanTransformer3DModel", "vace": "WanVACETransformer3DModel"}
CONDITIONING = {"fun-inp": 20, "vace": 96}
"""Channels of the conditioning."""
NOISY = 16
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class WanFamily:
    """Wan 2.1 Fun InP or Wan 2.1 VACE."""

    has_original_names: ClassVar[bool] = True
    name: ClassVar[str] = "wan"
    grid: ClassVar[LatentGrid] = LatentGrid()
    trained_shape: ClassVar[tuple[int, int, int]] = (81, 480, 832)
    latent_channels: ClassVar[int] = NOISY
    has_full_windows: ClassVar[bool] = True
    adds_noise: ClassVar[bool] = False
    layout: WanLayout = "fun-inp"
    image_rows: Any = None
    """Rows of the clip's first frame (see `encode_image`); None feeds zeros where the transformer asks for them."""

    @classmethod
    def recognise(
        cls, config: Mapping[str, Any], vae: Mapping[str, Any], layout: Layout = "auto"
    ) -> "WanFamily | None":
        """The family of a model by its transformer's config; None where it is another.

        Raises:
            ValueError: its weights have another layout.
        """
        layouts = {class_name: own for own, class_name in CLASSES.items()}
        own = layouts.get(config.get("_class_name", ""))
        if own is None:
            return None
        if layout not in ("auto", own):
            raise ValueError(
                f"model.layout={layout!r} is not for these weights of Wan, which are {own}; set it to auto"
            )
        return cls(layout=own)

    @property
    def title(self) -> str:
        """Name in model cards."""
        return {"fun-inp": "Wan 2.1 Fun InP", "vace": "Wan 2.1 VACE"}[self.layout]

    @property
    def transformer_class(self) -> str:
        """Name of the transformer's class."""
        return CLASSES[self.layout]

    @property
    def conditioning_channels(self) -> int:
        """20, or 96 of VACE."""
        return CONDITIONING[self.layout]

    def load_transformer(
        self, folder: Path, *, dtype: str | None = "float32", published: WeightsFile | None = None
    ) -> Any:
        """Load the transformer; what its class keeps in 32 bits stays so.

        Raises:
            ValueError: it takes other channels, its weights are damaged or do not fit its config.
        """
        path, config, weights = read_transformer(folder, published, dtype=dtype)
        name, channels = {"fun-inp": ("in_channels", 36), "vace": ("vace_in_channels", 96)}[self.layout]
        if config.get("_class_name") != self.transformer_class or config.get(name) != channels:
            raise ValueError(
                f"{path}: is a {config.get('_class_name')} that takes {config.get(name)} channels, not a "
                f"{self.transformer_class} that takes {channels}; choose the weights of Wan2.1-Fun-1.3B-InP, as "
                "model.weights, or of Wan2.1-VACE-1.3B"
            )
        return assemble(getattr(require("diffusers", extra="train"), self.transformer_class), config, weights, path)

    def load_vae(self, folder: Path, *, dtype: str = "float32") -> Any:
        """Load AutoencoderKLWan."""
        return load_vae(folder, "AutoencoderKLWan", dtype=dtype)

    def load_scheduler(self, folder: Path) -> Any:
        """The flow that the models were trained with, whatever shift the folder samples with."""
        return StatelessFlow(shift=SHIFT)

    def prepare_clip(self, folder: Path, transformer: Any, frames: Rgb) -> "WanFamily":
        """The family with rows of the clip's first frame, where model and folder have an encoder of pictures."""
        folder = folder / "image_encoder"
        if not unwrap(transformer).config.image_dim or not folder.is_dir():
            return self
        vision = require("transformers", extra="train").CLIPVisionModel
        encoder = vision.from_pretrained(folder, local_files_only=True, use_safetensors=True).to(transformer.device)
        return replace(self, image_rows=encode_image(encoder, frames[0]).to(transformer.device))

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Encode under the attention mask; rows beyond a text's own length are zero."""
        tokens = model.tokenizer(
            list(texts), padding="max_length", max_length=TEXT_ROWS, truncation=True, return_tensors="pt"
        )
        mask = tokens.attention_mask.to(model.encoder.device)
        with torch.no_grad():
            rows = model.encoder(tokens.input_ids.to(model.encoder.device), attention_mask=mask)[0]
        return rows.float() * mask.unsqueeze(2)

    def encode_video(self, vae: Any, video: Video) -> Moments:
        """Latents, each channel brought to mean 0 and deviation 1."""
        self.grid.check_shape(*video.shape[2:], label="video")
        with torch.no_grad():
            posterior = vae.encode(video.to(vae.device, vae.dtype)).latent_dist
        mean, deviation = _statistics(vae)
        logvar = posterior.logvar.float().clamp(-30, 20) - 2 * deviation.log()
        return Moments(((posterior.mean.float() - mean) / deviation).transpose(1, 2), logvar.transpose(1, 2))

    def condition_videos(self, over: Video, mask: PixelMask, visible: Any = None) -> dict[str, tuple[Video, bool]]:
        """The composite; with VACE also what stays, what changes, and grey."""
        if self.layout == "fun-inp":
            return {"video": (over, True)}
        changes = (mask > 0.5)[:, None]
        whole = {"video": over, "grey": torch.zeros_like(over)}
        parts = {"inactive": over * ~changes, "reactive": over * changes}
        shown = whole | parts if visible is None else parts if visible.all() else whole
        return {name: (video, False) for name, video in shown.items()}

    def condition(
        self, layers: Mapping[str, Latents], mask: PixelMask, visible: Any, downsample: Downsample = "trilinear"
    ) -> Conditioning:
        """Mask and composite; with VACE what stays, what changes, and the mask."""
        self.grid.check_shape(*mask.shape[1:], label="effect mask")
        if self.layout == "fun-inp":
            channels = hide_frames(stack_mask(1 - mask, self.grid, downsample=downsample), visible)
            return torch.cat([channels.to(layers["video"].device), layers["video"]], dim=2)
        names = ("inactive", "reactive") if visible.all() else ("video", "grey")
        channels = hide_frames(pack_pixels(mask, self.grid, downsample=downsample), visible)
        videos = [layers[name] for name in names]
        return torch.cat([*videos, channels.to(videos[0].device)], dim=2)

    def loss(self, transformer: Any, batch: TrainingBatch, scheduler: Any) -> Scalar:
        """Error of the flow from clip to noise, each timestep weighted alike."""
        device = batch.latents.device
        sigma = scheduler.sigmas.to(device)[batch.timesteps].view(-1, 1, 1, 1, 1)
        noisy = (1 - sigma) * batch.latents + sigma * batch.noise
        timesteps = scheduler.timesteps.to(device)[batch.timesteps]
        predicted = self.predict(transformer, noisy, batch.conditioning, batch.text, timesteps)
        return torch.mean((predicted - (batch.noise - batch.latents).float()) ** 2)

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity from clip to noise; noisy channels come first.

        Raises:
            ValueError: the text has not exactly as many rows as the transformer counts on.
        """
        if text.shape[1] != TEXT_ROWS:
            raise ValueError(
                f"a text of {text.shape[1]} rows would be mistaken for a picture; pad it to {TEXT_ROWS} by encode_texts"
            )
        dtype, config = input_dtype(transformer), unwrap(transformer).config
        inputs: dict[str, Any] = {"hidden_states": torch.cat([noisy, conditioning], dim=2)}
        if self.layout == "vace":
            inputs = {"hidden_states": noisy, "control_hidden_states": conditioning}
        inputs = {name: planes.transpose(1, 2).to(dtype) for name, planes in inputs.items()}
        image = self.image_rows
        if image is None and config.image_dim:
            image = noisy.new_zeros(1, IMAGE_ROWS, config.image_dim)
        velocity = transformer(
            timestep=timesteps,
            encoder_hidden_states=text.to(dtype),
            encoder_hidden_states_image=None if image is None else image.to(dtype).expand(len(noisy), -1, -1),
            return_dict=False,
            **inputs,
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

    def decoding_numbers(self, vae: Mapping[str, Any]) -> int:
        """Numbers held for each pixel of a frame, of which a run has 4; traced with the published shape."""
        return 52 * int(vae.get("base_dim", 96))


class StatelessFlow(_flow):  # type: ignore[misc]
    """Euler steps along the flow that keep no state, so that overlapping windows can share them."""

    def step(self, velocity: Any, timestep: Any, sample: Any, return_dict: bool = False) -> tuple[Any]:
        """Take the step that begins at this timestep: x + (sigma_next - sigma) velocity."""
        index = self.index_for_timestep(timestep)
        return (sample + (self.sigmas[index + 1] - self.sigmas[index]) * velocity,)


def pack_pixels(mask: PixelMask, grid: LatentGrid, *, downsample: Downsample = "trilinear") -> MaskChannels:
    """The pixels behind each latent as channels, row by row; of the frames behind it the one that VACE looks at.

    `max` and `area` take most and mean of the frames.
    """
    side, (frames, height, width) = grid.pixels_per_latent, grid.latent_shape(*mask.shape[1:])
    spans = [grid.frame_range(latent) for latent in range(frames)]
    if downsample == "trilinear":
        nearest = [int((latent + 0.5) * mask.shape[1] / frames) for latent in range(frames)]
        shown = mask[
            :, [min(max(frame, span.start), span.stop - 1) for frame, span in zip(nearest, spans, strict=True)]
        ]
    else:
        reduce = torch.amax if downsample == "max" else torch.mean
        shown = torch.stack([reduce(mask[:, span.start : span.stop], dim=1) for span in spans], dim=1)
    blocks = shown.view(len(mask), frames, height, side, width, side).permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(len(mask), frames, side * side, height, width)


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
