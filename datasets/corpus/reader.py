"""Read a finished corpus: words and numbers as one Arrow table, clips by id, layers decoded on access."""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...untrusted_input import find_mismatch, is_id, parse_json, shortened
from ..store.location import Location
from . import shards
from .clip import Clip
from .publish import DOCUMENT_MARKS, MANIFEST, is_ours, listed_files
from .schema import NULLABLE, OLDEST_READABLE, PLAIN_COLUMNS, PLAIN_ROW, SCHEMA_VERSION
from .windows import OpenLayer
from .words import OUTCOMES, read_words

_FILE = {"path": str, "rows": int, "size_bytes": int, "sha256": str}
_SUMS = {"inputs": int, "accepted": int, "review": int, "rejected": int, "failed": int}
_BY_WORDS = ("by_kind", "by_source", "by_split", "by_effect", "by_verdict")
MANIFEST_SHAPE = {
    "name": str,
    "version": str,
    "software": str,
    "digest?": str,
    "counts": {"clips": int, "groups": int, "frames": int, "seconds": float} | {key: {"*": int} for key in _BY_WORDS},
    "quality": {"*": {"*": float}},
    "settings": {"publishing": {"storage": str, "include": [str]}, "sources": {"*": {"*?": object}}},
    "account": {"sources": {"*": _SUMS}, "clips": _FILE},
    "files": [{**_FILE, "split": str, "kind": str, "content": str}],
    "words?": _FILE,
    "documents?": [{"path": str, "size_bytes": int, "sha256": str}],
    "licences?": {"*": [str]},
    "origins?": [{"source": str, "licence": str, "origin": str, "clips": int, "works": [str]}],
    "left_out?": {
        "by_licence": {"*": int},
        "duplicates": [str],
        "near_duplicates": [{"clips": [str], "frames": float}],
    },
}
"""Parts of `corpus.json` that its readers count on, as `find_mismatch` takes them."""
UNREADABLE = (FileNotFoundError, pa.ArrowException, LookupError, TypeError, ValueError)
"""Errors of a file that is missing, damaged or of another schema."""
OPEN_SHARDS = 16
"""Shards kept open at once by one reader: their footers are then parsed once."""
OPEN_VIDEOS = 32
"""Layers kept open for runs of their frames, with their decoders; to open one costs about as much as a frame."""
WORDS_BLOCK_BYTES = 1 << 16
"""Bytes read ahead in a remote file when words alone are read; the default of some MB would bring video along."""


