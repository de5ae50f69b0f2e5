"""Clips under review: those of a local corpus or workspace, listed once and read singly when they are looked at."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..corpus.publish import MANIFEST
from ..corpus.reader import Corpus, open_corpus
from ..corpus.schema import QUALITY_NUMBERS
from ..gallery.tables import finite
from ..store.decisions import fingerprint_of
from ..store.ledger import finished_sources, iter_ledger, read_entries
from ..store.location import Location
from ..store.store import LayerRef, Store

Row = Mapping[str, Any]
COLUMNS = (
    *("clip_id", "kind", "source", "split", "effects", "caption", "num_frames", "height", "width", "fps"),
    *("quality", "provenance.layers_sha256"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewClip:
    """A clip as it is listed."""

    id: str
    source: str
    kind: str
    split: str
    effects: tuple[str, ...]
    caption: str
    shape: tuple[int, int, int]
    """Frames, rows, columns."""
    fps: float
    verdict: str
    numbers: tuple[float | None, ...]
    """Quality numbers in the order of `QUALITY_NUMBERS`."""
    fingerprint: str
    """Fingerprint of its layers."""
    start: int = 0
    """Byte of a ledger at which its entry begins."""


class ReviewedCorpus:
    """The clips of a published corpus."""

    kind = "corpus"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._corpus: Corpus | None = None

    def clips(self) -> Iterator[ReviewClip]:
        """List its clips."""
        with self._lock:
            self._corpus = corpus = open_corpus(str(self.folder))
        for row in corpus.columns(COLUMNS).to_pylist():
            yield _review_clip(row, row["provenance"].get("layers_sha256") or "")

    def row(self, clip: ReviewClip) -> Row:
        """Words and numbers of a clip."""
        with self._lock:
            return self._open()[clip.id].row

    def layer(self, clip: ReviewClip, layer: str) -> bytes | None:
        """Encoded video of a layer."""
        with self._lock:
            return self._open()[clip.id].encoded(layer)

    def stamp(self) -> object:
        """Size and time of its `corpus.json`."""
        return _stamp_of(self.folder / MANIFEST)

    def _open(self) -> Corpus:
        assert self._corpus is not None, "clips are listed first"
        return self._corpus


class ReviewedWorkspace:
    """The finished clips of a workspace, whatever their verdict."""

    kind = "workspace"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = Store(folder)

    def clips(self) -> Iterator[ReviewClip]:
        """List its clips."""
        for source in finished_sources(self.folder):
            for start, entry in iter_ledger(self.folder, source):
                if entry.row is not None and entry.layers:
                    digests = {name: layer["sha256"] for name, layer in entry.layers.items()}
                    yield _review_clip(entry.row, fingerprint_of(digests), start)

    def row(self, clip: ReviewClip) -> Row:
        """Words and numbers of a clip."""
        return self._entry(clip).row or {}

    def layer(self, clip: ReviewClip, layer: str) -> bytes | None:
        """Encoded video of a layer."""
        layer_file = (self._entry(clip).layers or {}).get(layer)
        return None if layer_file is None else self._store.read(LayerRef(**layer_file))

    def stamp(self) -> object:
        """Sizes and times of the accounts of its sources."""
        accounts = sorted(self.folder.glob("sources/*/account.json"))
        if not accounts:
            raise FileNotFoundError(self.folder)
        return tuple(map(_stamp_of, accounts))

    def _entry(self, clip: ReviewClip) -> Any:
        (entry,) = read_entries(self.folder, clip.source, (clip.start,))
        if entry.name != clip.id:
            raise ValueError(f"the ledger of '{clip.source}' is another one now; load the page again")
        return entry


ReviewPlace = ReviewedCorpus | ReviewedWorkspace


def open_place(place: str) -> ReviewPlace:
    """Open a corpus or workspace for review.

    Raises:
        ValueError: it is neither, or lies on another machine.
    """
    location = Location.of(place)
    folder = location.local
    if folder is None:
        raise ValueError(
            f"{place}: decisions are kept in a file that only a folder of this machine can hold; copy it here and "
            "review that"
        )
    if (folder / MANIFEST).is_file():
        return ReviewedCorpus(folder)
    if folder.is_dir() and finished_sources(location):
        return ReviewedWorkspace(folder)
    raise ValueError(f"{place}: is neither a corpus nor a workspace in which a source was run; check the name")


def _review_clip(row: Row, fingerprint: str, start: int = 0) -> ReviewClip:
    quality = row["quality"]
    return ReviewClip(
        id=row["clip_id"],
        source=row["source"],
        kind=row["kind"],
        split=row.get("split") or "",
        effects=tuple(row["effects"] or ()),
        caption=row["caption"] or "",
        shape=(row["num_frames"], row["height"], row["width"]),
        fps=row["fps"],
        verdict=quality["verdict"],
        numbers=tuple(_short(finite(quality.get(name))) for name in QUALITY_NUMBERS),
        fingerprint=fingerprint,
        start=start,
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _stamp_of(file: Path) -> tuple[str, int, int, int]:
    stat = file.stat()
    return (str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino)
