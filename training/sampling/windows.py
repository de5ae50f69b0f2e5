"""Clips longer than the model takes at once: overlapping windows that are blended at every denoising step.

With the real model a window is 22 latent frames (85 frames) and shares 4 with the next. All counts are of latent frames
and even, because the transformer takes them in twos.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from ..base.strict import STRICT


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How a long clip is cut."""

    __pydantic_config__ = STRICT
    length: int = 22
    overlap: int = 4

    def __post_init__(self) -> None:
        if self.length % 2 or self.overlap % 2 or not 0 <= self.overlap <= self.length // 2 or self.length < 2:
            raise ValueError(
                f"windows of length={self.length} and overlap={self.overlap} latent frames do not go; both are even, "
                "and the overlap is at most half the length"
            )


def window_spans(frames: int, windows: WindowSettings) -> list[range]:
    """The windows of a clip; the last may be shorter, and a clip that fits is one window.

    Raises:
        ValueError: the number of latent frames is odd.
    """
    if frames % 2 or frames < 2:
        raise ValueError(f"{frames} latent frames are not an even number; pad the clip to 8k+5 frames")
    hop, found, start = windows.length - windows.overlap, [], 0
    while True:
        stop = min(start + windows.length, frames)
        found.append(range(start, stop))
        if stop == frames:
            return found
        start += hop


def weights(window: range, frames: int, overlap: int) -> Float32[np.ndarray, "f"]:
    """How much a window counts in each of its frames: rising where one came before, falling where one follows."""
    found = np.ones(len(window), np.float32)
    if overlap == 0:
        return found
    rise = np.linspace(0, 1, overlap + 2, dtype=np.float32)[1:-1]
    if window.start > 0:
        found[:overlap] = rise
    if window.stop < frames:
        found[-overlap:] = rise[::-1]
    return found
