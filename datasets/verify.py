"""Check a corpus to its last byte: sums, tables, every video decoded; the first thing wrong with each file is named."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import codec, shards
from .corpus import Corpus
from .publish import MANIFEST, is_ours
from .schema import COLOUR_LAYERS, KINDS, LAYERS, MASK_LAYERS, ROW, SPLITS, VERDICTS


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first thing wrong with one file."""

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


def verify(corpus: Corpus, *, step: Callable[[str], None] = lambda _: None) -> list[Fault]:
    """Read every byte of a corpus and decode every video.

    Args:
        corpus: the corpus, already open.
        step: called with each file's name once that file has been checked.

    Returns:
        The first fault of each file, in the order of the files; empty where all is well.
    """
    faults = []
    seen: dict[str, str] = {}
    groups: dict[str, str] = {}
    for file in [*corpus.manifest["files"], corpus.manifest["account"]["clips"]]:
        fault = next(_faults_of(corpus, file, seen, groups), None)
        if fault is not None:
            faults.append(Fault(file=file["path"], problem=fault))
        step(file["path"])
    return [*faults, *_strangers(corpus)]


def _faults_of(corpus: Corpus, file: dict[str, Any], seen: dict[str, str], groups: dict[str, str]) -> Iterator[str]:
    place, path = corpus.place, file["path"]
    if not place.exists(path):
        yield f"is missing though {MANIFEST} lists it; publish the corpus again"
        return
    with place.open(path) as opened:
        size = opened.seek(0, 2)
    if size != file["size_bytes"]:
        yield f"has {size} bytes instead of {file['size_bytes']}; copy or publish it again"
    if place.digest(path) != file["sha256"]:
        yield "its bytes are not those that were published (SHA-256 differs); copy or publish it again"
    if "split" in file:
        try:
            yield from _faults_of_shard(corpus, file, seen, groups)
        except (pa.ArrowException, OSError) as broken:
            yield f"is no readable Parquet file: {broken}"


def _faults_of_shard(
    corpus: Corpus, file: dict[str, Any], seen: dict[str, str], groups: dict[str, str]
) -> Iterator[str]:
    with corpus.place.open(file["path"]) as opened:
        shard = pq.ParquetFile(opened, pre_buffer=False)
        if not shard.schema_arrow.equals(ROW):
            yield "its columns are not those of the row's schema"
            return
        table = shards.read_plain(opened).to_pylist()
        if len(table) != file["rows"] or shard.num_row_groups != file["rows"]:
            yield f"has {len(table)} rows instead of {file['rows']}"
            return
        for group, row in enumerate(table):
            for problem in _faults_of_row(row, file, seen, groups):
                yield f"clip {row['clip_id']}: {problem}"
            for problem in _faults_of_videos(row, partial(shards.read_layer, shard, group)):
                yield f"clip {row['clip_id']}: {problem}"


def _faults_of_row(
    row: dict[str, Any], file: dict[str, Any], seen: dict[str, str], groups: dict[str, str]
) -> Iterator[str]:
    clip_id = row["clip_id"]
    if clip_id in seen:
        yield f"the same id stands in {seen[clip_id]}"
    seen[clip_id] = file["path"]
    if row["split"] != file["split"] or row["kind"] != file["kind"]:
        yield f"is {row['kind']}/{row['split']} in a file of {file['kind']}/{file['split']}"
    if row["kind"] not in KINDS or row["split"] not in SPLITS:
        yield f"kind '{row['kind']}' or split '{row['split']}' is not a known word"
    if groups.setdefault(row["group"], row["split"]) != row["split"]:
        yield f"its group {row['group']} is in the splits {groups[row['group']]} and {row['split']}"
    if row["num_frames"] < 5 or row["num_frames"] % 8 != 5:
        yield f"has {row['num_frames']} frames, which is not 8k+5"
    if row["quality"]["verdict"] not in VERDICTS:
        yield f"verdict '{row['quality']['verdict']}' is not a known word"


def _faults_of_videos(row: dict[str, Any], read: shards.ReadLayer) -> Iterator[str]:
    expected = codec.VideoShape(num_frames=row["num_frames"], height=row["height"], width=row["width"])
    for layer in LAYERS:
        stored = read(layer)
        if stored is None:
            if row["kind"] != "unpaired" or layer == "gt":
                yield f"has no {layer}"
            continue
        try:
            found, frames = codec.probe(stored), codec.decode(stored) if layer in MASK_LAYERS else None
        except ValueError as broken:
            yield f"{layer} {broken}"
            continue
        if found != expected:
            yield f"{layer} is {_words(found)} instead of {_words(expected)}"
        if frames is not None and (frames.ndim != 3 or not np.isin(frames, (0, 255)).all()):
            yield f"{layer} is not a hard mask of 0 and 255"
        if layer not in (*COLOUR_LAYERS, *MASK_LAYERS) and codec.decode(stored[:]).ndim != 3:
            yield f"{layer} is not grey"


def _strangers(corpus: Corpus) -> list[Fault]:
    """Shards that nobody listed: they would be read by programs that take every file of a folder."""
    listed = {file["path"] for file in corpus.manifest["files"]} | {corpus.manifest["account"]["clips"]["path"]}
    stray = [name for name in corpus.place.names() if is_ours(name) and name not in listed]
    return [Fault(file=name, problem=f"is not listed in {MANIFEST}; delete it or publish again") for name in stray]


def _words(shape: codec.VideoShape) -> str:
    return f"{shape.num_frames} frames of {shape.height}x{shape.width}"
