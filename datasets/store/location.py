"""Location of a workspace or corpus: a local folder or any fsspec URL (s3://, gs://, memory://), by few verbs."""

import contextlib
import errno
import hashlib
import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, Union

import fsspec

from ...untrusted_input import check_relative, path_within
from .atomic_io import atomic_write, explain_os_errors, flush_folder, is_abandoned, partial_beside
from .remote_calls import call_remote, put, put_new, time_limit

T = TypeVar("T")
Place = Union[str, Path, "Location"]
SCRATCH_VARIABLE = "EFFECTPAIRS_SCRATCH"


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
            self._call(name, lambda filesystem, path: put(filesystem, path, content), writes=True)

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
                    "", lambda filesystem, _: filesystem.put(files, places, **time_limit(filesystem, size)), writes=True
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
            self._call(name, lambda filesystem, path: put_new(filesystem, path, content), writes=True)
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
        """Call the filesystem; a remote one by `call_remote`."""
        filesystem, path = self._filesystem[0], self.at(name)
        if self.local is not None:
            return verb(filesystem, path)
        return call_remote(self.path(name), lambda: verb(filesystem, path), writes=writes)


def _list(filesystem: Any, path: str) -> Iterable[str]:
    try:
        return list(filesystem.ls(path, detail=False))
    except FileNotFoundError:
        return ()
