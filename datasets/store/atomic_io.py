"""Files that appear whole or not at all, and digests that name them by their content.

What is being written has `.partial-<machine>-<process>-<random>` behind its name until it is flushed and renamed, so a
later run can tell what a killed process left from what a living one is still writing.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

import psutil

_SEAL = b',\n "digest": "%s"\n}'
_SEAL_BYTES = len(_SEAL % (b"0" * 64))
ABANDONED_AFTER_S = 7 * 24 * 3600
"""Age from which another machine's unfinished file counts as abandoned; its process cannot be looked for."""


class CannotWrite(OSError):
    """A write failed for want of space or rights; the message is one sentence with the remedy."""

    def __str__(self) -> str:
        return str(self.strerror)


class CorruptFile(OSError):
    """A file is no longer what was written; the message names it and the remedy. It says nothing against an input."""


@contextlib.contextmanager
def explain_os_errors(path: Path, *, within: Path | None = None) -> Iterator[None]:
    """Turn a full disk or missing rights at a path into a sentence; what fails outside `within` passes as it is.

    Raises:
        CannotWrite: the disk is full or the path cannot be written.
    """
    try:
        yield
    except OSError as problem:
        sentence = _explain_errno(problem, path)
        if sentence is None or _is_elsewhere(problem, (within or path.parent).absolute()):
            raise
        raise CannotWrite(problem.errno, sentence) from problem


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json_bytes(value)).hexdigest()


def key_digest(value: Any) -> str:
    """SHA-256 of a JSON value in one line: several times as fast as `digest_of`, whose digests ids of clips hold."""
    return hashlib.sha256(json_bytes(value, indent=None)).hexdigest()


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:
    """A JSON value as bytes, the same for equal values.

    Raises:
        ValueError: a number in it is NaN or infinite, with its key.
    """
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, indent=indent, default=_json_value).encode()
    except ValueError as refused:
        where = _not_finite(value) or str(refused)
        raise ValueError(f"{where} is no JSON value; where a number is not known store None") from refused


def seal_json(value: Mapping[str, Any]) -> bytes:
    """A JSON object as bytes that end with the SHA-256 of all before it, as the key "digest"."""
    content = json_bytes(value)[:-2]
    return content + _SEAL % hashlib.sha256(content).hexdigest().encode()


def unseal_json(content: bytes) -> dict[str, Any]:
    """The object in the bytes of `seal_json`, without its digest.

    Raises:
        ValueError: a byte changed, or they were never sealed.
    """
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if seal != _SEAL % hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its digest is not that of its content")
    value: dict[str, Any] = json.loads(body + b"}")
    return value


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    with atomic_open(path) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write; it appears whole when the block ends, or not at all.

    Raises:
        CannotWrite: the disk is full or the path cannot be written.
    """
    partial = partial_beside(path)
    try:
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                yield file
                flush_file(file)
            partial.replace(path)
            flush_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        flush_file(file)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_beside(path: Path) -> Path:
    """A name beside path for what this process is making of it."""
    return path.with_name(f"{path.name}.partial-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def is_abandoned(partial: Path | str, modified: Callable[[], float] | None = None) -> bool:
    """Was this `.partial-` begun by a process of this machine that has ended, or so long ago that none can live?

    Args:
        partial: file, or name of a file elsewhere.
        modified: asks for the time of its last change, in seconds since 1970; None asks the file.
    """
    path = Path(partial)
    try:
        host, pid = path.name.rsplit(".partial-", 1)[1].split("-")[:2]
        if host == _host():
            # One that was killed stays in the list until its parent has asked for its status.
            return bool(psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
        return time.time() - (modified() if modified else path.stat().st_mtime) > ABANDONED_AFTER_S
    except psutil.NoSuchProcess:
        return True
    except (IndexError, ValueError, OSError):
        return False  # not named by us, or gone meanwhile


def sweep_partials(folder: Path) -> None:
    """Delete what killed processes left behind in a folder, and in the folders below it."""
    for partial in folder.rglob("*.partial-*"):
        if is_abandoned(partial):
            partial.unlink(missing_ok=True)


def flush_file(file: IO[bytes]) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _explain_errno(problem: OSError, path: Path) -> str | None:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free some space or choose another folder, then run again"
    if problem.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{path}: cannot be written; choose another folder or change its permissions"
    if problem.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path}: a file stands where a folder is needed; choose another folder or move that file away"
    return None


def _is_elsewhere(problem: OSError, within: Path) -> bool:
    """Does the failure name a file that is neither below the folder nor on the way to it?"""
    if not isinstance(problem.filename, (str, Path)):
        return False
    failed = Path(problem.filename).absolute()
    return not (failed.is_relative_to(within) or within.is_relative_to(failed))


def _not_finite(value: Any, name: str = "value") -> str | None:
    """The first NaN or infinity in a nested value, with the way to it."""
    if isinstance(value, Mapping):
        items = [(f"{name}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{name}[{index}]", item) for index, item in enumerate(value)]
    else:
        number = value.item() if hasattr(value, "item") else value
        return f"{name}={number}" if isinstance(number, float) and not math.isfinite(number) else None
    return next((name_found for key, item in items if (name_found := _not_finite(item, key))), None)


@cache
def _host() -> str:
    """Digits for this machine, or for a container with process numbers of its own."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        name += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _json_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r} is not a JSON value")
