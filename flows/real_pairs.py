"""Real footage to stored pairs: the `real-pairs` flow.

Prefect schedules, retries and shows; the store decides what is done. A task is one stage over one chunk of clips, and
only references travel between tasks. A chunk keeps its worker process through all stages, so its layers stay decoded.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, runtime, task, unmapped
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from ..datasets.ledger import Account, read_ledger
from ..datasets.source import load_source
from ..stages.pair import STAGES
from .chunks import Chunk, Failure, normalise_chunk, stage_chunk
from .progress import Pieces
from .real_source import RealSource
from .source_run import SourceRun, begin
from .workers import Worker, Workers

_pool: ContextVar[Workers] = ContextVar("workers")
_worker: ContextVar[Worker] = ContextVar("worker")
_done: ContextVar[Pieces] = ContextVar("done")


class MayPass(RuntimeError):
    """Some clips of a chunk failed in a way that a second try can mend; `failures` has all of them."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(f"{failure.item}: {failure.reason}" for failure in failures))
        self.failures = failures


def _may_pass(task: Any, run: Any, state: Any) -> bool:
    """Retry nothing but what can pass: bad input and faults of ours fail the same way again."""
    return isinstance(state.result(raise_on_failure=False), MayPass)


_RETRYING: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 1,
    "retry_delay_seconds": 2,
    "retry_condition_fn": _may_pass,
    "log_prints": False,
}


@task(task_run_name="normalise-{chunk.name}", **_RETRYING)
def normalise_videos(chunk: Chunk, source: RealSource, workspace: Path) -> list[Failure]:
    """Stage 1 over one chunk of videos."""
    with _pool.get().lend() as worker:
        failures = _or_retry(normalise_chunk(chunk, source, workspace, worker))
    _done.get().one_more()
    return failures


@task(task_run_name="{stage}-{chunk.name}", **_RETRYING)
def run_stage(chunk: Chunk, stage: str, source: RealSource, workspace: Path) -> list[Failure]:
    """One stage over one chunk of clips; what the store already holds is not made again."""
    return _or_retry(stage_chunk(chunk, stage, source, workspace, _worker.get()))


@task(task_run_name="pairs-{chunk.name}", cache_policy=NO_CACHE)
def make_pairs(chunk: Chunk, source: RealSource, workspace: Path) -> list[Failure]:
    """One chunk of clips through every stage, in one worker."""
    failures: list[Failure] = []
    with _lent_worker():
        for stage in STAGES:
            failures += _kept(lambda stage=stage: run_stage(chunk, stage, source, workspace))  # type: ignore[misc]
            _done.get().one_more()
    return failures


@flow(
    name="real-pairs",
    flow_run_name=lambda: f"real-pairs-{Path(runtime.flow_run.parameters['source']).stem}",
    task_runner=ThreadPoolTaskRunner(max_workers=max(2, os.cpu_count() or 1)),  # type: ignore[arg-type]
    validate_parameters=True,
)
def real_pairs(
    source: str, workspace: str = "workspace", overrides: list[str] | None = None, workers: int = 0
) -> dict[str, Any]:
    """Every clip of a source of real footage through every stage, to an account of each.

    Args:
        source: a name in `datasets/sources/`, or the path of a settings file.
        workspace: where results are kept; running again goes on there.
        overrides: settings to change, each as `key=value`.
        workers: worker processes; 0 takes what the machine's cores and memory carry.
    """
    settings = load_source(source, tuple(overrides or ()), into=RealSource)
    run = begin(settings, Path(workspace), workers)
    with Workers(run.workers) as pool:
        token = _pool.set(pool)
        try:
            _each(normalise_videos, run.pending_videos(), run, "normalise", pieces=1)
            _each(make_pairs, run.pending_clips(), run, "pairs", pieces=len(STAGES))
        finally:
            _pool.reset(token)
    account = run.close()
    _show(account, run)
    return asdict(account)


def _each(work: Any, chunks: list[Chunk], run: SourceRun, what: str, *, pieces: int) -> None:
    """Map a task over chunks of so many pieces each, note what failed, and show how far it is."""
    if not chunks:
        return
    _done.set(Pieces(what, pieces * len(chunks)))
    shown: Any = create_progress_artifact(0.0, key=_key(f"{run.source.name}-{what}"), description=f"{what}, by chunk")
    futures: list[PrefectFuture[Any]] = work.map(chunks, source=unmapped(run.source), workspace=unmapped(run.workspace))
    for done, future in enumerate(as_completed(futures), start=1):
        run.note(_kept(future.result))
        update_progress_artifact(shown, 100 * done / len(chunks))


def _show(account: Account, run: SourceRun) -> None:
    """The account as a table in the UI, and under it every clip that was not accepted."""
    sums = [{"outcome": name, "clips": count} for name, count in asdict(account).items() if name != "source"]
    create_table_artifact(sums, key=_key(f"{account.source}-account"), description=str(account))
    others = [
        {"clip": entry.name, "outcome": entry.outcome, "stage": entry.stage, "why": "; ".join(entry.reasons)}
        for entry in read_ledger(run.workspace, account.source)
        if entry.outcome != "accept"
    ]
    if others:
        # A table of thousands of rows is of no use in a browser; the ledger has them all.
        create_table_artifact(others[:500], key=_key(f"{account.source}-not-accepted"), description="and why")


def _or_retry(failures: list[Failure]) -> list[Failure]:
    if any(failure.transient for failure in failures):
        raise MayPass(failures)
    return failures


def _kept(call: Callable[[], list[Failure]]) -> list[Failure]:
    """The failures of a task that ended, or of one whose second try did not pass either."""
    try:
        return call()
    except MayPass as again:
        return again.failures


@contextmanager
def _lent_worker() -> Iterator[None]:
    with _pool.get().lend() as worker:
        token = _worker.set(worker)
        try:
            yield
        finally:
            _worker.reset(token)


def _key(name: str) -> str:
    """Artifact keys take small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
