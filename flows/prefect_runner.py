"""Any run under Prefect: it schedules, retries and shows; the store decides what is done.

A task is one stage over one batch, and only references travel between tasks. A batch keeps its worker process through
all stages of its phase, so its layers stay decoded.
"""

import contextlib
import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.exceptions import CancelledRun
from prefect.futures import as_completed
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from ..datasets.store.atomic_io import CannotWrite
from ..datasets.store.ledger import RunSummary, iter_ledger
from ..datasets.store.location import Place
from ..permissions import check_call
from .cluster import EngineUnusable
from .cluster_runner import artifact_key, progress_artifact, run_on_cluster, run_phase, tagged
from .engine.batches import Batch, Failure, run_in_worker
from .engine.plan import plan_run
from .engine.report import write_report
from .engine.run import Phase, ProgressCounter, ReportProgress, Run, ignore_progress
from .engine.workers import Engine, WorkerPool
from .prefect_server import prefect_server

T = TypeVar("T")
_body: ContextVar[Callable[[], Any]] = ContextVar("body")
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


def run_with_prefect(
    run: Run, report_progress: ReportProgress = ignore_progress, engine: Engine = Engine()
) -> dict[str, Any]:
    """Take every item of a run through its stages, inside a flow; return the summary as values.

    Raises:
        RequirementMissing: a model or package that the settings name is not here; nothing was computed.
        CannotWrite: the disk was nearly full before the end; what was done is in the report.
        EngineUnusable: an engine is not there or lacks something; or it was lost in mid-run, and what was done is in
            the report.
    """
    trouble = None
    if engine.name == "local":
        run.check_requirements()
    logger = get_run_logger()
    if logger.isEnabledFor(logging.INFO):
        logger.info(str(plan_run(run)))
    if engine.name == "local":
        with WorkerPool(run.workers) as pool:
            for phase in run.iter_phases():
                _run_batches(run, phase, pool, report_progress)
    else:
        trouble = run_on_cluster(run, engine, report_progress)
    summary = write_report(run)
    _show_summary(summary, run.workspace)
    if trouble is not None:
        raise EngineUnusable(f"{trouble}. {summary}")
    if run.stop_reason is not None:
        raise CannotWrite(errno.ENOSPC, f"{run.stop_reason}. {summary}")
    return asdict(summary)


def run_in_flow(name: str, title: str, body: Callable[[], T]) -> T:
    """Run a body in this process as a flow; in the UI it stands under the name of the deployed flow.

    Raises:
        RunCancelled: it was cancelled there; whatever ran was ended at once, and what it had finished is kept.
    """
    token = _body.set(body)
    try:
        with prefect_server():
            run = flow(name=name, flow_run_name=f"{name}-{title}", task_runner=task_runner())(_run_body)
            return cast(T, run())
    except CancelledRun as cancelled:
        raise RunCancelled("the run was cancelled; run again to go on where it was") from cancelled
    finally:
        _body.reset(token)


def _run_body() -> Any:
    """Run the body that is set: a flow travels to an engine's workers, so it must not hold its body itself."""
    with _interrupt_when_cancelled() as is_cancelled:
        try:
            return _body.get()()
        except KeyboardInterrupt:
            if not is_cancelled.is_set():
                raise
            return Cancelled(message="cancelled by a user")
        except Exception as problem:
            if not (isinstance(problem, (ValueError, OSError, ImportError)) or getattr(problem, "is_sentence", False)):
                raise
            return Failed(data=problem, message=str(problem))  # a sentence: Prefect would log where it was raised


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

    # In this context, which names the server: a client that is told of none starts one of its own.
    thread = threading.Thread(target=copy_context().run, args=(watch,), name="cancellation", daemon=True)
    thread.start()
    try:
        yield is_cancelled
    finally:
        is_over.set()
        thread.join()


def check_parameters(overrides: Iterable[str] = (), *, places: Iterable[str] = (), files: Iterable[str] = ()) -> None:
    """Check what the caller of a deployment chose (see `permissions`); a call from Python may choose what it likes.

    Raises:
        ValueError: it may not be chosen.
    """
    if runtime.deployment.id:
        check_call(overrides, places=places, files=files)


def task_runner() -> Any:
    """Threads that wait for worker processes; at least two, since a phase's task waits for its stages' tasks."""
    return ThreadPoolTaskRunner(max_workers=max(2, os.cpu_count() or 1))


def flow_run_name() -> str:
    """Name of a run of a source's flow, e.g. real-pairs-davis."""
    return f"{runtime.flow_run.flow_name}-{Path(runtime.flow_run.parameters['source']).stem}"


def _run_batches(run: Run, phase: Phase, pool: WorkerPool, report_progress: ReportProgress) -> None:
    """Submit a task for each batch of a phase, record what failed, and show how far it is."""
    batches = run.write_pending_batches(phase)
    if not batches:
        return
    show_share = progress_artifact(run, phase, len(batches))
    counter = ProgressCounter(phase.name, len(batches) * len(phase.stages), report_progress)
    # A batch of one stage is one task. One of several has no tags: it would hold a slot that its stages wait for.
    tasks = {stage.name: tagged(run_stage, [stage]) for stage in phase.stages}
    batch_task = tasks[phase.stages[0].name] if len(phase.stages) == 1 else run_phase

    def call_phase(batch: Batch) -> list[Failure]:
        failures: list[Failure] = []
        with pool.lend() as worker:
            for stage in phase.stages:
                call = partial(run_in_worker, run.kind, run.source, run.workspace, stage, batch, worker)
                if len(phase.stages) == 1:
                    return call()
                failures += _failures_of(partial(tasks[stage.name], batch, stage.name, call))
                counter.advance()
        return failures

    futures = [batch_task.submit(batch, phase.name, partial(call_phase, batch)) for batch in batches]
    for future in as_completed(futures):
        run.record_failures(_failures_of(future.result))
        show_share()
        if len(phase.stages) == 1:
            counter.advance()


def _failures_of(call: Callable[[], list[Failure]]) -> list[Failure]:
    """Failures of a task, also of one whose second try did not pass either."""
    try:
        return call()
    except TransientFailure as second_try:
        return second_try.failures


def _show_summary(summary: RunSummary, workspace: Place) -> None:
    """Show the summary as a table in the UI, under it every clip that was not accepted, and as an event."""
    resource = {
        "prefect.resource.id": f"effectpairs.source.{summary.source}",
        "effectpairs.failures": "yes" if summary.failed else "no",
    }
    emit_event("effectpairs.run.finished", resource=resource, payload=asdict(summary))
    sums = [{"outcome": name, "clips": count} for name, count in asdict(summary).items() if name != "source"]
    create_table_artifact(sums, key=artifact_key(f"{summary.source}-account"), description=str(summary))
    not_accepted = [
        {"clip": clip.name, "outcome": clip.outcome, "stage": clip.stage, "why": "; ".join(clip.reasons)}
        for _, clip in iter_ledger(workspace, summary.source)
        if clip.outcome != "accept"
    ]
    if not_accepted:
        key = artifact_key(f"{summary.source}-not-accepted")
        create_table_artifact(not_accepted[:MAX_TABLE_ROWS], key=key, description="and why")
