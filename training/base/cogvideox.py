"""CogVideoX 1.5 and its Fun variants: masks of 1, 4 or 16 channels, text without a mask, frames of 8k+5.

Sixteen noisy channels, those of the mask, sixteen of the composite's latents. A mask is turned over (0 "make something
here", 1 "keep") and multiplied by the latents' scaling factor. One channel holds it resized to the latents, four hold
the frames of each latent frame ("stack"), sixteen its latents as a grey video in [0, 1] ("vae").

Encoding video is the library's own. Decoding is not: the library takes latent frames in twos from the start when their
count is even, and so makes 88 frames of the 22 latents that 85 frames became, shifted by three. Here the first latent
frame is decoded alone, as it was encoded, and the others in twos; a last single one is doubled and half its frames
dropped.

Every caption is padded or cut to the same length and encoded without an attention mask, as the base model was trained:
the padding rows are not zero, and the real rows depend on them. All rows are therefore kept; none is trimmed or masked.
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...arrays import Rgb
from ...extras import require
from .conditioning import UNKNOWN, hide_frames, resize_mask, stack_mask
from .encoders import Moments
from .latent_shapes import Downsample, LatentGrid
from .models import Layout, TextModel, assemble, load_vae
from .network import (
    Conditioning,
    Latents,
    PixelMask,
    Scalar,
    TextRows,
    TrainingBatch,
    Video,
    input_dtype,
    unwrap,
)
from .published import WeightsFile, read_transformer

torch = require("torch", extra="train")
MASK_CHANNELS = {"resize": 1, "stack": 4, "vae": 16}
"""Channels of each way to hold a mask."""
NOISY = 16
_COLUMNS = 8
"""Columns of the patch embedding for one channel, side by side: patches of 2 in time, height and width."""


@dataclass(frozen=True, kw_only=True)
class CogVideoXFamily:
    """CogVideoX 1.5 with conditioning channels."""

    name: ClassVar[str] = "cogvideox"
    grid: ClassVar[LatentGrid] = LatentGrid(frames_together=2)
    trained_shape: ClassVar[tuple[int, int, int]] = (85, 384, 672)
    latent_channels: ClassVar[int] = NOISY
    has_full_windows: ClassVar[bool] = False
    transformer_class: ClassVar[str] = "CogVideoXTransformer3DModel"
    has_original_names: ClassVar[bool] = False
    mask_channels: int = 1
    scale: float = 0.7
    """Factor of the latents and of the mask: 0.7 in every 5B model."""
    adds_noise: bool = False

    @classmethod
    def recognise(
        cls, config: Mapping[str, Any], vae: Mapping[str, Any], layout: Layout = "auto"
    ) -> "CogVideoXFamily | None":
        """The family of a model by its transformer's and its autoencoder's config; None where it is another.

        Raises:
            ValueError: its weights cannot be brought to the layout.
        """
        if config.get("_class_name", cls.transformer_class) != cls.transformer_class:
            return None
        own = int(config.get("in_channels", 0)) - 2 * NOISY
        channels = MASK_CHANNELS.get(layout, own if own in MASK_CHANNELS.values() else 1)
        if layout not in ("auto", *MASK_CHANNELS) or (own > 1 and own != channels):
            raise ValueError(
                f"model.layout={layout!r} is not for these weights of CogVideoX, which hold a mask in {max(own, 0)} "
                f"channels; set it to auto{' or one of ' + ', '.join(MASK_CHANNELS) if own <= 1 else ''}"
            )
        return cls(
            mask_channels=channels,
            scale=float(vae.get("scaling_factor", cls.scale)),
            adds_noise=bool(config.get("add_noise_in_inpaint_model", False)),
        )

    @property
    def title(self) -> str:
        """Name in model cards."""
        masks = "" if self.mask_channels == 1 else f" with masks in {self.mask_channels} channels"
        return f"CogVideoX-Fun InP{masks}"

    @property
    def conditioning_channels(self) -> int:
        """Those of the mask and of the composite."""
        return self.mask_channels + NOISY

    def load_transformer(
        self, folder: Path, *, dtype: str | None = "float32", published: WeightsFile | None = None
    ) -> Any:
        """Load the transformer; a folder's that holds masks in fewer channels, or none, is widened.

        Without conditioning it gets zeros, which changes no output; more mask channels share the response of the one.
        """
        path, config, weights = read_transformer(folder, published, dtype=dtype)
        channels, wide = config.get("in_channels"), NOISY + self.conditioning_channels
        known = {wide, 2 * NOISY + 1} | ({NOISY} if published is None else set())
        if config.get("patch_size_t") != 2 or channels not in known:
            raise ValueError(
                f"{path}: patch_size_t={config.get('patch_size_t')} and in_channels={channels} are not those of a "
                f"CogVideoX 1.5 model (2, and {' or '.join(map(str, sorted(known)))}); choose "
                "CogVideoX-Fun-V1.5-5b-InP, Casper or VOID"
            )
        if channels != wide:
            weights["patch_embed.proj.weight"] = _widen(weights["patch_embed.proj.weight"], self.mask_channels)
        config["in_channels"] = wide
        return assemble(require("diffusers", extra="train").CogVideoXTransformer3DModel, config, weights, path)

    def load_vae(self, folder: Path, *, dtype: str = "float32") -> Any:
        """Load AutoencoderKLCogVideoX."""
        return load_vae(folder, "AutoencoderKLCogVideoX", dtype=dtype)

    def load_scheduler(self, folder: Path) -> Any:
        """Load the noise schedule as a DDIM scheduler: it keeps no state between steps, which overlapping windows need.

        Raises:
            ValueError: the schedule is that of the 2B model, which this scheduler would get wrong.
        """
        path = folder / "scheduler"
        config = json.loads((path / "scheduler_config.json").read_text())
        shift, prediction = config.get("snr_shift_scale", 1.0), config.get("prediction_type", "v_prediction")
        if shift != 1.0 or prediction != "v_prediction":
            raise ValueError(
                f"{path}: snr_shift_scale={shift} and prediction_type={prediction} are not 1.0 and v_prediction, those "
                "of the 5B models; choose a 5B model"
            )
        forced = {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
        scheduler = require("diffusers", extra="train").DDIMScheduler
        return scheduler.from_config(config, **forced, prediction_type="v_prediction")

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Every row of the encoder, padding too, each text to the same number of rows."""
        tokens = model.tokenizer(
            list(texts), padding="max_length", max_length=model.length, truncation=True, return_tensors="pt"
        )
        with torch.no_grad():
            rows = model.encoder(tokens.input_ids.to(model.encoder.device))[0]
        return rows.float()

    def encode_video(self, vae: Any, video: Video) -> Moments:
        """Encode whole clips; memory beyond the clip itself does not grow with their length."""
        self.grid.check_shape(*video.shape[2:], label="video")
        with torch.no_grad():
            posterior = vae.encode(video.to(vae.device, vae.dtype)).latent_dist
        logvar = posterior.logvar.float().clamp(-30, 20) + 2 * math.log(self.scale)
        return Moments(posterior.mean.transpose(1, 2).float() * self.scale, logvar.transpose(1, 2))

    def prepare_clip(self, folder: Path, transformer: Any, frames: Rgb) -> "CogVideoXFamily":
        """The family itself."""
        return self

    def condition_videos(self, over: Video, mask: PixelMask, visible: Any = None) -> dict[str, tuple[Video, bool]]:
        """The composite; with a mask of 16 channels also what is to keep, and what is not known, as grey videos.

        A hidden frame is encoded as the known one before it, or after it: latents of a frame tell of those before.
        """
        if self.mask_channels != MASK_CHANNELS["vae"]:
            return {"video": (over, True)}
        if visible is not None and visible.any():
            mask = mask[:, _nearest_visible(visible, self.grid)]
        keep = (1 - mask)[:, None].expand(-1, 3, -1, -1, -1)
        return {"video": (over, True), "keep": (keep, False), "unknown": (torch.full_like(keep, UNKNOWN), False)}

    def condition(
        self, layers: Mapping[str, Latents], mask: PixelMask, visible: Any, downsample: Downsample = "trilinear"
    ) -> Conditioning:
        """Mask first, then the composite."""
        self.grid.check_shape(*mask.shape[1:], label="effect mask")
        if self.mask_channels == MASK_CHANNELS["vae"]:
            return torch.cat([hide_frames(layers["keep"], visible, layers["unknown"]), layers["video"]], dim=2)
        shrink = stack_mask if self.mask_channels == MASK_CHANNELS["stack"] else resize_mask
        channels = hide_frames(shrink(1 - mask, self.grid, downsample=downsample), visible) * self.scale
        return torch.cat([channels.to(layers["video"].device), layers["video"]], dim=2)

    def loss(self, transformer: Any, batch: TrainingBatch, scheduler: Any) -> Scalar:
        """Error of the velocity, each timestep weighted alike."""
        alpha = scheduler.alphas_cumprod.to(batch.latents.device)[batch.timesteps].view(-1, 1, 1, 1, 1)
        signal, noise_level = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * batch.latents + noise_level * batch.noise
        velocity = signal * batch.noise - noise_level * batch.latents
        predicted = self.predict(transformer, noisy, batch.conditioning, batch.text, batch.timesteps)
        return torch.mean((predicted - velocity.float()) ** 2)

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity, with positions counted from the first of these frames."""
        dtype, config = input_dtype(transformer), unwrap(transformer).config
        frames, _, height, width = noisy.shape[1:]
        velocity = transformer(
            hidden_states=torch.cat([noisy, conditioning], dim=2).to(dtype),
            encoder_hidden_states=text.to(dtype),
            timestep=timesteps,
            image_rotary_emb=rotary_embedding(config, frames, height, width, noisy.device),
            return_dict=False,
        )[0]
        return velocity.float()

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Decode in runs of at most 8 frames."""
        planes = (latents / self.scale).transpose(1, 2).to(vae.device, vae.dtype)
        frames, cache = planes.shape[2], None
        for start in [0, *range(1, frames, 2)]:
            run = planes[:, :, start : start + (2 if start else 1)]
            alone = start > 0 and run.shape[2] == 1
            with torch.no_grad():
                video, cache = vae.decoder(torch.cat([run, run], dim=2) if alone else run, conv_cache=cache)
            yield (video[:, :, : self.grid.frames_per_latent] if alone else video).float().clamp(-1, 1)

    def decoding_numbers(self, vae: Mapping[str, Any]) -> int:
        """Numbers held for each pixel of a frame, of which a run has 8; traced with the published shape."""
        return 177 * int(vae["block_out_channels"][0])


