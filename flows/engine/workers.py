"""Worker processes: as many as the machine has cores and memory for, each with one clip at a time.

A crash or a lack of memory costs one clip and no other: its worker is started anew, the clip tried once more, and given
up with a reason if it dies again. Workers import neither Prefect nor torch, and end when their parent does, however
that ended.
"""

import contextlib
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import psutil

from ... import heartbeat

R = TypeVar("R")
EngineName = Literal["local", "dask", "ray"]

LAYERS_HELD = 24
"""Colour layers of one clip that a worker holds at its peak, measured on `plate`: inputs, results, candidates."""
IDLE_S = 240.0
"""Seconds without any use of the processor after which a worker counts as stuck. One without memory for a new thread
waits for it for ever, and so does one whose disk does not answer."""
BASE_BYTES = 600 * 1024**2
"""A worker's interpreter and libraries."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Choice of what runs the work: worker processes of this machine, or an engine's, here or at an address."""

    name: str = "local"
    address: str = ""
    """Address of a running Dask scheduler or Ray head; without one, a cluster of this machine is made for the run."""

    def __post_init__(self) -> None:
        if self.name not in get_args(EngineName):
            raise ValueError(f"engine '{self.name}' is not one of {', '.join(get_args(EngineName))}")
        if self.address and self.name == "local":
            raise ValueError(f"engine address {self.address} is of no use to engine 'local'; say dask or ray")
        if self.address.startswith("ray://"):
            host = urlsplit(self.address).hostname
            raise ValueError(
                f"engine address {self.address} is that of Ray's client, which cannot watch the workers of a run; name "
                f"the head, {host}:6379, and start the run on a node (ray start --address {host}:6379 --num-cpus 0)"
            )


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Demand of a piece of work on the worker that takes it, beside a core."""

    memory_bytes: int = 0
    blender: bool = False
    gpu: bool = False

    @classmethod
    def largest(cls, demands: Sequence["Demand"]) -> "Demand":
        """Demand that holds each of several."""
        return cls(
            memory_bytes=max((demand.memory_bytes for demand in demands), default=0),
            blender=any(demand.blender for demand in demands),
            gpu=any(demand.gpu for demand in demands),
        )

    @property
    def devices(self) -> dict[str, bool]:
        """Whether it needs each of the resources that engines count."""
        return {"BLENDER": self.blender, "GPU": self.gpu}


def worker_bytes(clip_bytes: int, beside_bytes: int = 0) -> int:
    """Memory of a worker with one clip in hand and with what it starts beside itself."""
    return BASE_BYTES + LAYERS_HELD * clip_bytes + beside_bytes


def worker_count(clip_bytes: int, requested: int = 0, *, beside_bytes: int = 0) -> int:
    """Number of workers requested, or that this machine carries: cores it may use, and memory for the clips they hold.

    The size of a clip is that of one colour layer, T·H·W·3; a worker may start something that takes memory beside it.
    """
    if requested > 0:
        return requested
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    by_memory = psutil.virtual_memory().available // worker_bytes(clip_bytes, beside_bytes)
    return max(1, min(cores, int(by_memory)))


START_S = 120.0
"""Time in which a new process gives its first sign of life."""


class WorkerDied(RuntimeError):
    """The worker process ended in the middle of its work."""

    is_sentence = True
    is_transient = True


class WorkerStopped(WorkerDied):
    """The worker process was ended with its run: nothing is tried again."""

    is_transient = False


class WorkerStalled(WorkerDied):
    """The worker process showed no sign of life in the middle of its work, and was killed."""

    is_transient = False


class Worker:
    """One process that runs functions for us, one call at a time."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None
        self._is_killed = False
        self._closing = threading.Lock()
        self._life = get_context("spawn").RawArray("Q", 2)

    def call(
        self, function: Callable[..., R], *arguments: Any, stall_s: float = math.inf, idle_s: float = math.inf
    ) -> R:
        """Run a module-level function in the worker.

        Args:
            function: the function.
            *arguments: what it is called with.
            stall_s: longest time between two calls of `heartbeat.beat` in it.
            idle_s: longest time in which it uses no processor, with no process of its own to wait for.

        Raises:
            WorkerStalled: it did not beat for so many seconds, and its process was killed.
            WorkerStopped: `kill` ended it.
            WorkerDied: the process was killed, crashed, or was idle for too long; the next call starts a new one.
        """
        if self._is_killed:
            raise WorkerStopped("the run was stopped")
        is_stalled = False
        try:
            with _worker_environment:  # the first call starts the process, and with it one that watches over semaphores
                if self._pool is None:
                    lifeline, self._lifeline = Pipe(duplex=False)
                    self._life[heartbeat.PID] = 0
                    self._pool = ProcessPoolExecutor(
                        1, mp_context=get_context("spawn"), initializer=_set_up, initargs=(lifeline, self._life)
                    )
                self._life[heartbeat.BEATS] = 0
                future = self._pool.submit(function, *arguments)
            is_stalled = self._watch(future, stall_s, idle_s)
            return future.result()
        except BrokenProcessPool as died:
            self.close()
            if self._is_killed:
                raise WorkerStopped("the run was stopped") from died
            if is_stalled:
                raise WorkerStalled(
                    f"gave no frame for {stall_s:g} s, so its worker was killed: a decoder hangs, or a disk does not "
                    "answer; copy the file again, re-encode it, or exclude it"
                ) from died
            raise WorkerDied("the worker process died: out of memory, or a crash in a library") from died

    def _watch(self, future: "Future[R]", stall_s: float, idle_s: float) -> bool:
        """Wait for the end of a call; kill the process if it stops beating (True) or is idle (False) for so long."""
        beats, used_s = 0, 0.0
        since = idle_since = time.monotonic()
        shortest_s = min(stall_s, idle_s)
        while not wait([future], timeout=None if math.isinf(shortest_s) else min(1.0, shortest_s / 4)).done:
            now, pid = time.monotonic(), self._life[heartbeat.PID]
            if beats != (beats := self._life[heartbeat.BEATS]):
                since = now
            if used_s != (used_s := _processor_s(pid)) or (now - idle_since > idle_s and _has_children(pid)):
                idle_since = now
            # A new process takes some seconds until its first beat, many on a busy machine.
            is_stalled = now - since > (stall_s if beats else max(stall_s, START_S))
            if pid and (is_stalled or now - idle_since > idle_s):
                os.kill(pid, signal.SIGKILL)
                return is_stalled
        return False

    def close(self) -> None:
        """End the process, after the call that it is in."""
        with self._closing:  # the thread of a call that a kill ended closes it too
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def kill(self) -> None:
        """End the process now, with all that it started; it is not started anew."""
        self._is_killed = True
        if self._lifeline is not None:
            self._lifeline.close()


