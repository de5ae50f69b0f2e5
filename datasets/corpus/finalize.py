"""The last step of publishing: statistics, data card and, last, `corpus.json`: its presence says that all is there."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ...untrusted_input import markdown_text
from ..store.atomic_io import CorruptFile, digest_of, json_bytes
from ..store.decisions import Decisions, read_decisions, share_decisions
from ..store.ledger import ClipOutcome, RunSummary, account_of, finished_sources, iter_ledger, read_account
from ..store.location import Location, Place
from .announcements import NOTE, announced_paths, own_notes, withdraw
from .publish import (
    CARD,
    CARD_MARK,
    MANIFEST,
    PublishSettings,
    ShardPlan,
    is_ours,
    listed_files,
    shards_in_order,
    write_planned,
)
from .schema import QUALITY_NUMBERS, SCHEMA_VERSION, TRUTH
from .words import OUTCOMES, WORDS, put_table


def finalize(
    workspace: Place,
    corpus: Location,
    files: Sequence[Mapping[str, Any]],
    settings: PublishSettings,
    name: str,
    decisions: Decisions | None = None,
) -> dict[str, Any]:
    """Write the account, the data card and `corpus.json`, then remove what no longer belongs; return the manifest.

    Args:
        workspace: where the pairs come from.
        corpus: where the shards are already.
        files: the shards' entries, in any order.
        settings: those that the shards were written with.
        name: title of the data card.
        decisions: those that the shards were planned with; without any, all that lie beside workspace and corpus now.
            They are kept beside both.

    Raises:
        CorruptFile: the ledgers changed since the shards were planned.
        CannotWrite: the disk is full, or the corpus cannot be written.
    """
    notes = own_notes(corpus, [file["path"] for file in files])
    try:
        by_content = {file["content"]: file for file in files}
        decisions = read_decisions(workspace, corpus) if decisions is None else decisions
        plans = list(shards_in_order(workspace, settings, decisions))
        if sorted(by_content) != sorted(plan.content for plan in plans):
            raise CorruptFile(
                f"{workspace}: its pairs changed while they were published; publish again when no run is on"
            )
        # One that another publishing deleted in the moment before its announcement is written again.
        written = [
            by_content[plan.content] if corpus.exists(plan.path) else write_planned(plan, workspace, corpus, settings)
            for plan in plans
        ]
        shards = list(zip(plans, written, strict=True))
        manifest, rows, outcomes = _unfinished(workspace, shards, settings, name, decisions)
        share_decisions(decisions, workspace, corpus)
        return commit_manifest(corpus, manifest, rows, outcomes, Location.of(workspace).scratch_folder, notes)
    finally:
        withdraw(corpus, *notes)


def _unfinished(
    workspace: Place,
    shards: Sequence[tuple[ShardPlan, Mapping[str, Any]]],
    settings: PublishSettings,
    name: str,
    decisions: Decisions,
) -> tuple[dict[str, Any], Iterator[Mapping[str, Any]], Iterator[Mapping[str, Any]]]:
    """Arguments of `commit_manifest` for shards that are all there, each by its plan and entry, in order."""

    def judged_entries(source: str) -> Iterator[ClipOutcome]:
        return (decisions.apply(entry) for _, entry in iter_ledger(workspace, source))

    files = [file for _, file in shards]
    sources = finished_sources(workspace)
    summaries: dict[str, RunSummary] = {}
    source_settings: dict[str, Any] = {}
    for source in sources:
        summaries[source], source_settings[source] = read_account(workspace, source)
        if decisions.decisions:
            summaries[source] = account_of(source, judged_entries(source))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "version": corpus_version(files),
        "software": f"effectpairs {version('effectpairs')}",
        "settings": {"publishing": asdict(settings), "sources": source_settings},
        "account": {"sources": {source: asdict(summary) for source, summary in summaries.items()}},
        "files": files,
    }
    rows = ({**(entry.row or {}), "split": plan.split} for plan, _ in shards for entry in plan.read_clips(workspace))
    outcomes = (
        {"source": source, "name": entry.name, "outcome": entry.outcome, "stage": entry.stage, "reasons": entry.reasons}
        for source in sources
        for entry in judged_entries(source)
    )
    return manifest, rows, outcomes


def commit_manifest(
    corpus: Location,
    manifest: dict[str, Any],
    rows: Iterable[Mapping[str, Any]],
    outcomes: Iterable[Mapping[str, Any]],
    scratch: Path,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write words and outcomes of all clips, the data card and, last, `corpus.json`; then remove what is not in it.

    Files of an earlier corpus or of an interrupted publishing are deleted. Return the whole manifest.

    Args:
        corpus: where the shards are already.
        manifest: what is known of the corpus before its clips are counted.
        rows: plain columns of every clip, in the order of the shards; few are in memory at once.
        outcomes: of every clip that was looked at, with its source.
        scratch: a local folder for files on their way to a remote place.
        notes: those that announced the shards, withdrawn once `corpus.json` lists them.
    """
    statistics = CorpusStatistics()
    manifest["words"] = put_table(corpus, "words", WORDS, statistics.tally(rows), scratch)
    manifest["account"]["clips"] = put_table(corpus, "account", OUTCOMES, outcomes, scratch)
    manifest |= statistics.values()
    manifest = json.loads(json_bytes(manifest))  # as it will be read, and in that order
    card = _render_card(manifest)
    manifest["card"] = {"path": CARD, "size_bytes": len(card), "sha256": hashlib.sha256(card).hexdigest()}
    manifest["digest"] = digest_of(manifest)
    corpus.write(CARD, card)
    corpus.write(MANIFEST, json_bytes(manifest))
    tables = (manifest["words"], manifest["account"]["clips"])
    withdraw(corpus, *notes, *(note for table in tables for note in own_notes(corpus, [table["path"]])))
    _remove_stale(corpus)
    _settle_card(corpus)
    return manifest


