"""Chunks: the pieces of work that a task takes, each a file with its items, and how they are worked off.

An item that fails never stops its chunk: the failure is brought back with its reason. What is already in the store
costs a look-up, so working a chunk off twice is harmless.
"""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ...datasets.store.atomic_io import atomic_write
from ...render.blender.exr_frames import CorruptFrame
from ...render.blender.process import BlenderNotFound, RenderFailed
from .workers import Worker, WorkerDied

CHUNK_CLIPS = 3
"""Clips of a chunk at the working size, so that a chunk's layers fit a worker's cache from stage to stage."""
WORKING_BYTES = 85 * 384 * 672 * 3
"""One colour layer of a clip at the working size."""
Speaking = tuple[type[Exception], ...]
SPEAKING: Speaking = (OSError, WorkerDied, CorruptFrame, RenderFailed, BlenderNotFound)
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


def divide(items: Sequence[Any], *, size: int, workers: int) -> list[Sequence[Any]]:
    """Runs of at most size items, and enough runs to give every worker one where there are items for it."""
    runs = max(-(-len(items) // size), min(workers, len(items)))
    cuts = [len(items) * run // runs for run in range(runs + 1)] if runs else [0]
    return [items[start:end] for start, end in pairwise(cuts)]


def is_transient(problem: BaseException) -> bool:
    """Can the same thing pass on a second try? Bad input, full disks, missing rights and faults of ours cannot."""
    if isinstance(problem, OSError):
        lasting = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
        return problem.errno not in lasting
    return isinstance(problem, (MemoryError, WorkerDied, CorruptFrame))


def failure_of(item: str, stage: str, problem: Exception, speaking: Speaking = SPEAKING) -> Failure:
    """What is kept of an exception: its own words if it is one of speaking, else with its class before them."""
    reason = str(problem) if isinstance(problem, speaking) else f"{type(problem).__name__}: {problem}"
    return Failure(item=item, stage=stage, reason=reason, transient=is_transient(problem))


def work_off(items: Iterable[tuple[str, tuple[Any, ...]]], stage: str, worker: Worker) -> list[Failure]:
    """Have a worker make one call for each named item; what fails costs its item and no other."""
    failures = []
    for name, call in items:
        try:
            worker.call(*call)
        except Exception as problem:
            failures.append(failure_of(name, stage, problem))
    return failures


def write_chunk(items: Sequence[Any], name: str, source: str, workspace: Path) -> Chunk:
    """A chunk's file; its items are of one settings class, which reads them back."""
    path = workspace / "sources" / source / "chunks" / f"{name}.json"
    adapter: TypeAdapter[Any] = TypeAdapter(list[type(items[0])])  # type: ignore[misc, arg-type]
    atomic_write(path, adapter.dump_json(list(items)))
    return Chunk(name=name, path=path)
