"""Which clips are counted together: each source, each effect, and all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .metric import MetricValue

Level = Literal["frame", "clip", "source", "effect", "all"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One number of the result, or the reason why it is none."""

    method: str
    level: Level
    key: str
    """The clip, the source or the effect; empty for all."""
    value: MetricValue
    frame: int | None = None


def grouped(clips: Sequence[Mapping[str, Any]]) -> dict[tuple[Level, str], list[int]]:
    """Of each group the numbers of its clips; a clip with several effects counts in each."""
    groups: dict[tuple[Level, str], list[int]] = {("all", ""): list(range(len(clips)))}
    for index, clip in enumerate(clips):
        groups.setdefault(("source", clip["source"]), []).append(index)
        for effect in clip["effects"]:
            groups.setdefault(("effect", effect), []).append(index)
    return groups