def _remove_stale(corpus: Location) -> None:
    """Delete what is in no corpus: not in the one that is there now, and announced by no publishing on its way.

    Before each file the notes are read first and `corpus.json` second: a publishing that withdrew its note has written
    that by then.
    """
    content = corpus.read(MANIFEST)
    current_files = {file["path"] for file in listed_files(json.loads(content))}
    for name in corpus.names():
        final_name, _, partial = name.partition(".partial-")
        if partial:
            if (is_ours(final_name) or final_name in (CARD, MANIFEST, NOTE)) and corpus.is_abandoned(name):
                corpus.remove(name)
        elif name not in current_files and is_ours(name) and name not in announced_paths(corpus):
            if corpus.read(MANIFEST) != content:
                return _remove_stale(corpus)  # another publishing was faster: what is stale is for its files to say
            corpus.remove(name)
    return None


def _settle_card(corpus: Location) -> None:
    """Write the data card of whatever `corpus.json` is there, if another publishing put its own between the two."""
    while True:  # ends when no other publishing comes between
        manifest = json.loads(corpus.read(MANIFEST))
        if "card" not in manifest or corpus.digest(CARD) == manifest["card"]["sha256"]:
            return
        corpus.write(CARD, _render_card(manifest))


def corpus_version(files: Sequence[Mapping[str, Any]]) -> str:
    """A corpus's version: the first 12 digits of the digest of its shards' contents, in the order of files."""
    return digest_of([file["content"] for file in files])[:12]


class CorpusStatistics:
    """Counts, licences, and least, median and largest value of each quality number, of rows that pass by."""

    def __init__(self) -> None:
        self._licences: dict[str, set[str]] = {}
        self._with_truth = 0
        self._groups: set[str] = set()
        self._clips = self._frames = 0
        self._seconds = 0.0
        self._counters: dict[str, Counter[str]] = {
            name: Counter() for name in ("kind", "source", "split", "effect", "captioner", "verdict")
        }
        self._numbers = {metric: array("d") for metric in QUALITY_NUMBERS}

    def tally(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Pass rows on, counted."""
        for row in rows:
            self._count(row)
            yield {**row, TRUTH: row.get(TRUTH) or []}

    def values(self) -> dict[str, Any]:
        """The statistics as they stand in `corpus.json`."""
        quality = {}
        for metric, measured in self._numbers.items():
            if measured:
                low, middle, high = np.quantile(measured, [0, 0.5, 1]).tolist()
                quality[metric] = {"min": low, "median": middle, "max": high, "clips": len(measured)}
        counts = {
            "clips": self._clips,
            "groups": len(self._groups),
            "frames": self._frames,
            "seconds": round(self._seconds, 3),
            "with_truth": self._with_truth,
        }
        by_words = {f"by_{name}": dict(sorted(counter.items())) for name, counter in self._counters.items()}
        licences = {source: sorted(names) for source, names in sorted(self._licences.items())}
        return {"counts": counts | by_words, "quality": quality, "licences": licences}

    def _count(self, row: Mapping[str, Any]) -> None:
        self._licences.setdefault(row["source"], set()).add(row["provenance"]["licence"] or "unknown")
        self._with_truth += bool(row.get(TRUTH))
        self._clips += 1
        self._frames += row["num_frames"]
        self._seconds += row["num_frames"] / row["fps"]
        self._groups.add(row["group"])
        for name in ("kind", "source", "split"):
            self._counters[name][row[name]] += 1
        self._counters["effect"].update(row["effects"])
        self._counters["verdict"][row["quality"]["verdict"]] += 1
        if captioner := _captioner_of(row):
            self._counters["captioner"][captioner] += 1
        for metric, measured in self._numbers.items():
            if (value := row["quality"].get(metric)) is not None:
                measured.append(value)


def _captioner_of(row: Mapping[str, Any]) -> str | None:
    """Return the writer of a row's caption: a model's id, or "a person" if none is recorded; None without caption."""
    if not row["caption"]:
        return None
    record = json.loads(row["provenance"].get("captions") or "{}")
    return str(record.get("caption_by") or "a person")


def _render_card(manifest: Mapping[str, Any]) -> bytes:
    """The data card, by `corpus.json` alone: whoever reads that can write it again."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["text"] = markdown_text
    page = environment.get_template("card.md.j2").render(corpus=manifest, mark=CARD_MARK, dumps=json.dumps)
    return page.encode()
