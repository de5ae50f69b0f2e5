"""Chunks: the pieces of work that a task takes, each a file with its items, and how they are worked off.

An item that fails never stops its chunk: the failure is brought back with its reason. What is already in the store
costs a look-up, so working a chunk off twice is harmless.
"""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..datasets.durable import write_whole
from ..datasets.footage.layouts import Footage
from ..datasets.store import Store
from ..render.blender import NoBlender, RenderFailed
from ..render.passes import BrokenFrame
from .real_source import RealSource
from .steps import Job, normalised, run_stage
from .workers import Worker, WorkerDied

CHUNK_CLIPS = 3
"""Clips of a chunk at the working size, so that a chunk's layers fit a worker's cache from stage to stage."""
CACHE_LAYERS = 17
"""Colour layers that a worker keeps decoded: gt, over, background, foreground and mattes of CHUNK_CLIPS clips."""
WORKING_BYTES = 85 * 384 * 672 * 3
VIDEOS = 4
"""Videos of a chunk in stage 1."""
SPEAKING = (OSError, WorkerDied, BrokenFrame, RenderFailed, NoBlender)
"""Whose own words are a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A reference to items in a file."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that has no result."""

    item: str
    stage: str
    reason: str
    transient: bool
    """It may pass on a second try: a dead worker, a lack of memory, a file system that stumbled."""


def clip_bytes(source: RealSource) -> int:
    """Size of one colour layer of the source's longest clips."""
    height, width = source.normalise.size
    return source.normalise.max_frames * height * width * 3


def layer_bytes(source: RealSource) -> int:
    """What one layer counts for where memory is planned: of small clips a chunk holds many, as large as a few large."""
    return max(clip_bytes(source), WORKING_BYTES)


def divide(items: Sequence[Any], *, size: int, workers: int) -> list[Sequence[Any]]:
    """Runs of at most size items, and enough runs to give every worker one where there are items for it."""
    runs = max(-(-len(items) // size), min(workers, len(items)))
    cuts = [len(items) * run // runs for run in range(runs + 1)] if runs else [0]
    return [items[start:end] for start, end in pairwise(cuts)]


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


def is_transient(problem: BaseException) -> bool:
    """Can the same thing pass on a second try? Bad input, full disks, missing rights and faults of ours cannot."""
    if isinstance(problem, OSError):
        lasting = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
        return problem.errno not in lasting
    return isinstance(problem, (MemoryError, WorkerDied, BrokenFrame))


def work_off(items: Iterable[tuple[str, tuple[Any, ...]]], stage: str, worker: Worker) -> list[Failure]:
    """Have a worker make one call for each named item; what fails costs its item and no other."""
    failures = []
    for name, call in items:
        try:
            worker.call(*call)
        except Exception as problem:
            reason = str(problem) if isinstance(problem, SPEAKING) else f"{type(problem).__name__}: {problem}"
            failures.append(Failure(item=name, stage=stage, reason=reason, transient=is_transient(problem)))
    return failures


def write_chunk(items: Sequence[Any], name: str, source: str, workspace: Path) -> Chunk:
    """A chunk's file; its items are of one settings class, which reads them back."""
    path = workspace / "sources" / source / "chunks" / f"{name}.json"
    adapter: TypeAdapter[Any] = TypeAdapter(list[type(items[0])])  # type: ignore[misc, arg-type]
    write_whole(path, adapter.dump_json(list(items)))
    return Chunk(name=name, path=path)


def _normalise(footage: Footage, source: RealSource, workspace: Path) -> None:
    normalised(footage, source, _store(workspace, layer_bytes(source)))


def _stage(job: Job, stage: str, source: RealSource, workspace: Path) -> None:
    run_stage(job, stage, source, _store(workspace, layer_bytes(source)))


@cache
def _store(workspace: Path, layer_bytes: int) -> Store:
    """A worker's store, kept so that its decoded layers serve the next stage."""
    return Store(workspace, cache_bytes=CACHE_LAYERS * layer_bytes)
