"""A published corpus with other words: new rows beside the same videos, byte for byte, and `corpus.json` last."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..store.atomic_io import digest_of
from ..store.ledger import ClipOutcome, RunSummary, account_of
from ..store.location import Location
from . import shards
from .clip import Clip
from .finalize import commit_manifest, corpus_version
from .publish import free_name, present_manifest, put_shard, refuse_foreign
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
    manifest = {name: value for name, value in corpus.manifest.items() if name != "digest"}
    used_paths = {file["path"] for file in present_manifest(location).get("files", [])}
    entries: list[ClipOutcome] = []
    files = []
    rows_by_path: dict[str, list[Row]] = {}
    is_current = manifest["schema_version"] == SCHEMA_VERSION
    ids = iter(corpus.ids)
    for file in map(dict, corpus.manifest["files"]):
        clips = [corpus[next(ids)] for _ in range(file["rows"])]
        rows = [change(clip.row) for clip in clips]
        for row in rows:
            verdict, reasons = row["quality"]["verdict"], tuple(row["quality"]["reasons"] or ())
            entries.append(
                ClipOutcome(name=row["clip_id"], outcome=verdict, stage="captions", reasons=reasons, row=row)
            )
        stays = is_current and rows == [clip.row for clip in clips] and corpus.location.url == location.url
        files.append(file if stays else _write(file, clips, rows, location, used_paths, scratch))
        rows_by_path[files[-1]["path"]] = rows
    outcomes = _updated_outcomes(corpus, entries)
    accounts = _accounts(outcomes)
    files_in_order = sorted(files, key=lambda file: str(file["path"]))
    manifest |= {
        "schema_version": SCHEMA_VERSION,
        "version": corpus_version(files),
        "files": files_in_order,
        "account": {"sources": {account.source: vars(account) for account in accounts}},
        "settings": {**manifest["settings"], "sources": settings},
    }
    rows_in_order = (row for file in files_in_order for row in rows_by_path[file["path"]])
    return commit_manifest(location, manifest, rows_in_order, accounts, outcomes, scratch)


def _write(
    file: Mapping[str, Any],
    clips: Sequence[Clip],
    rows: Sequence[Row],
    location: Location,
    used_paths: set[str],
    scratch: Path,
) -> dict[str, Any]:
    """A shard with these rows and the clips' own videos; its new entry for `corpus.json`."""
    path = free_name(file["split"], file["kind"], used_paths)
    used_paths.add(path)
    content = digest_of([SCHEMA_VERSION, file["sha256"], list(rows)])
    shard_rows = (shards.Row(columns=row, layer=clip.encoded) for row, clip in zip(rows, clips, strict=True))
    put_shard(location, path, shard_rows, content=content, scratch=scratch)
    size, digest = location.size(path), location.digest(path)
    return {**file, "path": path, "size_bytes": size, "sha256": digest, "content": content}


def _updated_outcomes(corpus: Corpus, entries: Sequence[ClipOutcome]) -> list[dict[str, Any]]:
    """Return the outcome of every clip that was ever looked at; that of clips in the corpus is made anew."""
    by_name = {entry.name: entry for entry in entries}
    with corpus.location.open(corpus.manifest["account"]["clips"]["path"]) as file:
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
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
