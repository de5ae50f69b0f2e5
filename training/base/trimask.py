"""What of a clip's effect mask the model gets to see while it learns: all of it, nothing, or a few moments.

The paper replaces frames of the mask by grey at random so that the model also works without a mask and with masks on
single frames; it does not give the odds. Ours are the fields below. The choice is made per latent frame, because the
model cannot see a finer one.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from .strict import STRICT

Downsample = Literal["trilinear", "area", "max"]
"""How a mask shrinks to the latents: trilinear is what the base model learnt with; max keeps thin strokes alive."""


@dataclass(frozen=True, kw_only=True)
class TriMaskSettings:
    """The odds of the three ways; they add up to 1."""

    __pydantic_config__ = STRICT
    full: float = 0.4
    unknown: float = 0.4
    keyframes: float = 0.2
    kept_share: tuple[float, float] = (0.05, 0.5)
    """Way "keyframes": which share of the latent frames stays, drawn evenly between these; at least one stays."""
    jitter_px: int = 0
    """Masks grow or shrink by up to so many pixels, so that coarse ones are understood too; 0 leaves them alone."""

    def __post_init__(self) -> None:
        odds = (self.full, self.unknown, self.keyframes)
        if min(odds) < 0 or abs(sum(odds) - 1) > 1e-6:
            raise ValueError(f"trimask odds {odds} are not shares that add up to 1; full + unknown + keyframes = 1")
        low, high = self.kept_share
        if not 0 < low <= high <= 1:
            raise ValueError(f"trimask.kept_share={self.kept_share} is not two shares in (0, 1], the smaller first")
        if not 0 <= self.jitter_px <= 64:
            raise ValueError(f"trimask.jitter_px={self.jitter_px} is not in [0, 64]")


def choose_visible_frames(frames: int, settings: TriMaskSettings, rng: np.random.Generator) -> Bool[np.ndarray, "f"]:
    """Which latent frames show their mask; the others are unknown."""
    way, share, order = rng.random(), rng.uniform(*settings.kept_share), rng.permutation(frames)
    if way < settings.full:
        return np.ones(frames, bool)
    if way < settings.full + settings.unknown:
        return np.zeros(frames, bool)
    seen = np.zeros(frames, bool)
    seen[order[: max(1, round(share * frames))]] = True
    return seen
