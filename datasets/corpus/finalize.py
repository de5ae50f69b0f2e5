"""The last step of publishing: statistics, data card and, last, `corpus.json`: its presence says that all is there."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..store.atomic_io import CorruptFile, digest_of, json_bytes
from ..store.ledger import ClipOutcome, RunSummary, finished_sources, read_account, read_ledger
from ..store.location import Location
from .publish import CARD, CARD_MARK, MANIFEST, PublishSettings, included_entries, is_ours, planned_contents, split_of
from .schema import QUALITY_NUMBERS, SCHEMA_VERSION, TRUTH


def finalize(
    workspace: Path, corpus: Location, files: Sequence[Mapping[str, Any]], settings: PublishSettings, name: str
) -> dict[str, Any]:
    """Write the account, the data card and `corpus.json`, then remove what no longer belongs; return the manifest.

    Args:
        workspace: where the pairs come from.
        corpus: where the shards are already.
        files: the shards' entries, in any order.
        settings: those that the shards were written with.
        name: title of the data card.

    Raises:
        CorruptFile: the ledgers changed since the shards were planned.
        CannotWrite: the disk is full, or the corpus cannot be written.
    """
    files = sorted(files, key=lambda file: str(file["path"]))
    if sorted(file["content"] for file in files) != planned_contents(workspace, settings):
        raise CorruptFile(f"{workspace}: its pairs changed while they were published; publish again when no run is on")
    entries = included_entries(workspace, settings)
    sources = finished_sources(workspace)
    summaries: dict[str, RunSummary] = {}
    source_settings: dict[str, Any] = {}
    for source in sources:
        summaries[source], source_settings[source] = read_account(workspace, source)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "version": corpus_version(files),
        "software": f"effectpairs {version('effectpairs')}",
        "settings": {"publishing": asdict(settings), "sources": source_settings},
        **compute_statistics(entries, settings),
        "account": {"sources": {source: asdict(summary) for source, summary in summaries.items()}},
        "files": files,
    }
    outcomes = [
        {"source": source, "name": entry.name, "outcome": entry.outcome, "stage": entry.stage, "reasons": entry.reasons}
        for source in sources
        for entry in read_ledger(workspace, source)
    ]
    return commit_manifest(corpus, manifest, entries, list(summaries.values()), outcomes)


def commit_manifest(
    corpus: Location,
    manifest: dict[str, Any],
    entries: Sequence[ClipOutcome],
    summaries: Sequence[RunSummary],
    outcomes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write the outcomes of all clips, the data card and, last, `corpus.json`; then remove what is not in it.

    Shards and outcomes of an earlier corpus or of an interrupted publishing are deleted. `manifest` is completed.
    """
    manifest["account"]["clips"] = _write_outcomes(outcomes, corpus)
    manifest["digest"] = digest_of(manifest)
    corpus.write(CARD, _render_card(manifest, entries, summaries).encode())
    corpus.write(MANIFEST, json_bytes(manifest))
    current_files = {file["path"] for file in manifest["files"]} | {manifest["account"]["clips"]["path"]}
    for name in corpus.names():
        final_name, _, partial = name.partition(".partial-")
        stale = corpus.is_abandoned(name) if partial else name not in current_files
        if stale and (is_ours(final_name) or (partial and final_name in (CARD, MANIFEST))):
            corpus.remove(name)
    return manifest


def corpus_version(files: Sequence[Mapping[str, Any]]) -> str:
    """A corpus's version: the first 12 digits of the digest of its shards' contents, in the order of files."""
    return digest_of([file["content"] for file in files])[:12]


def compute_statistics(entries: Sequence[ClipOutcome], settings: PublishSettings) -> dict[str, Any]:
    """Return the statistics in `corpus.json`: counts, and least, median and largest value of each quality number."""
    rows = [entry.row for entry in entries if entry.row is not None]
    counts = {
        "clips": len(rows),
        "groups": len({row["group"] for row in rows}),
        "frames": sum(row["num_frames"] for row in rows),
        "seconds": round(sum(row["num_frames"] / row["fps"] for row in rows), 3),
    }
    counters = {
        "by_kind": Counter(row["kind"] for row in rows),
        "by_source": Counter(row["source"] for row in rows),
        "by_split": Counter(split_of(row["group"], settings) for row in rows),
        "by_effect": Counter(effect for row in rows for effect in row["effects"]),
        "by_captioner": Counter(filter(None, map(_captioner_of, rows))),
        "by_verdict": Counter(row["quality"]["verdict"] for row in rows),
    }
    quality = {}
    for metric in QUALITY_NUMBERS:
        measured = [value for row in rows if (value := row["quality"].get(metric)) is not None]
        if measured:
            low, middle, high = np.quantile(measured, [0, 0.5, 1]).tolist()
            quality[metric] = {"min": low, "median": middle, "max": high, "clips": len(measured)}
    sorted_counts = {name: dict(sorted(counter.items())) for name, counter in counters.items()}
    return {"counts": counts | sorted_counts, "quality": quality}


def _captioner_of(row: Mapping[str, Any]) -> str | None:
    """Return the writer of a row's caption: a model's id, or "a person" if none is recorded; None without caption."""
    if not row["caption"]:
        return None
    record = json.loads(row["provenance"].get("captions") or "{}")
    return str(record.get("caption_by") or "a person")


def _write_outcomes(rows: Sequence[Mapping[str, Any]], corpus: Location) -> dict[str, Any]:
    """Write the outcomes of all clips as one small Parquet file; return its entry in the manifest."""
    string_columns = [(name, pa.string()) for name in ("source", "name", "outcome", "stage")]
    table = pa.Table.from_pylist(list(rows), schema=pa.schema([*string_columns, ("reasons", pa.list_(pa.string()))]))
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    # Named by content, so that the file of the present corpus stays as it is until the new `corpus.json` is there.
    path = f"account-{digest_of(list(rows))[:12]}.parquet"
    corpus.write(path, content.getvalue())
    return {"path": path, "rows": len(rows), "size_bytes": content.tell(), "sha256": corpus.digest(path)}


def _render_card(manifest: Mapping[str, Any], entries: Sequence[ClipOutcome], summaries: Sequence[RunSummary]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    licences: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.row is not None:
            provenance = entry.row["provenance"]
            licences.setdefault(entry.row["source"], {})[provenance["licence"] or "unknown"] = provenance["origin"]
    with_truth = sum(bool(entry.row and entry.row.get(TRUTH)) for entry in entries)
    return environment.get_template("card.md.j2").render(
        corpus=manifest,
        accounts=summaries,
        licences=licences,
        with_truth=with_truth,
        mark=CARD_MARK,
        dumps=json.dumps,
    )
