"""The one door to Blender: a plan and a folder go in, frame files come out, whatever happens to Blender meanwhile.

Blender is a program of its own (its licence is the GPL), with an environment of its own, and it does crash. Each worker
process is watched: one that dies or renders no frame for too long is killed with its group and started again; frames
that are on disk stay, so that the next attempt goes on. Whoever is killed at whatever moment, the same call goes on
later and ends with the same frames.
"""

import fcntl
import hashlib
import json
import os
import select
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ...processes import ChildProcess
from ...requirements import Lack
from ...settings import CheckedSettings, InRange
from .environment import find_environment
from .exr_frames import area_path, read_boxes

HOME = Path(__file__).parents[1]
"""Folder of the package `worker`: the worker sees this folder and nothing else of the project."""
VARIABLE = "EFFECTPAIRS_BLENDER"
WORKER_ENVIRONMENT = {
    "PYTHONPATH": str(HOME), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip
"""The worker on the path, and one thread for each library."""
FrameCallback = Callable[[str, int, float], None]
"""Called for every rendered frame: pass, frame, seconds."""
POLL_S = 0.5
LAST_EVENTS = ("done", "refused", "unusable")
"""Events after which a worker ends by itself."""
SLOW_SAMPLE_S = 2e-5
"""Ten times the seconds that a slow core needs for a sample of a pixel."""
LOG_NOISE = ("Fra:", "Saved:", "Time:")
"""Beginnings of the lines with which Blender comments on every frame."""


class BlenderNotFound(RuntimeError):
    """There is no Python with Blender's module, or it cannot be used."""

    is_sentence = True


class RenderFailed(RuntimeError):
    """Blender broke or hung again and again."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class Blender(CheckedSettings):
    """Blender's environment, its processes, and when they are given up."""

    required_packages: ClassVar[Mapping[str, str]] = {"OpenEXR": ""}
    python_path: str | None = None
    """A Python with Blender's module; None: the variable EFFECTPAIRS_BLENDER, else the one that `make blender` or
    `effectpairs doctor --make` made."""
    processes: Annotated[int, InRange(1, 256)] = 1
    """Processes that render one clip together, one thread each; as many clips as cores are better still."""
    frame_timeout_s: Annotated[float, InRange(1, 86400)] = 300.0
    """Seconds without a frame after which a process counts as hung; frames of many samples get more on top."""
    max_attempts: Annotated[int, InRange(1, 100)] = 3
    """Times that it may break in a row without one new frame."""

    def missing_programs(self) -> tuple[Lack, ...]:
        """Blender's environment, if there is none."""
        try:
            find_python(self)
        except BlenderNotFound as problem:
            return (Lack.from_sentence("blender", str(problem)),)
        return ()


def find_python(settings: Blender = Blender()) -> Path:
    """Path to the Python that has Blender's module.

    Raises:
        BlenderNotFound: there is none; the sentence says what to do.
    """
    named = settings.python_path or os.environ.get(VARIABLE)
    default = HOME.parent / ".venv-blender" / "bin" / "python"
    python = shutil.which(Path(named).expanduser() if named else default)
    if not named and python is None and (made := find_environment()):
        python = str(made)
    if python is None:
        wrong = f"{named} is no program" if named else "there is no Blender environment"
        raise BlenderNotFound(
            f"{wrong}; run `effectpairs doctor --make`, or set {VARIABLE} to a Python 3.11 that has bpy==4.5.*"
        )
    return Path(python).absolute()


def blender_version(python: Path) -> str | None:
    """Blender's version in that environment, read from its folder; None if it lies elsewhere."""
    packages = sorted(python.parents[1].glob("lib/python3*/site-packages/bpy-*.dist-info"))
    return packages[-1].name.removesuffix(".dist-info").split("-")[1] if packages else None


def render_frames(
    plan: Mapping[str, Any], folder: Path, settings: Blender = Blender(), on_frame: FrameCallback | None = None
) -> str:
    """Render every frame file of a plan that is not in folder yet, and return the version of the Blender that did.

    The media's files lie in folder already.

    Raises:
        BlenderNotFound: no environment to render in.
        ValueError: the plan is refused: an asset, a sky or a device that cannot be used.
        RenderFailed: Blender broke again and again; with the end of its log.
    """
    python = find_python(settings)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run of the same clip waits and then finds it complete
        _prepare_folder(plan, folder, blender_version(python))
        marker = folder / "drawn"  # holds Blender's version; written when all frames exist
        if not (marker.exists() and _is_complete(plan, folder)):
            processes = [
                RenderProcess(python, folder, (number + 1, settings.processes), settings, plan)
                for number in range(settings.processes)
            ]
            _run_to_end(processes, on_frame)
            marker.write_text(processes[0].version)
        return marker.read_text()


def start_worker(python: Path, folder: Path, share: tuple[int, int]) -> ChildProcess:
    """Start a worker in Blender's Python that renders every share[1]-th frame file, beginning with number share[0]."""
    command = [str(python), "-m", "worker", str(folder), "--share", f"{share[0]}/{share[1]}"]
    foreign = {name for name in os.environ if name.startswith("PYTHON") or name == "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in foreign} | WORKER_ENVIRONMENT
    # Errors are written to the log until the worker takes its streams over.
    return ChildProcess(command, folder / f"blender-{share[0]}.log", cwd=folder, env=environment, events=True)


class RenderProcess:
    """A share of the frame files, rendered by as many worker processes as it takes."""

    def __init__(
        self, python: Path, folder: Path, share: tuple[int, int], settings: Blender, plan: Mapping[str, Any]
    ) -> None:
        """Prepare it; `advance` starts the worker."""
        self.python, self.folder, self.share = python, folder, share
        self.max_attempts = settings.max_attempts
        height, width = plan["size"]
        samples = max((float(entry["samples"] * entry["scale"] ** 2) for entry in plan["passes"]), default=0.0)
        self.timeout_s = settings.frame_timeout_s + SLOW_SAMPLE_S * float(height * width) * samples
        self.worker: ChildProcess | None = None
        self.finished, self.failures, self.version = False, 0, ""

    def advance(self, on_frame: FrameCallback | None) -> None:
        """Start a worker if none runs, read its events, and act when it has ended or hangs.

        Raises:
            ValueError, BlenderNotFound, RenderFailed: as `render_frames`.
        """
        worker = self.worker = self.worker or start_worker(self.python, self.folder, self.share)
        code = worker.returncode  # asked first: the events of a dead worker are then read in full
        for event in worker.read_events():
            if event["event"] == "ready":
                self.version = str(event["blender"])
            elif event["event"] == "frame":
                self.failures = 0
                if on_frame:
                    on_frame(event["pass"], event["frame"], event["seconds"])
        if code is None and worker.silence_s < self.timeout_s:
            return
        hangs, last = code is None, worker.last_event
        code = worker.end() if last.get("event") in LAST_EVENTS else worker.end(grace_s=0.0)
        self.worker = None
        if last.get("event") == "done" and code == 0:
            self.finished = True
        elif last.get("event") == "refused":
            raise ValueError(str(last["reason"]))
        elif last.get("event") == "unusable":
            raise BlenderNotFound(
                f"{self.python}: {last['reason']}; run `effectpairs doctor --make`, which says what is missing"
            )
        else:
            self._record_failure(
                worker, f"made no frame for {self.timeout_s:.0f} s" if hangs else f"ended with code {code}"
            )

    def _record_failure(self, worker: ChildProcess, failure: str) -> None:
        self.failures += 1
        if self.failures >= self.max_attempts:
            tail = worker.log_tail(noise=LOG_NOISE)
            raise RenderFailed(
                f"{self.folder}: Blender {failure}, {self.failures} times without a new frame; try the scene with less "
                "in it, or run again to go on from the frames that are there; "
                + (f"the end of {worker.log.name} says:\n{tail}" if tail else f"{worker.log.name} says nothing")
            )


def _run_to_end(processes: list[RenderProcess], on_frame: FrameCallback | None) -> None:
    """Render every share; whatever goes wrong, no process is left behind."""
    try:
        while running := [process for process in processes if not process.finished]:
            for process in running:
                process.advance(on_frame)
            workers = [process.worker.process for process in running if process.worker]
            pipes = [worker.stdout for worker in workers if worker.stdout]
            if pipes:
                select.select(pipes, [], [], POLL_S)
    finally:
        for process in processes:
            if process.worker:
                process.worker.end(grace_s=0.0)  # with everything that it started


def _prepare_folder(plan: Mapping[str, Any], folder: Path, version: str | None) -> None:
    """Write the plan; delete frames of another plan, another worker or another Blender."""
    text = json.dumps(plan)
    media = (folder / medium["file"] for variant in plan["variants"] for medium in variant["media"])
    hasher = hashlib.sha256(f"{text} {version}".encode())
    for path in (*media, *sorted((HOME / "worker").glob("*.py"))):
        hasher.update(hashlib.sha256(path.read_bytes()).digest())
    marker, digest = folder / "drawing", hasher.hexdigest()  # of all that decides a frame's pixels
    if not marker.exists() or marker.read_text() != digest:
        for old in (marker, folder / "drawn", *folder.glob("*/*.exr"), *folder.glob("areas/*.npz")):
            old.unlink(missing_ok=True)
    for stale in (*folder.glob("*/*.partial"), *folder.glob("*.partial"), *folder.glob("blender-*.log")):
        stale.unlink()
    (folder / "plan.json").write_text(text)
    marker.write_text(digest)


def _is_complete(plan: Mapping[str, Any], folder: Path) -> bool:
    """Is every file on disk? Passes cut to the subject's box have no frame where that is empty."""
    boxes = read_boxes(folder)
    files = [(entry, frame) for entry in plan["passes"] for frame in entry["frames"]]
    return all(
        (folder / entry["name"] / f"{frame:04d}.exr").exists()
        for entry, frame in files
        if entry["kind"] in ("plate", "whole") or boxes[frame][2] > boxes[frame][0]
    ) and all(area_path(folder, entry["variant"], frame).exists() for entry, frame in files if entry.get("crop"))
