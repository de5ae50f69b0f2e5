"""Draw the passes of a plan: `python -m worker FOLDER [--share I/N]`, with Blender's module in that Python.

Reads FOLDER/plan.json, writes FOLDER/<pass>/<frame:04d>.exr and FOLDER/boxes.json, and says so in JSON lines. A frame
file appears whole or not at all; those that are there already are left alone, so that a killed clip goes on. With
`--share 2/3` every third frame file is drawn, beginning with the second: several processes draw one clip that way.

Exit code 0: all is there; 3: the plan is refused, 4: Blender cannot be loaded, both with the reason in the last line;
anything else: it broke, and the log says how.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .events import Refused, Reporter

REFUSED, UNUSABLE = 3, 4


def main() -> int:
    """Draw what is asked for on the command line."""
    asked = argparse.ArgumentParser(prog="worker")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--share", default="1/1")
    given = asked.parse_args()
    number, among = (int(part) for part in given.share.split("/"))
    folder = given.folder.resolve()
    reporter = Reporter(folder / f"blender-{number}.log")
    cores = one_core()
    try:
        import bpy  # noqa: F401  a second of loading, after the streams have been taken over
    except ImportError as missing:
        reporter.say("unusable", reason=f"Blender's module cannot be loaded ({missing})")
        return UNUSABLE
    try:
        draw(folder, (number - 1, among), cores, reporter)
    except Refused as why:
        reporter.say("refused", reason=str(why))
        return REFUSED
    reporter.say("done")
    return 0


def one_core() -> set[int]:
    """Let Blender's libraries believe in one core while they load.

    Their thread pools take one thread a core, and one that has nothing to do keeps its core busy with waiting: half of
    all processor time on two cores, as measured, which is another worker's.
    """
    if not hasattr(os, "sched_setaffinity"):
        return set()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    return cores


def all_cores(cores: set[int]) -> None:
    """Let every thread run wherever there is room again; how many there are is settled by now."""
    for thread in Path("/proc/self/task").glob("*") if cores else ():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)


def draw(folder: Path, share: tuple[int, int], cores: set[int], reporter: Reporter) -> None:
    """Draw this share of the frame files that are not there yet."""
    begin = time.perf_counter()
    import bpy

    from . import blender_scene, crop_regions, passes

    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    made = blender_scene.build(plan, folder)
    found = crop_regions.Areas(made, folder)
    all_cores(cores)
    _write_whole(folder / "boxes.json", json.dumps(made.boxes))
    reporter.say("ready", blender=bpy.app.version_string.split()[0], seconds=round(time.perf_counter() - begin, 3))
    for chosen, frame in jobs(plan, made.boxes, folder)[share[0] :: share[1]]:
        target = folder / chosen["name"] / f"{frame:04d}.exr"
        variant = chosen["variant"] if chosen.get("crop") else None
        if target.exists() and (variant is None or found.path(variant, frame).exists()):
            continue
        reporter.check_parent()
        wall, cpu = time.perf_counter(), time.process_time()
        used = None if variant is None else found.of(variant, frame)
        passes.draw(made, chosen, frame, target, used)
        reporter.say(
            "frame",
            **{"pass": chosen["name"]},
            frame=frame,
            seconds=round(time.perf_counter() - wall, 4),
            cpu=round(time.process_time() - cpu, 4),
        )


def jobs(plan: dict[str, Any], boxes: list[list[int]], folder: Path) -> list[tuple[dict[str, Any], int]]:
    """Every frame file of the plan, pass by pass; a cropped pass has none where the subject is not seen."""
    found = []
    for chosen in plan["passes"]:
        (folder / chosen["name"]).mkdir(exist_ok=True)
        for frame in chosen["frames"]:
            x0, _, x1, _ = boxes[frame]
            if chosen["what"] in ("plate", "whole") or x1 > x0:
                found.append((chosen, frame))
    return found


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Blender's own leaving adds lines about memory and nothing else
