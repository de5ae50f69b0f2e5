"""Finished pairs of a workspace to a corpus: splits, shards, data card, and last of all `corpus.json`.

A corpus changes by its `corpus.json` alone. New shards take file names that the present one does not use, shards whose
rows did not change stay as they are, and files that no longer belong go after the new `corpus.json` is in place; a
publishing killed anywhere leaves the old corpus whole.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..store import codec
from ..store.atomic_io import CorruptFile, digest_of, explain_os_errors
from ..store.codec import Storage
from ..store.ledger import ClipOutcome, finished_sources, ledger_stamp, read_ledger
from ..store.location import Location
from . import shards
from .schema import COLOUR_LAYERS, SCHEMA_VERSION, SPLITS


@dataclass(frozen=True, kw_only=True)
class PublishSettings:
    """Settings by which rows become a corpus."""

    storage: Storage = "exact"
    """exact: every bit is kept. compact: colour is visually lossless at about a sixth of the size."""
    include: tuple[Literal["accept", "review", "reject"], ...] = ("accept",)
    """Verdicts that get in; the others are listed in `account.parquet` with their reasons."""
    validation_share: float = 0.05
    """Share of groups in the validation split."""
    test_share: float = 0.05
    """Share of groups in the test split."""
    shard_bytes: int = 512 * 1024**2
    """A shard is closed before it grows past this size; one clip is never divided."""

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not in [0, 1)")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on; give less than 1 in all")
        if self.shard_bytes < 1:
            raise ValueError(f"shard_bytes={self.shard_bytes} is not positive")


def included_entries(workspace: Path, settings: PublishSettings) -> tuple[ClipOutcome, ...]:
    """The finished pairs that get in, sorted by id; read once as long as no ledger changes.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or none has an included verdict.
        CorruptFile: a ledger is.
    """
    return _included(workspace, settings.include, ledger_stamp(workspace))


def planned_contents(workspace: Path, settings: PublishSettings) -> list[str]:
    """The content digests of the shards that the finished pairs make, sorted."""
    shards = packed(included_entries(workspace, settings), settings)
    return sorted(content_of_rows(group, split, settings) for split, _, group in shards)


def split_of(group: str, settings: PublishSettings) -> str:
    """A group's split, from its name alone: it stays where it is when the corpus grows."""
    draw = int.from_bytes(hashlib.sha256(f"split:{group}".encode()).digest()[:8], "big") / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


@lru_cache(maxsize=2)
def _included(workspace: Path, include: tuple[str, ...], stamp: object) -> tuple[ClipOutcome, ...]:
    """`included_entries`, anew for every stamp of the ledgers."""
    sources = finished_sources(workspace)
    if not sources:
        raise ValueError(f"{workspace}: no finished source is there; run one first: effectpairs run SOURCE")
    entry_by_id: dict[str, ClipOutcome] = {}
    for source in sources:
        for entry in read_ledger(workspace, source):
            if entry.outcome not in include:
                continue
            if entry.row is None or entry.layers is None:
                raise ValueError(f"{entry.name} has the outcome {entry.outcome} but no row; run '{source}' again")
            if entry.name in entry_by_id:
                raise ValueError(
                    f"clip id '{entry.name}' stands twice in {workspace}, again in '{source}'; rename one source"
                )
            entry_by_id[entry.name] = entry
    if not entry_by_id:
        raise ValueError(
            f"{workspace}: no pair is among {', '.join(include)}; "
            "see why with the account of the run, or publish with --include accept,review"
        )
    return tuple(entry_by_id[name] for name in sorted(entry_by_id))


def packed(entries: Sequence[ClipOutcome], settings: PublishSettings) -> Iterator[tuple[str, str, list[ClipOutcome]]]:
    """Runs of entries of one split and kind, each below the size of a shard."""
    by_split_and_kind: dict[tuple[str, str], list[ClipOutcome]] = {}
    for entry in entries:
        assert entry.row is not None, entry.name
        by_split_and_kind.setdefault((split_of(entry.row["group"], settings), entry.row["kind"]), []).append(entry)
    for split, kind in sorted(by_split_and_kind, key=lambda key: (SPLITS.index(key[0]), key[1])):
        group: list[ClipOutcome] = []
        size = 0
        for entry in by_split_and_kind[split, kind]:
            if group and size + _size(entry) > settings.shard_bytes:
                yield split, kind, group
                group, size = [], 0
            group.append(entry)
            size += _size(entry)
        yield split, kind, group


def _size(entry: ClipOutcome) -> int:
    return sum(layer["size_bytes"] for layer in (entry.layers or {}).values())


def content_of_rows(entries: Sequence[ClipOutcome], split: str, settings: PublishSettings) -> str:
    """Digest of all that decides the bytes of a shard."""
    rows = []
    for entry in entries:
        digests = {name: layer["sha256"] for name, layer in (entry.layers or {}).items()}
        rows.append([SCHEMA_VERSION, settings.storage, split, entry.row, digests])
    return digest_of(rows)


MANIFEST = "corpus.json"
CARD = "README.md"
CARD_MARK = "# data card written by effectpairs"
"""A line of the data card's front matter: a README.md without it is somebody else's and stays."""


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One file of the corpus to be, small enough to travel: the rows are read anew from the ledgers by their ids."""

    path: str
    split: str
    kind: str
    content: str
    """Digest of all that decides the shard's bytes."""
    clip_ids: tuple[str, ...]
    sha256: str | None = None
    """SHA-256 of the file, if the present corpus lists it."""


