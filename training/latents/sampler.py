"""Sampler of rows: the next clip and the hidden frames of its effect mask, by seed and sample number alone.

Sample n is the same whoever asks for it: a run that was resumed, one with other loader workers, one with fewer GPUs and
more accumulation. First the kind is drawn, then a clip of that kind, so that 54 real clips are not lost among 573
rendered ones; without real clips the paper's own ablation loses most.

The paper replaces frames of the mask by grey at random so that the model also works without a mask and with masks on
single frames; it does not give the odds. Ours are the fields of `TriMaskSettings`. The choice is made per latent frame,
because the model cannot see a finer one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from ...settings import STRICT, CheckedSettings, InRange
from ..base.latent_shapes import Downsample

KINDS = ("real", "synthetic", "unpaired")


@dataclass(frozen=True, kw_only=True)
class TriMaskSettings(CheckedSettings):
    """Odds of showing the whole effect mask, none of it, or single latent frames; they add up to 1."""

    table: ClassVar[str] = "trimask"
    full: float = 0.4
    unknown: float = 0.4
    keyframes: float = 0.2
    kept_share: tuple[float, float] = (0.05, 0.5)
    """With "keyframes": share of the latent frames that stay, drawn evenly between these; at least one stays."""
    jitter_px: Annotated[int, InRange(0, 64)] = 0
    """Masks grow or shrink by up to so many pixels, so that coarse ones are understood too; 0 leaves them alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        odds = (self.full, self.unknown, self.keyframes)
        if min(odds) < 0 or abs(sum(odds) - 1) > 1e-6:
            raise ValueError(f"trimask odds {odds} are not shares that add up to 1; full + unknown + keyframes = 1")
        low, high = self.kept_share
        if not 0 < low <= high <= 1:
            raise ValueError(f"trimask.kept_share={self.kept_share} is not two shares in (0, 1], the smaller first")


@dataclass(frozen=True, kw_only=True)
class SourceMix:
    """Frequencies of the kinds, as weights that are divided by their sum; 0 leaves a kind out."""

    __pydantic_config__ = STRICT
    real: float = 0.35
    synthetic: float = 0.35
    unpaired: float = 0.30
    uniform: bool = False
    """Every window equally often, whatever its kind; a weight then says only, by being 0, that its kind stays out."""

    def __post_init__(self) -> None:
        weights = self.by_kind()
        if min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
            raise ValueError(f"mix weights {weights} are not numbers of at least 0 with one above; mend them")

    def by_kind(self) -> dict[str, float]:
        """The weights by kind."""
        return {kind: float(getattr(self, kind)) for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Samples that are drawn from the cache, and parts of them that are hidden."""

    __pydantic_config__ = STRICT
    split: Literal["train", "validation", "test", "all"] = "train"
    mix: SourceMix = field(default_factory=SourceMix)
    trimask: TriMaskSettings = field(default_factory=TriMaskSettings)
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of samples with an empty caption, which classifier-free guidance needs."""
    mask_downsample: Downsample = "trilinear"
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Loader processes; 0 reads in the training process itself."""


class RowSampler:
    """Draws rows of a cache: first a kind, then a row of that kind."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], mix: SourceMix, *, label: str) -> None:
        """Sort rows by kind; their numbers are what is drawn, and `label` names them in an error.

        Raises:
            ValueError: there are no rows, or a kind with a weight has none.
        """
        self.by_kind = {kind: [n for n, row in enumerate(rows) if row["kind"] == kind] for kind in KINDS}
        counts = {kind: len(numbers) for kind, numbers in self.by_kind.items()}
        self.weights = kind_weights(counts, mix, label=label)

    def draw(self, rng: np.random.Generator) -> int:
        """Number of a row."""
        shares = np.array([self.weights[kind] for kind in KINDS])
        numbers = self.by_kind[KINDS[int(np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(), "right"))]]
        return int(numbers[rng.integers(len(numbers))])


def kind_weights(counts: Mapping[str, int], mix: SourceMix, *, label: str) -> dict[str, float]:
    """Frequency of each kind, given the number of its clips or windows.

    Raises:
        ValueError: there are none, or none of a kind with a weight.
    """
    if not sum(counts.values()):
        raise ValueError(f"{label}: has no clips to train on; publish some, or choose another split")
    weights = mix.by_kind()
    if mix.uniform:
        weights = {kind: float(counts.get(kind, 0)) if weights[kind] else 0.0 for kind in KINDS}
    for kind, weight in weights.items():
        if weight > 0 and not counts.get(kind):
            raise ValueError(
                f"{label}: has no {kind} clips, but the mix gives them a weight of {weight:g}; "
                f"add some, or set data.mix.{kind} = 0"
            )
    if not any(weights.values()):
        raise ValueError(f"{label}: has no clips of the kinds that the mix leaves in; add some, or weigh another kind")
    return weights


def draw_visible_frames(frames: int, settings: TriMaskSettings, rng: np.random.Generator) -> Bool[np.ndarray, "f"]:
    """Draw the latent frames that show their mask; the others are unknown."""
    mode, share, order = rng.random(), rng.uniform(*settings.kept_share), rng.permutation(frames)
    if mode < settings.full:
        return np.ones(frames, bool)
    visible = np.zeros(frames, bool)
    if mode >= settings.full + settings.unknown:
        visible[order[: max(1, round(share * frames))]] = True
    return visible
