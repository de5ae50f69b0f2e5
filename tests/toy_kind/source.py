"""Settings of a toy source: words of a text file, and how they are spelled."""

from dataclasses import dataclass

from effectpairs.datasets.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class ToySource(Source):
    """Lines of words; a line is split into its words, and each word becomes a row."""

    lines: tuple[str, ...]
    upper: bool = False
    clip_bytes: int = 1
