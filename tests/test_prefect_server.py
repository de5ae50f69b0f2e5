"""Prefect's server beside a run: one of its own, one on PostgreSQL that breaks down, and one that cancels the run."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from effectpairs.datasets.store.ledger import read_account
from effectpairs.tests.fixtures_scene import sliding_square, write_h264

PREFECT = Path(sys.executable).with_name("prefect")
VIDEOS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, psutil.Error):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not in {seconds} s")


class Postgres:
    """A PostgreSQL server with a database of its own, as a user who is not root."""

    def __init__(self, folder: Path) -> None:
        programs = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        found = shutil.which("initdb")
        self.programs = programs[-1] if programs else Path(found).resolve().parent if found else None
        if self.programs is None:
            message = "PostgreSQL is not installed: apt-get install postgresql"
            pytest.fail(message) if "EFFECTPAIRS_REQUIRE_PROGRAMS" in os.environ else pytest.skip(message)
        self.folder, self.port = folder, free_port()
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user, self.user)
        self._run("initdb", "-D", folder / "data", "-U", "prefect", "-A", "trust", "--no-sync")
        self.start()
        options = ("-h", "127.0.0.1", "-p", self.port, "-U", "prefect")
        wait_for(lambda: self._run("pg_isready", *options, check=False) == 0, "PostgreSQL starts")
        self._run("createdb", *options, "prefect")

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/prefect"

    def start(self) -> None:
        command = [self.programs / "postgres", "-D", self.folder / "data", "-h", "127.0.0.1", "-p", self.port]
        self.process = subprocess.Popen(
            [str(part) for part in (*command, "-k", self.folder)],
            **self._identity(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill the server and its helpers in the middle of whatever they do."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        for process in (psutil.Process(self.process.pid), *children):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()

    def _run(self, program: str, *arguments: object, check: bool = True) -> int:
        command = [str(self.programs / program), *(str(argument) for argument in arguments)]
        return subprocess.run(command, check=check, capture_output=True, **self._identity()).returncode

    def _identity(self) -> dict[str, Any]:
        return {"user": self.user, "cwd": self.folder} if self.user else {"cwd": self.folder}


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="effectpairs-postgres-"))  # a parent that its own user may enter
    server = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slow_source(tmp_path: Path) -> Path:
    """Some clips that take seconds each, so that there is time to disturb a run."""
    for seed in range(VIDEOS):
        scene = sliding_square(85, 192, 336, seed=seed)
        write_h264(tmp_path / "footage" / f"video{seed}" / "input_video.mp4", scene.gt)
        write_h264(tmp_path / "footage" / f"video{seed}" / "mask_00.mp4", scene.subject_mask)
    path = tmp_path / "slow.toml"
    path.write_text(
        f'root = "{tmp_path / "footage"}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        "[normalise]\nsize = [192, 336]\n"
    )
    return path


class Terminal:
    """Commands with Prefect settings of their own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PREFECT_HOME": str(folder / "prefect"),
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **settings,
        }
        self.environment.pop("PREFECT_API_URL", None) if "PREFECT_API_URL" not in settings else None

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            arguments = [str(part) for part in command]
            return subprocess.Popen(arguments, env=self.environment, cwd=self.folder, stdout=log, stderr=log)

    def start_run(self, source: Path) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-m", "effectpairs", "run", source, "--workers", 1)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()


def children_with(process: subprocess.Popen[bytes], words: str) -> list[psutil.Process]:
    assert process.poll() is None, "it ended before its time"
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if words in " ".join(child.cmdline())]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.slow
def test_a_killed_run_leaves_no_prefect_server_behind(slow_source, tmp_path):
    process = Terminal(tmp_path).start_run(slow_source)
    servers = wait_for(lambda: children_with(process, "create_app"), "its server starts")
    everything = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert servers
    wait_for(lambda: are_gone(everything), "its server ends", 60)


@pytest.mark.slow
def test_on_postgresql_a_run_is_cancelled_and_another_outlives_the_database(slow_source, postgres, tmp_path):
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    terminal = Terminal(tmp_path, PREFECT_API_URL=api, PREFECT_API_DATABASE_CONNECTION_URL=postgres.url)
    server = terminal.start(PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port)

    def ask(path: str, values: Any = None) -> Any:
        content = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(api + path, content, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    try:
        wait_for(lambda: ask("/health"), "Prefect's server starts on PostgreSQL")
        cancelled = terminal.start_run(slow_source)
        wait_for(lambda: children_with(cancelled, "spawn_main"), "workers start")
        everything = psutil.Process(cancelled.pid).children(recursive=True)
        run_id = ask("/flow_runs/filter", {})[0]["id"]
        ask(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
        assert cancelled.wait(60) == 1
        assert "the run was cancelled; run again to go on where it was" in terminal.log
        assert are_gone(everything)
        assert ask(f"/flow_runs/{run_id}")["state"]["type"] == "CANCELLED"

        disturbed = terminal.start_run(slow_source)
        wait_for(lambda: children_with(disturbed, "spawn_main"), "workers start again")
        postgres.kill()
        time.sleep(2)
        postgres.start()
        assert disturbed.wait(240) in (0, 1)  # it went on, or ended with a sentence
        assert terminal.start_run(slow_source).wait(240) == 0, terminal.log
        account = read_account(tmp_path / "workspace", "slow")[0]
        assert (account.inputs, account.failed) == (VIDEOS, 0)
        assert wait_for(lambda: ask("/flow_runs/count", {}), "the database is back") >= 2
    finally:
        server.terminate()
        server.wait(60)
