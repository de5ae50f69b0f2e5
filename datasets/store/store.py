"""The store of results: each stage's result in a folder named by a digest of everything that went into it.

The key of a result is the SHA-256 of the stage's name and version, its settings and the content of its inputs, so
doing the same again finds the folder and does nothing, and a change re-makes just what depends on it. A result is made
in a local folder beside its place; then its layers go to their places, under names that hold a piece of their SHA-256,
and last `result.json`, if none is there: present means whole, of two that make the same one wins, and what a killed
process leaves counts for nothing. `result.json` carries its own digest and those of its layers: what is damaged or gone
counts as not there, and is made anew.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache

from ...untrusted_input import path_within
from . import codec
from .atomic_io import (
    CannotWrite,
    CorruptFile,
    explain_os_errors,
    is_abandoned,
    key_digest,
    partial_beside,
    seal_json,
    unseal_json,
    write_flushed,
)
from .codec import Frames
from .decision_log import read_decisions
from .decisions import Decisions
from .location import Location, Place

MANIFEST = "result.json"
RESERVE_BYTES = 2**30
"""Space that a run leaves free: for its ledger (9 kB a clip), for logs, and for whoever else uses the disk."""
RESERVE_SHARE = 0.02

MEMORY_TO_JUDGE_BYTES = 2**26
"""Memory that a process must be able to get for its refusal of an input to count."""


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
    """Name below the workspace."""
    sha256: str
    size_bytes: int


class DamagedLayer(CorruptFile):
    """A stored layer is damaged or gone; its result counts as not there from now on, so a run makes it anew."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A finished stage: its layers as files and its facts as JSON values, or the reason why the input was refused."""

    folder: str
    """Name below the workspace."""
    key: str
    refused: str | None
    layers: Mapping[str, LayerRef]
    facts: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        """Size of its layers."""
        return sum(layer.size_bytes for layer in self.layers.values())


