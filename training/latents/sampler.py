"""Which clip comes next, and what is hidden of it: decided by the seed and the sample's number alone.

Sample n is the same whoever asks for it: a run that was resumed, one with other loader workers, one with fewer GPUs and
more accumulation. First the kind is drawn, then a clip of that kind, so that 54 real clips are not lost among 573
rendered ones; without real clips the paper's own ablation loses most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..base.strict import STRICT
from ..base.trimask import Downsample, TriMaskSettings

KINDS = ("real", "synthetic", "unpaired")


@dataclass(frozen=True, kw_only=True)
class SourceMix:
    """How often each kind comes, as weights that are divided by their sum; 0 leaves a kind out."""

    __pydantic_config__ = STRICT
    real: float = 0.35
    synthetic: float = 0.35
    unpaired: float = 0.30
    uniform: bool = False
    """Every window equally often, whatever its kind; a weight then says only, by being 0, that its kind stays out."""

    def __post_init__(self) -> None:
        weights = self.of_kinds()
        if min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
            raise ValueError(f"mix weights {weights} are not numbers of at least 0 with one above; mend them")

    def of_kinds(self) -> dict[str, float]:
        """The weights by kind."""
        return {kind: float(getattr(self, kind)) for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is drawn from the cache, and what is hidden of it."""

    __pydantic_config__ = STRICT
    split: Literal["train", "validation", "test", "all"] = "train"
    mix: SourceMix = field(default_factory=SourceMix)
    trimask: TriMaskSettings = field(default_factory=TriMaskSettings)
    caption_dropout: float = 0.1
    """Share of samples with an empty caption, which classifier-free guidance needs."""
    mask_downsample: Downsample = "trilinear"
    workers: int = 2
    """Loader processes; 0 reads in the training process itself."""

    def __post_init__(self) -> None:
        if not 0 <= self.caption_dropout <= 1:
            raise ValueError(f"data.caption_dropout={self.caption_dropout} is not a share in [0, 1]")
        if not 0 <= self.workers <= 256:
            raise ValueError(f"data.workers={self.workers} is not in [0, 256]")


class RowSampler:
    """The rows of a cache, ready to be drawn from."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], mix: SourceMix, *, what: str) -> None:
        """Sort rows by kind.

        Args:
            rows: as a cache lists them; their numbers here are what is drawn.
            mix: how often each kind comes.
            what: names the rows in an error.

        Raises:
            ValueError: there are no rows, or a kind with a weight has none.
        """
        self.of_kind = {kind: [n for n, row in enumerate(rows) if row["kind"] == kind] for kind in KINDS}
        self.weights = kind_weights({kind: len(numbers) for kind, numbers in self.of_kind.items()}, mix, what=what)

    def draw(self, rng: np.random.Generator) -> int:
        """The number of a row."""
        shares = np.array([self.weights[kind] for kind in KINDS])
        numbers = self.of_kind[KINDS[int(np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(), "right"))]]
        return int(numbers[rng.integers(len(numbers))])


def kind_weights(counts: Mapping[str, int], mix: SourceMix, *, what: str) -> dict[str, float]:
    """How often each kind comes where there are so many clips, or windows, of each.

    Raises:
        ValueError: there are none, or none of a kind with a weight.
    """
    if not sum(counts.values()):
        raise ValueError(f"{what}: has no clips to train on; publish some, or choose another split")
    weights = mix.of_kinds()
    if mix.uniform:
        weights = {kind: float(counts.get(kind, 0)) if weights[kind] else 0.0 for kind in KINDS}
    for kind, weight in weights.items():
        if weight > 0 and not counts.get(kind):
            raise ValueError(
                f"{what}: has no {kind} clips, but the mix gives them a weight of {weight:g}; "
                f"add some, or set data.mix.{kind} = 0"
            )
    if not any(weights.values()):
        raise ValueError(f"{what}: has no clips of the kinds that the mix leaves in; add some, or weigh another kind")
    return weights


def rng_for_sample(seed: int, number: int) -> np.random.Generator:
    """The random numbers of sample `number`."""
    return np.random.default_rng([seed, number])
