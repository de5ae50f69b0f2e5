"""The flows without Prefect: the same steps in plain loops, with the same bytes for a result."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from ...datasets.corpus.finalize import finalize
from ...datasets.corpus.publish import PublishSettings, plan_shards, write_planned
from ...datasets.store.ledger import RunSummary
from ...datasets.store.location import Location
from ...progress import Pieces
from .batches import Chunk, Failure
from .phases import Phase, Run
from .sources import AnySource, begin
from .workers import Workers

TRIES = 2


def pairs_directly(source: AnySource, workspace: Path, *, workers: int = 0) -> RunSummary:
    """Everything of a source, footage or scenes, through every stage; return its account."""
    return run_directly(begin(source, workspace, workers))


def run_directly(run: Run) -> RunSummary:
    """Every phase of a run in turn; return its account."""
    with Workers(run.workers) as pool:
        for phase in run.phases():
            chunks = phase.pending()
            run.note(_each(chunks, run, phase, pool))
    return run.close()


def publish_directly(
    corpus: str, workspace: Path, settings: PublishSettings = PublishSettings(), name: str | None = None
) -> dict[str, Any]:
    """Publish the finished pairs of a workspace; return the corpus's counts."""
    place = Location(corpus)
    plans = plan_shards(workspace, place, settings)
    done = Pieces("shards", len(plans))
    files = []
    for plan in plans:
        files.append(write_planned(plan, workspace, place, settings))
        done.one_more()
    return dict(finalize(workspace, place, files, settings, name or place.title)["counts"])


def _tried(work: Callable[[], list[Failure]]) -> list[Failure]:
    """Work a chunk off, and once more where something may pass on a second try."""
    failures = work()
    for _ in range(TRIES - 1):
        if any(failure.transient for failure in failures):
            failures = work()
    return failures


def _each(chunks: Sequence[Chunk], run: Run, phase: Phase, pool: Workers) -> Iterable[Failure]:
    done = Pieces(phase.name, len(chunks) * len(phase.stages))

    def through(chunk: Chunk) -> list[Failure]:
        failures: list[Failure] = []
        with pool.lend() as worker:
            for stage in phase.stages:
                failures += _tried(partial(run.work, chunk, stage, worker))
                done.one_more()
        return failures

    with ThreadPoolExecutor(pool.count) as threads:
        for future in as_completed([threads.submit(through, chunk) for chunk in chunks]):
            yield from future.result()
