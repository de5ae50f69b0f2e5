"""Types of tensors, and what a training step is fed: all that families, training and sampling have in common.

Tensors are of b clips with F frames, H rows and W columns of pixels; f, h, w are the same of latents (see
`latent_shapes`); z, m and c are channels of latents, masks and conditioning.
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
MaskChannels = Float[Tensor, "b f m h w"]  # what the model is fed of a mask
Latents = Float[Tensor, "b f z h w"]  # scaled, as the transformer sees them
Conditioning = Float[Tensor, "b f c h w"]  # channels beside the noisy ones; all zero: no conditioning
TextRows = Float[Tensor, "b L D"]  # rows of the text encoder
Timesteps = Int[Tensor, "b"]  # places in the noise schedule, 0 to 999
Scalar = Float[Tensor, ""]


class TrainingBatch(NamedTuple):
    """Everything that a training step needs: nothing random happens after it."""

    latents: Latents
    conditioning: Conditioning
    text: TextRows
    noise: Latents
    timesteps: Timesteps


def unwrap(transformer: Any) -> Any:
    """The model itself, out of what accelerate, DeepSpeed or torch wrapped it in."""
    while wrapped := [name for name in ("module", "_orig_mod") if name in getattr(transformer, "_modules", ())]:
        transformer = getattr(transformer, wrapped[0])
    return transformer


def input_dtype(transformer: Any) -> Any:
    """Dtype in which a transformer takes its inputs: that of the layer which they come to first.

    Where no autocast brings inputs and weights together (DeepSpeed), 32-bit inputs would meet 16-bit weights and raise.
    """
    named = transformer.named_parameters() if hasattr(transformer, "named_parameters") else ()
    return next((weight.dtype for name, weight in named if "patch_embed" in name), torch.float32)
