"""A folder of frame files while they are being drawn: whose it is, what it was begun for, what is there already."""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .worker_process import HOME

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder: a second run of the same clip waits and then finds it drawn."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def begin(plan: Mapping[str, Any], folder: Path, version: str | None) -> None:
    """Write the plan; frames of another plan, another worker or another Blender are taken away."""
    text = json.dumps(plan)
    mark, now = folder / "drawing", _digest(text, plan, folder, version)
    if not mark.exists() or mark.read_text() != now:
        for old in (mark, folder / "drawn"):
            old.unlink(missing_ok=True)
        for frame in (*folder.glob("*/*.exr"), *folder.glob("areas/*.npz")):
            frame.unlink()
    for stale in (*folder.glob("*/*.partial"), *folder.glob("*.partial"), *folder.glob("blender-*.log")):
        stale.unlink()
    (folder / "plan.json").write_text(text)
    mark.write_text(now)


def boxes_in(folder: Path) -> tuple[Box, ...]:
    """Of every frame, as the worker wrote them."""
    return tuple((box[0], box[1], box[2], box[3]) for box in json.loads((folder / "boxes.json").read_text()))


def all_there(plan: Mapping[str, Any], folder: Path) -> bool:
    """Is every frame file on disk? Cropped passes have none where the subject is out of view."""
    boxes = boxes_in(folder)
    return all(
        (folder / one["name"] / f"{frame:04d}.exr").exists()
        for one in plan["passes"]
        for frame in one["frames"]
        if one["what"] in ("plate", "whole") or boxes[frame][2] > boxes[frame][0]
    ) and all(
        area_path(folder, one["variant"], frame).exists()
        for one in plan["passes"]
        for frame in one["frames"]
        if one.get("crop")
    )


def area_path(folder: Path, variant: int, frame: int) -> Path:
    """Where the worker tells which part of the picture a variant's cropped passes hold."""
    return folder / "areas" / f"{variant:02d}-{frame:04d}.npz"


def _digest(text: str, plan: Mapping[str, Any], folder: Path, version: str | None) -> str:
    """Of all that decides a frame's pixels."""
    media = (folder / medium["file"] for variant in plan["variants"] for medium in variant["media"])
    digest = hashlib.sha256(f"{text} {version}".encode())
    for path in (*media, *sorted((HOME / "worker").glob("*.py"))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
