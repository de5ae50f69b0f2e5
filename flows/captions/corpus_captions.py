"""Other words for a published corpus: its clips are captioned anew, its videos stay as they are."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus, open_corpus
from ...datasets.corpus.recaption import reword
from ...datasets.sources.source import Source, settings_from
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import RunSummary
from ...datasets.store.location import Location
from ...datasets.store.store import Store
from ..engine.batches import WORKING_BYTES, Chunk, Failure
from ..engine.ids import plain_name
from ..engine.local_runner import run_directly
from ..engine.phases import Phase
from ..engine.workers import Worker, how_many
from .chunks import caption_chunk, caption_phase, is_captioned, pending, pending_tags, tag_phase
from .job import SEEN, CaptionJob, LayerAt
from .record import captioned, words_of
from .settings import Captioning
from .steps import walk


@dataclass(kw_only=True)
class CorpusCaptions:
    """One run over a corpus's clips; the workspace's store has all that counts."""

    corpus: Corpus
    place: Location
    settings: Captioning
    workspace: Path
    workers: int
    jobs: list[CaptionJob]
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        """What is run, by the corpus's name."""
        return Source(name=f"captions-of-{plain_name(self.corpus.place.title)}")

    def phases(self) -> tuple[Phase, ...]:
        """What is measured, then captions alone."""
        return tag_phase(self.pending_tags), caption_phase(self.pending_captions)

    def pending_tags(self) -> list[Chunk]:
        """The chunks of clips to be measured before a model is asked."""
        return self._divided(pending_tags)

    def pending_captions(self) -> list[Chunk]:
        """The chunks of clips that lack words by these settings."""
        return self._divided(pending)

    def work(self, chunk: Chunk, stage: str, worker: Worker) -> list[Failure]:
        """One step over the clips of a chunk."""
        return caption_chunk(chunk, stage, self.settings, self.workspace, worker)

    def note(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each clip."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)

    def is_done(self) -> bool:
        """Does the store hold all words?"""
        return is_captioned(self.jobs, self.settings, self.workspace)

    def close(self) -> RunSummary:
        """Publish the corpus with the new words; return what became of its clips."""
        rows = {job.clip_id: self._row(job) for job in self.jobs}
        sources = self.corpus.manifest["settings"]["sources"]
        settings = {name: {**found, "captions": self.settings.values} for name, found in sources.items()}
        reword(self.corpus, self.place, lambda row: rows[row["clip_id"]], settings, self.workspace / "scratch")
        verdicts = [row["quality"]["verdict"] for row in rows.values()]
        return RunSummary(
            source=self.source.name,
            inputs=len(rows),
            accepted=verdicts.count("accept"),
            review=verdicts.count("review"),
            rejected=verdicts.count("reject"),
            failed=0,
        )

    def _row(self, job: CaptionJob) -> Mapping[str, Any]:
        """The clip with its new words; with the old ones, where there are no new ones to be had."""
        row, walked = self.corpus[job.clip_id].row, walk(job, self.settings, Store(self.workspace))
        if walked.missing is not None:
            return row
        return captioned(_without_words(row, self.settings), words_of(walked, self.settings))

    def _divided(self, find: Callable[..., list[Chunk]]) -> list[Chunk]:
        sizes = [row["num_frames"] * row["height"] * row["width"] * 3 for row in self._plain()]
        return find(
            self.jobs, self.settings, self.workspace, self.source.name, workers=self.workers, clip_bytes=max(sizes)
        )

    def _plain(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.corpus.table.select(["num_frames", "height", "width"]).to_pylist()
        return rows


def settings_of(overrides: Iterable[str]) -> Captioning:
    """Settings of captions by "caption.key=value" and "caption_rules.key=value".

    Raises:
        ValueError: naming the key, the value and the rule.
    """
    return settings_from(Captioning, overrides)


def caption_corpus(
    corpus: str, workspace: Path, settings: Captioning, *, out: str | None = None, workers: int = 0
) -> tuple[RunSummary, list[Failure]]:
    """Caption the clips of a corpus anew and publish it again, in place or elsewhere.

    Returns:
        What became of the clips, and which captions could not be made.

    Raises:
        FileNotFoundError: there is no corpus.
        ValueError: the corpus is damaged, or out holds something else.
    """
    found = open_corpus(corpus)
    Store(workspace).sweep()
    jobs = [job_of(found[clip_id], corpus) for clip_id in found.ids]
    count = how_many(WORKING_BYTES, workers)
    run = CorpusCaptions(
        corpus=found, place=Location(out or corpus), settings=settings, workspace=workspace, workers=count, jobs=jobs
    )
    return run_directly(run), sorted(run.failures.values(), key=lambda failure: failure.item)


def job_of(clip: Clip, corpus: str) -> CaptionJob:
    """A corpus's clip; words of which no record stands there are a person's and stay."""
    told = json.loads(clip.row["provenance"]["captions"] or "null")
    encoded = {name: video for name in SEEN if (video := clip.encoded(name)) is not None}
    facts = json.loads(clip.row["provenance"]["facts"] or "{}")
    known = told is None or told["effects"]["source"] == "given"
    return CaptionJob(
        clip_id=clip.row["clip_id"],
        fps=clip.row["fps"],
        layers={
            name: LayerAt(stage="", key=clip.row["clip_id"], name=name, sha256=hashlib.sha256(video).hexdigest())
            for name, video in encoded.items()
        },
        corpus=corpus,
        effects=tuple(clip.row["effects"] or ()) if known else (),
        facts=facts,
        subject=facts.get("subject"),
        hint=None if facts else clip.row["provenance"]["origin"].rpartition(": ")[2],
        given=clip.row["caption"] if told is None else told["given"],
    )


def _without_words(row: Mapping[str, Any], settings: Captioning) -> dict[str, Any]:
    """The row as its pair was judged, before it was captioned."""
    provenance = dict(row["provenance"])
    told = json.loads(provenance["captions"] or "{}")
    of_words = list(told.get("models", {}).values())
    provenance["models"] = [model for model in provenance["models"] or [] if model not in of_words]
    made = json.loads(provenance["settings"] or "{}")
    provenance["settings"] = json_bytes({**made, "captions": settings.values}).decode()
    return {**row, "quality": {**row["quality"], **told.get("pair", {})}, "provenance": provenance}
