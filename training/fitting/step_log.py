"""What a run tells while it runs: one line of JSON a step, TensorBoard, and whatever trackers accelerate knows."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRESS = "progress.jsonl"
TRAINED, SAMPLES, EVALUATION = "trained", "samples", "evaluation"
"""Folders in a run's output: the weights that it ended with, videos by them, and their measures."""
RECORD = "training.json"
"""In `trained`: where the weights come from."""


class TrainingStopped(RuntimeError):
    """A run cannot go on; the message is one sentence with the remedy, and the last checkpoint stands."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step, over all processes."""

    step: int
    """Steps done, from 1."""
    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    wait_s: float
    """Seconds that processes waited for data, on average."""
    step_s: float


class StepLog:
    """Writes in the main process alone; the other processes call it too, to no effect."""

    def __init__(self, accelerator: Any, output: Path, *, first_step: int) -> None:
        self._accelerator = accelerator
        self._path = output / PROGRESS
        self._kinds = self._counted_before(first_step)
        if accelerator.is_main_process:
            self._end_torn_line()

    def log(self, numbers: StepRecord, kinds: Mapping[str, int]) -> None:
        """Note a step and which kinds of clips it saw."""
        self._kinds.update(kinds)
        total = max(sum(self._kinds.values()), 1)
        shares = {f"mix/{kind}": count / total for kind, count in sorted(self._kinds.items())}
        plain = {name: value for name, value in vars(numbers).items() if name != "step"}
        self._accelerator.log(plain | shares, step=numbers.step)
        if self._accelerator.is_main_process:
            line = {**vars(numbers), "seen": dict(self._kinds), "time": time.time()}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _end_torn_line(self) -> None:
        """A run that was killed while writing left half a line, which must not swallow ours."""
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def _counted_before(self, first_step: int) -> Counter[str]:
        """Of an earlier part of this run, up to the step that is gone on from."""
        lines = [line for line in read_step_log(self._path.parent) if line["step"] <= first_step]
        return Counter(lines[-1]["seen"] if lines else {})


def read_step_log(output: Path) -> list[dict[str, Any]]:
    """The steps that a run has told of, in the order of the steps; where one was taken twice, the later telling."""
    path = output / PROGRESS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    steps: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed while writing it
        steps[told["step"]] = told
    return [steps[step] for step in sorted(steps)]
