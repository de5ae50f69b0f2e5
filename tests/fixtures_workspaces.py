"""Workspaces with finished pairs, and child processes that are killed, for the tests of storage.

`from effectpairs.tests import fixtures_workspaces`.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from effectpairs.datasets.corpus.finalize import finalize
from effectpairs.datasets.corpus.publish import plan_shards, write_planned
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.store.ledger import ClipOutcome, RunSummary, write_ledger
from effectpairs.datasets.store.location import Location, Place
from effectpairs.flows.captions.stages import CaptionedSource
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.sources import open_run
from effectpairs.tests.fixtures_corpus import square_with_shadow, store_clip

FRAMES, SIZE = 5, (16, 24)
TOUCHES = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir")


def run_source(source: CaptionedSource, workspace: Place, workers: int = 0) -> RunSummary:
    """Take everything of a source through its stages, as `effectpairs run --no-prefect` does."""
    return run_locally(open_run(source, workspace, workers))


def fill_workspace(
    workspace: Path, names: list[str], *, source: str = "tiny", kind: str = "real", **row
) -> list[ClipOutcome]:
    """Finish a source with a pair of each name; sources of other names than "tiny" have footage of their own."""
    entries = []
    effects = row.pop("effects", ["shadow"])
    first_seed = 0 if source == "tiny" else 6 * sum(source.encode())
    for number, name in enumerate(names):
        layers = square_with_shadow(FRAMES, SIZE, seed=first_seed + number)
        if kind == "unpaired":
            layers = {"gt": layers["gt"]}
        quality = {"quality": accepted_quality()}
        entries.append(store_clip(workspace, name, kind, layers, effects=effects, **quality, source=source, **row))
    write_ledger(workspace, source, entries, {"made": "by the tests"})
    return entries


def accepted_quality() -> dict:
    """Quality of a pair that gets in."""
    from effectpairs.datasets.corpus.schema import QUALITY_NUMBERS

    return {**dict.fromkeys(QUALITY_NUMBERS, 0.25), "verdict": "accept", "reasons": ["all is well"]}


def publish(workspace: Path, corpus: Path | str, **settings) -> dict:
    """Publish as the flow does; return the manifest."""
    location, publish_settings = Location(str(corpus)), PublishSettings(**settings)
    files = [
        write_planned(plan, workspace, location, publish_settings)
        for plan in plan_shards(workspace, location, publish_settings)
    ]
    return finalize(workspace, location, files, publish_settings, "tiny corpus")


class FileBytes(bytes):
    """Content of a file, shown by its digest where a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {hashlib.sha256(self).hexdigest()[:12]}>"


def read_files(folder: Path | str, *, with_memory: bool = False) -> dict[str, FileBytes]:
    """Every file below a folder, or at an address, by its name; those of `is_memory` only if they are asked for."""
    if isinstance(folder, str):
        place = Location.of(folder)
        return {name: FileBytes(place.read(name)) for name in place.names() if with_memory or not is_memory(name)}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and (with_memory or not is_memory(path.name)))
    return {str(path.relative_to(folder)): FileBytes(path.read_bytes()) for path in files}


def is_memory(name: str) -> bool:
    """Whether a file of a workspace is no result, but what is remembered of runs: when, and in what time."""
    return Path(name).name.startswith(("index.sqlite", "results.parquet"))


def run_in_child(work: Callable[[], object], *, kill_at: int | None = None, near: Path | None = None) -> bool:
    """Run work in a child process; with kill_at, SIGKILL it at that touch of a file near a folder. Was it killed?"""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if kill_at is not None:
                _die_at(kill_at, str(near))
            work()
            status = 0
        except BaseException as problem:
            print(f"in the child: {problem!r}", file=sys.stderr)
        finally:
            os._exit(status)
    return _wait(child)


def fail_at(count: int, error: int, near: Path) -> None:
    """Let that touch of a file near a folder, and all later ones, fail with an error of the operating system."""
    left = count

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in TOUCHES and any(isinstance(part, (str, Path)) and str(near) in str(part) for part in arguments):
            left -= 1
            if left <= 0:
                raise OSError(error, os.strerror(error), str(near))

    sys.addaudithook(hook)


def run_at_once(work: Callable[[], object], processes: int = 2) -> None:
    """Run the same work in several processes that start together; all must succeed."""
    run_each_at_once([work] * processes)


def run_each_at_once(works: list[Callable[[], object]]) -> None:
    """Run each work in a process of its own; they start together, and all must succeed."""
    start = time.time() + 0.05
    children = []
    for work in works:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                time.sleep(max(0.0, start - time.time()))
                work()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    for child in children:
        assert not _wait(child)


@contextmanager
def limited_disk(folder: Path, size_bytes: int, *, read_only: bool = False) -> Iterator[Path | None]:
    """A file system of that size at folder, or None where mounting is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}{',ro' if read_only else ''}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise of two 8-bit arrays."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _die_at(count: int, near: str) -> None:
    left = count

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in TOUCHES and any(isinstance(given, (str, Path)) and near in str(given) for given in arguments):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _wait(child: int) -> bool:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return False
