"""Any run under Prefect: it schedules, retries and shows; the store decides what is done.

A task is one stage over one batch, and only references travel between tasks. A batch keeps its worker process through
all stages of its phase, so its layers stay decoded.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow, runtime, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import CancelledRun
from prefect.futures import as_completed
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from ..datasets.store.ledger import RunSummary, read_ledger
from ..datasets.store.location import Place
from .engine.batches import Batch, Failure, run_in_worker
from .engine.report import write_report
from .engine.run import Phase, ProgressCounter, ReportProgress, Run, ignore_progress
from .engine.workers import WorkerPool
from .prefect_server import prefect_server

T = TypeVar("T")
MAX_TABLE_ROWS = 500
"""A table of thousands of rows is of no use in a browser; the ledger has them all."""
CANCELLATION_POLL_S = 2.0
"""Seconds between two looks at whether the flow run was cancelled; a look takes some milliseconds."""


class RunCancelled(RuntimeError):
    """The flow run was cancelled in Prefect's UI or by `prefect flow-run cancel`."""

    is_sentence = True


class TransientFailure(RuntimeError):
    """Some items of a batch failed in a way that a second try can mend; `failures` has all of them."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(f"{failure.item}: {failure.reason}" for failure in failures))
        self.failures = failures


@task(
    task_run_name="{stage}-{batch.name}",
    cache_policy=NO_CACHE,
    retries=1,
    retry_delay_seconds=2,
    retry_condition_fn=lambda task, run, state: isinstance(state.result(raise_on_failure=False), TransientFailure),
    log_prints=False,
)
def run_stage(batch: Batch, stage: str, call: Callable[[], list[Failure]]) -> list[Failure]:
    """Take one batch through one stage; what the store already holds is not made again."""
    failures = call()
    if any(failure.transient for failure in failures):
        raise TransientFailure(failures)
    return failures


@task(task_run_name="{phase}-{batch.name}", cache_policy=NO_CACHE)
def run_phase(batch: Batch, phase: str, call: Callable[[], list[Failure]]) -> list[Failure]:
    """Take one batch through every stage of a phase, in one worker."""
    return call()


def run_with_prefect(run: Run, report_progress: ReportProgress = ignore_progress) -> dict[str, Any]:
    """Take every item of a run through its stages, inside a flow; return the summary as values.

    Raises:
        RequirementMissing: a model or package that the settings name is not here; nothing was computed.
    """
    run.check_requirements()
    with WorkerPool(run.workers) as pool:
        for phase in run.iter_phases():
            _run_batches(run, phase, pool, report_progress)
    summary = write_report(run)
    _show_summary(summary, run.workspace)
    return asdict(summary)


def run_in_flow(name: str, title: str, body: Callable[[], T]) -> T:
    """Run a body in this process as a flow; in the UI it stands under the name of the deployed flow.

    Raises:
        RunCancelled: it was cancelled there; whatever ran was ended at once, and what it had finished is kept.
    """

    @flow(name=name, flow_run_name=f"{name}-{title}", task_runner=task_runner())
    def run_body() -> Any:  # Prefect takes no partial function
        with _interrupt_when_cancelled() as is_cancelled:
            try:
                return body()
            except KeyboardInterrupt:
                if not is_cancelled.is_set():
                    raise
                return Cancelled(message="cancelled by a user")

    with prefect_server():
        try:
            return cast(T, run_body())
        except CancelledRun as cancelled:
            raise RunCancelled("the run was cancelled; run again to go on where it was") from cancelled


@contextlib.contextmanager
def _interrupt_when_cancelled() -> Iterator[threading.Event]:
    """Interrupt the main thread when this flow run is cancelled; yield the event that says so.

    A served deployment needs no such watch: the process that started it ends it.
    """
    run_id, is_cancelled, is_over = runtime.flow_run.id, threading.Event(), threading.Event()

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not is_over.wait(CANCELLATION_POLL_S):
                with contextlib.suppress(Exception):  # a server that does not answer cancels nothing
                    state = client.read_flow_run(run_id).state
                    if state is not None and state.is_cancelling():
                        is_cancelled.set()
                        return os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch, name="cancellation", daemon=True)
    thread.start()
    try:
        yield is_cancelled
    finally:
        is_over.set()
        thread.join()


def task_runner() -> Any:
    """Threads that wait for worker processes; at least two, since a phase's task waits for its stages' tasks."""
    return ThreadPoolTaskRunner(max_workers=max(2, os.cpu_count() or 1))


def flow_run_name() -> str:
    """Name of a run of a source's flow, e.g. real-pairs-davis."""
    return f"{runtime.flow_run.flow_name}-{Path(runtime.flow_run.parameters['source']).stem}"


def artifact_key(name: str) -> str:
    """Name in the characters that artifact keys take: small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _run_batches(run: Run, phase: Phase, pool: WorkerPool, report_progress: ReportProgress) -> None:
    """Submit a task for each batch of a phase, record what failed, and show how far it is."""
    batches = run.write_pending_batches(phase)
    if not batches:
        return
    progress: Any = create_progress_artifact(
        0.0, key=artifact_key(f"{run.source.name}-{phase.name}"), description=f"{phase.name}, by batch"
    )
    counter = ProgressCounter(phase.name, len(batches) * len(phase.stages), report_progress)

    def call_phase(batch: Batch) -> list[Failure]:
        failures: list[Failure] = []
        with pool.lend() as worker:
            for stage in phase.stages:
                call = partial(run_in_worker, run.kind, run.source, run.workspace, stage, batch, worker)
                if len(phase.stages) == 1:
                    return call()
                failures += _failures_of(partial(run_stage, batch, stage.name, call))
                counter.advance()
        return failures

    task: Any = run_stage if len(phase.stages) == 1 else run_phase  # a batch of one stage is one task
    futures = [task.submit(batch, phase.name, partial(call_phase, batch)) for batch in batches]
    for finished, future in enumerate(as_completed(futures), start=1):
        run.record_failures(_failures_of(future.result))
        update_progress_artifact(progress, 100 * finished / len(batches))
        if len(phase.stages) == 1:
            counter.advance()


def _failures_of(call: Callable[[], list[Failure]]) -> list[Failure]:
    """Failures of a task, also of one whose second try did not pass either."""
    try:
        return call()
    except TransientFailure as second_try:
        return second_try.failures


def _show_summary(summary: RunSummary, workspace: Place) -> None:
    """Show the summary as a table in the UI, and under it every clip that was not accepted."""
    sums = [{"outcome": name, "clips": count} for name, count in asdict(summary).items() if name != "source"]
    create_table_artifact(sums, key=artifact_key(f"{summary.source}-account"), description=str(summary))
    not_accepted = [
        {"clip": clip.name, "outcome": clip.outcome, "stage": clip.stage, "why": "; ".join(clip.reasons)}
        for clip in read_ledger(workspace, summary.source)
        if clip.outcome != "accept"
    ]
    if not_accepted:
        key = artifact_key(f"{summary.source}-not-accepted")
        create_table_artifact(not_accepted[:MAX_TABLE_ROWS], key=key, description="and why")
