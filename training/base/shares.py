"""Shares of a step's clips, done side by side by programs of `training/__main__`, each with a GPU of its own.

A program takes every N-th clip from the K-th on. A clip's result depends on the clip and the settings alone, so it is
the same whatever the number of programs; on a CPU each takes one thread, unless OMP_NUM_THREADS is set. For each clip
that is done it prints a line, which is how they are counted.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ...datasets.store.atomic_io import explain_os_errors
from ...processes import Program, run_programs
from .models import visible_gpus

PROGRAM = "effectpairs.training"
VERBS = ("drew", "encoded", "sampled", "measured", "checked")
"""First words of the line for a clip."""


def share_count(processes: int) -> int:
    """Number of programs for so many processes: at most one for each GPU; 0 takes every GPU, or one program."""
    if processes == 1:
        return 1  # without a look at the GPUs, which takes torch
    gpus = len(visible_gpus())
    return min(processes or gpus, gpus) if gpus else max(processes, 1)


def run_shares(
    words: Sequence[str],
    count: int,
    log: Path,
    report: Callable[[int], None] = lambda finished: None,
    *,
    bind_gpus: bool = True,
) -> int:
    """Run a step as so many programs, to their end; return the number of clips that they did.

    The log of the K-th has K in its name.

    Args:
        words: step and arguments, to which the share is added.
        count: number of programs.
        log: file for the first program's output.
        report: receives the number of clips done by all, after each.
        bind_gpus: let each program see one GPU alone, where there are any.

    Raises:
        ProgramFailed: one ended with an error; what the others have finished stays.
    """
    gpus = visible_gpus() if bind_gpus and count > 1 else ()
    with explain_os_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
    programs = []
    for number in range(count):
        command = [sys.executable, "-m", PROGRAM, *words, "--share", f"{number}/{count}", "--end-with-stdin"]
        file = log.with_stem(f"{log.stem}-{number}") if number else log
        env = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        programs.append(Program(command=command, log=file, env=env))
    finished = 0

    def count_line(line: str) -> None:
        nonlocal finished
        if line.partition(" ")[0] in VERBS:
            finished += 1
            report(finished)

    run_programs(programs, on_line=count_line)
    return finished


def print_clips(verb: str, clip_ids: Iterable[str]) -> None:
    """Print the line for each clip, one of VERBS and its id, as soon as it is done."""
    for clip_id in clip_ids:
        print(verb, clip_id, flush=True)


def parse_share(share: str) -> tuple[int, int]:
    """Parse the value of `--share K/N`: the number of a share, and of how many.

    Raises:
        ValueError: it is not of that form.
    """
    number, _, count = share.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise ValueError(f"--share {share!r} is not K/N with K from 0 to N-1; write for example --share 0/2")
    return int(number), int(count)
