"""Location of a corpus: a local folder or any fsspec URL (s3://, gs://, memory://), behind the few verbs it takes."""

import contextlib
import hashlib
import posixpath
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec

from .atomic_io import atomic_write, explain_os_errors, flush_folder, is_abandoned, partial_beside


@dataclass(frozen=True)
class Location:
    """A folder by path or URL. Picklable: the connection is made anew where it is used."""

    url: str

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        try:
            filesystem, root = fsspec.core.url_to_fs(self.url)
        except ImportError as missing:
            raise ImportError(
                f"{self.url}: {missing}; for s3:// get it with: pip install 'effectpairs[s3]'"
            ) from missing
        return filesystem, str(root)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Location, (self.url,))

    @property
    def local(self) -> Path | None:
        """The folder as a path, where it is one of this machine."""
        filesystem, root = self._filesystem
        protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
        return Path(root) if "file" in protocols else None

    @property
    def title(self) -> str:
        """The last folder of the path or URL."""
        return self.url.rstrip("/").rsplit("/", 1)[-1] or "corpus"

    def at(self, name: str) -> str:
        """A name in this place as the filesystem spells it."""
        return posixpath.join(self._filesystem[1], name)

    def exists(self, name: str = "") -> bool:
        """Is there such a file or folder?"""
        return bool(self._filesystem[0].exists(self.at(name)))

    def open(self, name: str, *, block_bytes: int | None = None) -> Any:
        """Open a file for reading, at any offset; a remote one reads ahead block_bytes, by default some MB."""
        return self._filesystem[0].open(self.at(name), "rb", block_size=block_bytes)

    def read(self, name: str) -> bytes:
        """A file's whole content."""
        return bytes(self._filesystem[0].cat_file(self.at(name)))

    def top(self) -> list[str]:
        """The names right in this folder, sorted; empty where there is no such folder yet."""
        filesystem, root = self._filesystem
        paths = filesystem.ls(root, detail=False) if self.exists() else []
        return sorted(posixpath.basename(path.rstrip("/")) for path in paths)

    def names(self) -> list[str]:
        """Every file below this place, sorted."""
        filesystem, root = self._filesystem
        return sorted(posixpath.relpath(path, root) for path in filesystem.find(root))

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole or not at all."""
        local = self.local
        if local is not None:
            atomic_write(local / name, content)
        else:
            self._filesystem[0].pipe_file(self.at(name), content)

    def scratch(self, name: str, elsewhere: Path) -> Path:
        """Path for writing a large file before `take`: beside its place, or in a local folder for a remote place."""
        local = self.local
        folder = elsewhere if local is None else (local / name).parent
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return partial_beside(folder / posixpath.basename(name))

    def take(self, scratch: Path, name: str) -> None:
        """Move a finished local file to its place in one step."""
        local = self.local
        if local is None:
            self._filesystem[0].put_file(str(scratch), self.at(name))
            scratch.unlink()
            return
        with explain_os_errors(local / name):
            scratch.replace(local / name)
            flush_folder((local / name).parent)

    def size(self, name: str) -> int:
        """A file's length in bytes."""
        return int(self._filesystem[0].size(self.at(name)))

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is as good."""
        with contextlib.suppress(FileNotFoundError):
            self._filesystem[0].rm_file(self.at(name))

    def is_abandoned(self, name: str) -> bool:
        """Is this what a killed process left half-made? Only local places have such files."""
        local = self.local
        return local is not None and is_abandoned(local / name)

    def digest(self, name: str) -> str:
        """SHA-256 of a file's content."""
        with self.open(name) as file:
            sha256 = hashlib.sha256()
            while chunk := file.read(1 << 22):
                sha256.update(chunk)
        return sha256.hexdigest()
