"""How busy the endpoint backend keeps a server: `python tests/benchmarks/caption_rate.py`.

A stub in a process of its own answers each request after 200 ms, however many come at once; with 16 in flight the ideal
is 80 answers a second. Refinements (text alone) and descriptions (frames as JPEGs; coding them is our own work) are
timed apart. Descriptions make their 85-frame clips one by one, as a flow decodes them, and memory is watched:
bytes held must not grow with the number of clips.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
from effectpairs.captioning.interface.captioner import ClipContext, sample_frames
from effectpairs.captioning.llm.openai_compatible import OpenAiCaptioner

SERVER = Path(__file__).parents[1] / "fixtures_llm_server.py"
LATENCY_S, AT_ONCE, TARGET, MOST_MB = 0.2, 16, 0.9, 500


def ratio(captioner: OpenAiCaptioner, count: int) -> float:
    """Refinements a second, as a share of the ideal."""
    seen = ClipContext(gt=np.zeros((5, 16, 16, 3), np.uint8), subject="car")

    def refine(number: int) -> str:
        return captioner.refine(f"A car raises dust, take {number}.", seen, max_words=25, seed=number).text

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(refine, range(AT_ONCE)))  # connections are open, the package is loaded
        start = time.perf_counter()
        done = sum(1 for _ in threads.map(refine, range(count)))
        return done / (time.perf_counter() - start) / (AT_ONCE / LATENCY_S)


def clip_maker(captioner: OpenAiCaptioner, height: int, width: int) -> Callable[[int], ClipContext]:
    """Makes 85-frame clips, one after the other; what waits for an answer holds the shown frames alone."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)), (0, 0), 3)
    grain = np.clip(80 + 40 * wide / wide.std() + rng.normal(0, 2, wide.shape), 0, 127).astype(np.uint8)
    lock = threading.Lock()

    def make(number: int) -> ClipContext:
        with lock:
            gt = np.repeat((grain + np.uint8(number % 128))[None], 85, axis=0)
            return sample_frames(ClipContext(gt=gt, subject="car"), captioner.max_frames)

    return make


def describe_all(captioner: OpenAiCaptioner, count: int, height: int, width: int) -> tuple[float, float]:
    """Clips a second, and the most megabytes that this process held."""
    process, most = psutil.Process(), 0
    start = time.perf_counter()
    clip = clip_maker(captioner, height, width)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(lambda number: captioner.describe(clip(number), seed=0), range(count)):
            most = max(most, process.memory_info().rss)
    return count / (time.perf_counter() - start), most / 1e6


def main() -> None:
    """Print rates, ratio and memory; fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--size", default="384x672")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    height, width = map(int, given.size.split("x"))
    stub = subprocess.Popen(
        [sys.executable, str(SERVER), "--latency", str(LATENCY_S)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert stub.stdout is not None
        captioner = OpenAiCaptioner(model="stub-7b", base_url=stub.stdout.readline().strip(), max_concurrency=AT_ONCE)
        best = max(ratio(captioner, given.count) for _ in range(given.rounds))
        ideal = f"of the ideal {AT_ONCE / LATENCY_S:.0f} a second"
        print(f"refine: {best:.3f} {ideal} (target {TARGET}, best of {given.rounds})")
        rate, most_mb = describe_all(captioner, given.clips, height, width)
        told = f"describe: {given.clips} clips of 85 x {given.size}, {rate:.1f} a second"
        print(f"{told}, most memory {most_mb:.0f} MB (limit {MOST_MB})")
    finally:
        stub.terminate()
        stub.wait()
    if best < TARGET or most_mb > MOST_MB:
        raise SystemExit("a target is missed")


if __name__ == "__main__":
    main()
