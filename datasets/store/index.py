"""The index of a workspace: one SQLite file that remembers footage and finished items, so that they are looked up.

It is never the truth. A digest counts as long as size, times and file number of its file stay the same; a finished
item, as long as all that decides it does and each of its results is still as it was by a look at the file's size and
time, or for a remote workspace by one listing of its stage. What is missing or damaged in it is read from the store
and remembered again; the file may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...digests import digest_of_file
from .ledger import LedgerLine
from .location import Location
from .store import MANIFEST, result_folder

VERSION = 1
"""Raise it when the tables change; a file of another version is begun anew."""
FILE = "index.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS files
    (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items
    (source TEXT, item TEXT, fingerprint TEXT, results BLOB, lines BLOB, PRIMARY KEY (source, item));
"""
_NO_TABLES = "DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS items;"
BLOCK_WRITES = 2000
"""Rows that are written in one transaction."""
HASHING_THREADS = 4
"""Files that are hashed at once: SHA-256 lets other threads run, and a disk answers several requests at a time."""


class ResultStamp(NamedTuple):
    """A finished stage of an item, or of one that it was split into, as it was seen last."""

    item: str
    stage: str
    key: str
    manifest_bytes: int
    """Size of its `result.json`."""
    times_ns: tuple[int, int]
    """Times of change of that file and of its folder; 0 in a remote workspace."""
    size_bytes: int
    """Size of all its files."""
    seconds: float | None
    """Time that its making took, if a run is known that made it."""
    clips: Sequence[str] = ()
    """Ids of the clips that come of it: that of the item itself, or of all that it was split into."""


