"""SHA-256 of files, each read once: the digest is remembered by path, size and time of change.

A process remembers every file. A large one is remembered on the disk too, so that the 20 GB of a model are read once on
a machine and not by every worker of every run: SHA-256 goes at 1.7 GiB/s of a core here, half a minute of a 5B model.
Of processes that begin together one reads a large file, and the others wait for what it found.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

REMEMBERED_BYTES = 64 * 2**20
"""Size from which a digest is kept on the disk: below it, reading the file takes under 40 ms."""


def digest_of_file(path: Path, *, trust_disk: bool = True) -> str:
    """SHA-256 of a file's content; it is read once, as long as its size and time of change stay the same.

    Args:
        path: the file.
        trust_disk: take what another process found; a check for damage reads the file itself, once.
    """
    stat = path.stat()
    return _digest_of_file(path, stat.st_size, stat.st_mtime_ns, trust_disk)


@lru_cache(maxsize=100_000)
def _digest_of_file(path: Path, size_bytes: int, mtime_ns: int, trust_disk: bool = True) -> str:
    if size_bytes < REMEMBERED_BYTES or not trust_disk:
        return _read_digest(path)
    note, origin = _note_path(path), {"path": str(path.resolve()), "size_bytes": size_bytes, "mtime_ns": mtime_ns}
    with _lock(note.parent):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            record = json.loads(note.read_text(encoding="utf-8"))
            if {name: record.get(name) for name in origin} == origin and len(record["sha256"]) == 64:
                return str(record["sha256"])
        digest = _read_digest(path)
        with contextlib.suppress(OSError):  # without a home that can be written the file is read again next time
            partial = note.with_name(f"{note.name}.{uuid.uuid4().hex}")
            partial.write_text(json.dumps(origin | {"sha256": digest}), encoding="utf-8")
            partial.replace(note)
    return digest


def _read_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time into a folder, which is made; where that cannot be, let all in."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when it is closed, or the process dies
        yield


def _note_path(path: Path) -> Path:
    """Path to the remembered digest of a file, under XDG_CACHE_HOME."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "effectpairs" / "sha256" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
