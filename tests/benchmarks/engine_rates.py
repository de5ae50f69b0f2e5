"""Engines on a source that only computes: two workers against one, and what scheduling costs beside 50 clips.

A clip takes a fixed number of CPU seconds, in three phases as real footage does, whatever else the machine has to do.
The cost of scheduling is counted in CPU seconds too: those of the run's own process, and those of its workers between
their first and last clip that no stage took. Starting the engine is told apart. It is a cost of batches, not of
seconds, so its share is told for the clips of this run and for real ones, of `REAL_CLIP_S`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")

from dataclasses import dataclass

from effectpairs.datasets.sources.source import Source
from effectpairs.datasets.store.ledger import ClipOutcome
from effectpairs.datasets.store.store import ResultWriter, Store
from effectpairs.flows.engine.batches import WORKING_BYTES, Failure
from effectpairs.flows.engine.item import Item, ItemKind, ItemProgress, Stage, StageInput
from effectpairs.flows.engine.run import Run
from effectpairs.flows.engine.workers import Engine

SHARES = {"normalise": 0.1, "pairs": 0.8, "captions": 0.1}
"""Share of each phase in a clip's time."""
REAL_CLIP_S = 38.4
"""CPU seconds of a real clip of 85 frames of 384x672 through all stages, `cpu_s` of docs/scale.json."""


@dataclass(frozen=True, kw_only=True)
class BusySource(Source):
    """Clips that cost CPU seconds and hold nothing."""

    clips: int
    clip_s: float
    times: str
    """Folder in which workers note their times."""
    clip_bytes: int = WORKING_BYTES


def list_items(source: BusySource, store: Store) -> Iterator[Item]:
    return (Item(id=f"clip-{number:03d}", inputs={"clip": str(number)}) for number in range(source.clips))


def stages(source: BusySource) -> tuple[Stage, ...]:
    return tuple(
        Stage(name=name, reads_inputs=True, make=partial(spin, source.clip_s * share, source.times), phase=name)
        for name, share in SHARES.items()
    )


def spin(seconds: float, times: str, stage_input: StageInput, writer: ResultWriter) -> None:
    """Compute for that many CPU seconds; note the process's time before and after."""
    start, value = time.process_time(), 0
    while time.process_time() - start < seconds:
        value = (value * 31 + 7) % 1_000_003
    with Path(times, str(os.getpid())).open("a") as file:
        file.write(f"{start} {time.process_time()} {time.time()}\n")
    writer.facts["done"] = True


def outcome(source: BusySource, progress: ItemProgress, failure: Failure | None) -> ClipOutcome:
    return ClipOutcome(name=progress.item.id, outcome="reject", stage="captions", reasons=("a benchmark",))


def settings(source: BusySource) -> dict[str, Any]:
    return {}


BUSY = ItemKind(item_classes=(Item,), list_items=list_items, stages=stages, outcome=outcome, settings=settings)


def measure(engine: str, workers: int, clips: int, clip_s: float) -> tuple[float, float]:
    """Run; return the wall seconds from the first clip's start to the last one's end, and the CPU seconds beside."""
    from effectpairs.flows.prefect_runner import run_in_flow, run_with_prefect
    from effectpairs.tests.benchmarks import engine_rates

    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times")
        times.mkdir()
        source = engine_rates.BusySource(name="busy", clips=clips, clip_s=clip_s, times=str(times))
        run = Run(engine_rates.BUSY, source, Path(folder, "workspace"), workers)
        own = time.process_time()
        summary = run_in_flow("busy", "busy", partial(run_with_prefect, run, engine=Engine(name=engine)))
        own = time.process_time() - own
        assert summary["rejected"] == clips, summary
        by_process: dict[str, list[list[float]]] = defaultdict(list)
        for file in times.iterdir():
            by_process[file.name] = [list(map(float, line.split())) for line in file.read_text().splitlines()]
    spans = [row for rows in by_process.values() for row in rows]
    first = min(at - (end - start) for start, end, at in spans)
    beside = sum(rows[-1][1] - rows[0][0] - sum(end - start for start, end, _ in rows) for rows in by_process.values())
    return max(at for _, _, at in spans) - first, own + beside


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--clips", type=int, default=50)
    options.add_argument(
        "--clip-s", type=float, default=6.0, help=f"CPU seconds of a clip; real ones take {REAL_CLIP_S:g}"
    )
    options.add_argument("--engines", default="local,dask,ray")
    given = options.parse_args()
    from prefect.testing.utilities import prefect_test_harness

    print(f"## Engines, {given.clips} clips of {given.clip_s:g} CPU seconds, load {os.getloadavg()[0]:.1f} beside\n")
    titles = ("engine", "one worker, s", "two workers, s", "ratio (aim: at least 1.8)", "scheduling, CPU s")
    print(f"| {' | '.join(titles)} | share | share of real clips (aim: 2 %) |\n|{'---|' * 7}", flush=True)
    with prefect_test_harness(server_startup_timeout=240):
        for engine in given.engines.split(","):
            one, beside = measure(engine, 1, given.clips, given.clip_s)
            two, _ = measure(engine, 2, given.clips, given.clip_s)
            shares = (beside / given.clips / seconds for seconds in (given.clip_s, REAL_CLIP_S))
            cells = (
                f"{one:.1f}",
                f"{two:.1f}",
                f"{one / two:.2f}",
                f"{beside:.2f}",
                *(f"{share:.2%}" for share in shares),
            )
            print(f"| {engine} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
