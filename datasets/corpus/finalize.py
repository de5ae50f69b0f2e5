"""The last step of publishing: statistics, data card and, last, `corpus.json`: its presence says that all is there."""

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

from ..store.atomic_io import CorruptFile, digest_of, json_bytes
from ..store.ledger import RunSummary, finished_sources, iter_ledger, read_account
from ..store.location import Location, Place
from .publish import (
    CARD,
    CARD_MARK,
    MANIFEST,
    PublishSettings,
    content_of_clips,
    included_clips,
    is_ours,
    listed_files,
    packed,
    planned_contents,
    read_clips,
)
from .schema import QUALITY_NUMBERS, SCHEMA_VERSION, TRUTH
from .words import OUTCOMES, WORDS, put_table


def finalize(
    workspace: Place, corpus: Location, files: Sequence[Mapping[str, Any]], settings: PublishSettings, name: str
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
        "account": {"sources": {source: asdict(summary) for source, summary in summaries.items()}},
        "files": files,
    }
    clips_by_content = {
        content_of_clips(group, split, settings): group
        for split, _, group in packed(included_clips(workspace, settings), settings)
    }
    rows = (
        {**(entry.row or {}), "split": file["split"]}
        for file in files
        for entry in read_clips(workspace, clips_by_content[file["content"]])
    )
    outcomes = (
        {"source": source, "name": entry.name, "outcome": entry.outcome, "stage": entry.stage, "reasons": entry.reasons}
        for source in sources
        for _, entry in iter_ledger(workspace, source)
    )
    return commit_manifest(
        corpus, manifest, rows, list(summaries.values()), outcomes, Location.of(workspace).scratch_folder
    )


def commit_manifest(
    corpus: Location,
    manifest: dict[str, Any],
    rows: Iterable[Mapping[str, Any]],
    summaries: Sequence[RunSummary],
    outcomes: Iterable[Mapping[str, Any]],
    scratch: Path,
) -> dict[str, Any]:
    """Write words and outcomes of all clips, the data card and, last, `corpus.json`; then remove what is not in it.

    Files of an earlier corpus or of an interrupted publishing are deleted. `manifest` is completed.

    Args:
        corpus: where the shards are already.
        manifest: what is known of the corpus before its clips are counted.
        rows: plain columns of every clip, in the order of the shards; few are in memory at once.
        summaries: of the sources.
        outcomes: of every clip that was looked at, with its source.
        scratch: a local folder for files on their way to a remote place.
    """
    statistics = CorpusStatistics()
    manifest["words"] = put_table(corpus, "words", WORDS, statistics.tally(rows), scratch)
    manifest["account"]["clips"] = put_table(corpus, "account", OUTCOMES, outcomes, scratch)
    manifest |= statistics.values()
    manifest["digest"] = digest_of(manifest)
    corpus.write(CARD, _render_card(manifest, statistics, summaries).encode())
    corpus.write(MANIFEST, json_bytes(manifest))
    current_files = {file["path"] for file in listed_files(manifest)}
    for name in corpus.names():
        final_name, _, partial = name.partition(".partial-")
        stale = corpus.is_abandoned(name) if partial else name not in current_files
        if stale and (is_ours(final_name) or (partial and final_name in (CARD, MANIFEST))):
            corpus.remove(name)
    return manifest


def corpus_version(files: Sequence[Mapping[str, Any]]) -> str:
    """A corpus's version: the first 12 digits of the digest of its shards' contents, in the order of files."""
    return digest_of([file["content"] for file in files])[:12]


class CorpusStatistics:
    """Counts, and least, median and largest value of each quality number, of rows that pass by.

    Attributes:
        licences: origin of the last clip under each licence, by source and licence.
        with_truth: number of clips with `effect_truth`.
    """

    def __init__(self) -> None:
        self.licences: dict[str, dict[str, str]] = {}
        self.with_truth = 0
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
        }
        by_words = {f"by_{name}": dict(sorted(counter.items())) for name, counter in self._counters.items()}
        return {"counts": counts | by_words, "quality": quality}

    def _count(self, row: Mapping[str, Any]) -> None:
        provenance = row["provenance"]
        self.licences.setdefault(row["source"], {})[provenance["licence"] or "unknown"] = provenance["origin"]
        self.with_truth += bool(row.get(TRUTH))
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


def _render_card(manifest: Mapping[str, Any], statistics: CorpusStatistics, summaries: Sequence[RunSummary]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    return environment.get_template("card.md.j2").render(
        corpus=manifest,
        accounts=summaries,
        licences=statistics.licences,
        with_truth=statistics.with_truth,
        mark=CARD_MARK,
        dumps=json.dumps,
    )
