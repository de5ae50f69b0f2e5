"""Modules that lie in the working folder are run by no command, and by none of the programs that a command starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from effectpairs.processes import ChildProcess
from effectpairs.tests.fixtures_corpus import make_small_corpus

HOSTILE = (
    *("uuid", "signal", "json", "typing", "__future__", "hashlib", "pathlib", "tempfile", "subprocess", "tomllib"),
    *("multiprocessing", "concurrent", "numpy", "typer", "rich", "pyarrow", "cv2", "sitecustomize", "usercustomize"),
)
CONSOLE_SCRIPT = "import sys\nfrom effectpairs.cli.app import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""Written as pip writes it."""


@pytest.fixture
def hostile(tmp_path):
    """A folder with modules that leave a trace when they are imported."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'a').write({name!r} + ' ')\n")
    yield folder
    assert not (tmp_path / "trace").exists(), (tmp_path / "trace").read_text()


@pytest.mark.parametrize("how", ["-m", "script"])
def test_commands_run_nothing_of_the_working_folder(hostile, source_file, tmp_path, how):
    """A whole run, with the worker processes that it starts."""
    script = tmp_path / "bin" / "effectpairs"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT)
    command = [sys.executable, "-m", "effectpairs"] if how == "-m" else [sys.executable, str(script)]
    command += ["run", str(source_file), "--workspace", str(tmp_path / "w"), "--no-prefect", "--workers", "1"]
    done = subprocess.run(command, cwd=hostile, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "tiny: 4 clips" in done.stdout


def test_programs_that_are_started_run_nothing_of_the_working_folder(hostile, tmp_path, monkeypatch):
    monkeypatch.chdir(hostile)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    for program in (["-c", "import uuid, signal"], ["-m", "effectpairs.training", "--help"]):
        with ChildProcess([sys.executable, *program], tmp_path / "log") as child:
            assert child.wait(120.0) == 0, (tmp_path / "log").read_text()


def test_a_worker_of_a_program_that_uses_us_runs_nothing_of_it(hostile, tmp_path, monkeypatch):
    from effectpairs.flows.engine.workers import WorkerPool

    monkeypatch.chdir(hostile)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with WorkerPool(1) as pool, pool.lend() as worker:
        assert worker.call(os.getcwd) == str(hostile)
    assert "PYTHONSAFEPATH" not in os.environ, "its own programs are started as before"


def test_a_corpus_is_opened_beside_modules_of_the_same_names(hostile, tmp_path):
    make_small_corpus(tmp_path, clips=1, frames=5, size=(16, 24))
    command = [sys.executable, "-m", "effectpairs", "inspect", str(tmp_path / "corpus")]
    done = subprocess.run(command, cwd=hostile, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Path(hostile, "uuid.py").exists()
