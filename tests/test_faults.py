"""A run that is killed, or whose disk fails, at any touch of a file loses and doubles nothing; the next run goes on."""

import errno
import os
import signal
import time

import pytest
from effectpairs.datasets.store.ledger import finished_sources, ledger_stamp, read_account, read_ledger, write_ledger
from effectpairs.datasets.store.store import Store
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.engine.run import Run
from effectpairs.flows.engine.workers import Worker
from effectpairs.tests.fixtures_workspaces import fail_at, read_files, run_at_once, run_in_child
from effectpairs.tests.test_store import WORK, draw
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import TOY

LINES = ToySource(name="toys", lines=("red bee 7", "", "unspellable"))
STEP = 13
"""Every so many touches of a whole run are tried here; a result's commit is tried at each."""


@pytest.fixture
def run(monkeypatch):
    """A run of the toys in this process and its forks, without workers of its own."""
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **_: function(*arguments))
    return lambda workspace: run_locally(Run(TOY, LINES, workspace, workers=2))


@pytest.fixture
def clean(run, tmp_path):
    summary = run(tmp_path / "clean")
    assert (summary.inputs, summary.accepted, summary.rejected, summary.failed) == (5, 2, 1, 2)
    return read_files(tmp_path / "clean")


def assert_whole(workspace, clean) -> None:
    Store(workspace).sweep()
    assert read_files(workspace) == clean
    account, _ = read_account(workspace, "toys")
    names = [entry.name for entry in read_ledger(workspace, "toys")]
    assert account.inputs == len(names) == len(set(names)) == 5


def test_killed_at_any_touch_of_a_file_a_run_goes_on_to_the_same_bytes(run, clean, tmp_path):
    for moment in range(1, 5000, STEP):
        workspace = tmp_path / f"killed-{moment}"
        if not run_in_child(lambda w=workspace: run(w), kill_at=moment, near=workspace):
            break
        run(workspace)
        assert_whole(workspace, clean)
    assert moment > 10 * STEP


def fails(work, moment: int, error: int, workspace) -> bool:
    """Whether work, in a child whose disk fails from that touch on, ends with an error that names the workspace."""

    def fail():
        fail_at(moment, error, workspace)
        try:
            work()
        except OSError as problem:
            is_named = str(workspace) in str(problem) or error == errno.EIO
            return os._exit(0 if problem.errno == error and is_named else 1)
        os.kill(os.getpid(), signal.SIGKILL)  # there are not so many touches

    return not run_in_child(fail)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_at_any_touch_leaves_no_half_result(tmp_path, error):
    result = Store(tmp_path / "clean").once(WORK, draw)
    clean = read_files(tmp_path / "clean")
    for moment in range(1, 500):
        workspace = tmp_path / f"failed-{moment}"
        if not fails(lambda w=workspace: Store(w).once(WORK, draw), moment, error, workspace):
            break
        assert Store(workspace).find(WORK) in (None, result)
        Store(workspace).once(WORK, draw)
        Store(workspace).sweep()
        assert read_files(workspace) == clean
    assert moment > 10


def test_a_disk_that_is_full_in_mid_run_ends_it_with_a_sentence_and_the_next_goes_on(run, clean, tmp_path):
    for moment in range(5, 5000, 5 * STEP):
        workspace = tmp_path / f"full-{moment}"
        if not fails(lambda w=workspace: run(w), moment, errno.ENOSPC, workspace):
            break
        run(workspace)
        assert_whole(workspace, clean)
    assert moment > 10 * STEP


def test_several_runs_of_one_source_at_once_end_with_the_bytes_of_one(run, clean, tmp_path):
    run_at_once(lambda: run(tmp_path / "both"), 3)
    assert_whole(tmp_path / "both", clean)


def test_a_clock_that_jumps_back_hides_no_change_and_deletes_nothing_that_lives(run, clean, tmp_path, monkeypatch):
    workspace = tmp_path / "w"
    run(workspace)
    entries, stamp = read_ledger(workspace, "toys"), ledger_stamp(workspace)
    account = workspace / "sources" / "toys" / "account.json"
    before = account.stat()
    elsewhere = workspace / "store" / "spell" / "ab" / "ab.partial-0123abcd-7-00000000"
    elsewhere.mkdir(parents=True)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 400 * 24 * 3600)
    write_ledger(workspace, "toys", entries[:-1], {})
    os.utime(account, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ledger_stamp(workspace) != stamp
    assert len(read_ledger(workspace, "toys")) == 4
    assert Store(workspace).sweep() == 0
    assert elsewhere.exists(), "another machine may be at work on it"
    elsewhere.rmdir()
    run(workspace)
    assert finished_sources(workspace) == ["toys"]
    assert read_files(workspace) == clean
