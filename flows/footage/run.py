"""One source from its footage to its account, in steps that a scheduler (Prefect, or a plain loop) puts in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...captioning.config import CAPTION_STEPS
from ...datasets.footage.listing import Footage, UnusableFootage, list_footage
from ...datasets.store.ledger import RunSummary
from ...datasets.store.store import StageResult, Store
from ...stages.pair import STAGES
from ..captions.chunks import caption_chunk, caption_phase, is_captioned, pending_tags, tag_phase
from ..captions.chunks import pending as captions_to_do
from ..captions.job import CaptionJob
from ..captions.steps import TAGS
from ..engine.batches import Chunk, Failure
from ..engine.phases import Phase
from ..engine.workers import Worker, how_many
from .account import close_account
from .captions import of_chain
from .chunks import clip_bytes, clip_chunks, layer_bytes, normalise_chunk, stage_chunk, video_chunks
from .source import RealSource
from .steps import Job, chain, jobs_of, normalise_work


@dataclass(kw_only=True)
class SourceRun:
    """What one run over a source knows; nothing here is needed to go on after a kill, the store has it all."""

    source: RealSource
    workspace: Path
    workers: int
    footage: list[Footage | UnusableFootage]
    results: dict[str, StageResult | None] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def phases(self) -> tuple[Phase, ...]:
        """Videos to clips, clips through the pair chain, then their effects and captions."""
        return (
            Phase(name="normalise", stages=("normalise",), pending=self.pending_videos),
            Phase(name="pairs", stages=tuple(STAGES), pending=self.pending_clips),
            tag_phase(self.pending_tags),
            caption_phase(self.pending_captions),
        )

    def work(self, chunk: Chunk, stage: str, worker: Worker) -> list[Failure]:
        """One stage over the items of a chunk."""
        if stage == "normalise":
            return normalise_chunk(chunk, self.source, self.workspace, worker)
        if stage in (TAGS, *CAPTION_STEPS):
            return caption_chunk(chunk, stage, self.source.captioning, self.workspace, worker)
        return stage_chunk(chunk, stage, self.source, self.workspace, worker)

    def pending_videos(self) -> list[Chunk]:
        """The chunks of stage 1 that are still to do."""
        return video_chunks(self._videos_to_do(), self.source, self.workspace, self.workers)

    def pending_clips(self) -> list[Chunk]:
        """The chunks of the later stages that are still to do."""
        return clip_chunks(self._clips_to_do(), self.source, self.workspace, self.workers)

    def pending_captions(self) -> list[Chunk]:
        """The chunks of finished clips that lack words."""
        jobs, settings, size = self._captions(), self.source.captioning, clip_bytes(self.source)
        return captions_to_do(jobs, settings, self.workspace, self.source.name, workers=self.workers, clip_bytes=size)

    def pending_tags(self) -> list[Chunk]:
        """The chunks of finished clips to be measured before a model is asked for words."""
        jobs, settings, size = self._captions(), self.source.captioning, clip_bytes(self.source)
        return pending_tags(jobs, settings, self.workspace, self.source.name, workers=self.workers, clip_bytes=size)

    def is_done(self) -> bool:
        """Does the store hold a result for every stage of every clip?"""
        if self._videos_to_do() or self._clips_to_do():
            return False
        return is_captioned(self._captions(), self.source.captioning, self.workspace)

    @property
    def videos(self) -> list[Footage]:
        """The footage that can be read at all."""
        return [footage for footage in self.footage if isinstance(footage, Footage)]

    def jobs(self) -> list[Job]:
        """Every clip that stage 1 gave."""
        found = ((footage, self.results.get(footage.name)) for footage in self.videos)
        return [
            job
            for footage, result in found
            if result is not None and result.refused is None
            for job in jobs_of(footage, self.source, result)
        ]

    def look(self) -> None:
        """See what the store has of stage 1."""
        store = Store(self.workspace)
        for footage in self.videos:
            if self.results.get(footage.name) is None:
                self.results[footage.name] = self._find(footage, store)

    def note(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)

    def close(self) -> RunSummary:
        """Judge every clip, write the ledger and the account."""
        self.look()
        failures = {name: (failure.stage, failure.reason) for name, failure in self.failures.items()}
        videos = [(footage, self.results.get(footage.name)) for footage in self.footage]
        return close_account(self.source, Store(self.workspace), videos, failures)

    def _videos_to_do(self) -> list[Footage]:
        self.look()
        return [footage for footage in self.videos if self.results[footage.name] is None]

    def _clips_to_do(self) -> list[Job]:
        self.look()
        store = Store(self.workspace)
        return [job for job in self.jobs() if chain(job, self.source, store).missing is not None]

    def _captions(self) -> list[CaptionJob]:
        self.look()
        store = Store(self.workspace)
        done = (chain(job, self.source, store) for job in self.jobs())
        return [of_chain(clip, self.source) for clip in done if not clip.broken]

    def _find(self, footage: Footage, store: Store) -> StageResult | None:
        try:
            return store.find(normalise_work(footage, self.source))
        except OSError as problem:
            reason = f"{problem.filename or footage.video}: cannot be read ({problem.strerror}); check its permissions"
            self.note([Failure(item=footage.name, stage="normalise", reason=reason, transient=False)])
            return None


def begin(source: RealSource, workspace: Path, workers: int = 0) -> SourceRun:
    """List the footage and sweep what an earlier, killed run left half-made.

    Raises:
        ValueError: the source as a whole cannot be read, e.g. its root is missing.
    """
    footage = list_footage(source)
    Store(workspace).sweep()
    return SourceRun(
        source=source, workspace=workspace, workers=how_many(layer_bytes(source), workers), footage=footage
    )
