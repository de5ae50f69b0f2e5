"""The store of results: each stage's result in a folder named by a digest of everything that went into it.

The key of a result is the SHA-256 of the stage's name and version, its settings and the content of its inputs, so
doing the same again finds the folder and does nothing, and a change re-makes just what depends on it. A result is
written beside its folder, flushed, and renamed, its `result.json` last: present means whole, and a process killed at
any moment leaves only a `.partial` folder that the next run deletes.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache

from . import codec
from .atomic_io import (
    CorruptFile,
    explain_os_errors,
    flush_folder,
    is_abandoned,
    json_bytes,
    key_digest,
    partial_beside,
    write_flushed,
)
from .codec import Frames

MANIFEST = "result.json"


@dataclass(frozen=True, kw_only=True)
class StageKey:
    """One stage over one thing, described fully before it is done."""

    stage: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Digest of the content of each input, by its name."""

    @property
    def key(self) -> str:
        """The digest under which the result is kept."""
        return key_digest(vars(self))


@dataclass(frozen=True, kw_only=True)
class LayerRef:
    """A stored layer by reference: its encoded video in a workspace."""

    file: str
    """Path below the workspace."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A finished stage: its layers as files and its facts as JSON values, or the reason why the input was refused."""

    folder: Path
    key: str
    refused: str | None
    layers: Mapping[str, LayerRef]
    facts: Mapping[str, Any]


class LayerCache:
    """The most recently used decoded layers by the digest of their stored bytes, up to a number of bytes.

    The next stage over the same clip then need not decode what the last one made.
    """

    def __init__(self, *, budget_bytes: int) -> None:
        self._frames: LRUCache[str, Frames] = LRUCache(budget_bytes, getsizeof=lambda frames: frames.nbytes)

    def find(self, digest: str) -> Frames | None:
        """A layer's frames, or None; the caller must not write into them."""
        return self._frames.get(digest)

    def keep(self, digest: str, frames: Frames) -> None:
        """Keep a layer; the least recently used ones go where the budget asks for it."""
        if frames.dtype == bool:
            frames = frames.view(np.uint8) * np.uint8(255)  # as decoding would give it
        if digest in self._frames or frames.nbytes > self._frames.maxsize:
            return
        frames = frames.view()
        frames.flags.writeable = False  # a change in place would belie the digest
        self._frames[digest] = frames


