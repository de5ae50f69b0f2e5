"""One worker process in Blender's Python: started in a group of its own, heard line by line, ended with its group."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
"""Where the package `worker` lies: the worker sees this folder and nothing else of the house."""
CHATTER = ("Fra:", "Saved:", "Time:")
LEAVING_S = 20.0
"""How long a worker that has said its last may take to end."""


class Worker:
    """A share of a folder's frame files being drawn."""

    def __init__(self, python: Path, folder: Path, share: tuple[int, int]) -> None:
        self.log = folder / f"blender-{share[0]}.log"
        self.heard_at = time.monotonic()
        self.last: dict[str, Any] = {}
        self._rest = b""
        command = [str(python), "-m", "worker", str(folder), "--share", f"{share[0]}/{share[1]}"]
        with self.log.open("ab") as log:  # until the worker takes its streams over, what goes wrong is told here
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout
        self.pipe = self._process.stdout
        os.set_blocking(self.pipe.fileno(), False)

    def hear(self) -> list[dict[str, Any]]:
        """What it has said since; each line is also a sign of life."""
        heard: list[dict[str, Any]] = []
        while said := self.pipe.read1(65536) if _readable(self.pipe) else b"":  # type: ignore[attr-defined]
            *lines, self._rest = (self._rest + said).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):  # a line of something else that found this stream
                    spoken = json.loads(line)
                    if isinstance(spoken, dict) and "event" in spoken:
                        heard.append(spoken)
        if heard:
            self.heard_at, self.last = time.monotonic(), heard[-1]
        return heard

    @property
    def silent_s(self) -> float:
        """For how long it has said nothing."""
        return time.monotonic() - self.heard_at

    def code(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Kill it with everything it started; its exit code."""
        if self._process.poll() is None and self.last.get("event") in ("done", "refused", "unusable"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVING_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.pipe.close()
        return self._process.wait()

    def tail(self, lines: int = 10) -> str:
        """The end of its log, without Blender's running commentary."""
        text = self.log.read_bytes()[-100_000:].decode(errors="replace")
        said = [line for line in text.splitlines() if line.strip() and not line.startswith(CHATTER)]
        return "\n".join(said[-lines:])


def _environment() -> dict[str, str]:
    """This process's environment, with the worker to be found and one thread for each library."""
    foreign = {name for name in os.environ if name.startswith("PYTHON") or name == "VIRTUAL_ENV"}
    return {
        **{name: value for name, value in os.environ.items() if name not in foreign},
        "PYTHONPATH": str(HOME),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _readable(pipe: Any) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])
