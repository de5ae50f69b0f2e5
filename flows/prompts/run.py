"""One source of unpaired clips from its captions to its account, in steps that a scheduler puts in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from ...datasets.store.ledger import RunSummary
from ...datasets.store.store import StageResult, Store
from ...render.blender.process import BlenderNotFound
from ...stages.text_to_video.text_to_video import ModelMissing
from ..captions.chunks import caption_chunk
from ..captions.chunks import pending as captions_to_do
from ..captions.steps import walk
from ..engine.batches import WORKING_BYTES, Chunk, Failure, divide, failure_of, write_chunk
from ..engine.phases import Phase
from ..engine.workers import Worker, how_many
from ..scenes.run import BLENDER_BYTES
from ..scenes.steps import sweep_frames
from .account import Wish, close_account
from .prompts import Prompt, PromptRefusal, list_prompts
from .source import BlenderTextToVideo, UnpairedSource
from .steps import STAGE, ClipJob, clip_work, made, maker_of

CHUNK_CLIPS = 4
SPEAKING = (BlenderNotFound, ModelMissing, OSError)
"""Whose own words are a sentence for the user."""


@dataclass(kw_only=True)
class UnpairedRun:
    """What one run over a source of captions knows; the store has all that counts."""

    source: UnpairedSource
    workspace: Path
    workers: int
    prompts: list[Prompt | PromptRefusal]
    maker: dict[str, str] | None
    """What makes the clips; None where it is not there."""
    absent: str | None = None
    """Why it is not there."""
    results: dict[str, StageResult] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def phases(self) -> tuple[Phase, ...]:
        """Captions to augmented ones, where they are wanted, then all to clips."""
        return (
            Phase(name="augment", stages=("augment",), pending=self.pending_captions),
            Phase(name=STAGE, stages=(STAGE,), pending=self.pending_clips),
        )

    def pending_captions(self) -> list[Chunk]:
        """The chunks of captions that are still to be augmented."""
        jobs = [one.job(self.source) for one in self._to_augment()]
        return captions_to_do(
            jobs, self.source.captioning, self.workspace, self.source.name, workers=self.workers, clip_bytes=10_000
        )

    def pending_clips(self) -> list[Chunk]:
        """The chunks of clips that are still to make; a chunk is a few batches."""
        runs = divide(self._to_make(), size=CHUNK_CLIPS * self.source.video.batch, workers=self.workers)
        return [
            write_chunk(run, f"unpaired-{number:04d}", self.source.name, self.workspace)
            for number, run in enumerate(runs)
        ]

    def work(self, chunk: Chunk, stage: str, worker: Worker) -> list[Failure]:
        """Augment the captions of a chunk, or make its clips, batch by batch."""
        if stage == "augment":
            return caption_chunk(chunk, stage, self.source.captioning, self.workspace, worker)
        jobs = TypeAdapter(list[ClipJob]).validate_json(chunk.path.read_bytes())
        size = self.source.video.batch
        failures: list[Failure] = []
        for start in range(0, len(jobs), size):
            failures += self._batch(jobs[start : start + size], worker)
        return failures

    def is_done(self) -> bool:
        """Is every caption augmented and every clip made, or can none be made?"""
        return self.maker is None or (not self.pending_captions() and not self._to_make())

    def note(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)

    def close(self) -> RunSummary:
        """Judge every clip, write the ledger and the account."""
        self._to_make()
        failures = {name: (failure.stage, failure.reason) for name, failure in self.failures.items()}
        wishes = self._wishes()
        if self.absent is not None:
            lost = [job for wish in wishes if isinstance(wish, Wish) for job in wish.jobs]
            failures |= {job.clip_id(self.source): (STAGE, self.absent) for job in lost}
        return close_account(self.source, Store(self.workspace), wishes, self.results, failures)

    def _batch(self, jobs: list[ClipJob], worker: Worker) -> list[Failure]:
        try:
            worker.call(_make, jobs, self.source, self.workspace, self.maker)
        except Exception as problem:
            return [failure_of(job.clip_id(self.source), STAGE, problem, SPEAKING) for job in jobs]
        return []

    def _to_augment(self) -> list[Prompt]:
        """The captions whose other styles are wanted and not yet there."""
        if self.source.use == "captions" or self.maker is None:
            return []
        return [one for one in self.prompts if isinstance(one, Prompt) and not one.augmented]

    def _wishes(self) -> list[Wish | PromptRefusal]:
        """Every prompt with its clips, as far as its words are there."""
        return [
            one if isinstance(one, PromptRefusal) else self._wish(one, Store(self.workspace)) for one in self.prompts
        ]

    def _wish(self, prompt: Prompt, store: Store) -> Wish:
        if self.source.use == "captions":
            return Wish(prompt=prompt, jobs=_jobs(prompt, (prompt.caption,)))
        most = self.source.caption_rules.variants
        if prompt.augmented:
            return Wish(prompt=prompt, jobs=_jobs(prompt, prompt.augmented[:most]))
        if self.maker is None:
            # Nothing can be made of it: the caption itself stands in the account, with the reason.
            return Wish(prompt=prompt, jobs=_jobs(prompt, (prompt.caption,)))
        walked = walk(prompt.job(self.source), self.source.captioning, store)
        texts = tuple(reply["text"] for reply in walked.facts("augment").get("replies") or ())
        return Wish(prompt=prompt, jobs=_jobs(prompt, texts), walked=walked)

    def _to_make(self) -> list[ClipJob]:
        """Clips without a result; of those found meanwhile the result is kept."""
        if self.maker is None:
            return []
        store, missing = Store(self.workspace), []
        for job in (job for wish in self._wishes() if isinstance(wish, Wish) for job in wish.jobs):
            name = job.clip_id(self.source)
            if name in self.results:
                continue
            found = store.find(clip_work(job, self.source, self.maker))
            if found is None:
                missing.append(job)
            else:
                self.results[name] = found
        return missing


def begin(source: UnpairedSource, workspace: Path, workers: int = 0) -> UnpairedRun:
    """Read the captions and sweep what an earlier, killed run left half-made.

    Raises:
        ValueError: the captions cannot be read, or there are none.
    """
    prompts = list_prompts(source)
    store = Store(workspace)
    store.sweep()
    sweep_frames(store)
    if isinstance(source.video, BlenderTextToVideo):
        size = max(source.format.frames * source.size[0] * source.size[1] * 3, WORKING_BYTES)
        count = how_many(size, workers, beside_bytes=BLENDER_BYTES)
    else:
        count = workers or 1  # each loads the model for itself: one a GPU
    run = UnpairedRun(source=source, workspace=workspace, workers=count, prompts=prompts, maker=None)
    try:
        run.maker = maker_of(source)
    except (BlenderNotFound, ModelMissing, ImportError) as missing:
        run.absent = str(missing)
    return run


def _jobs(prompt: Prompt, texts: Iterable[str]) -> tuple[ClipJob, ...]:
    return tuple(
        ClipJob(
            prompt=prompt.name, number=number, caption=text, original=prompt.caption, effects=prompt.effects,
            group=prompt.group,
        )
        for number, text in enumerate(texts)
    )  # fmt: skip


def _make(jobs: list[ClipJob], source: UnpairedSource, workspace: Path, maker: dict[str, str]) -> None:
    made(jobs, source, _store(workspace), maker)


@cache
def _store(workspace: Path) -> Store:
    return Store(workspace)
