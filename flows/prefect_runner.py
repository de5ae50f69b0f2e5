"""Any run under Prefect: it schedules, retries and shows; the store decides what is done.

A task is one stage over one chunk, and only references travel between tasks. A chunk keeps its worker process through
all stages of its phase, so its layers stay decoded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import task, unmapped
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from ..datasets.store.ledger import RunSummary, read_ledger
from ..progress import Pieces
from .engine.batches import Chunk, Failure
from .engine.phases import Phase, Run
from .engine.workers import Worker, Workers

_run: ContextVar[Run] = ContextVar("run")
_pool: ContextVar[Workers] = ContextVar("workers")
_worker: ContextVar[Worker | None] = ContextVar("worker", default=None)
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


@task(task_run_name="{stage}-{chunk.name}", **_RETRYING)
def run_stage(chunk: Chunk, stage: str) -> list[Failure]:
    """One stage over one chunk; what the store already holds is not made again."""
    with _lent_worker() as worker:
        return _or_retry(_run.get().work(chunk, stage, worker))


@task(task_run_name="{phase}-{chunk.name}", cache_policy=NO_CACHE)
def run_stages(chunk: Chunk, phase: str, stages: tuple[str, ...]) -> list[Failure]:
    """One chunk through every stage of a phase, in one worker."""
    failures: list[Failure] = []
    with _lent_worker():
        for stage in stages:
            failures += _kept(partial(run_stage, chunk, stage))
            _done.get().one_more()
    return failures


def run_scheduled(run: Run) -> dict[str, Any]:
    """Take everything through every phase, to an account of each; within a flow."""
    with Workers(run.workers) as pool:
        tokens = _run.set(run), _pool.set(pool)
        try:
            for phase in run.phases():
                _each(phase, run)
        finally:
            _run.reset(tokens[0])
            _pool.reset(tokens[1])
    account = run.close()
    _show(account, run)
    return asdict(account)


def _each(phase: Phase, run: Run) -> None:
    """Map a task over the phase's chunks, note what failed, and show how far it is."""
    chunks = phase.pending()
    if not chunks:
        return
    pieces = Pieces(phase.name, len(phase.stages) * len(chunks))
    _done.set(pieces)
    shown: Any = create_progress_artifact(
        0.0, key=_key(f"{run.source.name}-{phase.name}"), description=f"{phase.name}, by chunk"
    )
    for done, future in enumerate(as_completed(_mapped(phase, chunks)), start=1):
        run.note(_kept(future.result))
        if len(phase.stages) == 1:
            pieces.one_more()
        update_progress_artifact(shown, 100 * done / len(chunks))


def _mapped(phase: Phase, chunks: list[Chunk]) -> list[PrefectFuture[Any]]:
    """A task for each chunk; where there is one stage, its task is the chunk's."""
    if len(phase.stages) == 1:
        return list(run_stage.map(chunks, stage=phase.stages[0]))
    return list(run_stages.map(chunks, phase=phase.name, stages=unmapped(phase.stages)))


def _show(account: RunSummary, run: Run) -> None:
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
def _lent_worker() -> Iterator[Worker]:
    """The worker that the task around this one holds, else a free one."""
    held = _worker.get()
    if held is not None:
        yield held
        return
    with _pool.get().lend() as worker:
        token = _worker.set(worker)
        try:
            yield worker
        finally:
            _worker.reset(token)


def _key(name: str) -> str:
    """Artifact keys take small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
