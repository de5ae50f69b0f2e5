"""What the flow costs beside its stages: `real-pairs` against a bare loop over the same stage functions, 8 clips.

The bare loop reads each video, calls the stages on arrays, and writes the seven layers as plain files: the same useful
work on one core. The flow runs with one worker, so that both have one core, and then with as many as the machine has.
A server that is up already is given; how long one takes to come up is told apart.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")

import cv2
from effectpairs.datasets.corpus.schema import LAYERS
from effectpairs.datasets.footage.listing import Footage, list_footage
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store import codec
from effectpairs.flows.footage.ingest import NormalizedClip, normalize_footage
from effectpairs.flows.footage.source import RealSource
from effectpairs.stages import pair
from effectpairs.stages.quality_gates import judge
from effectpairs.tests.fixtures_scene import sliding_square, write_h264

CLIPS = 8


def footage(folder: Path, height: int, width: int, frames: int) -> Path:
    """Eight real files and the settings of a source over them."""
    for seed in range(CLIPS):
        scene = sliding_square(frames, height, width, seed=seed)
        write_h264(folder / f"clip{seed}" / "input_video.mp4", scene.gt)
        write_h264(folder / f"clip{seed}" / "mask_00.mp4", scene.subject_mask)
    settings = folder / "bench.toml"
    text = f'root = "{folder}"\nlayout = "gen-omnimatte"\n[normalise]\nsize = [{height}, {width}]\n'
    settings.write_text(text + f"max_frames = {frames}\n")
    return settings


def bare_loop(source: RealSource, folder: Path) -> None:
    """The stages in a row, nothing kept but the product."""
    settings = {stage: source.stage_settings(stage) for stage in pair.STAGES}
    for item in list_footage(source):
        assert isinstance(item, Footage)
        for piece in normalize_footage(item, source.normalise):
            assert isinstance(piece, NormalizedClip)
            ((_, prompt),) = piece.prompts
            layers, facts = pair.run({"gt": piece.gt, "given_mask": prompt.masks}, {}, settings)
            judge(facts["quality"]["numbers"], source.quality_thresholds)
            for name in LAYERS:
                (folder / f"{item.name}-{piece.index}.{name}.mkv").write_bytes(codec.encode(layers[name], fps=16))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--size", default="192x336")
    options.add_argument("--frames", type=int, default=85)
    options.add_argument("--rounds", type=int, default=1)
    given = options.parse_args()
    height, width = map(int, given.size.split("x"))
    cv2.setNumThreads(1)
    from effectpairs.flows.real_pairs import real_pairs
    from prefect.testing.utilities import prefect_test_harness

    with tempfile.TemporaryDirectory() as folder:
        settings = footage(Path(folder) / "footage", height, width, given.frames)
        source = load_source(settings, into=RealSource)
        start = time.perf_counter()
        with prefect_test_harness(server_startup_timeout=240):
            server_s = time.perf_counter() - start
            rows = []
            for number in range(given.rounds):
                # In turn, so that a noisy stretch of the machine falls on all of them.
                seconds = []
                plain = Path(folder) / f"plain{number}"
                plain.mkdir()
                start = time.perf_counter()
                bare_loop(source, plain)
                seconds.append(time.perf_counter() - start)
                for workers in (1, 0):
                    start = time.perf_counter()
                    account = real_pairs(str(settings), f"{folder}/w{number}-{workers}", None, workers)
                    seconds.append(time.perf_counter() - start)
                    assert account["inputs"] == CLIPS
                    assert account["failed"] == 0
                start = time.perf_counter()
                real_pairs(str(settings), f"{folder}/w{number}-1", None, 1)
                seconds.append(time.perf_counter() - start)
                rows.append(seconds)
    bare, one, many, again = (sorted(column)[len(rows) // 2] for column in zip(*rows, strict=True))
    print(f"## Flow against bare loop, {CLIPS} clips of {given.frames} frames of {given.size}\n")
    print("| run | seconds | ratio to the bare loop |\n|---|---|---|")
    print(f"| bare loop, one core | {bare:.1f} | 1 |")
    print(f"| flow, one worker | {one:.1f} | {one / bare:.3f} (aim: at most 1.15) |")
    print(f"| flow, as many workers as the machine carries | {many:.1f} | {many / bare:.3f} |")
    print(f"| flow again, all done | {again:.2f} | {again / one:.4f} of its first run (aim: below 0.03) |")
    print(f"\nA Prefect server took {server_s:.1f} s to come up, once; it is not in the figures.")


if __name__ == "__main__":
    sys.exit(main())