def rotary_embedding(config: Any, frames: int, height: int, width: int, device: Any) -> tuple[Any, Any]:
    """Positions of the tokens: cosines and sines [tokens, D] over latent frames, rows and columns, counted from 0."""
    patch, patch_t = config.patch_size, config.patch_size_t
    return _rotary_tables(
        embed_dim=config.attention_head_dim,
        grid_size=(height // patch, width // patch),
        temporal_size=(frames + patch_t - 1) // patch_t,
        max_size=(config.sample_height // patch, config.sample_width // patch),
        device=device,
    )


@functools.lru_cache(maxsize=8)
def _rotary_tables(**shape: Any) -> tuple[Any, Any]:
    embeddings = require("diffusers.models.embeddings", extra="train")
    tables: tuple[Any, Any] = embeddings.get_3d_rotary_pos_embed(crops_coords=None, grid_type="slice", **shape)
    return tables


def _nearest_visible(visible: Any, grid: LatentGrid) -> list[int]:
    """Number of the frame that stands for each frame: itself, or one of the last visible latent frame, or the first."""
    numbers = visible.nonzero().flatten().tolist()
    frames: list[int] = []
    for latent in range(len(visible)):
        source = max((number for number in numbers if number <= latent), default=numbers[0])
        own, span = grid.frame_range(latent), grid.frame_range(source)
        frames += list(own) if source == latent else [span.stop - 1 if source < latent else span.start] * len(own)
    return frames


def _widen(narrow: Any, mask_channels: int) -> Any:
    """Patch embedding with mask and composite behind the noisy channels; a mask's columns are shared out among more."""
    noisy, rest = narrow[:, : NOISY * _COLUMNS], narrow[:, NOISY * _COLUMNS :]
    if not rest.shape[1]:
        rest = narrow.new_zeros(len(narrow), (1 + NOISY) * _COLUMNS)
    mask = rest[:, :_COLUMNS].repeat(1, mask_channels) / mask_channels
    return torch.cat([noisy, mask, rest[:, _COLUMNS:]], dim=1)