class Corpus:
    """A corpus on disk or behind an fsspec URL.

    `len(corpus)`, `corpus[clip_id]`, `for clip in corpus`; `corpus.table` has every column but the videos. It can be
    pickled and sent to workers, or forked; each process opens the files anew.
    """

    def __init__(self, location: Location, *, threads: int = 1) -> None:
        if not 1 <= threads <= 4:
            raise ValueError(f"threads={threads} is not in [1, 4]; a frame is stored in 4 slices, more cannot share it")
        self.location = location
        self.threads = threads
        self.manifest = _read_manifest(location)
        self._forget_files()

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "threads": self.threads, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_files()

    def __len__(self) -> int:
        return sum(int(file["rows"]) for file in self.manifest["files"])

    def __iter__(self) -> Iterator[Clip]:
        return (self[clip_id] for clip_id in self.ids)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._where

    def __getitem__(self, clip_id: str) -> Clip:
        return self.clip(clip_id)

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return f"<Corpus {self.manifest['name']} {self.manifest['version']}: {len(self)} clips, {counts['seconds']} s>"

    @cached_property
    def table(self) -> pa.Table:
        """All rows without their videos, in the order of the files; no byte of video is read.

        Of `effect_truth` it has the effects, whose masks the clips decode.

        Raises:
            ValueError: a shard is missing or damaged.
        """
        return self.columns(PLAIN_COLUMNS)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of the table; nothing else is read.

        A name may be that of a field, `provenance.licence` say: its column then holds the fields that are named alone,
        and perhaps others.

        Raises:
            ValueError: a shard is missing or damaged.
        """
        words = self._read_words(names)
        table = self._read_shards(names) if words is None else words
        absent = [name for name in table.column_names if name not in NULLABLE and table.column(name).null_count]
        if absent:
            raise ValueError(f"{self.location.url}: clips without {absent[0]} are in it; verify it")
        if "clip_id" in names:
            self._check_ids(table.column("clip_id").to_pylist())
        return table

    def outcomes(self) -> pa.Table:
        """Source, name, outcome, stage and reasons of every clip that was looked at.

        Raises:
            ValueError: the file is missing, damaged, or of another schema.
        """
        path = self.manifest["account"]["clips"]["path"]
        try:
            with self.location.open(path) as opened:
                table = pq.read_table(opened).select(OUTCOMES.names).cast(OUTCOMES)
        except UNREADABLE as broken:
            raise ValueError(self._unreadable(path)) from broken
        if any(column.null_count for column in table.columns):
            raise ValueError(self._unreadable(path))
        return table

    def _check_ids(self, ids: Sequence[Any]) -> None:
        """Refuse ids that are none: files are named by them, from the first moment on."""
        wrong = [clip_id for clip_id in ids if not (isinstance(clip_id, str) and is_id(clip_id))]
        if wrong:
            raise ValueError(
                f"{self.location.url}: {shortened(str(wrong[0]))!r} is no clip id (letters, digits, '.', '_' and '-' "
                "alone, so that it can be a file's name); do not use this corpus, or publish it again"
            )

    def _read_shards(self, names: Sequence[str]) -> pa.Table:
        """The same from the shards."""
        columns = tuple(dict.fromkeys(name.split(".")[0] for name in names))
        parts = [pa.schema([PLAIN_ROW.field(name) for name in columns]).empty_table()]
        for file in self.manifest["files"]:
            try:
                with self.location.open(file["path"], block_bytes=WORDS_BLOCK_BYTES) as opened:
                    parts.append(shards.read_plain(opened, columns))
            except UNREADABLE as broken:
                raise ValueError(self._unreadable(file["path"])) from broken
            if len(parts[-1]) != file["rows"]:
                raise ValueError(
                    f"{self.location.url}: {len(parts[-1])} clips are in {file['path']}, {MANIFEST} lists "
                    f"{file['rows']}; verify it"
                )
        return pa.concat_tables(parts)

    def _read_words(self, names: Sequence[str]) -> pa.Table | None:
        """The same from the table of words; None where there is none that can be read, so that the shards are."""
        entry = self.manifest.get("words")
        try:
            if not entry or self.location.size(entry["path"]) != entry["size_bytes"]:
                return None
            with self.location.open(entry["path"]) as opened:
                return read_words(opened, len(self), names)
        except (OSError, *UNREADABLE):
            return None

    @property
    def ids(self) -> tuple[str, ...]:
        """The clips' ids, in the order of the files."""
        return tuple(self._where)

    @cached_property
    def _where(self) -> dict[str, tuple[str, int, int]]:
        """File, row group in it, and row in the table of each clip."""
        ids = self.columns(["clip_id"]).column("clip_id").to_pylist()
        spots = [(file["path"], row) for file in self.manifest["files"] for row in range(file["rows"])]
        return {clip_id: (*spot, row) for row, (clip_id, spot) in enumerate(zip(ids, spots, strict=True))}

    def ids_without(self, layer: str) -> list[str]:
        """Ids of the clips that lack a layer; no video is read.

        Raises:
            ValueError: a shard is missing or damaged.
        """
        present: list[bool] = []
        for file in self.manifest["files"]:
            try:
                column = self._shard(file["path"]).read(columns=[f"{layer}.path"], use_threads=False).column(layer)
            except UNREADABLE as broken:
                raise ValueError(self._unreadable(file["path"])) from broken
            present += column.is_valid().to_pylist()
        return [clip_id for clip_id, there in zip(self.ids, present, strict=True) if not there]

    def clip(self, clip_id: str, *, threads: int | None = None) -> Clip:
        """One clip by its id.

        Raises:
            KeyError: there is no such clip; the message names some that there are.
        """
        if clip_id not in self._where:
            some = ", ".join(self.ids[:3])
            raise KeyError(f"{self.location.url} has no clip '{clip_id}'; it has {len(self)}, such as {some}")
        path, group, row = self._where[clip_id]
        columns = self.table.slice(row, 1).to_pylist()[0]
        source = _ClipInShard(corpus=self, path=path, group=group, num_frames=columns["num_frames"])
        return Clip(columns, source, threads=threads or self.threads)

    def torch(self, *, streaming: bool = False, **options: Any) -> Any:
        """A PyTorch dataset over the clips: map style, or iterable with `streaming=True`.

        The options are those of `MappedClips` and `StreamedClips` in `datasets/corpus/torch_dataset.py`.

        Raises:
            ImportError: torch is not installed, with the command that installs it.
        """
        from . import torch_dataset

        return (torch_dataset.StreamedClips if streaming else torch_dataset.MappedClips)(self, **options)

    def _layer(self, path: str, group: int, layer: str) -> bytes | None:
        try:
            return shards.read_layer(self._shard(path), group, layer)
        except UNREADABLE as broken:
            raise ValueError(self._unreadable(path)) from broken

    def _frames(self, clip: "_ClipInShard", layer: str, start: int, count: int) -> Any:
        key = (clip.path, clip.group, layer)
        try:
            shard = self._shard(clip.path)  # first: it notices a fork
            # Not in the store while it is read, so that two threads never share one.
            video = self._videos.pop(key, None) or OpenLayer(
                shard,
                clip.group,
                layer,
                partial(self.location.read_range, clip.path),
                num_frames=clip.num_frames,
                threads=self.threads,
            )
            frames = video.read(start, count)
        except KeyError:
            return None
        except UNREADABLE as broken:
            raise ValueError(f"{layer} {broken}; {self._unreadable(clip.path)}") from broken
        self._videos[key] = video
        if len(self._videos) > OPEN_VIDEOS:
            self._videos.popitem(last=False)
        return frames

    def _shard(self, path: str) -> pq.ParquetFile:
        if self._pid != os.getpid():
            self._forget_files()  # a forked worker must not share the parent's file positions and connections
        shard = self._open.get(path)
        if shard is None:
            local = self.location.local
            source = str(local / path) if local is not None else self.location.open(path)
            shard = self._open[path] = pq.ParquetFile(source, pre_buffer=False)
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)[1].close(force=True)
        self._open.move_to_end(path)
        return shard

    def _forget_files(self) -> None:
        self.location = Location(self.location.url)
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._videos: OrderedDict[tuple[str, int, str], OpenLayer] = OrderedDict()
        self._pid = os.getpid()

    def _unreadable(self, path: str) -> str:
        url = self.location.url
        return f"{url}/{path} is missing or damaged; see all that is wrong with: effectpairs verify {url}"