class WorkspaceIndex:
    """Memory of a workspace for one process; several may have it open at once.

    Args:
        workspace: its file lies in a local workspace itself, and for a remote one in the user's cache.
    """

    def __init__(self, workspace: Location) -> None:
        self.workspace = workspace
        self.path = (workspace.local or workspace.scratch_folder) / FILE
        self._lock = threading.Lock()
        self._listings: dict[str, dict[str, int]] = {}
        self._waiting: list[tuple[str, Sequence[Any]]] = []
        self._open()

    def digests(self, paths: Iterable[Path]) -> dict[Path, str | OSError]:
        """SHA-256 of files, or why one cannot be read; those not as they were seen last are read, several at once."""
        digests: dict[Path, str | OSError] = {}
        changed: dict[Path, os.stat_result] = {}
        for path in dict.fromkeys(paths):
            try:
                stat = path.stat()
            except OSError as problem:
                digests[path] = problem
                continue
            row = self._select(
                "SELECT size, mtime_ns, inode, sha256 FROM files WHERE path = ?", (str(path.absolute()),)
            )
            if row is not None and row[:3] == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
                digests[path] = row[3]
            else:
                changed[path] = stat
        if changed:
            with ThreadPoolExecutor(HASHING_THREADS) as threads:
                sums = list(threads.map(_digest_or_problem, changed))
            for (path, stat), sha256 in zip(changed.items(), sums, strict=True):
                digests[path] = sha256
                if isinstance(sha256, OSError):
                    continue
                row = (str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino, sha256)
                self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)
        return digests

    def results(self, source: str, item: str, fingerprint: str) -> list[ResultStamp] | None:
        """The results of a finished item, if it is known under this fingerprint and each is still as it was."""
        query = "SELECT results FROM items WHERE source = ? AND item = ? AND fingerprint = ?"
        row = self._select(query, (source, item, fingerprint))
        if row is None:
            return None
        try:
            stamps = [
                ResultStamp(*values)._replace(times_ns=tuple(values[4]))
                for values in json.loads(zlib.decompress(row[0]))
            ]
        except (ValueError, TypeError, zlib.error):
            return None
        return stamps if all(self.look(stamp.stage, stamp.key) == _state_of(stamp) for stamp in stamps) else None

    def lines(self, source: str, item: str) -> list[LedgerLine] | None:
        """The ledger's lines of a finished item."""
        row = self._select("SELECT lines FROM items WHERE source = ? AND item = ?", (source, item))
        try:
            return None if row is None else [LedgerLine(*line) for line in json.loads(zlib.decompress(row[0]))]
        except (ValueError, TypeError, zlib.error):
            return None

    def keep(
        self, source: str, item: str, fingerprint: str, stamps: Sequence[ResultStamp], lines: Sequence[LedgerLine]
    ) -> None:
        """Remember a finished item."""
        packed = [zlib.compress(json.dumps(values).encode(), 1) for values in (stamps, lines)]
        self._write("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", (source, item, fingerprint, *packed))

    def look(self, stage: str, key: str) -> tuple[int, tuple[int, int]] | None:
        """Size and times of a result as it is now; None where it is gone."""
        folder, local = result_folder(stage, key), self.workspace.local
        if local is None:
            size = self._listing(stage).get(f"{folder}/{MANIFEST}")
            return None if size is None else (size, (0, 0))
        try:  # not by pathlib: a run looks at every result of every clip
            manifest, below = os.stat(f"{local}/{folder}/{MANIFEST}"), os.stat(f"{local}/{folder}")  # noqa: PTH116
        except OSError:
            return None
        return manifest.st_size, (manifest.st_mtime_ns, below.st_mtime_ns)

    def commit(self) -> None:
        """Write what was remembered to the disk, and forget what a remote workspace listed."""
        self._listings.clear()
        with self._lock:
            self._flush()

    def _listing(self, stage: str) -> dict[str, int]:
        """Size of each `result.json` of a stage in a remote workspace, by one listing."""
        if stage not in self._listings:
            sizes = self.workspace.sizes(f"store/{stage}")
            self._listings[stage] = {name: size for name, size in sizes.items() if name.endswith(MANIFEST)}
        return self._listings[stage]

    def _select(self, query: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        with self._lock, self._begun_anew_if_damaged():
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return row
        return None

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with self._lock:
            self._waiting.append((statement, values))
            if len(self._waiting) >= BLOCK_WRITES:
                self._flush()

    def _flush(self) -> None:
        with self._begun_anew_if_damaged(), self._connection:
            for statement, values in self._waiting:
                self._connection.execute(statement, values)
        self._waiting.clear()

    @contextlib.contextmanager
    def _begun_anew_if_damaged(self) -> Any:
        try:
            yield
        except sqlite3.OperationalError:
            pass  # another process writes, or the disk is full: nothing is remembered this time
        except sqlite3.DatabaseError:
            self._connection.close()
            self.path.unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        for place in (self.path, self.path, ":memory:"):  # the second time without a damaged file
            try:
                if isinstance(place, Path):
                    place.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(place, timeout=30, check_same_thread=False)
                if self._connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    self._connection.executescript(f"{_NO_TABLES} PRAGMA user_version = {VERSION}")
                self._connection.execute("PRAGMA synchronous = OFF")  # what a power cut damages is begun anew
                self._connection.executescript(_TABLES)
                return
            except sqlite3.OperationalError:
                continue  # a folder that cannot be written
            except (sqlite3.DatabaseError, OSError):
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)


def _digest_or_problem(path: Path) -> str | OSError:
    try:
        return digest_of_file(path, trust_disk=False)
    except OSError as problem:
        return problem


def _state_of(stamp: ResultStamp) -> tuple[int, tuple[int, int]]:
    return stamp.manifest_bytes, stamp.times_ns


@cache
def code_digest() -> str:
    """Digest of the package's own code: what other code made of the same results is not remembered."""
    root = Path(__file__).parents[2]
    sha256 = hashlib.sha256()
    for folder in (".", "cli", "flows", "stages", "captioning", "datasets", "render", "training"):
        for path in sorted((root / folder).glob("*.py" if folder == "." else "**/*.py")):
            sha256.update(path.read_bytes())
    return sha256.hexdigest()
