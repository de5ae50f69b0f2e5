"""Batches: the units of work. A batch is a file of items; `run_batch` takes its items through one stage, anywhere.

An item that fails never stops its batch: the failure comes back with its reason. What is already in the store costs a
look-up, so running a batch twice is harmless.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import islice, pairwise
from typing import Any

import cv2
from pydantic import TypeAdapter

from ...datasets.store.atomic_io import CannotWrite, CorruptFile, json_bytes
from ...datasets.store.location import Location
from ...datasets.store.remote_calls import StorageError
from ...datasets.store.store import DamagedLayer, Store
from ...heartbeat import beat, end_if_silent
from .item import Item, ItemKind, ItemProgress, Stage
from .run_lease import TryNotes, work_under_lease
from .workers import IDLE_S, Worker, WorkerDied

WORKING_BYTES = 85 * 384 * 672 * 3
"""One colour layer of a clip at the working size."""
BATCH_CLIPS = 3
"""Clips of a batch at the working size, so that a batch's layers fit a worker's cache from stage to stage."""
CACHE_LAYERS = 17
"""Colour layers that a worker keeps decoded: gt, over, background, foreground and mattes of BATCH_CLIPS clips."""
ATTEMPTS = 2
"""Tries of a batch's stage in which something failed that may pass."""
GIVE_UP_AFTER = 3
"""Items in a row for which a backend was unavailable; the rest of a batch is then not tried."""
LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
"""Errors of the operating system that a second try does not pass."""
SECONDS = "seconds-"
"""First part of the names of files in which workers note how long results took."""
_ARENA_MAX = -8  # mallopt's number for it, in glibc's malloc.h
_worker_store = cache(Store)
"""Store of a worker process, kept so that its decoded layers serve the next stage."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Items that are worked on together, by reference to the file that holds them."""

    name: str
    folder: Location
    """Folder of a run's batches."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that has no result of a stage, and why."""

    item: str
    stage: str
    reason: str
    transient: bool
    """Whether it may pass on a second try: a dead worker, a lack of memory, a file system that stumbled."""
    damaged: bool = False
    """Whether a stored layer that it needs is damaged or gone, so that an earlier result is to be made anew."""
    disk_full: bool = False
    """Whether there was no space for it: a run then stops, and its sentence is this one's reason."""


