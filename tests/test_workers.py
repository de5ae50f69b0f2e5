"""Worker processes: how many, what a death costs, and that none outlives its parent."""

import _thread
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from effectpairs.flows.engine import workers
from effectpairs.flows.engine.batches import is_transient
from effectpairs.flows.engine.workers import Worker, WorkerDied, WorkerPool, WorkerStalled, WorkerStopped, worker_count
from effectpairs.heartbeat import beat

FULL_CLIP = 85 * 384 * 672 * 3


def test_as_many_workers_as_asked_for():
    assert worker_count(FULL_CLIP, requested=3) == 3


def test_memory_limits_workers_before_cores_do(monkeypatch):
    class Memory:
        available = 5 * 1024**3

    monkeypatch.setattr(workers.psutil, "virtual_memory", lambda: Memory)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(64)))
    assert worker_count(FULL_CLIP) == 2
    assert worker_count(13 * 48 * 80 * 3) == 8
    assert worker_count(100 * FULL_CLIP) == 1  # one clip at a time always has its try


def test_a_worker_that_dies_is_started_anew():
    worker = Worker()
    try:
        first = worker.call(os.getpid)
        with pytest.raises(WorkerDied, match="worker process died"):
            worker.call(os._exit, 9)
        assert worker.call(os.getpid) not in (first, os.getpid())
    finally:
        worker.close()


def test_a_worker_that_hangs_is_killed_even_where_it_lets_no_thread_run():
    worker = Worker()
    try:
        begun = time.monotonic()
        with pytest.raises(
            WorkerStalled, match=r"gave no frame for 1 s, so its worker was killed: a decoder hangs, or"
        ):
            worker.call(_hang, stall_s=1.0)
        assert time.monotonic() - begun < 60
        assert worker.call(_beat_for, 3.0, stall_s=1.0) == "done", "slow, but it goes on"
        assert not is_transient(WorkerStalled()), "a second try would take as long"
    finally:
        worker.close()


def test_a_worker_that_waits_for_nothing_is_killed_and_one_that_waits_for_its_program_is_not():
    with WorkerPool(1) as pool, pool.lend() as worker:
        with pytest.raises(WorkerDied, match="the worker process died"):
            worker.call(_wait_for_a_thread_without_memory, idle_s=1.0)
        assert is_transient(WorkerDied())
        assert worker.call(subprocess.call, ["sleep", "4"], idle_s=1.0) == 0


def _wait_for_a_thread_without_memory() -> None:
    """Do as `threading.Thread.start` where the new thread lacks the memory to say that it runs."""

    def run() -> None:
        raise MemoryError

    _thread.start_new_thread(run, ())
    threading.Event().wait()


@pytest.mark.parametrize("beats", [False, True])
def test_a_process_that_nobody_watches_ends_itself_when_it_hangs(beats):
    code = (
        "import sys, time\nfrom effectpairs.heartbeat import beat, end_if_silent\n"
        "with end_if_silent(1.0):\n    for _ in range(30):\n        time.sleep(0.1)\n"
        "        if int(sys.argv[1]):\n            beat()\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(int(beats))]).returncode == (0 if beats else 1)


def _hang() -> None:
    beat()
    ctypes.PyDLL(None).sleep(600)  # without giving up the interpreter's lock


def _beat_for(seconds: float) -> str:
    for _ in range(round(seconds / 0.1)):
        beat()
        time.sleep(0.1)
    return "done"


def test_an_exception_comes_back_and_the_worker_goes_on():
    with WorkerPool(1) as pool, pool.lend() as worker:
        with pytest.raises(ValueError, match="invalid literal"):
            worker.call(int, "no number")
        assert worker.call(int, "7") == 7


def test_a_worker_imports_neither_prefect_nor_torch():
    with WorkerPool(1) as pool, pool.lend() as worker:
        worker.call(_import_what_a_worker_does)
        loaded = set(worker.call(_loaded))
    assert not loaded & {"prefect", "torch", "datasets", "transformers"}


def test_a_worker_sums_in_one_order_whatever_the_number_of_cores(monkeypatch):
    """On two threads of BLAS the last digits of a fact were others, and with them the key of what is made of it."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    worker = Worker()
    try:
        assert worker.call(_blas_threads) == 1
    finally:
        worker.close()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3", "its own programs are started as before"


def _blas_threads() -> int:
    import numpy as np

    libraries = list((Path(np.__file__).parents[1] / "numpy.libs").glob("libscipy_openblas*"))
    if not libraries:
        return int(os.environ["OPENBLAS_NUM_THREADS"])
    return int(ctypes.CDLL(str(libraries[0])).scipy_openblas_get_num_threads64_())


def test_workers_end_when_their_parent_is_killed():
    code = (
        "from effectpairs.flows.engine.workers import Worker; import os, time\n"
        "if __name__ == '__main__':\n"
        "    worker = Worker(); print(worker.call(os.getpid), flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_interrupted_pool_does_not_wait_for_the_call_in_hand():
    begun = time.monotonic()
    with WorkerPool(1) as pool, pool.lend() as worker, ThreadPoolExecutor(1) as threads:
        child = psutil.Process(worker.call(os.getpid))
        call = threads.submit(worker.call, time.sleep, 300)
        time.sleep(0.5)
        pool.__exit__(KeyboardInterrupt)
        assert isinstance(call.exception(), WorkerStopped)
        with pytest.raises(WorkerStopped, match="the run was stopped"):
            worker.call(os.getpid)
    assert time.monotonic() - begun < 60
    assert not child.is_running()


def _import_what_a_worker_does() -> None:
    import effectpairs.flows.engine.batches  # noqa: F401


def _loaded() -> list[str]:
    return [name.partition(".")[0] for name in sys.modules]