@dataclass(frozen=True, kw_only=True)
class _ClipInShard:
    """Place of a clip's layers."""

    corpus: Corpus
    path: str
    group: int
    num_frames: int

    def layer(self, layer: str) -> bytes | None:
        return self.corpus._layer(self.path, self.group, layer)

    def frames(self, layer: str, start: int, count: int) -> Any:
        return self.corpus._frames(self, layer, start, count)


def open_corpus(path_or_url: str, *, threads: int = 1) -> Corpus:
    """Open a corpus by folder or fsspec URL; threads (1 to 4) share the decoding of one layer.

    Raises:
        FileNotFoundError: there is no `corpus.json`.
        ValueError: it is damaged, or was written in a later format than this version reads.
    """
    return Corpus(Location(str(path_or_url)), threads=threads)


def _read_manifest(location: Location) -> dict[str, Any]:
    if not location.exists(MANIFEST):
        raise FileNotFoundError(
            f"{location.url}: no {MANIFEST} is there, so it is no finished corpus; make one with: "
            f"effectpairs publish {location.url}"
        )
    try:
        manifest: dict[str, Any] = parse_json(location.read(MANIFEST))
        written = int(manifest["schema_version"])
        problem = None if written > SCHEMA_VERSION else _problem_of(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        problem, written = f"{type(broken).__name__}: {broken}", SCHEMA_VERSION
    if problem:
        raise ValueError(f"{location.url}/{MANIFEST} is damaged ({problem}); delete it and publish the corpus again")
    if written > SCHEMA_VERSION:
        raise ValueError(
            f"{location.url} has schema version {written}, newer than {SCHEMA_VERSION} which is read here; "
            "upgrade effectpairs"
        )
    if written < OLDEST_READABLE:
        raise ValueError(
            f"{location.url} has schema version {written}, older than {OLDEST_READABLE} which is read here; "
            f"publish it again from its workspace: effectpairs publish {location.url}"
        )
    return manifest


def _problem_of(manifest: dict[str, Any]) -> str | None:
    """Describe what a reader relies on and does not find in a manifest; None where all is there."""
    wrong = find_mismatch(manifest, MANIFEST_SHAPE)
    if wrong:
        return f"{wrong} is not there, or of another form"
    strangers = [file["path"] for file in manifest.get("documents", ()) if file["path"] not in DOCUMENT_MARKS]
    if strangers:
        return f"{shortened(strangers[0])!r} is no document of a corpus"
    for file in listed_files(manifest):
        if not is_ours(file["path"]):
            return f"{shortened(file['path'])!r} is no file of a corpus"
        if not 0 <= file["rows"] < 2**63 or not re.fullmatch("[0-9a-f]{64}", file["sha256"]):
            return f"rows or SHA-256 of {file['path']} are none"
    return None