def _processor_s(pid: int) -> float:
    """Seconds of the processor that a process has used; NaN, which never stays the same, where there is none."""
    with contextlib.suppress(psutil.Error):
        return sum(psutil.Process(pid).cpu_times()[:2]) if pid else math.nan
    return math.nan


def _has_children(pid: int) -> bool:
    """Whether a process has started others, whose work it may wait for."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).children())
    return False


class WorkerPool:
    """A fixed number of workers, lent out one by one."""

    def __init__(self, count: int) -> None:
        self._all = [Worker() for _ in range(count)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, problem: object, *details: object) -> None:
        if problem is not None:
            self.kill()
        for worker in self._all:
            worker.close()

    def kill(self) -> None:
        """End all processes now: an interrupted or cancelled run does not wait for the clips in hand."""
        for worker in self._all:
            worker.kill()

    @contextlib.contextmanager
    def lend(self) -> Iterator[Worker]:
        """Lend a free worker for the length of a `with`; wait for one if all are out."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)


ENVIRONMENT = {"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of a worker: nothing is imported from the working folder, which `-c` would put before all else; and sums
are made in one order, else a result's last digits would be those of the machine's number of cores."""


class _WorkerEnvironment:
    """Block in which started processes have `ENVIRONMENT`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._before = {name: os.environ.get(name) for name in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)

    def __exit__(self, *problem: object) -> None:
        for name, value in self._before.items():  # a program that uses us may start scripts that count on its own
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self._lock.release()


_worker_environment = _WorkerEnvironment()


def _set_up(lifeline: Connection, life: Any) -> None:
    """Set a new worker up: one thread for each library, and an end when the parent lets go of its end of the pipe."""
    import cv2

    cv2.setNumThreads(1)
    life[heartbeat.PID] = os.getpid()
    heartbeat.share(life)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv_bytes()
        os._exit(1)  # the parent stopped the run or was killed: nobody is left to take the result

    threading.Thread(target=watch, daemon=True).start()
