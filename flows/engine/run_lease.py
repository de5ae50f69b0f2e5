"""A run whose workers an engine started, seen from both sides: the sign of life that it gives, and its workers' watch.

Nothing connects the two but a folder of the workspace, on any storage: the run writes a counter there every few seconds
and deletes it at its end, however it ends; a worker stops in the middle of its work when the counter is gone,
or stands still because the run was killed. An engine runs a task again whose worker died, and does not say what the
task did then: a note in that folder says it, so that an item that kills its workers is given up and no other.
"""

import contextlib
import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ...datasets.store.atomic_io import partial_beside
from ...datasets.store.location import Location
from .workers import WorkerDied

R = TypeVar("R")
SIGN = "alive"
WRITE_EVERY_S = 2.0
READ_EVERY_S = 2.0
SILENT_S = 20.0
"""Time without a new sign of life after which a worker takes its run for killed; a busy disk can hold one up."""
STUMBLES_S = 2.0
"""Time for an answer from which on the storage is silent, and not the run: that could not write its sign either."""
GRACE_S = 4.0
"""Time for a worker to leave its work when the run has ended; a call that does not return costs it its process."""
DEATHS = 2
"""Deaths of a worker in one call after which the call's items are given up."""


class RunStopped(BaseException):
    """Raised in the middle of a worker's work when its run has ended; no handler of a stage's errors takes it."""


class RunEnded(RuntimeError):
    """The run that a task belongs to has ended, or gave no sign of life; nobody waits for the task's result."""

    is_sentence = True


@contextlib.contextmanager
def hold_lease(place: Location) -> Iterator[Location]:
    """Give a sign of life for the length of a `with`; yield its folder below a place, for notes until then."""
    lease = Location(place.path(str(partial_beside(Path("lease")))))
    ended = threading.Event()
    lease.write(SIGN, b"0")

    def write() -> None:
        count = 0
        while not ended.wait(WRITE_EVERY_S):
            count += 1
            with contextlib.suppress(OSError):  # a storage that stumbles: workers wait for SILENT_S
                lease.write(SIGN, b"%d" % count)

    thread = threading.Thread(target=write, name="run-lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(OSError):
            lease.delete()


def work_under_lease(lease: Location, work: Callable[[], R]) -> R:
    """Work in this thread as long as the run that holds the lease lives.

    Raises:
        RunEnded: it has ended, or shows no sign of life.
    """
    done, lock, thread = threading.Event(), threading.Lock(), threading.get_ident()
    watch = threading.Thread(target=_watch, args=(lease, thread, done, lock), name="lease-watch", daemon=True)
    try:
        if _read_sign(lease, b"") is None:
            raise RunStopped
        watch.start()
        try:
            return work()
        finally:
            with lock:
                done.set()
    except RunStopped:
        raise RunEnded("the run has ended; run again to go on") from None


class TryNotes:
    """Notes of a task on its batch, written once it runs a second time: the calls that it was in when it died."""

    def __init__(self, lease: Location, name: str) -> None:
        """Read what earlier tries left, and note that there is one more."""
        self._lease, self._name = lease, f"{name}.tries.json"
        try:
            self._deaths: dict[str, int] = json.loads(lease.read(self._name))
            self._is_again = True
        except FileNotFoundError:
            self._deaths, self._is_again = {}, False
            self._write()

    def call(self, name: str, function: Callable[[], R]) -> R:
        """Call a function, noted by name while it runs.

        Raises:
            WorkerDied: it has ended its process before, `DEATHS` times; it is not called.
        """
        if not self._is_again:
            return function()
        deaths = self._deaths.get(name, 0)
        if deaths >= DEATHS:
            raise WorkerDied(f"the worker process died {deaths + 1} times: out of memory, or a crash in a library")
        self._deaths[name] = deaths + 1
        self._write()
        try:
            return function()
        finally:
            del self._deaths[name]
            self._write()

    def _write(self) -> None:
        self._lease.write(self._name, json.dumps(self._deaths).encode())


def _read_sign(lease: Location, last: bytes) -> bytes | None:
    """The run's present sign of life; the last one where the storage does not answer, None where there is none."""
    try:
        return lease.read(SIGN)
    except FileNotFoundError:
        return None
    except OSError:
        return last


def _watch(lease: Location, thread: int, done: threading.Event, lock: threading.Lock) -> None:
    """Raise `RunStopped` in a thread when the run ends or falls silent; end the process if that does not help."""
    sign, heard_at = b"", time.monotonic()
    while not done.wait(READ_EVERY_S):
        asked_at = time.monotonic()
        latest = _read_sign(lease, sign)
        if latest is None:
            break
        now = time.monotonic()
        if latest != sign or now - asked_at > STUMBLES_S:
            sign, heard_at = latest, now
        elif now - heard_at > SILENT_S:
            break
    with lock:
        if done.is_set():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(RunStopped))
    if not done.wait(GRACE_S):
        os._exit(1)  # inside a library that does not return
