"""Types of a clip's arrays: T frames, H rows, W columns; colour is 8-bit RGB in display space, as read and stored."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

Image = UInt8[np.ndarray, "H W 3"]  # one frame
Rgb = UInt8[np.ndarray, "T H W 3"]
Matte = UInt8[np.ndarray, "T H W"]  # soft coverage: 0 background, 255 subject
MatteImage = UInt8[np.ndarray, "H W"]  # the same for one frame
Mask = Bool[np.ndarray, "T H W"]  # hard decision per pixel
PerFrame = Float32[np.ndarray, "T"]  # one number a frame, e.g. a confidence in [0, 1]
