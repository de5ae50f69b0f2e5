"""Finished pairs that get into a corpus, by decisions, verdicts, licences and footage; their splits and shards.

What is selected depends on the ledgers, the settings and the decisions alone, so each worker that writes a shard reads
its rows anew.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import groupby
from typing import Literal

from ...licences import check_allowed, is_allowed
from ...untrusted_input import is_id, shortened
from ..store.atomic_io import CorruptFile, digest_of, key_digest
from ..store.codec import Storage
from ..store.decisions import Decisions
from ..store.ledger import ClipOutcome, finished_sources, iter_ledger, ledger_stamp, read_entries
from ..store.location import Location, Place
from . import shards
from .near_duplicates import ClipRef, NearDuplicate, merged_groups, near_duplicates, pixels_digest, read_fingerprints
from .schema import SCHEMA_VERSION, SPLITS, footage_digests


@dataclass(frozen=True, kw_only=True)
class PublishSettings:
    """Settings by which rows become a corpus."""

    storage: Storage = "exact"
    """exact: every bit is kept. fast: so it is, but it takes a third more and is read eight times as fast.
    raw: so it is, with colour not coded at all, four times as large as exact and the fastest where disks are.
    compact: colour is visually lossless at about a sixth of the size."""
    include: tuple[Literal["accept", "review", "reject"], ...] = ("accept",)
    """Verdicts that get in; the others are listed in `account.parquet` with their reasons."""
    validation_share: float = 0.05
    """Share of groups in the validation split."""
    test_share: float = 0.05
    """Share of groups in the test split."""
    held_out: tuple[str, ...] = ()
    """Ids of clips, groups and SHA-256 of footage that a benchmark pins: all groups with any of them are in test."""
    licence_allow: tuple[str, ...] = ()
    """Licences that get in: SPDX identifiers, names of texts, patterns of them, or "commercial"; empty takes all."""
    duplicates: Literal["group", "drop", "ignore"] = "group"
    """group: clips of the same footage share a group, and so a split. drop: of such clips whose effect is the same too
    the one of the smaller source stays out. ignore: nothing is compared."""
    url: str = ""
    """Address of the corpus, for `croissant.json`; empty where it has none yet."""
    creator: str = ""
    """Name of the publisher, for `croissant.json`."""
    date_published: str = ""
    """Day of publication as YYYY-MM-DD; empty leaves it out. Command and flow take that of its first publishing."""
    shard_bytes: int = 512 * 1024**2
    """A shard is closed before it grows past this size, or past MAX_SHARD_CLIPS; one clip is never divided."""

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not in [0, 1)")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on; give less than 1 in all")
        if self.shard_bytes < 1:
            raise ValueError(f"shard_bytes={self.shard_bytes} is not positive")
        check_allowed(self.licence_allow)
        if self.url and not re.fullmatch(r"https?://[^\s<>\"]+", self.url):
            raise ValueError(f"url={shortened(self.url)!r} is no address; write it whole: https://...")
        if self.date_published:
            try:
                date.fromisoformat(self.date_published)
            except ValueError as wrong:
                raise ValueError(
                    f"date_published={shortened(self.date_published)!r} is no day; write YYYY-MM-DD"
                ) from wrong


MAX_SHARD_CLIPS = 1000
"""A clip's row group takes 19 kB of its shard's footer, all of which is read to find any of them."""


@dataclass(frozen=True, kw_only=True)
class ClipSelection:
    """Finished pairs that get into a corpus, and those that stay out though their verdict would let them in."""

    clips: tuple[ClipRef, ...]
    """Sorted by id; clips of the same footage have one group."""
    refused_licences: tuple[ClipRef, ...]
    duplicates: tuple[NearDuplicate, ...]
    """Pairs of clips with the same footage, also of those of which one stays out."""


def select_clips(workspace: Place, settings: PublishSettings, decisions: Decisions) -> ClipSelection:
    """Select the finished pairs that get in as people judged them; read once as long as no ledger changes.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or none has an included verdict or licence.
        CorruptFile: a ledger is.
    """
    return _selected(Location.of(workspace), settings, decisions, ledger_stamp(workspace))


def split_of(group: str, settings: PublishSettings) -> str:
    """A group's split, from its name alone: it stays where it is when the corpus grows."""
    draw = int.from_bytes(hashlib.sha256(f"split:{group}".encode()).digest()[:8], "big") / 2**64
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


@lru_cache(maxsize=2)
def _selected(workspace: Location, settings: PublishSettings, decisions: Decisions, stamp: object) -> ClipSelection:
    """`select_clips`, anew for every stamp of the ledgers."""
    included = _included(workspace, settings.include, frozenset(settings.held_out), decisions, stamp)
    is_fit = {name: is_allowed(name, settings.licence_allow) for name in {clip.licence for clip in included}}
    clips = [clip for clip in included if is_fit[clip.licence] or not settings.licence_allow]
    if not clips:
        raise ValueError(
            f"{workspace}: no pair has a licence among {', '.join(settings.licence_allow)}; there are "
            f"{', '.join(sorted(shortened(name) for name in is_fit))}"
        )
    duplicates: list[NearDuplicate] = []
    if settings.duplicates != "ignore":
        fingerprints = read_fingerprints(workspace, included)
        duplicates = near_duplicates(clips, fingerprints, drop=settings.duplicates == "drop")
        groups = merged_groups(clips, duplicates, lambda group: (-SPLITS.index(split_of(group, settings)), group))
        pinned = {groups.get(clip.group, clip.group) for clip in clips if clip.held_out}
        dropped = {duplicate.dropped for duplicate in duplicates}
        clips = [
            replace(clip, group=group, held_out=group in pinned)
            for clip in clips
            if (group := groups.get(clip.group, clip.group)) and clip.clip_id not in dropped
        ]
    return ClipSelection(
        clips=tuple(clips),
        refused_licences=tuple(clip for clip in included if settings.licence_allow and not is_fit[clip.licence]),
        duplicates=tuple(duplicates),
    )


