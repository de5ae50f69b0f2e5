"""What a metric says: a number, or why there is none.

A metric whose weights or program are missing is `unavailable`; one that is 0/0 or infinite is `undefined`. Neither is
ever a number, in no table and no file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ...arrays import Rgb

Status = Literal["ok", "unavailable", "undefined"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a learned metric was computed with."""

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
    """How many frames, clips or videos the number is of."""
    left_out: int = 0
    """How many more there were for which the metric is undefined."""

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.value is not None and math.isfinite(self.value)):
            raise ValueError(f"{self.name}={self.value} with status {self.status}: a finite number goes with ok alone")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.name} is {self.status} without a reason; say what is missing")


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


@runtime_checkable
class Scorer(Protocol):
    """Scores one clip at a time."""

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """For each metric a value a frame, or one alone for the whole clip."""
        ...

    def weights(self) -> Weights | None:
        """What the values hang on beside the videos; `Unavailable` where it is missing."""
        ...


class Unavailable(Exception):
    """A metric cannot be computed here; the message is the reason that the tables give."""


def known(name: str, value: float, *, weights: Weights | None = None, n: int = 1) -> MetricValue:
    """A computed number; NaN and infinity become undefined."""
    if math.isfinite(value):
        return MetricValue(name=name, value=float(value), weights=weights, n=n)
    return undefined(name, f"it came out as {value}", weights=weights)


def unavailable(name: str, reason: str) -> MetricValue:
    """No number, because something is missing."""
    return MetricValue(name=name, value=None, status="unavailable", reason=reason, n=0)


def undefined(name: str, reason: str, *, weights: Weights | None = None) -> MetricValue:
    """No number, because there is none for this input."""
    return MetricValue(name=name, value=None, status="undefined", reason=reason, weights=weights, n=0, left_out=1)


def mean(name: str, values: Sequence[MetricValue]) -> MetricValue:
    """The mean over all that a number is of; what is undefined is left out and counted.

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