def plan_shards(workspace: Path, corpus: Location, settings: PublishSettings) -> list[ShardPlan]:
    """Divide the finished pairs into shards and give them file names.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or the folder holds something else.
    """
    refuse_foreign(corpus)
    entries = included_entries(workspace, settings)
    present = {file["content"]: file for file in present_manifest(corpus).get("files", [])}
    used_paths = {file["path"] for file in present.values()}
    plans: list[ShardPlan] = []
    for split, kind, group in packed(entries, settings):
        content = content_of_rows(group, split, settings)
        present_file = present.get(content)
        path = present_file["path"] if present_file else free_name(split, kind, used_paths)
        used_paths.add(path)
        ids = tuple(entry.name for entry in group)
        sha256 = present_file["sha256"] if present_file else None
        plans.append(ShardPlan(path=path, split=split, kind=kind, content=content, clip_ids=ids, sha256=sha256))
    return plans


def write_planned(plan: ShardPlan, workspace: Path, corpus: Location, settings: PublishSettings) -> dict[str, Any]:
    """Write one shard unless it is there already, whole; return its entry for `corpus.json`.

    Raises:
        CorruptFile: a stored layer is gone or damaged, or the ledgers changed since the plan.
        CannotWrite: the disk is full, or the corpus cannot be written.
    """
    digest = None
    if corpus.exists(plan.path):
        with corpus.open(plan.path) as file:
            digest = corpus.digest(plan.path) if shards.content_of(file) == plan.content else None
    if digest is None or (plan.sha256 or digest) != digest:
        _write(plan, workspace, corpus, settings)
        digest = corpus.digest(plan.path)
    return {
        "path": plan.path,
        "split": plan.split,
        "kind": plan.kind,
        "rows": len(plan.clip_ids),
        "size_bytes": corpus.size(plan.path),
        "sha256": digest,
        "content": plan.content,
    }


def is_ours(name: str) -> bool:
    """Is this a file that publishing writes beside `corpus.json`?"""
    return re.fullmatch(r"data/[a-z]+/[a-z]+-\d{5,}\.parquet|account-[0-9a-f]{12}\.parquet", name) is not None


def present_manifest(corpus: Location) -> Mapping[str, Any]:
    """Return the present `corpus.json`, or an empty mapping.

    Raises:
        ValueError: it is damaged, so it is not known what it replaces.
    """
    if not corpus.exists(MANIFEST):
        return {}
    try:
        manifest: dict[str, Any] = json.loads(corpus.read(MANIFEST))
        return {
            **manifest,
            "files": [{key: file[key] for key in ("path", "content", "sha256")} for file in manifest["files"]],
        }
    except (ValueError, KeyError, TypeError) as broken:
        raise ValueError(f"{corpus.url}/{MANIFEST} is damaged; delete it and publish again") from broken


def refuse_foreign(corpus: Location) -> None:
    """A folder with other things in it is no place for a corpus: its README.md would be lost."""
    if corpus.exists(MANIFEST):
        return
    top = corpus.top()
    foreign = [name for name in top if name not in ("data", CARD) and not _is_left_over(name)]
    if CARD in top and CARD_MARK.encode() not in corpus.read(CARD):
        foreign.append(CARD)
    if not foreign and "data" in top:
        foreign = [name for name in corpus.names() if name != CARD and not _is_left_over(name)]
    if foreign:
        raise ValueError(
            f"{corpus.url} holds no corpus but other things ({foreign[0]}); choose a new or an empty folder"
        )


def _is_left_over(name: str) -> bool:
    """Is this what an interrupted first publishing leaves?"""
    final_name = name.split(".partial-")[0]
    return is_ours(final_name) or final_name in (MANIFEST, CARD)


def free_name(split: str, kind: str, used_paths: set[str]) -> str:
    """The first file name of a split and kind that is not taken."""
    number = 0
    while (name := f"data/{split}/{kind}-{number:05d}.parquet") in used_paths:
        number += 1
    return name


def _write(plan: ShardPlan, workspace: Path, corpus: Location, settings: PublishSettings) -> None:
    by_id = {entry.name: entry for entry in included_entries(workspace, settings)}
    entries = [by_id[clip_id] for clip_id in plan.clip_ids if clip_id in by_id]
    if content_of_rows(entries, plan.split, settings) != plan.content:
        raise CorruptFile(f"{workspace}: its pairs changed while they were published; publish again when no run is on")
    rows = (
        shards.Row(
            columns={**(entry.row or {}), "split": plan.split}, layer=_reader(entry, workspace, settings.storage)
        )
        for entry in entries
    )
    put_shard(corpus, plan.path, rows, content=plan.content, scratch=workspace / "scratch")


def put_shard(corpus: Location, path: str, rows: Iterator[shards.Row], *, content: str, scratch: Path) -> None:
    """Write a shard to its place in one step; scratch is the local folder for one on its way to a remote corpus."""
    partial = corpus.scratch(path, scratch)
    try:
        with explain_os_errors(partial.parent):
            shards.write_shard(partial, rows, content=content)
        corpus.take(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _reader(entry: ClipOutcome, workspace: Path, storage: Storage) -> shards.ReadLayer:
    row = entry.row or {}

    def read(layer: str) -> bytes | None:
        layer_file = (entry.layers or {}).get(layer)
        if layer_file is None:
            return None
        path = workspace / layer_file["file"]
        try:
            content: bytes = path.read_bytes()
        except FileNotFoundError as gone:
            raise CorruptFile(f"{path} is gone; run source '{row['source']}' again to re-make it") from gone
        if hashlib.sha256(content).hexdigest() != layer_file["sha256"]:
            raise CorruptFile(f"{path} is damaged; delete the folder {path.parent} and run its source again")
        if storage == "compact" and layer in COLOUR_LAYERS:
            return codec.encode(codec.decode(content), fps=row["fps"], storage=storage)
        return content

    return read
