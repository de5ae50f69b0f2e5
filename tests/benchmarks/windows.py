"""Random runs of 8 frames of four aligned streams: the corpus, LeRobot's dataset and PyAV on mp4, in turn in one run.

Two clips of 85 frames of 384x672: real footage where EFFECTPAIRS_CLIPS or the clips beside the project are there, else
grainy textures. Every reader has the same frames, one process, one thread and the same draws of clip and first frame.
Corpus and LeRobot keep their decoders open, as they do by default; a row of its own shows the corpus with each layer
opened anew for each window, as in a corpus of many more clips than are kept open.
LeRobot's dataset is written and read by LeRobot with its defaults, in an environment of its own:

    python -m venv /tmp/lerobot && /tmp/lerobot/bin/pip install lerobot   # 8 GB, and FFmpeg's libraries for torchcodec
    EFFECTPAIRS_LEROBOT=/tmp/lerobot/bin/python python tests/benchmarks/windows.py

Where it is not there, this says so and measures the others. LeRobot hands out float32, the corpus uint8; rows of their
own show the corpus with the same conversion.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import av
import cv2
import effectpairs
import numpy as np
import reader
import torch
from effectpairs.datasets.corpus import reader as corpus_reader
from effectpairs.datasets.corpus.reader import Corpus
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.stages.composite import over
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import store_clip

FPS, WINDOW, CLIPS = 16, 8, 2
STREAMS = {
    "four colour layers": ("gt", "over", "background", "foreground"),
    "a training sample": ("gt", "over", "subject_mask", "effect_mask"),
}
FOOTAGE = ("davis_camel", "boys-beach")
ROUNDS, DRAWS = 5, 6
FOR_WINDOWS = ("raw", "fast")
"""Storages that are meant for windows."""
AIM = 2.0
Draws = Sequence[tuple[int, int]]
"""Clip and first frame of each window."""
Way = Callable[[Draws], tuple[float, float]]
"""Reads windows; returns CPU and wall seconds."""


def clips() -> Iterator[dict[str, np.ndarray]]:
    """Layers of each clip: a median over time as its plate, and a soft shape that moves as its subject."""
    for number in range(CLIPS):
        gt = _footage(number)
        background = np.repeat(np.median(gt[::6], axis=0).astype(np.uint8)[None], len(gt), axis=0)
        subject = np.zeros(gt.shape[:3], np.uint8)
        for frame, mask in enumerate(subject):
            cv2.ellipse(mask, (80 + 5 * frame, 200), (70, 110), 10 * np.sin(frame / 5), 0, 360, 255, -1)
            mask[:] = cv2.GaussianBlur(mask, (0, 0), 1.5)
        yield {
            "gt": gt,
            "over": over(gt, background, subject),
            "background": background,
            "foreground": gt * (subject > 0)[..., None],
            "subject_mask": subject,
            "effect_mask": (np.roll(subject, 40, axis=1) > 127) & (subject == 0),
        }


def _footage(number: int) -> np.ndarray:
    video = reader.CLIPS / "gen_omnimatte" / FOOTAGE[number] / "input_video.mp4"
    if not video.exists():
        return np.roll(reader._texture(), 37 * number, axis=2)
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][: reader.FRAMES]
    return np.stack([cv2.resize(frame, (reader.WIDTH, reader.HEIGHT)) for frame in frames])


def publish(folder: Path) -> dict[str, Corpus]:
    """The same clips as a corpus in each storage."""
    workspace = folder / "workspace"
    entries = []
    for number, layers in enumerate(clips()):
        stored = {  # one by one, since the quality of these is of no interest
            name: store_clip(workspace, f"clip-{number}-{name}", "real", {"gt": frames}, effects=["shadow"])
            for name, frames in layers.items()
        }
        files = {name: entry.layers["gt"] for name, entry in stored.items()}
        row = {**stored["gt"].row, "clip_id": f"clip-{number}", "group": "one"}
        entries.append(replace(stored["gt"], name=row["clip_id"], row=row, layers=files))
    write_ledger(workspace, "bench", entries, {})
    corpora = {}
    for storage in ("raw", "fast", "exact"):
        place, accepted = folder / storage, {"include": ("accept", "review", "reject"), "shard_bytes": 1 << 32}
        fixtures_workspaces.publish(workspace, place, storage=storage, **accepted)
        corpora[storage] = effectpairs.open(place)
    return corpora


def through_the_corpus(
    corpus: Corpus, streams: Sequence[str], *, to_float: bool = False, open_videos: int = corpus_reader.OPEN_VIDEOS
) -> Way:
    """Read by the PyTorch dataset, as training does."""
    samples = corpus.torch(layers=streams, window=WINDOW, stride=1)
    starts = reader.FRAMES - WINDOW + 1
    places = {clip_id: number for number, clip_id in enumerate(corpus.ids)}

    def read(draws: Draws) -> tuple[float, float]:
        corpus_reader.OPEN_VIDEOS = open_videos
        with Watch() as watch:
            for clip, start in draws:
                place = places[f"clip-{clip}"]
                sample = samples[place * starts + start]
                assert sample["start"] == start
                if to_float:
                    for stream in streams:
                        sample[stream] = sample[stream].to(torch.float32).div_(255)
        return watch.seconds

    return read


def by_pyav(folder: Path, corpus: Corpus, streams: Sequence[str]) -> Way:
    """Plain PyAV: seek to the key frame and decode to the window's end. H.264 of x264's defaults: crf 23, GOP 250."""
    for clip in range(CLIPS):
        for stream in streams:
            frames: Any = corpus[f"clip-{clip}"].decode(stream)
            with av.open(str(folder / f"{clip}-{stream}.mp4"), "w") as container:
                coded: Any = container.add_stream("libx264", rate=FPS)
                coded.height, coded.width, coded.pix_fmt = *frames.shape[1:3], "yuv420p"
                for frame in frames:
                    pixels = (
                        np.repeat(frame[..., None] * np.uint8(255 if frame.dtype == bool else 1), 3, -1)
                        if frame.ndim == 2
                        else frame
                    )
                    container.mux(
                        coded.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"))
                    )
                container.mux(coded.encode(None))

    def read(draws: Draws) -> tuple[float, float]:
        with Watch() as watch:
            for clip, start in draws:
                for stream in streams:
                    assert len(_seek(folder / f"{clip}-{stream}.mp4", start)) == WINDOW
        return watch.seconds

    return read


def _seek(path: Path, start: int) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first = round(start / FPS / stream.time_base)
        container.seek(first, stream=stream)
        frames = []
        for frame in container.decode(stream):
            if frame.pts >= first:
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == WINDOW:
                    break
        return np.stack(frames)


class Watch:
    """CPU and wall seconds of a block."""

    def __enter__(self) -> "Watch":
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = tuple(now - start for now, start in zip(self._now(), self._start, strict=True))

    @staticmethod
    def _now() -> tuple[float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, time.perf_counter()


class LeRobot:
    """LeRobot in a process of its own environment: a line of draws goes in, a line of seconds comes out."""

    def __init__(self, python: str, folder: Path, corpus: Corpus, streams: Sequence[str]) -> None:
        source = folder / "layers"
        source.mkdir(parents=True)
        for clip in range(CLIPS):
            for stream in streams:
                (source / f"{clip}-{stream}.mkv").write_bytes(corpus[f"clip-{clip}"].encoded(stream))
        call = [python, str(Path(__file__).with_name("windows_lerobot.py")), str(source), str(folder / "dataset")]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "PYTHONPATH": ""}
        self._log = folder / "log"  # the encoder says much
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*call, str(WINDOW), *streams],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self.about = self._answer()

    def __call__(self, draws: Draws) -> tuple[float, float]:
        self._process.stdin.write(json.dumps(draws) + "\n")
        self._process.stdin.flush()
        return tuple(self._answer()["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"LeRobot ended with {self._process.wait()}: {self._log.read_text()[-2000:]}")


def frame_kb(corpus: Corpus, streams: Sequence[str]) -> float:
    """Mean kB of a frame of a stream."""
    sizes = [len(corpus[f"clip-{clip}"].encoded(stream)) for clip in range(CLIPS) for stream in streams]
    return sum(sizes) / len(sizes) / reader.FRAMES / 1e3


def main() -> None:
    """Measure both sets of streams and print a table for each."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    python = os.environ.get("EFFECTPAIRS_LEROBOT")
    if not python:
        print("LeRobot is not here (EFFECTPAIRS_LEROBOT names its environment's python): the others are measured.\n")
    with tempfile.TemporaryDirectory() as place:
        corpora = publish(Path(place))
        for title, streams in STREAMS.items():
            measure(title, streams, corpora, Path(place) / title.replace(" ", "-"), python)


