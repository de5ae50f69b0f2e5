"""Child processes: their output, their silence, their failure in a sentence, and their end with ours."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from effectpairs.processes import ChildProcess, ProgramFailed, ProgramKilled

SLEEPER = "import subprocess, sys; print(subprocess.Popen(['sleep', '300']).pid, flush=True); sys.stdin.read()"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def program(body: str) -> list[str]:
    return [sys.executable, "-c", body]


def test_events_are_json_lines_and_signs_of_life(tmp_path):
    body = "import json\nprint('noise')\nfor n in range(3): print(json.dumps({'event': 'frame', 'n': n}), flush=True)"
    with ChildProcess(program(body), tmp_path / "log", events=True) as child:
        child.wait(20.0)
        events = child.read_events()
        assert [event["n"] for event in events] == [0, 1, 2]
        assert child.last_event == events[-1]
        assert child.silence_s < 5
        assert child.read_events() == []


def test_the_log_is_added_to_and_its_tail_is_of_this_child_alone(tmp_path):
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    with ChildProcess(program("print('Fra: 1'); print('one'); print(); print('two')"), log) as child:
        assert child.wait(20.0) == 0
        assert child.read_lines() == ["Fra: 1", "one", "", "two"]
        assert child.log_tail(2, noise=("Fra:",)) == "one\ntwo"
    assert log.read_text().startswith("of an earlier run\nFra: 1")


def test_an_end_takes_the_whole_group(tmp_path):
    with ChildProcess(program(SLEEPER), tmp_path / "log") as child:
        wait_for(lambda: (tmp_path / "log").stat().st_size)
        grandchild = int(child.read_lines()[0])
        assert is_alive(grandchild)
    wait_for(lambda: not is_alive(grandchild))


@pytest.mark.parametrize("guarded", [False, True])
def test_it_ends_when_we_are_killed(tmp_path, guarded):
    """A guarded child need not watch its input: its guard does."""
    log, body = tmp_path / "log", "import time; time.sleep(300)" if guarded else "import sys; sys.stdin.read()"
    body = f"import os; print(os.getpid(), flush=True); {body}"
    owner = (
        "import sys, time; from pathlib import Path; from effectpairs.processes import ChildProcess\n"
        f"child = ChildProcess([sys.executable, '-c', {body!r}], Path({str(log)!r}), guarded={guarded})\n"
        "time.sleep(300)"
    )
    with subprocess.Popen(program(owner)) as running:
        wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
        pid = int(log.read_text())
        assert is_alive(pid)
        running.kill()
    wait_for(lambda: not is_alive(pid))


def test_waiting_until_it_is_ready(tmp_path):
    with ChildProcess(program("print('up', flush=True); import time; time.sleep(300)"), tmp_path / "log") as child:
        child.wait_until(lambda: bool(child.read_lines()), 20.0)
        with pytest.raises(TimeoutError, match=r"not ready after 0\.1 s; .*log has its output"):
            child.wait_until(lambda: False, 0.1)
        child.end(0.0)
    failing = program("print('error: no GPU; take another'); raise SystemExit(1)")
    with (
        ChildProcess(failing, tmp_path / "log") as child,
        pytest.raises(ProgramFailed, match=r"^no GPU; take another$"),
    ):
        child.wait_until(lambda: False, 20.0)


def test_a_killed_child_is_told_from_a_failed_one(tmp_path):
    with ChildProcess(program("import os; os.kill(os.getpid(), 9)"), tmp_path / "log") as child:
        child.wait(20.0)
        assert isinstance(child.failure(), ProgramKilled)
    with ChildProcess(program("raise SystemExit(3)"), tmp_path / "log") as child:
        child.wait(20.0)
        assert "status 3: it said nothing" in str(child.failure())
        assert not isinstance(child.failure(), ProgramKilled)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_program_that_is_not_there(tmp_path, guarded):
    with pytest.raises(OSError, match="No such file") as caught:
        ChildProcess([os.fspath(tmp_path / "nothing")], tmp_path / "log", guarded=guarded)
    assert caught.value.filename == str(tmp_path / "nothing")