@lru_cache(maxsize=2)
def _included(
    workspace: Location, include: tuple[str, ...], held_out: frozenset[str], decisions: Decisions, stamp: object
) -> tuple[ClipRef, ...]:
    """`included_clips`, anew for every stamp of the ledgers."""
    sources = finished_sources(workspace)
    if not sources:
        raise ValueError(f"{workspace}: no finished source is there; run one first: effectpairs run SOURCE")
    clip_by_id: dict[str, ClipRef] = {}
    for source in sources:
        for start, ledger_entry in iter_ledger(workspace, source):
            entry = decisions.apply(ledger_entry)
            if entry.outcome not in include:
                continue
            if entry.row is None or entry.layers is None:
                raise ValueError(f"{entry.name} has the outcome {entry.outcome} but no row; run '{source}' again")
            if not is_id(entry.name) or entry.row["clip_id"] != entry.name:
                raise ValueError(f"{shortened(entry.name)!r} of '{source}' is no clip id; run '{source}' again")
            if entry.name in clip_by_id:
                raise ValueError(
                    f"clip id '{entry.name}' stands twice in {workspace}, again in '{source}'; rename one source"
                )
            clip_by_id[entry.name] = ClipRef(
                clip_id=entry.name,
                source=source,
                start=start,
                group=entry.row["group"],
                kind=entry.row["kind"],
                size_bytes=sum(layer["size_bytes"] for layer in entry.layers.values()),
                digest=_digest_of_entry(entry),
                held_out=not held_out.isdisjoint(
                    (entry.name, entry.row["group"], *footage_digests(entry.row["provenance"]))
                ),
                licence=entry.row["provenance"]["licence"] or "unknown",
                pixels=pixels_digest(entry.layers),
            )
    if not clip_by_id:
        raise ValueError(
            f"{workspace}: no pair is among {', '.join(include)}; "
            "see why with the account of the run, or publish with --include accept,review"
        )
    return tuple(clip_by_id[name] for name in sorted(clip_by_id))


def packed(clips: Sequence[ClipRef], settings: PublishSettings) -> Iterator[tuple[str, str, list[ClipRef]]]:
    """Runs of clips of one split and kind, each below the size of a shard."""
    by_split_and_kind: dict[tuple[str, str], list[ClipRef]] = {}
    held_out = {clip.group for clip in clips if clip.held_out}
    for clip in clips:
        split = "test" if clip.group in held_out else split_of(clip.group, settings)
        by_split_and_kind.setdefault((split, clip.kind), []).append(clip)
    for split, kind in sorted(by_split_and_kind, key=lambda key: (SPLITS.index(key[0]), key[1])):
        group: list[ClipRef] = []
        size = 0
        for clip in by_split_and_kind[split, kind]:
            if group and (size + clip.size_bytes > settings.shard_bytes or len(group) == MAX_SHARD_CLIPS):
                yield split, kind, group
                group, size = [], 0
            group.append(clip)
            size += clip.size_bytes
        yield split, kind, group


def content_of_clips(clips: Sequence[ClipRef], split: str, settings: PublishSettings) -> str:
    """Digest of all that decides the bytes of a shard."""
    rows = [[clip.digest, clip.group] for clip in clips]
    return digest_of([SCHEMA_VERSION, shards.LAYOUT_VERSION, settings.storage, split, rows])


def read_clips(workspace: Place, clips: Sequence[ClipRef], decisions: Decisions) -> Iterator[ClipOutcome]:
    """The ledgers' entries of clips as people judged them, in their order, one in memory at a time.

    Raises:
        CorruptFile: a ledger changed since the clips were planned.
    """
    changed = f"{workspace}: its pairs changed while they were published; publish again when no run is on"
    for source, group in groupby(clips, key=lambda clip: clip.source):
        planned = list(group)
        try:
            entries = map(decisions.apply, read_entries(workspace, source, (clip.start for clip in planned)))
            for clip, entry in zip(planned, entries, strict=True):
                if entry.name != clip.clip_id or _digest_of_entry(entry) != clip.digest:
                    raise CorruptFile(changed)
                yield replace(entry, row={**(entry.row or {}), "group": clip.group})
        except ValueError as broken:
            raise CorruptFile(changed) from broken


def _digest_of_entry(entry: ClipOutcome) -> str:
    return key_digest([entry.row, {name: layer["sha256"] for name, layer in (entry.layers or {}).items()}])
