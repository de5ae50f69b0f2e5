"""The last step of publishing: statistics, documents and, last, `corpus.json`: its presence says that all is there."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...licences import read_licence, warnings_of
from ..store.atomic_io import CorruptFile, digest_of, json_bytes
from ..store.decision_log import put_in_order, read_decisions, share_decisions
from ..store.decisions import Decisions
from ..store.ledger import ClipOutcome, RunSummary, account_of, finished_sources, iter_ledger, read_account
from ..store.location import Location, Place
from .announcements import NOTE, announce, announced_paths, document_mark, withdraw
from .documents import render_documents
from .publish import DOCUMENT_MARKS, MANIFEST, ShardPlan, is_ours, listed_files, shards_in_order, write_planned
from .schema import QUALITY_NUMBERS, SCHEMA_VERSION, TRUTH
from .selection import PublishSettings, select_clips
from .words import OUTCOMES, WORDS, put_table

MAX_WORKS = 1000
"""Works of a source that are named one by one; of more, the author is, and each clip's `provenance` names its work."""


def finalize(
    workspace: Place,
    corpus: Location,
    files: Sequence[Mapping[str, Any]],
    settings: PublishSettings,
    name: str,
    decisions: Decisions | None = None,
) -> dict[str, Any]:
    """Write the account, the documents and `corpus.json`, then remove what no longer belongs; return the manifest.

    Args:
        workspace: where the pairs come from.
        corpus: where the shards are already.
        files: what `write_planned` returned of each shard, in any order.
        settings: those that the shards were written with.
        name: title of the data card.
        decisions: those that the shards were planned with; without any, all that lie beside workspace and corpus now.
            They are kept beside both.

    Raises:
        CorruptFile: the ledgers changed since the shards were planned.
        CannotWrite: the disk is full, or the corpus cannot be written.
    """
    notes = {str(file["note"]) for file in files}
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
        entries = [{name: value for name, value in file.items() if name != "note"} for file in written]
        shards = list(zip(plans, entries, strict=True))
        manifest, rows, outcomes = _unfinished(workspace, shards, settings, name, decisions)
        share_decisions(decisions, workspace, corpus)
        put_in_order(corpus)
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
        "left_out": _left_out(workspace, settings, decisions),
    }
    rows = ({**(entry.row or {}), "split": plan.split} for plan, _ in shards for entry in plan.read_clips(workspace))
    outcomes = (
        {"source": source, "name": entry.name, "outcome": entry.outcome, "stage": entry.stage, "reasons": entry.reasons}
        for source in sources
        for entry in judged_entries(source)
    )
    return manifest, rows, outcomes


def _left_out(workspace: Place, settings: PublishSettings, decisions: Decisions) -> dict[str, Any]:
    """Clips that stay out though their verdict would let them in, and pairs of clips with the same footage."""
    selection = select_clips(workspace, settings, decisions)
    return {
        "by_licence": dict(sorted(Counter(clip.licence for clip in selection.refused_licences).items())),
        "duplicates": sorted({pair.dropped for pair in selection.duplicates if pair.dropped}),
        "near_duplicates": [asdict(pair) for pair in selection.duplicates],
    }


