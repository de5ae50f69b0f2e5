"""Programs that a flow starts and follows: what they say goes to a log, and they can tell when the flow is gone."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .datasets.store.atomic_io import explain_os_errors

LOOK_EVERY_S = 0.3
_BY_SIGNAL = ("died with <Signals", "(SIGKILL)")
"""How `accelerate launch` and torchrun say that the program they started was killed."""
Program = subprocess.Popen  # of bytes


class Failed(RuntimeError):
    """A program ended without success; the message is its own sentence."""

    is_sentence = True


class Killed(Failed):
    """A program was ended from outside (memory, an operator); started again, it goes on where it was."""


def run_program(
    command: Sequence[str], log: Path, look: Callable[[], None], read: Callable[[str], None] = lambda line: None
) -> None:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        log: a file that all it says is added to.
        look: called a few times a second while it runs.
        read: called with every line that it says.

    Raises:
        Killed: a signal ended it.
        Failed: it ended with an error, in its own words.
    """
    with explain_os_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
        file.flush()
        first = start = file.tell()
        with _started(command, file) as program:
            while _wait(program) is None:
                look()
                start = _read(log, start, read)
    _read(log, start, read)
    if program.returncode:
        raise _failure(program.returncode, log, first)


@contextmanager
def _started(command: Sequence[str], log: IO[str]) -> "Iterator[Program[bytes]]":
    """A program whose standard input closes with us; leaving the block early closes it too."""
    quiet = os.environ | {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=quiet)
    try:
        yield program
    finally:
        if program.stdin is not None:
            program.stdin.close()
        program.wait()


def _wait(program: "Program[bytes]") -> int | None:
    try:
        return program.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return None


def _read(log: Path, start: int, read: Callable[[str], None]) -> int:
    """Hand on the whole lines that came since; return where the next one begins."""
    with log.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        read(line)
    return start + len(whole) + len(newline)


def _failure(status: int, log: Path, first: int) -> Failed:
    """The sentence that a program left, else the end of what it said."""
    with log.open("rb") as file:
        file.seek(first)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("error: ", "stopped: "))]
    if said:
        return Failed(said[-1].partition(": ")[2])
    if status < 0 or any(word in line for line in lines for word in _BY_SIGNAL):
        return Killed(f"a program of the run was killed; run again to go on, {log} has all that it said")
    end = lines[-1] if lines else "it said nothing"
    return Failed(f"a program of the run ended with status {status}: {end}; {log} has all that it said")
