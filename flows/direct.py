"""The flows without Prefect: the same steps in plain loops, with the same bytes for a result."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ..datasets.ledger import Account
from ..datasets.place import Place
from ..datasets.publish import Publishing, plan_shards, write_planned
from ..datasets.seal import seal
from ..stages.pair import STAGES
from .chunks import Chunk, Failure, normalise_chunk, stage_chunk
from .progress import Pieces
from .real_source import RealSource
from .source_run import begin
from .workers import Worker, Workers

TRIES = 2


def real_pairs_directly(source: RealSource, workspace: Path, *, workers: int = 0) -> Account:
    """Every clip of the source through every stage; return its account."""
    run = begin(source, workspace, workers)

    def normalise(chunk: Chunk, worker: Worker, done: Pieces) -> list[Failure]:
        failures = _tried(lambda: normalise_chunk(chunk, source, workspace, worker))
        done.one_more()
        return failures

    def pairs(chunk: Chunk, worker: Worker, done: Pieces) -> list[Failure]:
        failures: list[Failure] = []
        for stage in STAGES:
            failures += _tried(lambda stage=stage: stage_chunk(chunk, stage, source, workspace, worker))  # type: ignore[misc]
            done.one_more()
        return failures

    with Workers(run.workers) as pool:
        videos = run.pending_videos()
        run.note(_each(videos, normalise, pool, Pieces("normalise", len(videos))))
        clips = run.pending_clips()
        run.note(_each(clips, pairs, pool, Pieces("pairs", len(clips) * len(STAGES))))
    return run.close()


def publish_directly(
    corpus: str, workspace: Path, settings: Publishing = Publishing(), name: str | None = None
) -> dict[str, Any]:
    """Publish the finished pairs of a workspace; return the corpus's counts."""
    place = Place(corpus)
    plans = plan_shards(workspace, place, settings)
    done = Pieces("shards", len(plans))
    files = []
    for plan in plans:
        files.append(write_planned(plan, workspace, place, settings))
        done.one_more()
    return dict(seal(workspace, place, files, settings, name or place.title)["counts"])


def _tried(work: Callable[[], list[Failure]]) -> list[Failure]:
    """Work a chunk off, and once more where something may pass on a second try."""
    failures = work()
    for _ in range(TRIES - 1):
        if any(failure.transient for failure in failures):
            failures = work()
    return failures


def _each(
    chunks: Sequence[Chunk], work: Callable[[Chunk, Worker, Pieces], list[Failure]], pool: Workers, done: Pieces
) -> Iterable[Failure]:
    def lent(chunk: Chunk) -> list[Failure]:
        with pool.lend() as worker:
            return work(chunk, worker, done)

    with ThreadPoolExecutor(pool.count) as threads:
        for future in as_completed([threads.submit(lent, chunk) for chunk in chunks]):
            yield from future.result()
