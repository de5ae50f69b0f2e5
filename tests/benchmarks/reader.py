"""Decoding through the corpus reader against PyAV on the bare video bytes: `python tests/benchmarks/reader.py`.

One 85-frame clip of 384x672: real footage where EFFECTPAIRS_CLIPS or the clips beside the project are there, else a
grainy texture that a camera pans over. Both sides decode on one thread and take turns, so that a busy machine slows
both; the medians are compared. The reader opens the corpus anew each time. Then the words of a shard of eight such
clips are read, and the bytes counted.
"""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import effectpairs
import numpy as np
from effectpairs.datasets.corpus import shards
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import store_clip

CLIPS = Path(os.environ.get("EFFECTPAIRS_CLIPS", Path(__file__).parents[3] / "shared" / "clips"))
FRAMES, HEIGHT, WIDTH = 85, 384, 672
ROUNDS = 5
COPIES = 8
AIM = 0.9


class Counted(io.FileIO):
    """A file that counts what is read from it."""

    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.bytes_read += len(found)
        return found


def footage() -> tuple[str, np.ndarray]:
    """What is decoded, and its frames."""
    video = CLIPS / "gen_omnimatte" / "davis_camel" / "input_video.mp4"
    if not video.exists():
        return "grainy texture", _texture()
    with av.open(str(video)) as container:
        real = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), FRAMES)]
    real = [cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in real]
    return "real footage (camel)", np.stack([real[frame % len(real)] for frame in range(FRAMES)])


def publish(folder: Path, frames: np.ndarray) -> Path:
    """A corpus of one shard: the same clip under eight names."""
    workspace = folder / "workspace"
    entry = store_clip(workspace, "clip-0", "unpaired", {"gt": frames}, effects=["shadow"])
    names = [f"clip-{number}" for number in range(COPIES)]
    entries = [replace(entry, name=name, row={**entry.row, "clip_id": name, "group": "clip"}) for name in names]
    write_ledger(workspace, "bench", entries, {})
    fixtures_workspaces.publish(workspace, folder / "corpus", shard_bytes=1 << 32)
    return folder / "corpus"


def through_the_reader(corpus: Path) -> np.ndarray:
    """Open the corpus, decode a clip's gt."""
    return effectpairs.open(corpus)["clip-3"].gt


def by_pyav(video: bytes) -> np.ndarray:
    """The plainest way that PyAV offers."""
    with av.open(io.BytesIO(video)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def take_turns(ways: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """Median seconds of each way, after one turn to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    """Measure and print a table."""
    cv2.setNumThreads(1)
    what, frames = footage()
    with tempfile.TemporaryDirectory() as folder:
        corpus = publish(Path(folder), frames)
        video = effectpairs.open(corpus)["clip-3"].encoded("gt")
        assert video is not None
        assert np.array_equal(through_the_reader(corpus), frames)
        assert np.array_equal(by_pyav(video), frames)
        ways = {"corpus reader": lambda: through_the_reader(corpus), "PyAV": lambda: by_pyav(video)}
        seconds = take_turns(ways)
        print(f"{what}, {FRAMES} frames of {HEIGHT}x{WIDTH}, {len(video) / 1e6:.1f} MB, one thread, {ROUNDS} turns\n")
        print("| decoding | median | frames/s | of PyAV's |\n|---|---|---|---|")
        for name, found in seconds.items():
            print(f"| {name} | {found:.3f} s | {FRAMES / found:.0f} | {seconds['PyAV'] / found:.2f} |")
        print_words(corpus)
    ratio = seconds["PyAV"] / seconds["corpus reader"]
    print(f"\naim: at least {AIM} of PyAV's throughput: {'reached' if ratio >= AIM else 'MISSED'} ({ratio:.2f})")


def print_words(corpus: Path) -> None:
    """What reading captions, and all words and numbers, costs."""
    path = next(corpus.glob("data/*/*.parquet"))
    print("\n| words of one shard | bytes read | of the file | time |\n|---|---|---|---|")
    for name, columns in (("captions", ("clip_id", "caption")), ("all words and numbers", shards.PLAIN_COLUMNS)):
        start = time.perf_counter()
        with Counted(path) as file:
            shards.read_plain(file, columns)
            spent, size = time.perf_counter() - start, path.stat().st_size
            share = file.bytes_read / size
            print(f"| {name} of {COPIES} clips | {file.bytes_read} of {size} | {share:.4%} | {spent * 1e3:.1f} ms |")


def _texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT + 100, WIDTH + 200, 3), dtype=np.uint8), (0, 0), 2)
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        seen = ground[number : number + HEIGHT, 2 * number : 2 * number + WIDTH].astype(np.int16)
        frame[...] = np.clip(seen + rng.integers(-3, 4, frame.shape), 0, 255)
    return frames


if __name__ == "__main__":
    main()
