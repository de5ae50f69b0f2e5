"""Captions of many clips through the flow, and what that holds in memory: `python tests/benchmarks/caption_flow.py`.

A corpus of 85-frame clips (one clip's videos under many ids) is captioned by a stub endpoint that answers after 200 ms.
The largest of the run's processes is watched all the while: it must not grow with the number of clips.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests.fixtures_corpus import publish, square_with_shadow, store_clip

SERVER = Path(__file__).parents[1] / "fixtures_llm_server.py"
MOST_MB = 500


def make_corpus(folder: Path, clips: int, size: tuple[int, int], *, rendered: bool) -> Path:
    """A corpus of clips without captions, large as pictures and small as files: each pixel of theirs is 8x8."""
    small = square_with_shadow(85, (size[0] // 8, size[1] // 8))
    layers = {name: frames.repeat(8, axis=1).repeat(8, axis=2) for name, frames in small.items()}
    entry = store_clip(folder, "square-00000", "real", layers, effects=("dust",), caption=None)
    facts = json.dumps({"subject": "car"})  # what the stub speaks of if rendered else None
    row = {**entry.row, "provenance": {**entry.row["provenance"], "facts": facts}}
    entries = [
        replace(entry, name=name, outcome="accept", row={**row, "clip_id": name, "group": name})
        for name in (f"square-{number:05d}" for number in range(clips))
    ]
    write_ledger(folder, "real-source", entries, {"made": "by a benchmark"})
    publish(folder, folder / "corpus")
    return folder / "corpus"


def watch(process: psutil.Process, most: dict[int, int], done: threading.Event) -> None:
    """The most bytes that each process of the run has held."""
    while not done.wait(0.2):
        for one in [process, *process.children(recursive=True)]:
            try:
                most[one.pid] = max(most.get(one.pid, 0), one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue


def main() -> None:
    """Print clips a second and memory; fail where the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--size", default="384x672")
    parser.add_argument("--footage", action="store_true", help="measure each clip first, as of footage")
    given = parser.parse_args()
    height, width = map(int, given.size.split("x"))
    stub = subprocess.Popen([sys.executable, str(SERVER), "--latency", "0.2"], stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert stub.stdout is not None
            url = stub.stdout.readline().strip()
            corpus = make_corpus(Path(folder), given.clips, (height, width), rendered=not given.footage)
            settings = (
                "caption.kind=openai",
                "caption.model=stub-7b",
                f"caption.base_url={url}",
                "caption_rules.max_attempts=1",
            )
            command = [sys.executable, "-m", "effectpairs", "caption", str(corpus), "--workspace", f"{folder}/words"]
            command += [f"--out={folder}/new", "--workers=1"]
            start = time.perf_counter()
            run = psutil.Popen([*command, *(part for one in settings for part in ("--set", one))])
            most, done = dict[int, int](), threading.Event()
            threading.Thread(target=watch, args=(run, most, done), daemon=True).start()
            code = run.wait()
            done.set()
        finally:
            stub.terminate()
            stub.wait()
    largest = max(most.values()) / 1e6
    rate = given.clips / (time.perf_counter() - start)
    print(f"{given.clips} clips of 85 x {given.size}: {rate:.2f} a second, largest process {largest:.0f} MB")
    if code or largest > MOST_MB:
        raise SystemExit("the run failed" if code else f"the limit is {MOST_MB} MB")


if __name__ == "__main__":
    main()