@dataclass(kw_only=True)
class ResultWriter:
    """A result in the making: layers go to disk as they come, so a long video never stands in memory whole."""

    folder: Path
    fps: float
    cache: LayerCache
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File below the folder, sha256 and size_bytes by layer, as `result.json` has them."""
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, layer: str, frames: Frames) -> None:
        """Encode and write one layer; its name may hold a folder, as in `000/gt`."""
        content = codec.encode(frames, fps=self.fps)
        path = self.folder / f"{layer}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flushed(path, content)
        digest = hashlib.sha256(content).hexdigest()
        self.layers[layer] = {"file": f"{layer}.mkv", "sha256": digest, "size_bytes": len(content)}
        self.cache.keep(digest, frames)


class Store:
    """The results of a workspace, in `<workspace>/store/<stage>/<two digits>/<key>/`."""

    def __init__(self, workspace: Path, *, cache_bytes: int = 0) -> None:
        self.workspace = workspace
        self.cache = LayerCache(budget_bytes=cache_bytes)

    def find(self, key: StageKey) -> StageResult | None:
        """The finished result under a key, or None where it is still to be made."""
        return self.get(key.stage, key.key)

    def get(self, stage: str, key: str) -> StageResult | None:
        """A finished result by its stage and key; a missing one costs a look-up, and no file is opened."""
        return self._load(self._folder(stage, key), key)

    def once(self, key: StageKey, make: Callable[[ResultWriter], None], *, fps: float = 16.0) -> StageResult:
        """Return the result under a key, making it if it is not there yet.

        A `ValueError` from make means that the input itself cannot be used: its sentence is kept as the result, and
        the same input is not tried again. Any other exception leaves nothing behind.

        Raises:
            CannotWrite: the disk is full, or the workspace cannot be written.
        """
        result = self.find(key)
        if result is not None:
            return result
        with self._writer(key, fps) as writer:
            refused = None
            try:
                make(writer)
            except ValueError as unusable:
                refused = str(unusable) or type(unusable).__name__
                writer.layers, writer.facts = {}, {}
                for path in writer.folder.iterdir():  # a refused input leaves its reason alone
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            return self._commit(key, writer, refused)

    def read(self, layer: LayerRef) -> bytes:
        """Encoded video of a layer.

        Raises:
            CorruptFile: the file is not what was written, with the remedy.
        """
        path = self.workspace / layer.file
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != layer.sha256:
            folder = self.workspace / Path(*Path(layer.file).parts[:4])
            raise CorruptFile(f"{path} is damaged; delete the folder {folder} and run again to re-make it")
        return content

    def layer(self, layer: LayerRef) -> Frames:
        """Decoded frames of a layer, from memory where this process made or read them lately."""
        frames = self.cache.find(layer.sha256)
        if frames is None:
            frames = codec.decode(self.read(layer))
            self.cache.keep(layer.sha256, frames)
        return frames

    def sweep(self) -> int:
        """Delete what killed processes left half-made in the workspace; return how many files and folders that were."""
        partials = [
            partial
            for pattern in ("store/*/*/*.partial-*", "sources/*/*.partial-*", "sources/*/*/*.partial-*", "scratch/*")
            for partial in self.workspace.glob(pattern)
            if is_abandoned(partial)
        ]
        for partial in partials:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
        return len(partials)

    def _folder(self, stage: str, key: str) -> Path:
        return self.workspace / "store" / stage / key[:2] / key

    @contextlib.contextmanager
    def _writer(self, key: StageKey, fps: float) -> Iterator[ResultWriter]:
        partial = partial_beside(self._folder(key.stage, key.key))
        try:
            with explain_os_errors(self.workspace, within=self.workspace):
                partial.mkdir(parents=True)
                yield ResultWriter(folder=partial, fps=fps, cache=self.cache)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _commit(self, key: StageKey, writer: ResultWriter, refused: str | None) -> StageResult:
        content = json_bytes({**vars(key), "refused": refused, "layers": writer.layers, "facts": writer.facts})
        write_flushed(writer.folder / MANIFEST, content)
        for subfolder, _, _ in os.walk(writer.folder):
            flush_folder(Path(subfolder))
        folder = self._folder(key.stage, key.key)
        try:
            writer.folder.rename(folder)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            # Another process finished the same work first, with the same bytes; or a damaged result stands in the way.
            if self._load(folder, key.key) is None:
                aside = partial_beside(folder)
                folder.rename(aside)
                writer.folder.rename(folder)
                shutil.rmtree(aside, ignore_errors=True)
        flush_folder(folder.parent)
        return self._result(folder, key.key, json.loads(content))

    def _result(self, folder: Path, key: str, manifest: Mapping[str, Any]) -> StageResult:
        below = folder.relative_to(self.workspace).as_posix()
        layers = {
            name: LayerRef(**{**layer, "file": f"{below}/{layer['file']}"})
            for name, layer in manifest["layers"].items()
        }
        return StageResult(folder=folder, key=key, refused=manifest["refused"], layers=layers, facts=manifest["facts"])

    def _load(self, folder: Path, key: str) -> StageResult | None:
        try:
            result = self._result(folder, key, json.loads((folder / MANIFEST).read_bytes()))
            # Not by pathlib: a run looks at every layer of every clip.
            sizes = [
                os.stat(f"{self.workspace}/{layer.file}").st_size == layer.size_bytes  # noqa: PTH116
                for layer in result.layers.values()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # not there, or damaged: to be made
        return result if all(sizes) else None
