"""Location of a workspace or corpus: a local folder or any fsspec URL (s3://, gs://, memory://), by the few verbs used.

A call to a remote storage that does not answer is tried again for up to `PATIENCE_S`, beside the retries of its client.
"""

import contextlib
import errno
import hashlib
import os
import posixpath
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, Union

import fsspec

from ...untrusted_input import check_relative, path_within
from .atomic_io import atomic_write, explain_os_errors, flush_folder, is_abandoned, partial_beside

T = TypeVar("T")
Place = Union[str, Path, "Location"]
PATIENCE_S = 60.0
"""Time for which a storage that does not answer is asked again: the restart of a server, a connection that is cut."""
SILENCE_S = 20.0
"""Time for which an upload may stand still: clients bound the wait for an answer, not the one for leave to send."""
SLOWEST_BYTES_S = 200_000
"""Rate, in bytes a second, below which an upload counts as standing still."""
SCRATCH_VARIABLE = "EFFECTPAIRS_SCRATCH"
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


@dataclass(frozen=True)
class Location:
    """A folder by path or URL. Picklable: the connection is made anew where it is used."""

    url: str

    @classmethod
    def of(cls, place: Place) -> "Location":
        """A location of a path or URL; a relative path is one below the working folder of now."""
        if isinstance(place, Location):
            return place
        return cls(place if isinstance(place, str) and "://" in place else str(Path(place).absolute()))

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        try:
            # Others write there too: what a listing said a while ago is no answer.
            filesystem, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as missing:
            raise ImportError(
                f"{self.url}: {missing}; for s3:// get it with: pip install 'effectpairs[s3]'"
            ) from missing
        return filesystem, str(root)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Location, (self.url,))

    def __str__(self) -> str:
        return self.url

    @cached_property
    def local(self) -> Path | None:
        """The folder as a path, where it is one of this machine."""
        filesystem, root = self._filesystem
        protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
        return Path(root) if "file" in protocols else None

    @property
    def scratch_folder(self) -> Path:
        """Local folder for what is being made: frames, large files on their way to a remote place.

        It is that of `EFFECTPAIRS_SCRATCH`, which may be one that workers share; else `scratch` in a local workspace,
        and in the user's cache for a remote one.
        """
        if chosen := os.environ.get(SCRATCH_VARIABLE):
            return Path(chosen).expanduser().absolute()
        if self.local is not None:
            return self.local / "scratch"
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return home / "effectpairs" / "scratch" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """The last folder of the path or URL."""
        return self.url.rstrip("/").rsplit("/", 1)[-1] or "corpus"

    def at(self, name: str) -> str:
        """A name in this place as the filesystem spells it.

        Raises:
            ValueError: the name leads out of the place.
        """
        if name:
            check_relative(name)
        return posixpath.join(self._filesystem[1], name)

    def path(self, name: str) -> str:
        """A name in this place as users read it."""
        return posixpath.join(self.url, name)

    def exists(self, name: str = "") -> bool:
        """Is there such a file or folder?"""
        return bool(self._call(name, lambda filesystem, path: filesystem.exists(path)))

    def open(self, name: str, *, block_bytes: int | None = None) -> Any:
        """Open a file for reading, at any offset; a remote one reads ahead block_bytes, by default some MB."""
        return self._call(name, lambda filesystem, path: filesystem.open(path, "rb", block_size=block_bytes))

    def read(self, name: str) -> bytes:
        """A file's whole content."""
        if self.local is not None:
            return Path(self.at(name)).read_bytes()
        # s3fs asks for the size first, to read in parts at once; that takes two or three requests instead of one.
        options = {"max_concurrency": 1} if "s3" in self._filesystem[0].protocol else {}
        return bytes(self._call(name, lambda filesystem, path: filesystem.cat_file(path, **options)))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes `[start, stop)` of a file, in one request."""
        if self.local is not None:
            with Path(self.at(name)).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), stop - start, start)
        return bytes(self._call(name, lambda filesystem, path: filesystem.cat_file(path, start=start, end=stop)))

    def top(self, name: str = "") -> list[str]:
        """The names right in this folder, or in one below it, sorted; empty where there is no such folder yet."""
        paths = self._call(name, _list)
        return sorted(posixpath.basename(path.rstrip("/")) for path in paths)

    def names(self, name: str = "") -> list[str]:
        """Every file below this place, or below a folder in it, sorted."""
        return sorted(self.sizes(name))

    def sizes(self, name: str = "") -> dict[str, int]:
        """The length in bytes of every file below this place, or below a folder in it, by its name in this place."""
        root = self._filesystem[1]
        entries = self._call(name, lambda filesystem, path: filesystem.find(path, detail=True))
        return {posixpath.relpath(path, root): int(entry["size"]) for path, entry in entries.items()}

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole or not at all."""
        if self.local is not None:
            atomic_write(path_within(self.local, name), content)
        else:
            self._call(name, lambda filesystem, path: _put(filesystem, path, content), writes=True)

    def scratch(self, name: str, elsewhere: Path | None = None) -> Path:
        """Path for writing a large file before `take`: beside its place, or in a local folder for a remote place."""
        folder = (elsewhere or self.scratch_folder) if self.local is None else path_within(self.local, name).parent
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return partial_beside(folder / posixpath.basename(name))

    def take(self, scratch: Path, name: str) -> None:
        """Move a finished local file to its place in one step."""
        self.take_all({scratch: name})
        if self.local is not None:
            flush_folder((self.local / name).parent)

    def take_all(self, names: Mapping[Path, str]) -> None:
        """Move finished local files to their places, each in one step; their names may reach the disk later."""
        if self.local is None:
            files, places = [str(scratch) for scratch in names], [self.at(name) for name in names.values()]
            if files:
                size = sum(scratch.stat().st_size for scratch in names)
                self._call(
                    "", lambda filesystem, _: filesystem.put(files, places, **_bound(filesystem, size)), writes=True
                )
            for scratch in names:
                scratch.unlink()
            return
        paths = {scratch: path_within(self.local, name) for scratch, name in names.items()}
        for scratch, path in paths.items():
            with explain_os_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                scratch.replace(path)

    def take_new(self, scratch: Path, name: str) -> bool:
        """Move a finished local file to its place, unless there is one by that name; return whether it was moved.

        Of several processes that try at once one succeeds: by a hard link on a local disk, by a conditional put on
        object storage that has one.
        """
        if self.local is not None:
            return self._link(scratch, path_within(self.local, name))
        content = scratch.read_bytes()
        try:
            self._call(name, lambda filesystem, path: _put_new(filesystem, path, content), writes=True)
        except FileExistsError:
            return False
        scratch.unlink()
        return True

    def size(self, name: str) -> int:
        """A file's length in bytes."""
        return int(self._call(name, lambda filesystem, path: filesystem.size(path)))

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is as good."""
        if self.local is not None:
            path_within(self.local, name)
        with contextlib.suppress(FileNotFoundError):
            self._call(name, lambda filesystem, path: filesystem.rm_file(path))

    def delete(self) -> None:
        """Delete the folder with all that is in it, as far as it is there."""
        if self.local is not None:
            shutil.rmtree(self.local, ignore_errors=True)
            return
        with contextlib.suppress(FileNotFoundError):
            self._call("", lambda filesystem, path: filesystem.rm(path, recursive=True))

    def is_abandoned(self, name: str) -> bool:
        """Is this what a killed process left half-made? Of one that ran on another machine its age alone can tell."""
        if self.local is not None:
            return is_abandoned(self.at(name))

        def modified() -> float:  # of a folder, the last file in it: object storage knows no folders
            last = self._call(name, lambda filesystem, path: filesystem.modified(filesystem.find(path)[-1]))
            return float(last.timestamp())

        return is_abandoned(name, modified)

    def digest(self, name: str) -> str:
        """SHA-256 of a file's content."""

        def read_through(filesystem: Any, path: str) -> str:
            with filesystem.open(path, "rb") as file:
                sha256 = hashlib.sha256()
                while chunk := file.read(1 << 22):
                    sha256.update(chunk)
            return sha256.hexdigest()

        return self._call(name, read_through)

    def _link(self, scratch: Path, path: Path) -> bool:
        with explain_os_errors(path, within=self.local):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(scratch, path)
            except FileExistsError:
                return False
            except OSError as problem:
                if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                    raise
                # No hard links here (FAT, some network disks): two writers at once may then both succeed.
                if path.exists():
                    return False
                scratch.replace(path)
            flush_folder(path.parent)
            flush_folder(path.parent.parent)
        return True

    def _call(self, name: str, verb: Callable[[Any, str], T], *, writes: bool = False) -> T:
        """Call the filesystem; errors of a remote one become sentences, and one that does not answer is asked again.

        Raises:
            StorageError: it did not answer for long, or refused.
        """
        filesystem, path = self._filesystem[0], self.at(name)
        if self.local is not None:
            return verb(filesystem, path)
        end, pause_s = time.monotonic() + PATIENCE_S, 0.25
        while True:
            try:
                return verb(filesystem, path)
            except FileNotFoundError as missing:
                if not writes:
                    raise
                raise StorageError(
                    errno.ENOENT, f"{self.path(name)}: there is no such bucket; create it, or name another"
                ) from missing
            except (FileExistsError, ImportError):
                raise
            except Exception as problem:
                if (sentence := _refusal(problem)) is not None:
                    raise StorageError(errno.EACCES, f"{self.path(name)}: {sentence}") from problem
                if not _is_no_answer(problem):
                    raise
                if time.monotonic() + pause_s > end:
                    why = f"{type(problem).__name__}: {problem}".strip().splitlines()[0]
                    raise StorageError(
                        errno.ECONNABORTED,
                        f"{self.path(name)}: the storage does not answer ({why}); what is done stays: run again",
                    ) from problem
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 8.0)


def _list(filesystem: Any, path: str) -> Iterable[str]:
    try:
        return list(filesystem.ls(path, detail=False))
    except FileNotFoundError:
        return ()


def _bound(filesystem: Any, size_bytes: int) -> dict[str, float]:
    """Option by which fsspec ends an upload that takes too long; filesystems that are not asynchronous know none."""
    return {"timeout": SILENCE_S + size_bytes / SLOWEST_BYTES_S} if filesystem.async_impl else {}


def _put(filesystem: Any, path: str, content: bytes, **options: str) -> None:
    filesystem.pipe_file(path, content, **options, **_bound(filesystem, len(content)))


def _put_new(filesystem: Any, path: str, content: bytes) -> None:
    """Write an object that must not be there yet; FileExistsError if it is."""
    try:
        _put(filesystem, path, content, mode="create")
    except OSError as problem:
        if problem.errno == errno.EINVAL and "condition" in str(problem).lower():  # status 412 in the words of some
            raise FileExistsError(errno.EEXIST, "is there already", path) from problem
        if problem.errno != errno.ENOSYS:
            raise
        if filesystem.exists(path):  # a storage without conditional puts
            raise FileExistsError(errno.EEXIST, "is there already", path) from problem
        _put(filesystem, path, content)


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