def split_evenly(items: Iterable[Any], *, size: int, workers: int) -> Iterator[Sequence[Any]]:
    """Split items into runs of at most `size`, and into enough runs to give every worker one.

    Of many items the runs that every worker gets first are in memory, and then one run at a time.
    """
    items = iter(items)
    while first := list(islice(items, size * workers)):
        runs = max(-(-len(first) // size), min(workers, len(first)))
        cuts = [len(first) * run // runs for run in range(runs + 1)]
        yield from (first[start:end] for start, end in pairwise(cuts))


def write_batch(items: Sequence[Item], name: str, folder: Location) -> Batch:
    """Write a batch's file; its items are of one class."""
    adapter: TypeAdapter[Any] = TypeAdapter(list[type(items[0])])  # type: ignore[misc, arg-type]
    content = json_bytes({"class": type(items[0]).__name__, "items": adapter.dump_python(list(items), mode="json")})
    folder.write(f"{name}.json", content)
    return Batch(name=name, folder=folder, sha256=hashlib.sha256(content).hexdigest())


@lru_cache(maxsize=8)
def read_batch(batch: Batch, kind: ItemKind) -> tuple[Item, ...]:
    """Items of a batch.

    Raises:
        CorruptFile: its file is not what the run wrote.
    """
    file = batch.folder.read(f"{batch.name}.json")
    if hashlib.sha256(file).hexdigest() != batch.sha256:
        raise CorruptFile(f"{batch.folder.path(batch.name)}.json is damaged; run again")
    content = json.loads(file)
    item_class = next(known_class for known_class in kind.item_classes if known_class.__name__ == content["class"])
    adapter: TypeAdapter[Any] = TypeAdapter(list[item_class])  # type: ignore[valid-type]
    return tuple(adapter.validate_python(content["items"]))


def run_batch(
    kind: ItemKind, source: Any, workspace: Location, stage_name: str, batch: Batch, ids: tuple[str, ...] = ()
) -> list[Failure]:
    """Take items of a batch through one stage; return those that failed.

    Everything is passed by reference or is small, so a thread, a worker process and a worker on another machine all
    call this same function, and any of them may die in the middle of it. Without ids all items of the batch are taken.

    Raises:
        StorageError: the workspace's storage does not answer, or refuses: no item can go on.
    """
    stages, items = _open_batch(kind, source, batch)
    stage = stages[stage_name]
    # What a stage that splits its items makes is read in another phase, mostly by another worker.
    is_reread = stage.uses == ("cpu",) and stage.splits is None
    clip_bytes = max(source.clip_bytes, WORKING_BYTES) if is_reread else 0
    store = _worker_store(workspace, cache_bytes=CACHE_LAYERS * clip_bytes)
    ready = []
    for item_id in ids or tuple(items):
        items[item_id].refresh(store, until=stage_name)
        if items[item_id].next_stage is stage:
            ready.append(items[item_id])
    seconds: dict[str, float] = {}
    attempt = partial(_attempt, stage, store, list[Exception](), seconds)
    if stage.takes_all_items:
        _limit_heaps()
        with ThreadPoolExecutor(stage.concurrency, thread_name_prefix=stage_name) as threads:
            failures = [failure for failure in threads.map(attempt, ready) if failure is not None]
    else:
        attempts = (
            attempt(progress, prepared)
            for start in range(0, len(ready), stage.batch)
            for progress, prepared in _prepare(stage, store, ready[start : start + stage.batch], seconds)
        )
        failures = [failure for failure in attempts if failure is not None]
    _write_seconds(batch.folder, seconds)
    return failures


def _write_seconds(folder: Location, seconds: dict[str, float]) -> None:
    """Write how long results took, by their keys, beside the batches: nothing depends on it but estimates."""
    line = json.dumps(seconds).encode() + b"\n"
    with contextlib.suppress(OSError):
        if seconds and folder.local is None:
            folder.write(f"{SECONDS}{uuid.uuid4().hex}", line)
        elif seconds:
            with (folder.local / f"{SECONDS}{os.getpid()}").open("ab") as file:  # type: ignore[operator]
                file.write(line)


def read_seconds(folder: Location) -> dict[str, float]:
    """Seconds that results took, by their keys, as workers wrote them beside the batches."""
    seconds: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for name in filter(lambda name: name.startswith(SECONDS), folder.top()):
            for line in folder.read(name).splitlines():
                with contextlib.suppress(ValueError):  # cut off by the worker's end
                    seconds |= json.loads(line)
    return seconds


def _attempt(
    stage: Stage,
    store: Store,
    unavailable: list[Exception],
    seconds: dict[str, float],
    progress: ItemProgress,
    prepared: Any = None,
) -> Failure | None:
    """Make one item's result; after some items in a row without a backend the rest is not tried."""
    problem = prepared if isinstance(prepared, Exception) else None
    if problem is None and len(unavailable) >= GIVE_UP_AFTER:
        problem = unavailable[-1]
    if problem is None:
        begun = time.perf_counter()
        try:
            beat()
            key = make_result(progress, stage, store, prepared)
            seconds[key] = seconds.pop(progress.item.id, 0.0) + round(time.perf_counter() - begun, 3)
            unavailable.clear()
        except StorageError:
            raise
        except Exception as error:
            problem = error
            if getattr(error, "is_unavailable", False):
                unavailable.append(error)
    return None if problem is None else failure_of(progress.item.id, stage.name, problem)


def _prepare(
    stage: Stage, store: Store, group: Sequence[ItemProgress], seconds: dict[str, float]
) -> list[tuple[ItemProgress, Any]]:
    """Prepare the items of one call together; each item with its share, or with the error that all of them met.

    Each item's share of the time is put under its id.
    """
    if stage.prepare is None:
        return [(progress, None) for progress in group]
    begun = time.perf_counter()
    try:
        shares = stage.prepare([progress.stage_input(stage, store) for progress in group])
    except StorageError:
        raise
    except Exception as error:
        return [(progress, error) for progress in group]
    each = round((time.perf_counter() - begun) / len(group), 3)
    seconds |= {progress.item.id: each for progress in group}
    return list(zip(group, shares, strict=True))


def make_result(progress: ItemProgress, stage: Stage, store: Store, prepared: Any = None) -> str:
    """Make the result of an item's next stage, unless the store has it, and take it in; return its key."""
    key = progress.stage_key(stage, store)
    stage_input = progress.stage_input(stage, store, prepared, key.key)
    progress.add(stage, store.once(key, lambda writer: stage.make(stage_input, writer), fps=progress.item.fps))
    if stage.cleanup is not None:
        stage.cleanup(stage_input)
    return key.key


def run_phase(
    stages: Sequence[Stage], run_stage: Callable[[Stage], list[Failure]], advance: Callable[[], None] = lambda: None
) -> list[Failure]:
    """Take a batch through the stages of a phase; try a stage again where that may help."""
    failures: list[Failure] = []
    for stage in stages:
        for _ in range(ATTEMPTS):
            stage_failures = run_stage(stage)
            if not any(failure.transient for failure in stage_failures):
                break
        failures += stage_failures
        advance()
    return failures


def run_in_worker(
    kind: ItemKind, source: Any, workspace: Location, stage: Stage, batch: Batch, worker: Worker
) -> list[Failure]:
    """Run a batch in a worker process of ours."""
    limits = {"stall_s": stage.stall_s, "idle_s": math.inf if stage.takes_all_items else IDLE_S}
    call = partial(worker.call, run_batch, kind, source, workspace, stage.name, batch, **limits)
    return _run_calls(stage, read_batch(batch, kind), call)


def run_phase_here(
    kind: ItemKind, source: Any, workspace: Location, stage_names: Sequence[str], batch: Batch, lease: Location
) -> list[Failure]:
    """Take a batch through stages in this process, which is a worker that an engine started.

    The engine calls it again where the process died; what is done is in the store.

    Raises:
        RunEnded: the run has ended, or was killed.
    """
    cv2.setNumThreads(1)
    items = read_batch(batch, kind)
    stages = [stage for stage in kind.stages(source) if stage.name in stage_names]
    notes = TryNotes(lease, f"{stages[0].name}-{batch.name}-{batch.sha256[:8]}")

    def run_stage(stage: Stage) -> list[Failure]:
        def call(ids: tuple[str, ...]) -> list[Failure]:
            run = partial(run_batch, kind, source, workspace, stage.name, batch, ids)
            with end_if_silent(stage.stall_s):
                return notes.call(f"{stage.name} {ids[0]}", run)

        return _run_calls(stage, items, call)

    try:
        return work_under_lease(lease, partial(run_phase, stages, run_stage))
    finally:
        _worker_store.cache_clear()  # the worker lives on, and its memory is others' too


def _run_calls(stage: Stage, items: Sequence[Item], call: Callable[[tuple[str, ...]], list[Failure]]) -> list[Failure]:
    """Run a stage by one call for each group of items; a death of the worker costs the items of one call alone."""
    ids = tuple(item.id for item in items)
    size = len(ids) if stage.takes_all_items else stage.batch
    failures: list[Failure] = []
    for group in (ids[start : start + size] for start in range(0, len(ids), size)):
        try:
            failures += call(group)
        except WorkerDied as died:
            failures += [failure_of(item_id, stage.name, died) for item_id in group]
    return failures


def failure_of(item_id: str, stage: str, problem: Exception) -> Failure:
    """Keep of an exception its sentence, where it is one for users; else its class and message."""
    is_sentence = isinstance(problem, OSError) or getattr(problem, "is_sentence", False)
    reason = str(problem) if is_sentence else f"{type(problem).__name__}: {problem}"
    damaged = isinstance(problem, DamagedLayer)
    return Failure(
        item=item_id,
        stage=stage,
        reason=reason,
        transient=not damaged and is_transient(problem),
        damaged=damaged,
        disk_full=isinstance(problem, CannotWrite) and problem.errno in (errno.ENOSPC, errno.EDQUOT),
    )


def is_transient(problem: BaseException) -> bool:
    """Whether the same call can pass on a second try; bad input, full disks, missing rights and bugs cannot."""
    if isinstance(problem, OSError):
        return problem.errno not in LASTING
    return isinstance(problem, MemoryError) or bool(getattr(problem, "is_transient", False))


@lru_cache(maxsize=2)
def _open_batch(kind: ItemKind, source: Any, batch: Batch) -> tuple[dict[str, Stage], dict[str, ItemProgress]]:
    """Stages of a source and progress of a batch's items, kept in a worker from stage to stage."""
    stages = kind.stages(source)
    items = read_batch(batch, kind)
    starts = [0, *(number for number, stage in enumerate(stages, start=1) if stage.splits)]
    first = starts[kind.item_classes.index(type(items[0]))]
    progress = {item.id: ItemProgress(item, stages[first:], source) for item in items}
    return {stage.name: stage for stage in stages}, progress


@cache
def _limit_heaps() -> None:
    """Limit glibc to two heaps in this process: it has one for each thread, and kept 130 MB with sixteen threads."""
    if sys.platform.startswith("linux") and (tune := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        tune(_ARENA_MAX, 2)
