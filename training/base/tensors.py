"""Types of tensors: b clips, F frames, H rows, W columns of pixels; f, h, w the same of latents.

F = 4 (f - 1) + 1, H = 8 h, W = 8 w. The base model halves the number of latent frames once more, so f is even and
F = 8 k + 5: 5, 13, 21, ... 85, ... 197.
"""

from typing import TYPE_CHECKING

from jaxtyping import Float

from ...extras import require

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = require("torch", extra="train").Tensor

Video = Float[Tensor, "b 3 F H W"]  # colour in [-1, 1]
PixelMask = Float[Tensor, "b F H W"]  # effect mask: 1 effect here, 0 no effect, 0.5 unknown
LatentMask = Float[Tensor, "b f 1 h w"]  # what the model is fed: 0 effect here, 0.7 no effect, 0.35 unknown
Latents = Float[Tensor, "b f 16 h w"]  # times the scaling factor 0.7, as the transformer sees them
Conditioning = Float[Tensor, "b f 17 h w"]  # mask, then the latents of the composite; all zero: no conditioning
TextRows = Float[Tensor, "b L D"]  # every row of the text encoder, padding too
