"""Check a corpus to its last byte: sums, tables, every video decoded; the first thing wrong with each file is named."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...untrusted_input import MAX_DOCUMENT_BYTES, check_values, is_id, printable
from ..store import codec
from ..store.atomic_io import digest_of, json_bytes
from ..store.decision_log import FILE as DECISIONS
from ..store.decision_log import damaged_lines
from . import shards
from .announcements import announced_paths, document_mark
from .clip import RECORD_SHAPES, record_fault
from .publish import ATTRIBUTION, CARD, CROISSANT, MANIFEST, is_ours, listed_files
from .reader import Corpus
from .schema import (
    COLOUR_LAYERS,
    KINDS,
    LAYERS,
    MASK_LAYERS,
    MAY_BE_ABSENT,
    NULLABLE,
    SPLITS,
    TRUTH,
    TRUTH_LAYER,
    VERDICTS,
    is_row,
)
from .words import is_current, iter_words

MAX_FPS = 1000.0
"""Frames per second that a source may have (`image_fps`); high-speed footage is played at less."""
DOCUMENT_TITLES = {CARD: "data card", ATTRIBUTION: "attribution", CROISSANT: "Croissant description"}
Row = dict[str, Any]
File = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class IntegrityError:
    """The first thing wrong with one file."""

    file: str
    problem: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.problem}")


CorpusIndex = tuple[dict[str, list[str]], dict[str, set[str]]]
"""Files of each clip id, and splits of each group: what no shard knows of the others."""


def verify(corpus: Corpus, *, step: Callable[[str], None] = lambda _: None) -> list[IntegrityError]:
    """Read every byte of a corpus and decode every video; step is called with the name of each file that is checked.

    Returns:
        The first fault of each file, in the order of the files; empty where all is well.
    """
    index = _index_corpus(corpus)
    faults: list[IntegrityError] = []
    words = corpus.manifest.get("words")
    for file in listed_files(corpus.manifest):
        faulty = {fault.file for fault in faults}
        checks = (_faults_of(corpus, file, index), _faults_of_words(corpus, faulty) if file == words else ())
        problem = next(chain(*checks), None)
        if problem is not None:
            faults.append(IntegrityError(file=file["path"], problem=problem))
        step(file["path"])
    return [*faults, *_faults_around(corpus)]


def _index_corpus(corpus: Corpus) -> CorpusIndex:
    files: dict[str, list[str]] = defaultdict(list)
    splits: dict[str, set[str]] = defaultdict(set)
    for file in corpus.manifest["files"]:
        try:
            with corpus.location.open(file["path"]) as opened:
                rows = shards.read_plain(opened, ("clip_id", "group", "split")).to_pylist()
        except (pa.ArrowException, OSError, LookupError, ValueError, TypeError):
            continue  # its own check says what is wrong with it
        for row in rows:
            files[row["clip_id"]].append(file["path"])
            splits[row["group"]].add(row["split"])
    return files, splits


def _faults_of(corpus: Corpus, file: File, index: CorpusIndex) -> Iterator[str]:
    location, path = corpus.location, file["path"]
    if not location.exists(path):
        yield f"is missing though {MANIFEST} lists it; publish the corpus again"
        return
    size = location.size(path)
    if size != file["size_bytes"]:
        yield f"has {size} bytes instead of {file['size_bytes']}; copy or publish it again"
    if location.digest(path) != file["sha256"]:
        yield "its bytes are not those that were published (SHA-256 differs); copy or publish it again"
    try:
        with location.open(path) as opened:
            shard = pq.ParquetFile(opened, pre_buffer=False)
            if shard.metadata.num_rows != file["rows"]:
                yield f"has {shard.metadata.num_rows} rows instead of {file['rows']}"
            if "split" in file:
                yield from _faults_of_shard(shard, file, index)
            elif file == corpus.manifest["account"]["clips"]:
                corpus.outcomes()
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as broken:
        yield f"is no readable Parquet file: {broken}"


def _faults_of_shard(shard: pq.ParquetFile, file: File, index: CorpusIndex) -> Iterator[str]:
    if not is_row(shard.schema_arrow):
        yield "its columns are not those of the row's schema"
        return
    if shard.num_row_groups != shard.metadata.num_rows:
        yield f"has {shard.metadata.num_rows} rows in {shard.num_row_groups} row groups; each clip has its own"
        return
    rows = shards.plain_of(shard).to_pylist()
    for row in rows:
        yield from (f"clip {row['clip_id']}: {problem}" for problem in _faults_of_row(row, file, index))
    for group, row in enumerate(rows):
        problems = _faults_of_videos(row, partial(shards.read_layer, shard, group))
        yield from (f"clip {row['clip_id']}: {problem}" for problem in problems)


def _faults_of_row(row: Row, file: File, index: CorpusIndex) -> Iterator[str]:
    absent = [name for name, value in row.items() if value is None and name not in NULLABLE]
    if absent:
        yield f"has no {absent[0]}"
        return
    yield from _faults_of_values(row)
    files, splits = index
    other_files = list(files[row["clip_id"]])
    other_files.remove(file["path"])
    if other_files:
        yield f"the same id stands again in {other_files[0]}"
    if row["split"] != file["split"] or row["kind"] != file["kind"]:
        yield f"is {row['kind']}/{row['split']} in a file of {file['kind']}/{file['split']}"
    if row["kind"] not in KINDS or row["split"] not in SPLITS:
        yield f"kind '{row['kind']}' or split '{row['split']}' is not a known word"
    if len(splits[row["group"]]) > 1:
        yield f"its group {row['group']} is in the splits {' and '.join(sorted(splits[row['group']]))}"
    if row["num_frames"] < 5 or row["num_frames"] % 8 != 5:
        yield f"has {row['num_frames']} frames, which is not 8k+5"
    if row["quality"]["verdict"] not in VERDICTS:
        yield f"verdict '{row['quality']['verdict']}' is not a known word"


def _faults_of_values(row: Row) -> Iterator[str]:
    """Yield problems of the id, of any number, and of the texts that hold JSON."""
    if not is_id(row["clip_id"]):
        yield "its id is none: letters, digits, '.', '_' and '-' alone, so that it can be a file's name"
    try:
        check_values(row, max_text=MAX_DOCUMENT_BYTES)
    except ValueError as problem:
        yield str(problem)
    if not 0 < row["fps"] <= MAX_FPS:
        yield f"fps={row['fps']} is not in (0, {MAX_FPS:g}]"
    if min(row["height"], row["width"]) < 2:
        yield f"its frames of {row['height']}x{row['width']} are none"
    yield from filter(None, (record_fault(row["provenance"], name) for name in RECORD_SHAPES))


def _faults_of_videos(row: Row, read: shards.ReadLayer) -> Iterator[str]:
    effects = [entry["effect"] for entry in row[TRUTH]]
    if len({*effects, ""}) <= len(effects):
        yield f"{TRUTH} has the effects {effects}; each needs a word of its own"
        return
    for layer in (*LAYERS, *(f"{TRUTH_LAYER}{effect}" for effect in effects)):
        video = read(layer)
        if video is None:
            if layer not in MAY_BE_ABSENT.get(row["kind"], ()):
                yield f"has no {layer}"
            continue
        size = {name: row[name] for name in ("num_frames", "height", "width")}
        expected = codec.VideoShape(**size, colour=layer in COLOUR_LAYERS)
        try:
            shape = codec.probe(video)
            if shape != expected:
                yield f"{layer} is {shape} instead of {expected}"
            elif layer in MASK_LAYERS and not np.isin(codec.decode(video), (0, 255)).all():
                yield f"{layer} is not a hard mask of 0 and 255"
        except ValueError as broken:
            yield f"{layer} {broken}"


def _faults_of_words(corpus: Corpus, faulty: Container[str]) -> Iterator[str]:
    """Compare the table of words with the shards that it is a copy of, but for those that are faulty themselves."""
    files = corpus.manifest["files"]
    with corpus.location.open(corpus.manifest["words"]["path"]) as opened:
        if not is_current(pq.read_schema(opened)):
            return
        for file, copies in zip(files, iter_words(opened, (file["rows"] for file in files)), strict=True):
            if file["path"] not in faulty:
                with corpus.location.open(file["path"]) as shard:
                    if shards.read_plain(shard) != copies:
                        yield f"its rows are not those of {file['path']}; publish the corpus again"


def _faults_around(corpus: Corpus) -> Iterator[IntegrityError]:
    """Yield problems of the manifest, of documents and decisions, and shards that nobody listed.

    Programs that take every file of a folder would read those too. Publishings on their way are no problem.
    """
    manifest = corpus.manifest
    is_signed = manifest.get("digest") == digest_of({name: manifest[name] for name in manifest if name != "digest"})
    if not is_signed or corpus.location.read(MANIFEST) != json_bytes(manifest):
        yield IntegrityError(file=MANIFEST, problem="was changed by hand or damaged; publish the corpus again")
    elif manifest["counts"]["clips"] != len(corpus):
        problem = f"counts {manifest['counts']['clips']} clips and lists {len(corpus)}; publish the corpus again"
        yield IntegrityError(file=MANIFEST, problem=problem)
    announced, interrupted = announced_paths(corpus.location), announced_paths(corpus.location, ended=True)
    for document in manifest.get("documents", [{"path": CARD}]):  # of the card of earlier ones there is no digest
        name, sha256 = document["path"], document.get("sha256")
        title = f"the {DOCUMENT_TITLES[name]}"
        mark = document_mark(name, corpus.location.digest(name)) if corpus.location.exists(name) else ""
        if not mark:
            yield IntegrityError(file=name, problem=f"{title} is missing; publish the corpus again")
        elif not sha256 or mark == document_mark(name, sha256) or mark in announced:
            continue
        elif mark in interrupted:
            yield IntegrityError(file=name, problem=f"{title} is of a publishing that was killed; publish it again")
        else:
            yield IntegrityError(file=name, problem=f"{title} was changed or damaged; publish the corpus again")
    expected = {file["path"] for file in listed_files(manifest)} | announced
    for name in corpus.location.names():
        if name not in expected and (is_ours(name) or (name.startswith("data/") and name.endswith(".parquet"))):
            yield IntegrityError(file=name, problem=f"is not listed in {MANIFEST}; delete it or publish again")
    if (damage := damaged_lines(corpus.location)) is not None:
        yield IntegrityError(file=DECISIONS, problem=damage)
