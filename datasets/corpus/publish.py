"""Finished pairs of a workspace to a corpus: splits, shards, data card, and last of all `corpus.json`.

A corpus changes by its `corpus.json` alone. A shard is named by all that decides its bytes, so shards whose rows did
not change stay as they are, the same pairs give the same names whatever was there before, and no publishing overwrites
what another wrote. Files that no longer belong go after the new `corpus.json` is in place, but for those that a
publishing which goes on beside it has announced; one killed anywhere leaves the old corpus whole. The documents have
fixed names and are written just before `corpus.json`; of one that a kill left beside the old `corpus.json` a note says
so, `verify` asks to publish again, and the next publishing mends it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from ...untrusted_input import parse_json
from ..store import codec
from ..store.atomic_io import explain_os_errors
from ..store.codec import Storage
from ..store.decision_log import FILE as DECISIONS
from ..store.decision_log import read_decisions
from ..store.decisions import Decisions
from ..store.ledger import ClipOutcome
from ..store.location import Location, Place
from ..store.store import DamagedLayer, LayerRef, Store
from . import shards
from .announcements import NOTE, announce, withdraw
from .near_duplicates import ClipRef
from .schema import COLOUR_LAYERS
from .selection import PublishSettings, content_of_clips, packed, read_clips, select_clips

MANIFEST = "corpus.json"
CARD = "README.md"
ATTRIBUTION = "ATTRIBUTION.md"
CROISSANT = "croissant.json"
DOCUMENT_MARKS = {
    CARD: "# data card written by effectpairs",
    ATTRIBUTION: "<!-- attribution written by effectpairs -->",
    CROISSANT: '"effectpairs"',
}
"""Documents beside `corpus.json`, each with a piece of its text: one without it is somebody else's and stays."""


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One file of the corpus to be, small enough to travel: the rows are read anew from the ledgers."""

    path: str
    split: str
    kind: str
    content: str
    """Digest of all that decides the shard's bytes."""
    clips: tuple[ClipRef, ...]
    sha256: str | None = None
    """SHA-256 of the file, if the present corpus lists it."""
    note: str = ""
    """Name of the note that announces it (see `announcements`)."""
    decisions: Decisions = Decisions()
    """Those about its clips, as they were when it was planned."""

    def read_clips(self, workspace: Place) -> Iterator[ClipOutcome]:
        """`read_clips` of the shard."""
        return read_clips(workspace, self.clips, self.decisions)


def shards_in_order(workspace: Place, settings: PublishSettings, decisions: Decisions) -> Iterator[ShardPlan]:
    """The shards that the finished pairs make, in the order of the corpus.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, or an id is none.
    """
    for split, kind, group in packed(select_clips(workspace, settings, decisions).clips, settings):
        content = content_of_clips(group, split, settings)
        path = shard_path(split, kind, content)
        words = decisions.words_about(clip.clip_id for clip in group)
        yield ShardPlan(path=path, split=split, kind=kind, content=content, clips=tuple(group), decisions=words)


def plan_shards(
    workspace: Place, corpus: Location, settings: PublishSettings, decisions: Decisions | None = None
) -> list[ShardPlan]:
    """Divide the finished pairs into shards, and announce them to any publishing beside this one.

    Args:
        workspace: where the pairs come from.
        corpus: where the shards are to be.
        settings: which pairs get in, and how they are divided.
        decisions: those that are honoured; without any, all that lie beside workspace and corpus now. Whoever goes on
            to `finalize` gives both the same, so that reviewers may go on meanwhile.

    Raises:
        ValueError: nothing is finished, two pairs have the same id, the folder holds something else, or a corpus that
            kept a benchmark out of training.
        CannotWrite: the corpus cannot be written.
    """
    refuse_foreign(corpus)
    decisions = read_decisions(workspace, corpus) if decisions is None else decisions
    plans = list(shards_in_order(workspace, settings, decisions))
    manifest = present_manifest(corpus)
    _keep_held_out(corpus, manifest, settings)
    present = {file["path"]: file["sha256"] for file in manifest.get("files", [])}
    note = announce(corpus, [plan.path for plan in plans])
    return [replace(plan, sha256=present.get(plan.path), note=note) for plan in plans]


def _keep_held_out(corpus: Location, manifest: Mapping[str, Any], settings: PublishSettings) -> None:
    """Refuse to put clips of a benchmark into training where the present corpus keeps them out."""
    released = set(manifest.get("settings", {}).get("publishing", {}).get("held_out") or ()) - set(settings.held_out)
    if released:
        raise ValueError(
            f"{corpus.url} keeps the clips of a benchmark out of training, such as {min(released)}; name it again by "
            "--benchmark, or publish to another folder"
        )


def write_planned(plan: ShardPlan, workspace: Place, corpus: Location, settings: PublishSettings) -> dict[str, Any]:
    """Write one shard unless it is there already, whole; return its entry for `corpus.json`, and its `note`.

    Raises:
        CorruptFile: a stored layer is gone or damaged, or the ledgers changed since the plan.
        CannotWrite: the disk is full, or the corpus cannot be written.
    """
    digest = None
    try:
        with suppress(FileNotFoundError), corpus.open(plan.path) as file:
            digest = corpus.digest(plan.path) if shards.content_of(file) == plan.content else None
        if digest is None or (plan.sha256 or digest) != digest:
            _write(plan, Store(workspace), corpus, settings)
            digest = corpus.digest(plan.path)
    except BaseException:
        withdraw(corpus, plan.note)  # nothing comes of this publishing
        raise
    return {
        "path": plan.path,
        "split": plan.split,
        "kind": plan.kind,
        "rows": len(plan.clips),
        "size_bytes": corpus.size(plan.path),
        "sha256": digest,
        "content": plan.content,
        "note": plan.note,
    }


