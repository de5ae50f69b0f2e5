"""PSNR and SSIM between the result and the truth, frame by frame, by scikit-image.

PSNR of two equal frames is infinite, so it is undefined and left out of means, which count it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .metric import MetricValue, Sample, known, undefined

SSIM_WINDOW_PX = 7


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The two metrics that need no weights and no program."""

    def weights(self) -> None:
        """None are needed."""

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """SSIM in [-1, 1] and PSNR in dB of each frame."""
        from skimage.metrics import structural_similarity

        ssim, psnr = [], []
        small = min(sample.gt.shape[1:3]) < SSIM_WINDOW_PX
        for truth, made in zip(sample.gt, sample.result, strict=True):
            error = float(np.mean((truth.astype(np.float64) - made) ** 2))
            equal = undefined("psnr", "the frames are equal, so it is infinite")
            psnr.append(known("psnr", 10 * np.log10(255.0**2 / error)) if error else equal)
            if small:
                ssim.append(undefined("ssim", f"a side is shorter than its window of {SSIM_WINDOW_PX} pixels"))
            else:
                similar = structural_similarity(truth, made, channel_axis=2, data_range=255)
                ssim.append(known("ssim", float(similar)))
        return {"ssim": ssim, "psnr": psnr}
