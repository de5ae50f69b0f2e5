"""CPU seconds of `plate` against another revision of it, on one thread: `python tests/benchmarks/plate_speed.py`.

Real clips of up to 85 frames at 384x672, the first subject taken out and the others kept. Both revisions run in this
process and take turns, so that a busy machine slows both. The older one is the last before plate was made faster; it
does less (no bodies without a mask, no long shadows, no blending in the gradient domain), and is to take twice as long.
With a revision that makes the same layers the line says so: `--against HEAD` compares with what is committed.
"""

import argparse
import importlib
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from effectpairs.stages.plate import Plate
from plate_truth import SCENES, Scene, footage

ROOT = Path(__file__).parents[2]
BEFORE = "d169266fd2cec6584bdc4d843af87a420106c8df"
TARGET = 2.0


def plate_of(revision: str, folder: Path) -> Any:
    """The backend as it was in a revision, which is unpacked into folder and imported under another name."""
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder / "effectpairs_before", filter="data")
    sys.path.insert(0, str(folder))
    return importlib.import_module("effectpairs_before.stages.plate").Plate()


def compare(scene: Scene, sides: dict[str, Any], rounds: int) -> float:
    """Print seconds and ratio of one clip; return the ratio."""
    clip = footage(scene.video)
    subject, *others = (footage(mask)[: len(clip), ..., 0] for mask in scene.masks)
    kept = np.any([mask > 127 for mask in others], axis=0) if others else None
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        layers = []
        for name, plate in sides.items():
            start = time.process_time()
            layers.append(plate.decompose(clip, subject, kept, None))
            seconds[name].append(time.process_time() - start)
    ratio = statistics.median(before / now for before, now in zip(*seconds.values(), strict=True))
    is_same = all(np.array_equal(*(getattr(side, part) for side in layers)) for part in ("background", "alpha"))
    before, now = (statistics.median(values) for values in seconds.values())
    bytes_of = "the same bytes" if is_same else "other layers"
    print(
        f"{scene.name}, {len(clip)} frames: {before:.1f} to {now:.1f} s, {ratio:.2f} times faster; {bytes_of}",
        flush=True,
    )
    return ratio


def main() -> None:
    """Compare clip by clip; fail where the ratio misses the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=BEFORE, metavar="REVISION")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", type=float, default=TARGET)
    parser.add_argument("scenes", nargs="*", default=[scene.name for scene in SCENES if scene.masks])
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        sides = {"before": plate_of(chosen.against, Path(folder)), "now": Plate()}
        scenes = [scene for scene in SCENES if scene.name in chosen.scenes]
        ratios = {scene.name: compare(scene, sides, chosen.rounds) for scene in scenes}
    slow = [name for name, ratio in ratios.items() if ratio < chosen.target]
    if slow:
        raise SystemExit(f"below {chosen.target:.1f}: {', '.join(slow)}")


if __name__ == "__main__":
    main()
