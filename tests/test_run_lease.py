"""A run's sign of life, workers that stop without it, and notes of the calls in which workers died."""

import threading
import time

import pytest
from effectpairs.datasets.store.location import Location
from effectpairs.flows.engine import run_lease
from effectpairs.flows.engine.batches import run_phase_here
from effectpairs.flows.engine.run import Run
from effectpairs.flows.engine.run_lease import (
    RunEnded,
    RunStopped,
    TryNotes,
    hold_lease,
    work_under_lease,
)
from effectpairs.flows.engine.workers import Worker, WorkerDied
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import TOY


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(run_lease, "WRITE_EVERY_S", 0.05)
    monkeypatch.setattr(run_lease, "READ_EVERY_S", 0.05)
    monkeypatch.setattr(run_lease, "SILENT_S", 1.0)


def work_long(begun: threading.Event, seconds: float = 20) -> str:
    begun.set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except Exception as swallowed:  # as a stage's errors are taken
            raise AssertionError from swallowed
    return "done"


def work_in_thread(lease: Location) -> tuple[threading.Thread, list[object]]:
    """Begin work under a lease; what it comes to is added to the list."""
    begun, outcome = threading.Event(), []

    def run() -> None:
        try:
            outcome.append(work_under_lease(lease, lambda: work_long(begun)))
        except RunEnded as ended:
            outcome.append(ended)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    return thread, outcome


def test_work_goes_on_while_its_run_lives_and_stops_in_its_middle_when_the_run_ends(tmp_path):
    with hold_lease(Location.of(tmp_path / "toys")) as lease:
        thread, outcome = work_in_thread(lease)
        thread.join(1.5)
        assert thread.is_alive(), outcome  # longer than SILENT_S: signs of life came
        ended_at = time.monotonic()
    thread.join(10)
    assert isinstance(outcome[0], RunEnded)
    assert time.monotonic() - ended_at < 5
    assert list((tmp_path / "toys").iterdir()) == [], "a run leaves no sign behind"


def test_work_stops_when_its_run_was_killed(tmp_path):
    lease = Location.of(tmp_path)
    lease.write(run_lease.SIGN, b"7")  # nobody writes the next
    thread, outcome = work_in_thread(lease)
    thread.join(10)
    assert isinstance(outcome[0], RunEnded)


def test_the_silence_of_a_storage_is_not_that_of_the_run(tmp_path, monkeypatch):
    lease = Location.of(tmp_path)
    lease.write(run_lease.SIGN, b"7")  # the run cannot write the next as long as reading takes so long
    read = Location.read
    monkeypatch.setattr(run_lease, "STUMBLES_S", 0.3)
    monkeypatch.setattr(Location, "read", lambda *of: time.sleep(0.5) or read(*of))
    assert work_under_lease(lease, lambda: work_long(threading.Event(), 2.5)) == "done"


def test_work_of_a_run_that_has_ended_does_not_begin(tmp_path):
    with pytest.raises(RunEnded, match="run again to go on"):
        work_under_lease(Location.of(tmp_path), lambda: pytest.fail("begun"))


def test_a_storage_that_stumbles_stops_nothing(tmp_path, monkeypatch):
    with hold_lease(Location.of(tmp_path / "toys")) as lease:
        read = Location.read
        calls = []

        def stumble(self, name):
            calls.append(name)
            if 1 < len(calls) < 5:
                raise ConnectionError("cut")
            return read(self, name)

        monkeypatch.setattr(Location, "read", stumble)
        assert work_under_lease(lease, lambda: work_long(threading.Event(), 0.6)) == "done"
        assert len(calls) > 5


def test_a_call_that_does_not_return_costs_its_process(tmp_path):
    worker = Worker()
    try:
        with pytest.raises(WorkerDied):
            worker.call(_work_deaf, str(tmp_path))
    finally:
        worker.close()


def _work_deaf(folder: str) -> None:
    run_lease.READ_EVERY_S, run_lease.GRACE_S, run_lease.SILENT_S = 0.05, 0.2, 0.2

    def be_deaf() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                time.sleep(0.05)
            except RunStopped:  # a library that takes everything
                continue

    lease = Location.of(folder)
    lease.write(run_lease.SIGN, b"1")
    work_under_lease(lease, be_deaf)


def test_a_call_in_which_workers_died_is_given_up_and_no_other(tmp_path):
    lease = Location.of(tmp_path)
    assert TryNotes(lease, "task").call("first", lambda: 1) == 1
    for _ in range(run_lease.DEATHS):
        notes = TryNotes(lease, "task")
        assert notes.call("first", lambda: 1) == 1
        with pytest.raises(KeyboardInterrupt):
            notes.call("interrupted", _interrupt)
        notes._deaths["deadly"] = notes._deaths.get("deadly", 0) + 1
        notes._write()  # what is there when a process dies in the call
    notes = TryNotes(lease, "task")
    with pytest.raises(WorkerDied, match="the worker process died 3 times"):
        notes.call("deadly", lambda: pytest.fail("called again"))
    assert notes.call("first", lambda: 1) == 1
    assert notes.call("interrupted", lambda: 2) == 2, "a call that was stopped did not die"
    assert TryNotes(lease, "other").call("deadly", lambda: 3) == 3


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_an_engine_that_tries_again_gives_up_what_kills_and_does_the_rest(tmp_path):
    """Two items that kill their worker, in one batch: the engine starts the same task until it comes back."""
    source = ToySource(name="toys", lines=("red deadly bee deadly sun",))
    run, worker, deaths = Run(TOY, source, tmp_path, workers=1), Worker(), 0
    try:
        with hold_lease(run.folder) as lease:
            for phase in run.phases:
                (batch,) = run.write_pending_batches(phase)
                names = tuple(stage.name for stage in phase.stages)
                while True:
                    try:
                        failures = worker.call(run_phase_here, TOY, source, run.workspace, names, batch, lease)
                        break
                    except WorkerDied:
                        deaths += 1
                run.record_failures(failures)
    finally:
        worker.close()
    assert deaths == 1 + 2 * run_lease.DEATHS
    assert {failure.item for failure in run.failures.values() if "died" in failure.reason} == {"toys-0-1", "toys-0-3"}
    assert [item.item.id for item in run.iter_items() if item.is_finished][1:] == ["toys-0-0", "toys-0-2", "toys-0-4"]
