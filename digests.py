"""SHA-256 of files, each read once: the digest is remembered by path, size and time of change.

A process remembers every file. A large one is remembered on the disk too, so that the 20 GB of a model are read once on
a machine and not by every worker of every run: SHA-256 goes at 1.7 GiB/s of a core here, half a minute of a 5B model.
"""

import contextlib
import hashlib
import json
import os
import uuid
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
    note = _note_path(path) if size_bytes >= REMEMBERED_BYTES and trust_disk else None
    origin = {"path": str(path.resolve()), "size_bytes": size_bytes, "mtime_ns": mtime_ns}
    if note is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            record = json.loads(note.read_text(encoding="utf-8"))
            if {name: record.get(name) for name in origin} == origin and len(record["sha256"]) == 64:
                return str(record["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if note is not None:
        with contextlib.suppress(OSError):  # without a home that can be written the file is read again next time
            note.parent.mkdir(parents=True, exist_ok=True)
            partial = note.with_name(f"{note.name}.{uuid.uuid4().hex}")
            partial.write_text(json.dumps(origin | {"sha256": digest}), encoding="utf-8")
            partial.replace(note)
    return digest


def _note_path(path: Path) -> Path:
    """Path to the remembered digest of a file, under XDG_CACHE_HOME."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "effectpairs" / "sha256" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
