"""A published corpus with other words: new rows beside the same videos, byte for byte, and `corpus.json` last."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..store.atomic_io import digest_of
from ..store.ledger import ClipOutcome, RunSummary, account_of
from ..store.location import Location
from . import shards
from .announcements import announce, withdraw
from .clip import Clip
from .finalize import commit_manifest, corpus_version
from .publish import present_manifest, put_shard, refuse_foreign, shard_path
from .reader import Corpus
from .schema import SCHEMA_VERSION

Row = Mapping[str, Any]


def recaption(
    corpus: Corpus, location: Location, change: Callable[[Row], Row], settings: Mapping[str, Any], scratch: Path
) -> dict[str, Any]:
    """Publish a corpus with changed rows; shards whose rows stay the same stay as they are. Return the manifest.

    Args:
        corpus: what is there; its videos are copied as they stand.
        location: where the corpus with the new captions is to be; it may be the same.
        change: from a row's plain columns to the new ones.
        settings: how the words were made, by source.
        scratch: a local folder for large files on their way to a remote place.

    Raises:
        ValueError: the place holds something else than a corpus.
        CannotWrite: the disk is full, or the place cannot be written.
    """
    refuse_foreign(location)
    present_manifest(location)  # refuses one that is damaged
    manifest = {name: value for name, value in corpus.manifest.items() if name not in ("digest", "card", "documents")}
    entries: list[ClipOutcome] = []
    files: list[dict[str, Any]] = []
    notes: list[str] = []
    is_current = manifest["schema_version"] == SCHEMA_VERSION
    ids = iter(corpus.ids)
    try:
        for file in map(dict, corpus.manifest["files"]):
            clips = [corpus[next(ids)] for _ in range(file["rows"])]
            rows = [change(clip.row) for clip in clips]
            for row in rows:
                verdict, reasons = row["quality"]["verdict"], tuple(row["quality"]["reasons"] or ())
                entries.append(
                    ClipOutcome(name=row["clip_id"], outcome=verdict, stage="captions", reasons=reasons, row=row)
                )
            stays = is_current and rows == [clip.row for clip in clips] and corpus.location.url == location.url
            if not stays:
                content = digest_of([SCHEMA_VERSION, shards.LAYOUT_VERSION, file["sha256"], rows])
                file |= {"content": content, "path": shard_path(file["split"], file["kind"], content)}
            notes.append(announce(location, [file["path"]]))
            files.append(file if stays else _write(file, clips, rows, location, scratch))
        outcomes = _updated_outcomes(corpus, entries)
        accounts = _accounts(outcomes)
        manifest |= {
            "schema_version": SCHEMA_VERSION,
            "version": corpus_version(files),
            "files": files,
            "account": {"sources": {account.source: vars(account) for account in accounts}},
            "settings": {**manifest["settings"], "sources": settings},
        }
        rows_in_order = (entry.row for entry in entries if entry.row is not None)
        return commit_manifest(location, manifest, rows_in_order, outcomes, scratch, notes)
    finally:
        withdraw(location, *notes)


def _write(
    file: Mapping[str, Any], clips: Sequence[Clip], rows: Sequence[Row], location: Location, scratch: Path
) -> dict[str, Any]:
    """Write a shard with these rows and the clips' own videos; return its entry for `corpus.json`."""
    shard_rows = (shards.Row(columns=row, layer=clip.encoded) for row, clip in zip(rows, clips, strict=True))
    put_shard(location, file["path"], shard_rows, content=file["content"], scratch=scratch)
    return {**file, "size_bytes": location.size(file["path"]), "sha256": location.digest(file["path"])}


def _updated_outcomes(corpus: Corpus, entries: Sequence[ClipOutcome]) -> list[dict[str, Any]]:
    """Return the outcome of every clip that was ever looked at; that of clips in the corpus is made anew."""
    by_name = {entry.name: entry for entry in entries}
    rows: list[dict[str, Any]] = corpus.outcomes().to_pylist()
    for row in rows:
        entry = by_name.get(row["name"])
        if entry is not None and (row["outcome"], tuple(row["reasons"])) != (entry.outcome, entry.reasons):
            row |= {"outcome": entry.outcome, "stage": entry.stage, "reasons": list(entry.reasons)}
    return rows


def _accounts(outcomes: Sequence[Mapping[str, Any]]) -> list[RunSummary]:
    by_source: dict[str, list[ClipOutcome]] = {}
    for row in outcomes:
        entry = ClipOutcome(name=row["name"], outcome=row["outcome"], stage=row["stage"], reasons=tuple(row["reasons"]))
        by_source.setdefault(row["source"], []).append(entry)
    return [account_of(source, entries) for source, entries in sorted(by_source.items())]
