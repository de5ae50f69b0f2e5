"""Render the passes of a plan: `python -m worker FOLDER [--share I/N]`, with Blender's module in that Python.

Reads FOLDER/plan.json, writes FOLDER/<pass>/<frame:04d>.exr and FOLDER/boxes.json, and reports them in JSON lines. A
frame file appears complete or not at all; existing ones are left alone, so that a killed clip goes on. With
`--share 2/3` every third frame file is rendered, beginning with the second: several processes render one clip that way.

Exit code 0: all files exist; 3: the plan is refused, 4: Blender cannot be loaded, both with the reason in the last
line; anything else: it broke, and the log tells more.
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
    """Render the share of the command line."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", default="1/1")
    arguments = parser.parse_args()
    number, count = (int(part) for part in arguments.share.split("/"))
    folder = arguments.folder.resolve()
    reporter = Reporter(folder / f"blender-{number}.log")
    cores = limit_to_one_core()
    try:
        import bpy  # noqa: F401  a second of loading, after the streams have been taken over
    except ImportError as missing:
        reporter.report("unusable", reason=f"Blender's module cannot be loaded ({missing})")
        return UNUSABLE
    try:
        render_share(folder, (number - 1, count), cores, reporter)
    except Refused as refusal:
        reporter.report("refused", reason=str(refusal))
        return REFUSED
    reporter.report("done")
    return 0


def limit_to_one_core() -> set[int]:
    """Let Blender's libraries believe in one core while they load; return the cores of before.

    Their thread pools take one thread a core, and one that has nothing to do keeps its core busy with waiting: half of
    all processor time on two cores, as measured, which is another worker's.
    """
    if not hasattr(os, "sched_setaffinity"):
        return set()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    return cores


def render_share(folder: Path, share: tuple[int, int], cores: set[int], reporter: Reporter) -> None:
    """Render the missing frame files of this share."""
    begin = time.perf_counter()
    import bpy

    from .blender_scene import BlenderScene
    from .crop_regions import CropRegions

    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    scene = BlenderScene(plan, folder)
    regions = CropRegions(scene, folder)
    for thread in Path("/proc/self/task").glob("*") if cores else ():  # the number of threads is settled by now
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)
    partial = folder / f"boxes.json.{os.getpid()}.partial"
    partial.write_text(json.dumps(scene.boxes))
    partial.replace(folder / "boxes.json")
    reporter.report("ready", blender=bpy.app.version_string.split()[0], seconds=round(time.perf_counter() - begin, 3))
    # A pass cut to the subject's box has no frame where that is empty.
    jobs = [
        (render_pass, frame)
        for render_pass in plan["passes"]
        for frame in render_pass["frames"]
        if render_pass["kind"] in ("plate", "whole") or scene.boxes[frame][2] > scene.boxes[frame][0]
    ]
    for render_pass, frame in jobs[share[0] :: share[1]]:
        target = folder / render_pass["name"] / f"{frame:04d}.exr"
        variant = render_pass["variant"] if render_pass.get("crop") else None
        if target.exists() and (variant is None or regions.path(variant, frame).exists()):
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        target.parent.mkdir(exist_ok=True)
        scene.render_frame(render_pass, frame, target, None if variant is None else regions.load(variant, frame))
        seconds = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        rounded = {name: round(value, 4) for name, value in seconds.items()}
        reporter.report("frame", **{"pass": render_pass["name"]}, frame=frame, **rounded)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Blender's own leaving adds lines about memory and nothing else
