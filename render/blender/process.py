"""The one door to Blender: a plan and a folder go in, frame files come out, whatever happens to Blender meanwhile.

Blender is a program of its own (its licence is the GPL), with an environment of its own, and it does crash. Each worker
process is watched: one that dies or makes no frame for too long is killed with its group and started again; frames that
are on disk stay, so that the next try goes on. Whoever is killed at whatever moment, the same call goes on later and
ends with the same frames.
"""

import os
import select
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..effects.ranges import STRICT, within
from .render_folder import Box, all_there, alone, begin, boxes_in
from .worker_process import HOME, Worker

VARIABLE = "EFFECTPAIRS_BLENDER"
Step = Callable[[str, int, float], None]
"""Called for every frame drawn: pass, frame, seconds."""
_TICK_S = 0.5
_SAMPLE_S = 2e-5


class BlenderNotFound(RuntimeError):
    """There is no Python with Blender's module, or it cannot be used."""

    is_sentence = True


class RenderFailed(RuntimeError):
    """Blender broke or hung again and again."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class Blender:
    """How Blender is run."""

    __pydantic_config__ = STRICT
    python: str | None = None
    """A Python with Blender's module; None: the variable EFFECTPAIRS_BLENDER, else the one that `make blender` made."""
    processes: int = 1
    """How many draw one clip together, one thread each; as many clips as cores are better still."""
    frame_timeout_s: float = 300.0
    """Without a frame for so long, it hangs; frames of many samples get more on top."""
    max_attempts: int = 3
    """How often it may break in a row without one new frame."""

    def __post_init__(self) -> None:
        within(self, "processes", 1, 256)
        within(self, "frame_timeout_s", 1, 86400)
        within(self, "max_attempts", 1, 100)


@dataclass(frozen=True, kw_only=True)
class RenderResult:
    """What a folder of frame files is."""

    boxes: tuple[Box, ...]
    """Per frame the subject's box, where the passes `subject` and `front` are cut out; all 0 when it is out of view."""
    version: str
    """Of Blender."""
    cpu_s: dict[str, float]
    """Processor seconds by pass, of the frames drawn by this call."""


def find_python(settings: Blender = Blender()) -> Path:
    """The Python that has Blender's module.

    Raises:
        BlenderNotFound: there is none; the sentence says what to do.
    """
    made = HOME.parent / ".venv-blender" / "bin" / "python"
    named = settings.python or os.environ.get(VARIABLE)
    found = shutil.which(Path(named).expanduser() if named else made)
    if found is None:
        wrong = f"{named} is no program" if named else "there is no Blender environment"
        raise BlenderNotFound(f"{wrong}; run `make blender`, or set {VARIABLE} to a Python 3.11 that has bpy==4.5.*")
    return Path(found).absolute()


def version_of(python: Path) -> str | None:
    """Blender's version in that environment, read from its folder; None where it lies elsewhere."""
    found = sorted(python.parents[1].glob("lib/python3*/site-packages/bpy-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info").split("-")[1] if found else None


def draw(
    plan: Mapping[str, Any], folder: Path, settings: Blender = Blender(), step: Step | None = None
) -> RenderResult:
    """Draw every frame file of a plan that is not in folder yet; what the media's files hold lies there already.

    Raises:
        BlenderNotFound: no environment to draw in.
        ValueError: the plan is refused: an asset, a sky or a device that cannot be used.
        RenderFailed: Blender broke again and again; with the end of its log.
    """
    python = find_python(settings)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        begin(plan, folder, version_of(python))
        done = folder / "drawn"  # by which Blender; written when all is there
        cpu_s: Counter[str] = Counter()
        if not (done.exists() and all_there(plan, folder)):
            hands = _hands(plan, folder, python, settings)
            _let_work(hands, settings, step)
            done.write_text(hands[0].version)
            cpu_s = sum((hand.cpu_s for hand in hands), cpu_s)
        return RenderResult(boxes=boxes_in(folder), version=done.read_text(), cpu_s=dict(cpu_s))


@dataclass(kw_only=True)
class RenderProcess:
    """A share of the work, through as many processes as it takes."""

    python: Path
    folder: Path
    share: tuple[int, int]
    patience_s: float
    worker: Worker | None = None
    finished: bool = False
    failures: int = 0
    version: str = ""
    cpu_s: "Counter[str]" = field(default_factory=Counter)

    def stop(self) -> None:
        """End the process, if it runs."""
        if self.worker:
            self.worker.end()
            self.worker = None

    def work(self, settings: Blender, step: Step | None) -> None:
        """Hear what the worker says and act when it has ended or hangs."""
        worker = self.worker = self.worker or Worker(self.python, self.folder, self.share)
        code = worker.code()  # asked first: what a dead worker has said is then heard in full
        for heard in worker.hear():
            self._take(heard, step)
        if code is None and worker.silent_s < self.patience_s:
            return
        hangs, last = code is None, worker.last
        code = worker.end()
        self.worker = None
        if last.get("event") == "done" and code == 0:
            self.finished = True
        elif last.get("event") == "refused":
            raise ValueError(str(last["reason"]))
        elif last.get("event") == "unusable":
            raise BlenderNotFound(f"{self.python}: {last['reason']}; run `make blender`, which says what is missing")
        else:
            how = f"made no frame for {self.patience_s:.0f} s" if hangs else f"ended with code {code}"
            self._broke(worker, how, settings)

    def _take(self, heard: dict[str, Any], step: Step | None) -> None:
        if heard["event"] == "ready":
            self.version = str(heard["blender"])
        elif heard["event"] == "frame":
            self.failures = 0
            self.cpu_s[heard["pass"]] += heard["cpu"]
            if step:
                step(heard["pass"], heard["frame"], heard["seconds"])

    def _broke(self, worker: Worker, how: str, settings: Blender) -> None:
        self.failures += 1
        if self.failures >= settings.max_attempts:
            said = worker.tail()
            raise RenderFailed(
                f"{self.folder}: Blender {how}, {self.failures} times without a new frame; try the scene with less in "
                "it, or run again to go on from the frames that are there; "
                + (f"the end of {worker.log.name} says:\n{said}" if said else f"{worker.log.name} says nothing")
            )


def _hands(plan: Mapping[str, Any], folder: Path, python: Path, settings: Blender) -> list[RenderProcess]:
    count, patience_s = settings.processes, settings.frame_timeout_s + _longest_s(plan)
    shares = [(number + 1, count) for number in range(count)]
    return [RenderProcess(python=python, folder=folder, share=share, patience_s=patience_s) for share in shares]


def _let_work(hands: list[RenderProcess], settings: Blender, step: Step | None) -> None:
    """Until every share is drawn; whatever goes wrong, no process is left behind."""
    try:
        while working := [hand for hand in hands if not hand.finished]:
            _listen(working, settings, step)
    finally:
        for hand in hands:
            hand.stop()


def _listen(working: list[RenderProcess], settings: Blender, step: Step | None) -> None:
    """Wait until some worker says something, or for a moment."""
    for hand in working:
        hand.work(settings, step)
    pipes = [hand.worker.pipe for hand in working if hand.worker]
    if pipes:
        select.select(pipes, [], [], _TICK_S)


def _longest_s(plan: Mapping[str, Any]) -> float:
    """How long the plan's heaviest frame may take, at ten times what a slow core needs for a sample of a pixel."""
    height, width = plan["size"]
    heaviest = max((float(one["samples"] * one["scale"] ** 2) for one in plan["passes"]), default=0.0)
    return _SAMPLE_S * float(height * width) * heaviest
