"""Dask and Ray as a user starts them: processes of their own, each with a home and temporary folder of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from effectpairs.tests.fixtures_processes import free_port

PROGRAMS = Path(sys.executable).parent
TOKEN = "f" * 64


class Processes:
    """Programs that were started here, and end with all that they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: str, *arguments: object, wait_for: str, **environment: str) -> None:
        """Start a program of this environment, and wait for words of its log."""
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        log = home / "log"
        env = os.environ | {"HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1"} | environment
        command = [str(PROGRAMS / program), *map(str, arguments)]
        with log.open("wb") as stream:
            self.by_name[name] = subprocess.Popen(
                command, env=env, cwd=home, stdout=stream, stderr=stream, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while wait_for not in log.read_text():
            assert self.by_name[name].poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill a program and all of its session, with -9."""
        process = self.by_name.pop(name)
        descendants = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        for descendant in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
        process.wait()

    def end(self) -> None:
        for name in list(self.by_name):
            self.kill(name)


class DaskProcesses(Processes):
    """A scheduler and its workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = f"tcp://127.0.0.1:{free_port()}"

    def start_scheduler(self) -> None:
        port = self.address.rpartition(":")[2]
        options = ("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        self.start("scheduler", "dask", *options, wait_for="Scheduler at:")

    def start_worker(self, name: str, *options: str) -> None:
        common = ("worker", self.address, "--host", "127.0.0.1", "--nthreads", 1, "--no-dashboard", "--name", name)
        self.start(name, "dask", *common, *options, wait_for="Registered to:")


@contextmanager
def dask_cluster(folder: Path, *options: str) -> Iterator[DaskProcesses]:
    """A scheduler and two workers, `one` and `two`."""
    processes = DaskProcesses(folder)
    try:
        processes.start_scheduler()
        processes.start_worker("one", *options)
        processes.start_worker("two", *options)
        yield processes
    finally:
        processes.end()


class RayProcesses(Processes):
    """A head and further nodes; RAY_AUTH_TOKEN must be `TOKEN` for who connects."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def start_head(self, cpus: int) -> None:
        options = ("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}/ray")
        self._start("head", f"--num-cpus={cpus}", *options)

    def start_node(self, name: str) -> None:
        self._start(name, "--num-cpus=1", f"--address={self.address}")

    def _start(self, name: str, *options: str) -> None:
        common = ["start", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        common += ["--object-store-memory=80000000", '--resources={"blender": 1}']
        environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "wait_for": "Ray runtime started"}
        self.start(name, "ray", *common, *options, **environment)


@contextmanager
def ray_cluster(head_cpus: int = 1) -> Iterator[RayProcesses]:
    """A head and a second node, `node`, on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # a socket's path must be short
    processes = RayProcesses(folder)
    try:
        processes.start_head(head_cpus)
        processes.start_node("node")
        yield processes
    finally:
        processes.end()
        shutil.rmtree(folder, ignore_errors=True)
