"""Paired effect datasets: a video with its effect, the same video without it, where the effect is, and a caption."""

import os
import sys

TYPE_CHECKING = False  # type checkers take it for theirs; to import typing here would be too early, see below
if TYPE_CHECKING:
    from pathlib import Path

    from .datasets.corpus.reader import Corpus

__all__ = ["open"]

# `python -m effectpairs` puts the working folder before everything else: a uuid.py that lies there would be run. Python
# has loaded sys and os by itself before.
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] == os.getcwd() != _HOME:  # noqa: PTH109
    del sys.path[0]


def open(path_or_url: "str | Path", *, threads: int = 1) -> "Corpus":
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
