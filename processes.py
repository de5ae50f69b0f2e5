"""Child processes that are started here and watched: their log, their failure in one sentence, and their end."""

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL_EVERY_S = 0.3
GRACE_S = 20.0
"""Time for a child to end by itself, after its input closed, before its group is killed."""
_KILLED_BY_SIGNAL = ("died with <Signals", "(SIGKILL)")
"""Words of `accelerate launch` and torchrun for a program that was killed."""
_GUARD = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def end_with_input():
    while os.read(0, 1024):
        pass
    child.terminate()
    try:
        child.wait(10)
    finally:
        os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_input, daemon=True).start()
status = child.wait()
sys.exit(status if status >= 0 else 128 - status)
"""


class ProgramFailed(RuntimeError):
    """A program ended without success; the message is its own sentence."""

    is_sentence = True


class ProgramKilled(ProgramFailed):
    """A program was ended from outside (memory, an operator); started again, it goes on where it was."""


class ChildProcess:
    """A program in a process group of its own, whose standard input closes when this process ends, however it ends.

    Everything that it prints is added to a log file. With `events`, its standard output is read instead: lines of JSON
    with the key "event". Use it as a context manager, or call `end`.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        events: bool = False,
        guarded: bool = False,
    ) -> None:
        """Start the program, in this process's environment if none is given.

        Guarded, it is killed when its input closes, for programs that do not watch their input themselves.

        Raises:
            OSError: the program cannot be started, or the log cannot be written.
        """
        if guarded and shutil.which(command[0]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        self.log = log
        self.last_event: dict[str, Any] = {}
        self._heard_at = time.monotonic()
        self._partial_line = b""
        self._log_start = self._log_position = log.stat().st_size if log.exists() else 0
        env = {**(os.environ if env is None else env), "PYTHONSAFEPATH": "1"}  # nothing from the working folder
        guard = [sys.executable, "-I", "-c", _GUARD] if guarded else []
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [*guard, *command],
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if events else stream,
                stderr=stream,
                start_new_session=True,
            )
        if self.process.stdout:
            os.set_blocking(self.process.stdout.fileno(), False)

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(self, *problem: object) -> None:
        self.end()

    @property
    def returncode(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.poll()

    @property
    def silence_s(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self._heard_at

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; return the exit status, or None if it still runs after that time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout_s)
        return None

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until it can be used.

        Raises:
            ProgramFailed: it ended before.
            TimeoutError: it was not ready in that time.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.wait(POLL_EVERY_S) is not None:
                raise self.failure()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {timeout_s:g} s; {self.log} has its output")

    def read_events(self) -> list[dict[str, Any]]:
        """Return the events that came since the last call; each is also a sign of life."""
        stdout, events = self.process.stdout, list[dict[str, Any]]()
        assert stdout is not None, "started without events"
        while select.select([stdout], [], [], 0)[0] and (chunk := stdout.read1(65536)):  # type: ignore[attr-defined]
            *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):  # a line of something else that wrote to this stream
                    event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        events.append(event)
        if events:
            self._heard_at, self.last_event = time.monotonic(), events[-1]
        return events

    def read_lines(self) -> list[str]:
        """Return the complete lines that were added to the log since the last call."""
        with self.log.open("rb") as stream:
            stream.seek(self._log_position)
            text, newline, _ = stream.read().rpartition(b"\n")
        self._log_position += len(text) + len(newline)
        return text.decode(errors="replace").splitlines() if newline else []

    def log_tail(self, max_lines: int = 10, noise: tuple[str, ...] = ()) -> str:
        """Return the last lines of its log, without empty ones and those that begin with a word of noise."""
        with self.log.open("rb") as stream:
            stream.seek(max(self._log_start, self.log.stat().st_size - 100_000))
            lines = stream.read().decode(errors="replace").splitlines()
        lines = [line for line in lines if line.strip() and not (noise and line.startswith(noise))]
        return "\n".join(lines[-max_lines:])

    def failure(self) -> ProgramFailed:
        """Return the error of a program that ended: the sentence that it printed, else the end of its log."""
        lines = [line.strip() for line in self.log_tail(1000).splitlines()]
        sentences = [line for line in lines if line.startswith(("error: ", "stopped: "))]
        status = self.process.returncode or 0
        if sentences:
            return ProgramFailed(sentences[-1].partition(": ")[2])
        log = f"{self.log} has all that it said"
        if status < 0 or any(word in line for line in lines for word in _KILLED_BY_SIGNAL):
            return ProgramKilled(f"a program of the run was killed; run again to go on, {log}")
        last_line = lines[-1] if lines else "it said nothing"
        return ProgramFailed(f"a program of the run ended with status {status}: {last_line}; {log}")

    def end(self, grace_s: float = GRACE_S) -> int:
        """Close its input, wait that long for it to end by itself, kill its group; return the exit status."""
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdout:
            self.process.stdout.close()
        return self.process.wait()


def run_program(
    command: Sequence[str],
    log: Path,
    on_poll: Callable[[], None] = lambda: None,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a program to its end, offline and with unbuffered output; the command and its output are added to the log.

    Args:
        command: the program and its arguments.
        log: a file in an existing folder.
        on_poll: called a few times a second while it runs.
        on_line: called with every line that it prints.

    Raises:
        ProgramKilled: a signal ended it.
        ProgramFailed: it ended with an error, in its own words.
    """
    run_programs([Program(command=command, log=log)], on_poll, on_line)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command, its log, and what its environment has beside this process's."""

    command: Sequence[str]
    log: Path
    """A file in an existing folder, of this program alone while it runs."""
    env: Mapping[str, str] = field(default_factory=dict)


def run_programs(
    programs: Sequence[Program],
    on_poll: Callable[[], None] = lambda: None,
    on_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run programs side by side to their end, as `run_program` does; the first that fails ends the others.

    Raises:
        ProgramKilled: a signal ended one.
        ProgramFailed: one ended with an error, in its own words.
    """
    with contextlib.ExitStack() as stack:
        children = []
        for program in programs:
            with program.log.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(program.command)}\n")
            env = os.environ | {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"} | dict(program.env)
            children.append(stack.enter_context(ChildProcess(program.command, program.log, env=env)))
        running = list(children)
        while running:
            for child in list(running):
                is_over = child.wait(POLL_EVERY_S / len(running)) is not None
                for line in child.read_lines():
                    on_line(line)
                if is_over:
                    running.remove(child)
                    if child.returncode:
                        raise child.failure()
            on_poll()