def commit_manifest(
    corpus: Location,
    manifest: dict[str, Any],
    rows: Iterable[Mapping[str, Any]],
    outcomes: Iterable[Mapping[str, Any]],
    scratch: Path,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """Write words and outcomes of all clips, the documents and, last, `corpus.json`; then remove what is not in it.

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
    notes = [*notes]
    try:
        manifest["words"], note = put_table(corpus, "words", WORDS, statistics.tally(rows), scratch)
        notes.append(note)
        manifest["account"]["clips"], note = put_table(corpus, "account", OUTCOMES, outcomes, scratch)
        notes.append(note)
        manifest |= statistics.values()
        manifest = json.loads(json_bytes(manifest))  # as it will be read, and in that order
        documents = render_documents(manifest)
        manifest["documents"] = [
            {"path": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in documents.items()
        ]
        manifest["digest"] = digest_of(manifest)
        _replace(corpus, manifest, documents)
    finally:
        withdraw(corpus, *notes)
    _remove_stale(corpus)
    _settle_documents(corpus)
    return manifest


def _replace(corpus: Location, manifest: Mapping[str, Any], documents: Mapping[str, bytes]) -> None:
    """Write the documents and `corpus.json`; a note says of each document meanwhile that it is on its way."""
    note = announce(corpus, [document_mark(file["path"], file["sha256"]) for file in manifest["documents"]])
    try:
        for document, content in documents.items():
            corpus.write(document, content)
        corpus.write(MANIFEST, json_bytes(manifest))
    except BaseException:
        if corpus.exists(MANIFEST):
            _settle_documents(corpus)
        else:
            for document in documents:
                corpus.remove(document)
        withdraw(corpus, note)
        raise
    withdraw(corpus, note)


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
            if (is_ours(final_name) or final_name in (MANIFEST, NOTE, *DOCUMENT_MARKS)) and corpus.is_abandoned(name):
                corpus.remove(name)
        elif name not in current_files and is_ours(name) and name not in announced_paths(corpus):
            if corpus.read(MANIFEST) != content:
                return _remove_stale(corpus)  # another publishing was faster: what is stale is for its files to say
            corpus.remove(name)
    return None


def _settle_documents(corpus: Location) -> None:
    """Write the documents of whatever `corpus.json` is there, if another publishing put its own between the two."""
    while True:  # ends when no other publishing comes between
        manifest = json.loads(corpus.read(MANIFEST))
        stale = [
            file["path"] for file in manifest.get("documents", ()) if corpus.digest(file["path"]) != file["sha256"]
        ]
        if not stale:
            return
        documents = render_documents({name: manifest[name] for name in manifest if name not in ("documents", "digest")})
        for name in stale:
            corpus.write(name, documents[name])


def corpus_version(files: Sequence[Mapping[str, Any]]) -> str:
    """A corpus's version: the first 12 digits of the digest of its shards' contents, in the order of files."""
    return digest_of([file["content"] for file in files])[:12]


class _Origins:
    """Origins of the clips of one source under one licence: "AUTHOR: WORK", with an author in common."""

    def __init__(self) -> None:
        self.clips = 0
        self._common: str | None = None
        self._works: set[str] = set()

    def add(self, origin: str) -> None:
        """Count a clip."""
        self.clips += 1
        common = origin if self._common is None else self._common
        length = next((n for n, signs in enumerate(zip(common, origin, strict=False)) if len(set(signs)) > 1), None)
        self._common = common[: min(len(common), len(origin)) if length is None else length]
        if len(self._works) <= MAX_WORKS:
            self._works.add(origin)

    def values(self) -> dict[str, Any]:
        """The author, and the works unless they are too many to be named."""
        common = self._common or ""
        author = common.rpartition(": ")[0]
        if len(self._works) == 1 and not author:
            return {"origin": common, "works": []}
        works = sorted(origin.removeprefix(f"{author}: ") for origin in self._works)
        return {"origin": author or "various", "works": works if len(works) <= MAX_WORKS else []}


class CorpusStatistics:
    """Counts, licences, and least, median and largest value of each quality number, of rows that pass by."""

    def __init__(self) -> None:
        self._origins: dict[tuple[str, str], _Origins] = {}
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
        origins = [
            {"source": source, "licence": licence, "clips": found.clips, **found.values()}
            for (source, licence), found in sorted(self._origins.items())
        ]
        distinct = {read_licence(name) for names in self._licences.values() for name in names}
        terms = {"origins": origins, "licence_warnings": warnings_of(distinct)}
        return {"counts": counts | by_words, "quality": quality, "licences": licences, **terms}

    def _count(self, row: Mapping[str, Any]) -> None:
        licence, origin = (row["provenance"][name] or "unknown" for name in ("licence", "origin"))
        self._licences.setdefault(row["source"], set()).add(licence)
        self._origins.setdefault((row["source"], licence), _Origins()).add(origin)
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