class LayerCache:
    """The most recently used decoded layers by the digest of their stored bytes, up to a number of bytes.

    The next stage over the same clip then need not decode what the last one made. Threads may share it.
    """

    def __init__(self, *, budget_bytes: int) -> None:
        self._lock = threading.Lock()
        self._frames: LRUCache[str, Frames] = LRUCache(budget_bytes, getsizeof=lambda frames: frames.nbytes)

    def find(self, digest: str) -> Frames | None:
        """A layer's frames, or None; the caller must not write into them."""
        with self._lock:
            return self._frames.get(digest)

    def keep(self, digest: str, frames: Frames) -> None:
        """Keep a layer; the least recently used ones go where the budget asks for it."""
        if frames.dtype == bool:
            frames = frames.view(np.uint8) * np.uint8(255)  # as decoding would give it
        if frames.nbytes > self._frames.maxsize:
            return
        frames = frames.view()
        frames.flags.writeable = False  # a change in place would belie the digest
        with self._lock:
            self._frames.setdefault(digest, frames)


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
        digest = hashlib.sha256(content).hexdigest()
        file = f"{layer}-{digest[:12]}.mkv"
        path = path_within(self.folder, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flushed(path, content)
        self.layers[layer] = {"file": file, "sha256": digest, "size_bytes": len(content)}
        self.cache.keep(digest, frames)


class Store:
    """The results of a workspace, in `<workspace>/store/<stage>/<two digits>/<key>/`."""

    def __init__(self, workspace: Place, *, cache_bytes: int = 0, index: Any = None) -> None:
        """Open the store of a workspace; the process that lists a source gives the `WorkspaceIndex`."""
        self.workspace = Location.of(workspace)
        self.cache = LayerCache(budget_bytes=cache_bytes)
        self.index = index
        self._touched: list[StageResult] | None = None if index is None else []

    @cached_property
    def decisions(self) -> Decisions:
        """Decisions of people as they were when they were first asked for."""
        return read_decisions(self.workspace)

    def take_touched(self) -> tuple[StageResult, ...]:
        """Results that were read or made since the store was opened; from now on they are not noted."""
        touched, self._touched = self._touched or (), None
        return tuple(touched)

    def find(self, key: StageKey) -> StageResult | None:
        """The finished result under a key, or None where it is still to be made."""
        return self.get(key.stage, key.key)

    def get(self, stage: str, key: str) -> StageResult | None:
        """A finished result by its stage and key; a missing one costs a look-up, and no file is opened."""
        folder = result_folder(stage, key)
        try:
            result = _result(folder, key, unseal_json(self.workspace.read(f"{folder}/{MANIFEST}")))
        except ConnectionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # not there, or damaged: to be made
        return self._note(result) if self._has_layers(result) else None

    def once(self, key: StageKey, make: Callable[[ResultWriter], None], *, fps: float = 16.0) -> StageResult:
        """Return the result under a key, making it if it is not there yet.

        A `ValueError` from make means that the input itself cannot be used: its sentence is kept as the result, and
        the same input is not tried again. Any other exception leaves nothing behind.

        Raises:
            MemoryError: the input was refused by a process without memory, in which decoders call any file damaged.
            CannotWrite: the disk is full, or the workspace cannot be written.
            StorageError: a remote workspace does not answer, or refuses.
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
                try:
                    np.empty(MEMORY_TO_JUDGE_BYTES, np.uint8)
                except MemoryError:
                    raise MemoryError(f"the worker has no memory left; it said {refused!r}") from unusable
                writer.layers, writer.facts = {}, {}  # a refused input leaves its reason alone
            return self._commit(key, writer, refused)

    def read(self, layer: LayerRef) -> bytes:
        """Encoded video of a layer.

        Raises:
            DamagedLayer: the file is gone or is not what was written; its result is to be made anew.
        """
        for _ in range(2):  # once more: it may have been re-made just now, or have been damaged on its way
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                content = self._read(layer.file)
                if hashlib.sha256(content).hexdigest() == layer.sha256:
                    return content
        self.set_aside(layer)
        raise DamagedLayer(f"{self.workspace.path(layer.file)} is damaged or gone; run its source again to re-make it")

    def layer(self, layer: LayerRef) -> Frames:
        """Decoded frames of a layer, from memory where this process made or read them lately."""
        frames = self.cache.find(layer.sha256)
        if frames is None:
            frames = codec.decode(self.read(layer))
            self.cache.keep(layer.sha256, frames)
        return frames

    def set_aside(self, layer: LayerRef) -> None:
        """Let the result that has a layer count as not there."""
        parts = layer.file.split("/")
        if parts[0] == "store":
            with contextlib.suppress(OSError):  # a workspace that cannot be written keeps it
                self.workspace.remove("/".join((*parts[:4], MANIFEST)))

    def sweep(self) -> int:
        """Delete what killed processes of this machine left half-made; return how many files and folders that were."""
        local, scratch = self.workspace.local, self.workspace.scratch_folder
        patterns = ("*.partial-*", "store/*/*/*.partial-*", "sources/*/*.partial-*", "sources/*/*/*.partial-*")
        partials = [partial for pattern in patterns if local is not None for partial in local.glob(pattern)]
        partials = list(filter(is_abandoned, (*partials, *scratch.glob("*.partial-*"))))
        for partial in partials:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
        return len(partials) + (self._sweep_remote() if local is None else 0)

    def _sweep_remote(self) -> int:
        """Delete what killed runs and publishings left in a remote workspace: batches, signs of life."""
        folders = ("", *(f"sources/{source}" for source in self.workspace.top("sources")))
        names = [f"{folder}/{name}".strip("/") for folder in folders for name in self.workspace.top(folder)]
        names = [name for name in names if ".partial-" in name]
        abandoned = list(filter(self.workspace.is_abandoned, names))
        for name in abandoned:
            Location(self.workspace.path(name)).delete()
        return len(abandoned)

    @contextlib.contextmanager
    def _writer(self, key: StageKey, fps: float) -> Iterator[ResultWriter]:
        local = self.workspace.local
        folder = self.workspace.scratch_folder if local is None else local / result_folder(key.stage, key.key)
        partial = partial_beside(folder / key.key if local is None else folder)
        try:
            with explain_os_errors(local or folder, within=local or folder):
                partial.mkdir(parents=True)
            require_space(partial, str(local or folder))
            with explain_os_errors(local or folder, within=local or folder):
                yield ResultWriter(folder=partial, fps=fps, cache=self.cache)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _commit(self, key: StageKey, writer: ResultWriter, refused: str | None) -> StageResult:
        folder = result_folder(key.stage, key.key)
        manifest = {**vars(key), "refused": refused, "layers": writer.layers, "facts": writer.facts}
        content = seal_json(manifest)
        write_flushed(writer.folder / MANIFEST, content)
        names = [layer["file"] for layer in writer.layers.values()]
        self.workspace.take_all({writer.folder / name: f"{folder}/{name}" for name in names})
        if not self.workspace.take_new(writer.folder / MANIFEST, f"{folder}/{MANIFEST}"):
            present = self.get(key.stage, key.key)
            if present is not None:  # another process finished the same work first
                for name in {f"{folder}/{name}" for name in names} - {ref.file for ref in present.layers.values()}:
                    self.workspace.remove(name)
                return present
            self.workspace.take(writer.folder / MANIFEST, f"{folder}/{MANIFEST}")  # over a damaged one
        return self._note(_result(folder, key.key, unseal_json(content)))

    def _note(self, result: StageResult) -> StageResult:
        if self._touched is not None:
            self._touched.append(result)
        return result

    def _has_layers(self, result: StageResult) -> bool:
        """Are all layers of a result there, by their sizes?"""
        local = self.workspace.local
        if local is None:
            sizes = self.workspace.sizes(result.folder) if result.layers else {}
            return all(sizes.get(layer.file) == layer.size_bytes for layer in result.layers.values())
        try:  # not by pathlib: a run looks at every layer of every clip
            return all(
                os.stat(f"{local}/{layer.file}").st_size == layer.size_bytes  # noqa: PTH116
                for layer in result.layers.values()
            )
        except OSError:
            return False

    def _read(self, name: str) -> bytes:
        try:
            return self.workspace.read(name)
        except (ConnectionError, PermissionError):
            raise
        except OSError as problem:  # the disk cannot read it: as good as gone
            raise FileNotFoundError(name) from problem


def require_space(folder: Path, name: str) -> None:
    """Check that the disk of a folder, which users know by that name, has room for more results.

    Raises:
        CannotWrite: less is left than `RESERVE_BYTES`, or than `RESERVE_SHARE` of a small disk.
    """
    disk = shutil.disk_usage(folder)
    if disk.free < min(RESERVE_BYTES, disk.total * RESERVE_SHARE):
        raise CannotWrite(
            errno.ENOSPC,
            f"{name}: the disk is nearly full, {disk.free / 2**20:.0f} MiB are free; free some space or choose another "
            "folder, then run again",
        )


def result_folder(stage: str, key: str) -> str:
    """Folder of a result below its workspace."""
    return f"store/{stage}/{key[:2]}/{key}"


def _result(folder: str, key: str, manifest: Mapping[str, Any]) -> StageResult:
    layers = {
        name: LayerRef(**{**layer, "file": f"{folder}/{layer['file']}"}) for name, layer in manifest["layers"].items()
    }
    return StageResult(folder=folder, key=key, refused=manifest["refused"], layers=layers, facts=manifest["facts"])
