"""Values of metrics: a number, or the reason why there is none; and the groups of clips that they are averaged over.

A metric whose weights or program are missing is `unavailable`; one that is 0/0 or infinite is `undefined`. Neither is
ever a number, in no table and no file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from ...arrays import Rgb
from .videos import pixels_digest

Status = Literal["ok", "unavailable", "undefined"]
Level = Literal["frame", "clip", "source", "effect", "all"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights that a learned metric was computed with."""

    id: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One metric of one frame, clip or group.

    Raises:
        ValueError: there is a number without `ok`, none with it, or no reason where there is no number.
    """

    name: str
    value: float | None
    status: Status = "ok"
    reason: str = ""
    weights: Weights | None = None
    n: int = 1
    """Number of frames, clips or videos behind the value."""
    left_out: int = 0
    """Number of those for which the metric is undefined."""
    low: float | None = None
    """Lower end of the 95 % bootstrap interval over clips; None where there is none."""
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.value is not None and math.isfinite(self.value)):
            raise ValueError(f"{self.name}={self.value} with status {self.status}: a finite number goes with ok alone")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.name} is {self.status} without a reason; say what is missing")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of the evaluation: of a method, on a frame, a clip or a group of clips."""

    method: str
    level: Level
    key: str
    """The clip, the source or the effect; empty for all."""
    value: MetricValue
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric in a table."""

    name: str
    title: str
    better: Literal["higher", "lower"]
    decimals: int


COLUMNS = (
    Column(name="clip_dir", title="CLIPdir", better="higher", decimals=2),
    Column(name="clip_text", title="CLIPtext", better="higher", decimals=2),
    Column(name="clip_img", title="CLIPimg", better="higher", decimals=2),
    Column(name="ssim", title="SSIM", better="higher", decimals=3),
    Column(name="psnr", title="PSNR", better="higher", decimals=2),
    Column(name="lpips", title="LPIPS", better="lower", decimals=3),
    Column(name="fvd", title="FVD", better="lower", decimals=0),
    Column(name="vmaf", title="VMAF", better="higher", decimals=2),
    Column(name="vbench", title="VBench", better="higher", decimals=3),
)
"""The nine columns of the paper's Table 1, in its order."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One method's result beside the truth; the three videos have one shape."""

    clip_id: str
    gt: Rgb
    over: Rgb
    result: Rgb
    caption: str
    fps: float

    @cached_property
    def digests(self) -> tuple[str, str, str]:
        """Digests of the pixels of gt, over and result."""
        return pixels_digest(self.gt), pixels_digest(self.over), pixels_digest(self.result)


@runtime_checkable
class Scorer(Protocol):
    """Scores one clip at a time."""

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """Return for each metric one value a frame, or a single one for the whole clip."""

    def weights(self) -> Weights | None:
        """Weights that the values depend on; raises `Unavailable` where they are missing."""


class Unavailable(Exception):
    """A metric cannot be computed here; the message is the reason that the tables give."""


def metric_value(name: str, value: float, *, weights: Weights | None = None, n: int = 1) -> MetricValue:
    """A computed number; NaN and infinity become undefined."""
    if math.isfinite(value):
        return MetricValue(name=name, value=float(value), weights=weights, n=n)
    return undefined(name, f"it came out as {value}", weights=weights)


def unavailable(name: str, reason: str) -> MetricValue:
    """No number, because weights or a program are missing."""
    return MetricValue(name=name, value=None, status="unavailable", reason=reason, n=0)


def undefined(name: str, reason: str, *, weights: Weights | None = None) -> MetricValue:
    """No number, because the metric has none for this input."""
    return MetricValue(name=name, value=None, status="undefined", reason=reason, weights=weights, n=0, left_out=1)


def mean(name: str, values: Sequence[MetricValue]) -> MetricValue:
    """Mean over all frames, clips or videos behind the values; undefined ones are left out and counted.

    One value that is unavailable makes the mean unavailable: a mean over what happened to work would compare nothing.
    """
    if not values:
        return unavailable(name, "there is nothing to average")
    missing = next((value for value in values if value.status == "unavailable"), None)
    if missing is not None:
        return missing
    left_out = sum(value.left_out for value in values)
    numbers = [(value.value, value.n) for value in values if value.value is not None]
    if not numbers:
        reason = values[0].reason
        return MetricValue(name=name, value=None, status="undefined", reason=reason, n=0, left_out=left_out)
    total = sum(n for _, n in numbers)
    value = math.fsum(number * n for number, n in numbers) / total
    return MetricValue(name=name, value=value, weights=values[0].weights, n=total, left_out=left_out)


def group_clips(clips: Sequence[Mapping[str, Any]]) -> dict[tuple[Level, str], list[int]]:
    """Indices of the clips of each group: all, each source, each effect; a clip may have several effects."""
    groups: dict[tuple[Level, str], list[int]] = {("all", ""): list(range(len(clips)))}
    for index, clip in enumerate(clips):
        groups.setdefault(("source", clip["source"]), []).append(index)
        for effect in clip["effects"]:
            groups.setdefault(("effect", effect), []).append(index)
    return groups
