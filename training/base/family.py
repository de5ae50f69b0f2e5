"""Families of video models: everything that the rest of training asks of a model, so that it is written once.

A family is a frozen value without weights; the loaded parts are handed to its methods. Its fields say how a model's
folder differs within the family, and go into records by `families.family_record`. All latents are [b, f, c, h, w] as
the transformer sees them, whatever order of axes and scale the family's own classes use.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool

from ...arrays import Rgb
from ...extras import require
from .encoders import Moments
from .latent_shapes import Downsample, LatentGrid
from .models import TextModel
from .network import Conditioning, Latents, PixelMask, Scalar, Tensor, TextRows, TrainingBatch, Video
from .published import WeightsFile

torch = require("torch", extra="train")
Visible = Bool[Tensor, "f"]
"""Latent frames whose mask is known."""


@runtime_checkable
class Family(Protocol):
    """Lengths, encoding, conditioning, loss, prediction, schedule and decoding of one family of video models."""

    @property
    def name(self) -> str:
        """Name in records and settings."""
        ...

    @property
    def title(self) -> str:
        """Name in model cards, as its makers write it."""
        ...

    @property
    def grid(self) -> LatentGrid:
        """Lengths and sizes that the model takes."""
        ...

    @property
    def trained_shape(self) -> tuple[int, int, int]:
        """Frames, height and width that the base model knows best."""
        ...

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        ...

    @property
    def conditioning_channels(self) -> int:
        """Channels beside the noisy ones."""
        ...

    @property
    def has_full_windows(self) -> bool:
        """Whether the last window of a long clip begins earlier rather than being shorter."""
        ...

    @property
    def adds_noise(self) -> bool:
        """Whether the base model was trained with noise on its conditioning video."""
        ...

    @property
    def transformer_class(self) -> str:
        """Name of the transformer's class in diffusers."""
        ...

    @property
    def has_original_names(self) -> bool:
        """Whether its weights were first published under other names than those of diffusers."""
        ...

    def load_transformer(
        self, folder: Path, *, dtype: str | None = "float32", published: WeightsFile | None = None
    ) -> Any:
        """Load the transformer of a model's folder, or of a folder of its own; dtype None leaves each weight's own.

        A published one is loaded in its place, as large as the folder's config says.

        Raises:
            UnusableWeights: the published file is of another family or size than the folder's model, or cut short.
            ValueError: it is of another family, its weights are damaged or do not fit its config.
        """
        ...

    def load_vae(self, folder: Path, *, dtype: str = "float32") -> Any:
        """Load the video autoencoder of a model's folder, frozen; with `device`, `dtype` and `to` as modules have.

        Raises:
            ValueError: it is of another family, its weights are damaged or do not fit its config.
        """
        ...

    def load_scheduler(self, folder: Path) -> Any:
        """Load the noise schedule, of a class in `sampling.sample.STATELESS`.

        Raises:
            ValueError: the folder's schedule is of another kind.
        """
        ...

    def encode_texts(self, model: TextModel, texts: Sequence[str]) -> TextRows:
        """Rows of text as the transformer expects them, in 32-bit."""
        ...

    def encode_video(self, vae: Any, video: Video) -> Moments:
        """Distribution of the latents of a clip, scaled, in 32-bit.

        Raises:
            ValueError: the clip's length or a side is none that the model takes.
        """
        ...

    def prepare_clip(self, folder: Path, transformer: Any, frames: Rgb) -> "Family":
        """The family for one clip, where the model in this folder looks at more of it than the conditioning."""
        ...

    def condition_videos(
        self, over: Video, mask: PixelMask, visible: Visible | None = None
    ) -> dict[str, tuple[Video, bool]]:
        """Videos to encode for the conditioning, by name, and whether training draws from their latents.

        Where it does not, it takes their mean, as sampling always does. `visible` are the latent frames whose mask will
        be known; None asks for the videos of all such choices, which a cache needs.
        """
        ...

    def condition(
        self, layers: Mapping[str, Latents], mask: PixelMask, visible: Visible, downsample: Downsample = "trilinear"
    ) -> Conditioning:
        """Channels of the conditioning out of the latents of `condition_videos`; all channels of no pair are zero.

        Args:
            layers: latents of the condition videos by name.
            mask: effect mask in pixels.
            visible: latent frames whose mask is known; the mask of the others is not looked at.
            downsample: resize of the mask to the latents.
        """
        ...

    def loss(self, transformer: Any, batch: TrainingBatch, scheduler: Any) -> Scalar:
        """Mean squared error of the prediction, in 32-bit; the transformer may be wrapped, and of another dtype."""
        ...

    def predict(
        self, transformer: Any, noisy: Latents, conditioning: Conditioning, text: TextRows, timesteps: Any
    ) -> Latents:
        """Velocity of noisy latents, in 32-bit; the transformer may be wrapped, and of another dtype."""
        ...

    def decode_in_runs(self, vae: Any, latents: Latents) -> Iterator[Video]:
        """Decode scaled latents in runs of frames, so that memory does not grow with the clip."""
        ...

    def decoding_numbers(self, vae: Mapping[str, Any]) -> int:
        """Numbers that decoding a run holds at its peak for each pixel of a frame, by the autoencoder's config."""
        ...


def decode_latents(family: Family, vae: Any, latents: Latents) -> Video:
    """Decode scaled latents to all frames of the clip."""
    return torch.cat(list(family.decode_in_runs(vae, latents)), dim=2)
