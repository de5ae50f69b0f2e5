"""Footage by the chunk: videos for stage 1, clips for the later stages, few enough that their layers stay in memory."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from ...datasets.footage.listing import Footage
from ...datasets.store.store import Store
from ..engine.batches import CHUNK_CLIPS, WORKING_BYTES, Chunk, Failure, divide, work_off, write_chunk
from ..engine.workers import Worker
from .source import RealSource
from .steps import Job, normalised, run_stage

CACHE_LAYERS = 17
"""Colour layers that a worker keeps decoded: gt, over, background, foreground and mattes of CHUNK_CLIPS clips."""
VIDEOS = 4
"""Videos of a chunk in stage 1."""


def clip_bytes(source: RealSource) -> int:
    """Size of one colour layer of the source's longest clips."""
    height, width = source.normalise.size
    return source.normalise.max_frames * height * width * 3


def layer_bytes(source: RealSource) -> int:
    """What one layer counts for where memory is planned: of small clips a chunk holds many, as large as a few large."""
    return max(clip_bytes(source), WORKING_BYTES)


def video_chunks(footage: Sequence[Footage], source: RealSource, workspace: Path, workers: int) -> list[Chunk]:
    """The chunks of stage 1."""
    runs = divide(footage, size=VIDEOS, workers=workers)
    return [write_chunk(run, f"videos-{number:04d}", source.name, workspace) for number, run in enumerate(runs)]


def clip_chunks(jobs: Sequence[Job], source: RealSource, workspace: Path, workers: int) -> list[Chunk]:
    """The chunks of the later stages."""
    size = max(1, CHUNK_CLIPS * WORKING_BYTES // clip_bytes(source))
    runs = divide(jobs, size=size, workers=workers)
    return [write_chunk(run, f"clips-{number:04d}", source.name, workspace) for number, run in enumerate(runs)]


def normalise_chunk(chunk: Chunk, source: RealSource, workspace: Path, worker: Worker) -> list[Failure]:
    """Stage 1 over the videos of a chunk."""
    videos = TypeAdapter(list[Footage]).validate_json(chunk.path.read_bytes())
    return work_off(
        ((footage.name, (_normalise, footage, source, workspace)) for footage in videos), "normalise", worker
    )


def stage_chunk(chunk: Chunk, stage: str, source: RealSource, workspace: Path, worker: Worker) -> list[Failure]:
    """One later stage over the clips of a chunk."""
    jobs = TypeAdapter(list[Job]).validate_json(chunk.path.read_bytes())
    return work_off(((job.clip_id, (_stage, job, stage, source, workspace)) for job in jobs), stage, worker)


def _normalise(footage: Footage, source: RealSource, workspace: Path) -> None:
    normalised(footage, source, _store(workspace, layer_bytes(source)))


def _stage(job: Job, stage: str, source: RealSource, workspace: Path) -> None:
    run_stage(job, stage, source, _store(workspace, layer_bytes(source)))


@cache
def _store(workspace: Path, layer_bytes: int) -> Store:
    """A worker's store, kept so that its decoded layers serve the next stage."""
    return Store(workspace, cache_bytes=CACHE_LAYERS * layer_bytes)