def measure(title: str, streams: Sequence[str], corpora: dict[str, Corpus], folder: Path, python: str | None) -> None:
    """Let all readers of one set of streams take turns; print medians and ratios."""
    folder.mkdir()
    ways: dict[str, Way] = {f"corpus, {storage}": through_the_corpus(corpora[storage], streams) for storage in corpora}
    ways["corpus, fast, opened anew"] = through_the_corpus(corpora["fast"], streams, open_videos=0)
    for storage in FOR_WINDOWS:
        ways[f"corpus, {storage}, to float32"] = through_the_corpus(corpora[storage], streams, to_float=True)
    ways["PyAV on mp4"] = by_pyav(folder, corpora["exact"], streams)
    kb = {f"corpus, {storage}": frame_kb(corpora[storage], streams) for storage in corpora}
    kb |= {way: kb[", ".join(way.split(", ")[:2])] for way in ways if way.startswith("corpus")}
    kb["PyAV on mp4"] = _file_kb(folder.glob("*.mp4"), streams)
    lerobot = LeRobot(python, folder / "lerobot", corpora["exact"], streams) if python else None
    if lerobot:
        name = f"LeRobot {lerobot.about['version']}, {lerobot.about['decoder']}"
        ways[name], kb[name] = lerobot, _file_kb((folder / "lerobot/dataset").rglob("*.mp4"), streams)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        rng = np.random.default_rng(turn)
        draws = [(int(rng.integers(CLIPS)), int(rng.integers(reader.FRAMES - WINDOW + 1))) for _ in range(DRAWS)]
        for way in ways:
            spent = ways[way](draws)
            if turn:  # the first warms up
                seconds[way].append(spent)
    if lerobot:
        lerobot.close()
    frames = WINDOW * len(streams) * DRAWS
    base = name if lerobot else "PyAV on mp4"
    cpu, wall = ({way: statistics.median(s[part] for s in seconds[way]) for way in ways} for part in (0, 1))
    print(f"{title}: {', '.join(streams)}; {ROUNDS} turns of {DRAWS} windows of {WINDOW} frames\n")
    print(
        f"| reader | frames/CPU-s | frames/s | of {base.split(',')[0]} | kB a frame | loss |\n|---|---|---|---|---|---|"
    )
    for way in ways:
        loss = "none" if way.startswith("corpus") else "4:2:0 and the encoder's"
        of_base = statistics.median(
            theirs[0] / ours[0] for theirs, ours in zip(seconds[base], seconds[way], strict=True)
        )
        print(
            f"| {way} | {frames / cpu[way]:.0f} | {frames / wall[way]:.0f} | {of_base:.2f} | {kb[way]:.0f} | {loss} |"
        )
    if lerobot:
        print(f"\naim: at least {AIM} times LeRobot's:", end="")
        for storage in FOR_WINDOWS:
            pairs = zip(seconds[base], seconds[f"corpus, {storage}"], strict=True)
            ratio = statistics.median(theirs[0] / ours[0] for theirs, ours in pairs)
            print(f" {storage} {'reaches' if ratio >= AIM else 'MISSES'} it ({ratio:.2f})", end="")
        print("\n", flush=True)


def _file_kb(paths: Iterator[Path], streams: Sequence[str]) -> float:
    return sum(path.stat().st_size for path in paths) / (CLIPS * len(streams) * reader.FRAMES) / 1e3


if __name__ == "__main__":
    main()
