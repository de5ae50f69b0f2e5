"""Paired effect datasets: a video with its effect, the same video without it, where the effect is, and a caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .datasets.corpus.reader import Corpus

__all__ = ["open"]


def open(path_or_url: str | Path, *, threads: int = 1) -> Corpus:
    """Open a finished corpus by its folder or fsspec URL.

    Args:
        path_or_url: a local folder, or a URL such as `s3://bucket/corpus`.
        threads: threads that share the decoding of one layer, 1 to 4.

    Raises:
        FileNotFoundError: no corpus is there, with the command that makes one.
        ValueError: the corpus was written in a later format than this version reads.
    """
    # Imported here so that `import effectpairs` costs nothing.
    from .datasets.corpus.reader import open_corpus

    return open_corpus(str(path_or_url), threads=threads)
