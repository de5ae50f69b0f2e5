"""Step log of a run: one line of JSON a step, TensorBoard, and whatever trackers accelerate knows; needs no torch."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRESS = "progress.jsonl"
TRAINED_FOLDER, SAMPLES_FOLDER, EVALUATION_FOLDER = "trained", "samples", "evaluation"
"""Folders in a run's output: the weights that it ended with, videos by them, and their measures."""
RECORD_FILE = "training.json"
"""In `trained`: origin of the weights."""


class TrainingStopped(RuntimeError):
    """A run cannot go on; the message is one sentence with the remedy, and the last checkpoint stands."""


class StepLog:
    """Writes in the main process alone; the other processes call it too, to no effect."""

    def __init__(self, accelerator: Any, output: Path, *, first_step: int) -> None:
        self._accelerator = accelerator
        self._path = output / PROGRESS
        earlier = [line for line in read_step_log(output) if line["step"] <= first_step]
        self._kinds = Counter(earlier[-1]["clips_by_kind"] if earlier else {})
        if accelerator.is_main_process and self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")  # half a line of a run that was killed while writing must not swallow ours

    def log(self, record: Mapping[str, Any], kinds: Mapping[str, int]) -> None:
        """Log the numbers of a step (of which `step` counts from 1) and its clips of each kind."""
        self._kinds.update(kinds)
        total = max(sum(self._kinds.values()), 1)
        shares = {f"mix/{kind}": count / total for kind, count in sorted(self._kinds.items())}
        values = {name: value for name, value in record.items() if name != "step"}
        self._accelerator.log(values | shares, step=record["step"])
        if self._accelerator.is_main_process:
            line = {**record, "clips_by_kind": dict(self._kinds), "time": time.time()}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_step_log(output: Path) -> list[dict[str, Any]]:
    """The steps that a run has logged, in the order of the steps; where one was taken twice, the later line."""
    path = output / PROGRESS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed while writing it
        records[record["step"]] = record
    return [records[step] for step in sorted(records)]
