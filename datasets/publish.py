"""Finished pairs of a workspace to a corpus: splits, shards, data card, and last of all `corpus.json`.

A corpus changes by its `corpus.json` alone. New shards take file names that the present one does not use, shards whose
rows did not change stay as they are, and files that no longer belong go after the new `corpus.json` is in place; a
publishing killed anywhere leaves the old corpus whole.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import codec, shards
from .durable import digest_of
from .ledger import Entry, finished_sources, read_ledger
from .place import Place
from .schema import COLOUR_LAYERS, SCHEMA_VERSION, SPLITS
from .codec import Storage

MANIFEST = "corpus.json"


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """How rows become a corpus."""

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


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One file of the corpus to be, small enough to travel: the rows are read anew from the ledgers by their ids."""

    path: str
    split: str
    kind: str
    content: str
    clip_ids: tuple[str, ...]


def plan_shards(workspace: Path, corpus: Place, settings: Publishing) -> list[ShardPlan]:
    """Divide the finished pairs into shards and give them file names.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or the folder holds something else.
    """
    _refuse_foreign(corpus)
    entries = included_entries(workspace, settings)
    present = {file["content"]: file["path"] for file in present_manifest(corpus).get("files", [])}
    taken = set(present.values())
    plans: list[ShardPlan] = []
    for split, kind, group in _packed(entries, settings):
        content = digest_of([_content(entry, split, settings) for entry in group])
        path = present.get(content) or _free_name(split, kind, taken)
        taken.add(path)
        ids = tuple(entry.name for entry in group)
        plans.append(ShardPlan(path=path, split=split, kind=kind, content=content, clip_ids=ids))
    return plans


def write_planned(plan: ShardPlan, workspace: Path, corpus: Place, settings: Publishing) -> dict[str, Any]:
    """Write one shard unless it is there already; return its entry for `corpus.json`."""
    if not (corpus.exists(plan.path) and _carries(corpus, plan)):
        by_id = {entry.name: entry for entry in included_entries(workspace, settings)}
        rows = _rows([by_id[clip_id] for clip_id in plan.clip_ids], plan.split, workspace, settings)
        scratch = corpus.scratch(plan.path, workspace / "scratch")
        try:
            shards.write_shard(scratch, rows, content=plan.content)
            corpus.take(scratch, plan.path)
        finally:
            scratch.unlink(missing_ok=True)
    with corpus.open(plan.path) as file:
        size = file.seek(0, 2)
    return {
        "path": plan.path,
        "split": plan.split,
        "kind": plan.kind,
        "rows": len(plan.clip_ids),
        "size_bytes": size,
        "sha256": corpus.digest(plan.path),
        "content": plan.content,
    }


def included_entries(workspace: Path, settings: Publishing) -> list[Entry]:
    """The finished pairs that get in, sorted by id.

    Raises:
        ValueError: nothing is finished, or two pairs have the same id.
    """
    sources = finished_sources(workspace)
    if not sources:
        raise ValueError(f"{workspace}: no finished source is there; run one first: effectpairs run SOURCE")
    found: dict[str, Entry] = {}
    for source in sources:
        for entry in read_ledger(workspace, source):
            if entry.outcome not in settings.include:
                continue
            if entry.name in found:
                raise ValueError(
                    f"clip id '{entry.name}' stands twice in {workspace}, again in '{source}'; rename one source"
                )
            found[entry.name] = entry
    if not found:
        raise ValueError(
            f"{workspace}: no pair is among {', '.join(settings.include)}; "
            "see why with the account of the run, or publish with --include accept,review"
        )
    return [found[name] for name in sorted(found)]


def split_of(group: str, settings: Publishing) -> str:
    """A group's split, from its name alone: it stays where it is when the corpus grows."""
    draw = int.from_bytes(hashlib.sha256(f"split:{group}".encode()).digest()[:8], "big") / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


def is_ours(name: str) -> bool:
    """Is this a file that publishing writes beside `corpus.json`?"""
    return re.fullmatch(r"data/[a-z]+/[a-z]+-\d{5}\.parquet|account-[0-9a-f]{12}\.parquet", name) is not None


def _refuse_foreign(corpus: Place) -> None:
    """A folder with other things in it is no place for a corpus: its README.md would be lost."""
    if corpus.exists(MANIFEST):
        return
    top = corpus.top()
    if top and "data" not in top:
        raise ValueError(f"{corpus.url} is not empty ({top[0]}) and holds no corpus; choose a new or an empty folder")


def _packed(entries: list[Entry], settings: Publishing) -> Iterator[tuple[str, str, list[Entry]]]:
    """Runs of entries of one split and kind, each below the size of a shard."""
    keyed: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        assert entry.row is not None, entry.name
        keyed.setdefault((split_of(entry.row["group"], settings), entry.row["kind"]), []).append(entry)
    for split, kind in sorted(keyed, key=lambda key: (SPLITS.index(key[0]), key[1])):
        group: list[Entry] = []
        size = 0
        for entry in keyed[split, kind]:
            if group and size + _size(entry) > settings.shard_bytes:
                yield split, kind, group
                group, size = [], 0
            group.append(entry)
            size += _size(entry)
        yield split, kind, group


def _size(entry: Entry) -> int:
    return sum(layer["size_bytes"] for layer in (entry.layers or {}).values())


def _content(entry: Entry, split: str, settings: Publishing) -> Any:
    """All that decides the bytes of a row."""
    digests = {name: layer["sha256"] for name, layer in (entry.layers or {}).items()}
    return [SCHEMA_VERSION, settings.storage, split, entry.row, digests]


def _free_name(split: str, kind: str, taken: set[str]) -> str:
    number = 0
    while (name := f"data/{split}/{kind}-{number:05d}.parquet") in taken:
        number += 1
    return name


def _carries(corpus: Place, plan: ShardPlan) -> bool:
    with corpus.open(plan.path) as file:
        return shards.content_of(file) == plan.content


def _rows(entries: list[Entry], split: str, workspace: Path, settings: Publishing) -> Iterator[shards.Row]:
    for entry in entries:
        assert entry.row is not None, entry.name
        plain = {**entry.row, "split": split}
        yield shards.Row(plain=plain, layer=_reader(entry, workspace, settings.storage))


def _reader(entry: Entry, workspace: Path, storage: Storage) -> shards.ReadLayer:
    row = entry.row or {}

    def read(layer: str) -> bytes | None:
        stored = (entry.layers or {}).get(layer)
        if stored is None:
            return None
        path = workspace / stored["file"]
        try:
            content: bytes = path.read_bytes()
        except FileNotFoundError as gone:
            raise ValueError(f"{path} is gone; run source '{row['source']}' again to re-make it") from gone
        if hashlib.sha256(content).hexdigest() != stored["sha256"]:
            raise ValueError(f"{path} is damaged; delete the folder {path.parent} and run its source again")
        if storage == "compact" and layer in COLOUR_LAYERS:
            return codec.encode(codec.decode(content), fps=row["fps"], storage=storage)
        return content

    return read


def present_manifest(corpus: Place) -> Mapping[str, Any]:
    """The corpus.json that stands there now, or an empty one."""
    if not corpus.exists(MANIFEST):
        return {}
    found: dict[str, Any] = json.loads(corpus.read(MANIFEST))
    return found
