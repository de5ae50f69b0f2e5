"""Captions by the chunk: measured ones by all workers, those of a model in one, which keeps the model busy."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ...captioning.config import CAPTION_STEPS, CaptionStep, step_concurrency, uses_model
from ...captioning.interface.concurrency import map_unordered
from ...captioning.llm.chat import ModelUnavailable
from ...datasets.store.store import Store
from ..engine.batches import CHUNK_CLIPS, WORKING_BYTES, Chunk, Failure, divide, is_transient, work_off, write_chunk
from ..engine.lean import give_back
from ..engine.phases import Phase
from ..engine.workers import Worker, WorkerDied
from .job import CaptionJob
from .settings import Captioning
from .steps import TAGS, caption_stage, tag_stage, walk

CACHED_LAYERS = 7
"""Colour layers that a worker keeps decoded: of one clip gt, over and its masks."""
GIVEN_UP_AFTER = 3
"""Clips in a row for which a backend was not there; the rest of a chunk is then not asked for."""


def pending(
    jobs: Sequence[CaptionJob], settings: Captioning, workspace: Path, source: str, *, workers: int, clip_bytes: int
) -> list[Chunk]:
    """The chunks of clips that lack words; of a model that is asked all are one, so one process spends its budget."""
    store = Store(workspace)
    wanting = [job for job in jobs if walk(job, settings, store).missing is not None]
    if not wanting:
        return []
    if uses_model(settings.caption):
        return [write_chunk(wanting, "captions-0000", source, workspace)]
    size = max(1, CHUNK_CLIPS * WORKING_BYTES // max(1, clip_bytes))
    runs = divide(wanting, size=size, workers=workers)
    return [write_chunk(run, f"captions-{number:04d}", source, workspace) for number, run in enumerate(runs)]


def pending_tags(
    jobs: Sequence[CaptionJob], settings: Captioning, workspace: Path, source: str, *, workers: int, clip_bytes: int
) -> list[Chunk]:
    """The chunks of clips to be measured before a model is asked; else the first step takes that along."""
    store = Store(workspace)
    wanting = [job for job in jobs if uses_model(settings.caption) and walk(job, settings, store).missing == TAGS]
    runs = divide(wanting, size=max(1, CHUNK_CLIPS * WORKING_BYTES // max(1, clip_bytes)), workers=workers)
    return [write_chunk(run, f"{TAGS}-{number:04d}", source, workspace) for number, run in enumerate(runs)]


def is_captioned(jobs: Sequence[CaptionJob], settings: Captioning, workspace: Path) -> bool:
    """Does the store hold a result for every step of every clip?"""
    store = Store(workspace)
    return all(walk(job, settings, store).missing is None for job in jobs)


def caption_phase(find: Any) -> Phase:
    """The phase of captions; find gives the chunks that are still to do."""
    return Phase(name="captions", stages=CAPTION_STEPS, pending=find)


def tag_phase(find: Any) -> Phase:
    """The phase before it: footage is measured by all workers, so that who asks a model need not hold whole clips."""
    return Phase(name=TAGS, stages=(TAGS,), pending=find)


def caption_chunk(chunk: Chunk, step: str, settings: Captioning, workspace: Path, worker: Worker) -> list[Failure]:
    """One step, or the measuring before it, over the clips of a chunk."""
    jobs = TypeAdapter(list[CaptionJob]).validate_json(chunk.path.read_bytes())
    if step == TAGS:
        return work_off(((job.clip_id, (_tag, job, settings, workspace)) for job in jobs), step, worker)
    stage: CaptionStep = next(known for known in CAPTION_STEPS if known == step)
    if not uses_model(settings.caption):
        return work_off(((job.clip_id, (_one, job, stage, settings, workspace)) for job in jobs), stage, worker)
    try:
        missed = worker.call(_all, chunk.path, stage, settings, workspace)
    except WorkerDied as died:
        return [Failure(item=job.clip_id, stage=stage, reason=str(died), transient=True) for job in jobs]
    return [
        Failure(item=name, stage=stage, reason=reason, transient=transient)
        for name, (reason, transient) in missed.items()
    ]


def _one(job: CaptionJob, step: CaptionStep, settings: Captioning, workspace: Path) -> None:
    caption_stage(job, step, settings, _store(workspace))


def _tag(job: CaptionJob, settings: Captioning, workspace: Path) -> None:
    tag_stage(job, settings, _store(workspace))


def _all(path: Path, step: CaptionStep, settings: Captioning, workspace: Path) -> dict[str, tuple[str, bool]]:
    """One step over many clips at once; which have no words, and why, and whether that may pass."""
    jobs = TypeAdapter(list[CaptionJob]).validate_json(path.read_bytes())
    give_back()
    store, missed = Store(workspace), dict[str, tuple[str, bool]]()
    gone: list[str] = []

    def words_for(job: CaptionJob) -> tuple[str, bool] | None:
        if len(gone) >= GIVEN_UP_AFTER:
            return gone[-1], False
        try:
            caption_stage(job, step, settings, store)
            gone.clear()
        except ModelUnavailable as absent:
            gone.append(str(absent))
            return str(absent), False
        except Exception as problem:
            said = str(problem) if isinstance(problem, OSError) else f"{type(problem).__name__}: {problem}"
            return said, is_transient(problem)
        return None

    for job, trouble in map_unordered(jobs, words_for, max_concurrency=step_concurrency(settings.caption, step)):
        if trouble is not None:
            missed[job.clip_id] = trouble
    return {job.clip_id: missed[job.clip_id] for job in jobs if job.clip_id in missed}


@cache
def _store(workspace: Path) -> Store:
    return Store(workspace, cache_bytes=CACHED_LAYERS * WORKING_BYTES)
