"""Step log of a run: one line of JSON a step, TensorBoard, and whatever trackers accelerate knows; needs no torch."""

import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2

from ...datasets.store.atomic_io import digest_of
from ...extras import require

PROJECT = "effectpairs"
"""Name of the project in every tracker; a run has the name of its output folder."""
WITH_VIDEO = ("wandb", "trackio")
"""Trackers that take pictures and videos as files, by the same names; the others take pictures alone."""
PRINT_EVERY_S = 30.0
PROGRESS = "progress.jsonl"
TRAINED_FOLDER, SAMPLES_FOLDER, EVALUATION_FOLDER = "trained", "samples", "evaluation"
"""Folders in a run's output: the weights that it ended with, videos by them, and their measures."""
RECORD_FILE = "training.json"
"""In `trained`: origin of the weights."""


class TrainingStopped(RuntimeError):
    """A run cannot go on; the message is one sentence with the remedy, and the last checkpoint stands."""


class StepLog:
    """Writes in the main process alone; the other processes call it too, to no effect."""

    def __init__(self, accelerator: Any, output: Path, settings: str, *, first_step: int, steps: int) -> None:
        self._accelerator, self._steps = accelerator, steps
        self._path = output / PROGRESS
        self._durations_s: list[float] = []
        self._printed_at = 0.0
        accelerator.init_trackers(
            PROJECT, config={"settings": settings}, init_kwargs=tracker_options(output, first_step=first_step)
        )
        self._trackers = list(accelerator.trackers)
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
        self._durations_s = [*self._durations_s[-20:], record["step_s"]]
        left_s = statistics.median(self._durations_s) * (self._steps - record["step"])
        values = {name: value for name, value in record.items() if name != "step"}
        self._accelerator.log(values | shares | {"left_s": left_s}, step=record["step"])
        if self._accelerator.is_main_process:
            line = {**record, "left_s": left_s, "clips_by_kind": dict(self._kinds), "time": time.time()}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if time.monotonic() - self._printed_at > PRINT_EVERY_S or record["step"] == self._steps:
                self._printed_at = time.monotonic()
                print(f"{describe_step(line)} (of {self._steps})", flush=True)

    def log_strips(self, folder: Path, *, sampled_at: int, step: int) -> None:
        """Hand the pictures and videos in a folder of validation to the trackers, at the present step.

        A tracker that fails is not worth a run: it is said, and the files stay.
        """
        for path in sorted(folder.glob("*.png")):
            for tracker in self._trackers:
                try:
                    _log_strip(tracker, path, sampled_at, step)
                except Exception as error:  # each tracker has errors of its own
                    print(f"{tracker.name} does not take {path} ({error}); look at the file", flush=True)

    def finish(self) -> None:
        """End the trackers, which the accelerator would do too early: before the last videos are there."""
        for tracker in self._trackers:
            tracker.finish()


def tracker_options(output: Path, *, first_step: int) -> dict[str, dict[str, Any]]:
    """Options of trackers by which a run that goes on is the same run, by accelerate's names."""
    identity = digest_of(str(output.absolute()))[:12]
    return {
        "tensorboard": {"purge_step": first_step + 1},
        "wandb": {"name": output.name, "dir": str(output), "id": identity, "resume": "allow"},
        "trackio": {"name": f"{output.name}-{identity}", "resume": "allow"},
    }


def describe_step(record: Mapping[str, Any]) -> str:
    """Words for a line of the step log."""
    remaining = timedelta(seconds=round(record["left_s"]))
    return f"step {record['step']}: loss {record['loss']:.4f}, {record['step_s']:.2g} s a step, {remaining} left"


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


def _log_strip(tracker: Any, picture: Path, sampled_at: int, step: int) -> None:
    name, caption = f"validation/{picture.stem}", f"after step {sampled_at}"
    if tracker.name in WITH_VIDEO:
        media, video = require(tracker.name, extra=tracker.name), picture.with_suffix(".mp4")
        values = {name: media.Image(str(picture), caption=caption)}
        values[f"{name}/video"] = media.Video(str(video), caption=caption, format="mp4")
        tracker.log(values, step=step)
        return
    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)[..., ::-1]
    if tracker.name == "tensorboard":
        tracker.log_images({name: image[None]}, step=step, dataformats="NHWC")
    elif hasattr(tracker, "log_images"):
        tracker.log_images({name: [image]}, step=step)