def is_ours(name: str) -> bool:
    """Is this a file that publishing writes beside `corpus.json`?"""
    # Shards of earlier versions have a number of five digits in their names.
    shard = r"data/[a-z]+/[a-z]+-(\d{5,9}|[0-9a-f]{16})\.parquet"
    return re.fullmatch(rf"{shard}|(account|words)-[0-9a-f]{{12}}\.parquet", name) is not None


def listed_files(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Entries of all files that a `corpus.json` lists: shards, outcomes of the clips, and the table of words if any."""
    words = manifest.get("words")
    return [*manifest["files"], manifest["account"]["clips"], *([words] if words else [])]


def present_manifest(corpus: Location) -> Mapping[str, Any]:
    """Return the present `corpus.json`, or an empty mapping.

    Raises:
        ValueError: it is damaged, so it is not known what it replaces.
    """
    if not corpus.exists(MANIFEST):
        return {}
    try:
        manifest: dict[str, Any] = parse_json(corpus.read(MANIFEST))
        return {
            **manifest,
            "files": [{key: file[key] for key in ("path", "content", "sha256")} for file in manifest["files"]],
        }
    except (ValueError, KeyError, TypeError) as broken:
        raise ValueError(f"{corpus.url}/{MANIFEST} is damaged; delete it and publish again") from broken


def first_day(corpus: Location) -> str:
    """Day on which a corpus was first published, as YYYY-MM-DD; today, where there is none yet."""
    publishing = present_manifest(corpus).get("settings", {}).get("publishing", {})
    return str(publishing.get("date_published") or date.today().isoformat())


def refuse_foreign(corpus: Location) -> None:
    """A folder with other things in it is no place for a corpus: its README.md would be lost."""
    if corpus.exists(MANIFEST):
        return
    top = corpus.top()
    foreign = [name for name in top if name != "data" and not _is_left_over(name)]
    foreign += [name for name, mark in DOCUMENT_MARKS.items() if name in top and mark.encode() not in corpus.read(name)]
    if not foreign and "data" in top:
        foreign = [name for name in corpus.names() if not _is_left_over(name)]
    if foreign:
        raise ValueError(
            f"{corpus.url} holds no corpus but other things ({foreign[0]}); choose a new or an empty folder"
        )


def _is_left_over(name: str) -> bool:
    """Is this what an interrupted first publishing leaves?"""
    final_name = name.split(".partial-")[0]
    return is_ours(final_name) or final_name in (MANIFEST, NOTE, DECISIONS, *DOCUMENT_MARKS)


def shard_path(split: str, kind: str, content: str) -> str:
    """A shard's place below the corpus."""
    return f"data/{split}/{kind}-{content[:16]}.parquet"


def _write(plan: ShardPlan, store: Store, corpus: Location, settings: PublishSettings) -> None:
    rows = (
        shards.Row(columns={**(entry.row or {}), "split": plan.split}, layer=_reader(entry, store, settings.storage))
        for entry in plan.read_clips(store.workspace)
    )
    try:
        put_shard(corpus, plan.path, rows, content=plan.content, scratch=store.workspace.scratch_folder)
    except DamagedLayer:
        _report_damage(plan.read_clips(store.workspace), store)
        raise


def put_shard(corpus: Location, path: str, rows: Iterator[shards.Row], *, content: str, scratch: Path) -> None:
    """Write a shard to its place in one step; scratch is the local folder for one on its way to a remote corpus."""
    partial = corpus.scratch(path, scratch)
    try:
        with explain_os_errors(partial.parent):
            shards.write_shard(partial, rows, content=content)
        corpus.take(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _reader(entry: ClipOutcome, store: Store, storage: Storage) -> shards.ReadLayer:
    def read(layer: str) -> bytes | None:
        layer_file = (entry.layers or {}).get(layer)
        if layer_file is None:
            return None
        content = store.read(LayerRef(**layer_file))
        if storage != "exact" and layer in COLOUR_LAYERS:
            return codec.encode(codec.decode(content), fps=(entry.row or {})["fps"], storage=storage)
        return content

    return read


def _report_damage(entries: Iterable[ClipOutcome], store: Store) -> None:
    """Read all layers of a shard, so that one more run re-makes all that are damaged, and raise for them together."""
    damaged: list[str] = []
    sources: set[str] = set()
    for entry in entries:
        for layer in (entry.layers or {}).values():
            try:
                store.read(LayerRef(**layer))
            except DamagedLayer:
                damaged.append(layer["file"])
                sources.add((entry.row or {})["source"])
    if damaged:
        others = f" and {len(damaged) - 1} more of its shard" if len(damaged) > 1 else ""
        again = " ".join(sorted(sources))
        raise DamagedLayer(
            f"{store.workspace.path(damaged[0])}{others} damaged or gone; effectpairs run {again} makes anew what is "
            "not whole, then publish again"
        )
