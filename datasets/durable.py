"""Files that appear whole or not at all, and digests that name them by their content."""

import errno
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any


def explain_disk(problem: OSError, place: Path) -> OSError:
    """Say in one sentence what a failed write means and what to do."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(
            problem.errno, f"{place}: the disk is full; free some space or choose another folder, then run again"
        )
    if problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return OSError(problem.errno, f"{place}: cannot be written; choose another folder or change its permissions")
    return problem


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json_bytes(value)).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """A JSON value as bytes, the same for equal values; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, allow_nan=False, indent=1, default=_plain).encode()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flushed(partial, content)
        partial.replace(path)
        flush_folder(path.parent)
    except OSError as problem:
        raise explain_disk(problem, path) from problem
    finally:
        partial.unlink(missing_ok=True)


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is not a JSON value")
