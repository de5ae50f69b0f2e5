"""Format of an export: which files a trainer or a program reads, and what is in them.

A format is a small frozen value. The engine (`engine.py`) walks the corpus, asks `fitting.py` whether and how a clip
fits, writes the files that the format yields for it, and at the end those of its index.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from .fitting import ExportClip
from .settings import ExportSettings, Files, Fit, Row


@runtime_checkable
class Format(Protocol):
    """Layout of files that some trainer or program reads."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def reader(self) -> str:
        """Program that reads it, in a few words."""

    @property
    def fit(self) -> Fit:
        """Limits within which it takes clips."""

    @property
    def archive_clips(self) -> int:
        """Clips of the corpus whose files share one tar; 0 for files in folders."""

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield the files of one clip."""

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the clip's entry for the index; called after its files were made."""

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield the files that list the clips; folder is the absolute path of the export."""

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return how the program is pointed at the export, in one line."""
