"""Processes that tests start beside the one of a user: who is below it, who still lives, and servers."""

import contextlib
import json
import os
import shutil
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

PREFECT_SETTINGS = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
Victim = Callable[[subprocess.Popen[bytes]], list[psutil.Process]]


def main_process(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process that a user started; what it started must see to its own end."""
    return [psutil.Process(process.pid)]


def whole_group(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """That process with all below it, as when a machine goes down."""
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def child_with(words: str) -> Victim:
    """One process below it by its command line, e.g. a worker or Blender."""

    def find(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if words in " ".join(command_of(child))][:1]

    return find


def command_of(process: psutil.Process) -> list[str]:
    """Command line of a process; empty where it has just ended."""
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def wait_until(condition: Callable[[], Any], seconds: float) -> bool:
    """Whether a condition becomes true in that time; a server or process that is not there yet is no error."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, psutil.Error):
            if condition():
                return True
        time.sleep(0.1)
    return False


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
        assert wait_until(lambda: self._run("pg_isready", *options, check=False) == 0, 60.0), "PostgreSQL did not start"
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


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server whose folder its own user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="effectpairs-postgres-"))
    server = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


class PrefectServer:
    """Prefect's server in a process of its own; `kill` and `start` may follow each other."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._environment = os.environ | PREFECT_SETTINGS | {"PREFECT_HOME": str(folder / "server")} | settings

    def __enter__(self) -> "PrefectServer":
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.txt").open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, cwd=self.folder, stdout=log, stderr=log)
        assert wait_until(lambda: self.ask("/health"), 240.0), (self.folder / "server.txt").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, values: Any = None) -> Any:
        """Call the API; with values it is a POST."""
        content = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(self.url + path, content, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
