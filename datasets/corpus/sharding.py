"""Which finished pairs get into a corpus, and how they are packed: settings, splits, shards by content."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ..store.atomic_io import digest_of
from ..store.codec import Storage
from ..store.ledger import ClipOutcome, finished_sources, ledger_stamp, read_ledger
from .schema import SCHEMA_VERSION, SPLITS


@dataclass(frozen=True, kw_only=True)
class PublishSettings:
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


def included_entries(workspace: Path, settings: PublishSettings) -> tuple[ClipOutcome, ...]:
    """The finished pairs that get in, sorted by id; read once as long as no ledger changes.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or none has an included verdict.
        Damaged: a ledger is.
    """
    return _included(workspace, settings.include, ledger_stamp(workspace))


def contents(workspace: Path, settings: PublishSettings) -> list[str]:
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
