"""Calls to a remote filesystem: asked again where nothing comes back, bounded in time, their errors as sentences."""

import errno
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_S = 60.0
"""Time for which a storage that does not answer is asked again: the restart of a server, a connection that is cut."""
SILENCE_S = 20.0
"""Time for which an upload may stand still: clients bound the wait for an answer, not the one for leave to send."""
SLOWEST_BYTES_S = 200_000
"""Rate, in bytes a second, below which an upload counts as standing still."""
NO_ANSWER = (
    "ConnectionError",
    "HTTPClientError",
    "ClientError",
    "ResponseParserError",
    "IncompleteReadError",
    "Timeout",
)
"""Names in the ancestry of errors of the clients (botocore, aiohttp, requests) that say nothing came back."""
NO_ANSWER_ERRNOS = (errno.EIO, errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO))
"""Error numbers under which fsspec's filesystems report status 500, 503 and a conflict of two writers."""


class StorageError(ConnectionError):
    """A remote storage did not answer, or refused; the message is one sentence with the remedy."""

    def __str__(self) -> str:
        return str(self.strerror)


def call_remote(place: str, call: Callable[[], T], *, writes: bool = False) -> T:
    """Call a remote filesystem, again for up to `PATIENCE_S` if it does not answer, beside the retries of its client.

    Args:
        place: what is read or written, as users read it.
        call: the call.
        writes: a file that is not there is then a bucket that is not there.

    Raises:
        StorageError: it did not answer for long, or refused.
    """
    end, pause_s = time.monotonic() + PATIENCE_S, 0.25
    while True:
        try:
            return call()
        except FileNotFoundError as missing:
            if not writes:
                raise
            raise StorageError(
                errno.ENOENT, f"{place}: there is no such bucket; create it, or name another"
            ) from missing
        except (FileExistsError, ImportError):
            raise
        except Exception as problem:
            if (sentence := _refusal(problem)) is not None:
                raise StorageError(errno.EACCES, f"{place}: {sentence}") from problem
            if not _is_no_answer(problem):
                raise
            if time.monotonic() + pause_s > end:
                why = f"{type(problem).__name__}: {problem}".strip().splitlines()[0]
                raise StorageError(
                    errno.ECONNABORTED,
                    f"{place}: the storage does not answer ({why}); what is done stays: run again",
                ) from problem
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 8.0)


def time_limit(filesystem: Any, size_bytes: int) -> dict[str, float]:
    """Option by which fsspec ends an upload that takes too long; filesystems that are not asynchronous know none."""
    return {"timeout": SILENCE_S + size_bytes / SLOWEST_BYTES_S} if filesystem.async_impl else {}


def put(filesystem: Any, path: str, content: bytes, **options: str) -> None:
    """Write an object."""
    filesystem.pipe_file(path, content, **options, **time_limit(filesystem, len(content)))


def put_new(filesystem: Any, path: str, content: bytes) -> None:
    """Write an object that must not be there yet; FileExistsError if it is."""
    try:
        put(filesystem, path, content, mode="create")
    except OSError as problem:
        if problem.errno == errno.EINVAL and "condition" in str(problem).lower():  # status 412 in the words of some
            raise FileExistsError(errno.EEXIST, "is there already", path) from problem
        if problem.errno != errno.ENOSYS:
            raise
        if filesystem.exists(path):  # a storage without conditional puts
            raise FileExistsError(errno.EEXIST, "is there already", path) from problem
        put(filesystem, path, content)


def _refusal(problem: Exception) -> str | None:
    """A sentence for what asking again does not mend: no credentials, no rights."""
    if type(problem).__name__ in ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"):
        return "no credentials are here; see docs/object_storage.md for the ways to give them"
    if isinstance(problem, PermissionError):
        return f"the storage refuses access ({problem}); check the credentials and their rights"
    return None


def _is_no_answer(problem: Exception) -> bool:
    if isinstance(problem, (ConnectionError, TimeoutError)):
        return True
    if isinstance(problem, OSError):
        return problem.errno in NO_ANSWER_ERRNOS
    return any(ancestor.__name__ in NO_ANSWER for ancestor in type(problem).__mro__)
