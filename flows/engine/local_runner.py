"""Runs without Prefect: the same stages on worker processes of this machine, with the same bytes for a result."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from ...datasets.corpus.finalize import finalize
from ...datasets.corpus.publish import plan_shards, write_planned
from ...datasets.corpus.selection import PublishSettings
from ...datasets.store.decision_log import read_decisions
from ...datasets.store.ledger import RunSummary
from ...datasets.store.location import Location, Place
from ...datasets.store.remote_calls import StorageError
from ...datasets.store.store import DamagedLayer
from .batches import Batch, Failure, run_in_worker, run_phase
from .report import write_report
from .run import Phase, ProgressCounter, ReportProgress, Run, ignore_progress
from .workers import WorkerPool


def run_locally(run: Run, report_progress: ReportProgress = ignore_progress) -> RunSummary:
    """Take every item of a run through its stages; write its report and return the summary."""
    process_locally(run, report_progress)
    return write_report(run)


def process_locally(run: Run, report_progress: ReportProgress = ignore_progress) -> None:
    """Take every item of a run through its stages; its failures are in the run.

    Raises:
        RequirementMissing: a model or package that the settings name is not here; nothing was computed.
        StorageError: the workspace's storage does not answer, or refuses.
    """
    run.check_requirements()
    with WorkerPool(run.workers) as pool, ThreadPoolExecutor(run.workers) as threads:
        for phase in run.iter_phases():
            batches = run.write_pending_batches(phase)
            counter = ProgressCounter(phase.name, len(batches) * len(phase.stages), report_progress)
            futures = [threads.submit(_run_phase, run, phase, batch, pool, counter) for batch in batches]
            try:
                for future in as_completed(futures):
                    run.record_failures(future.result())
            except StorageError:
                threads.shutdown(wait=False, cancel_futures=True)
                raise


def publish_locally(
    corpus: str,
    workspace: Place,
    settings: PublishSettings = PublishSettings(),
    name: str | None = None,
    report_progress: ReportProgress = ignore_progress,
) -> dict[str, Any]:
    """Publish the finished pairs of a workspace as a corpus; return its counts."""
    location = Location(corpus)
    decisions = read_decisions(workspace, location)
    plans = plan_shards(workspace, location, settings, decisions)
    files = []
    counter = ProgressCounter("shards", len(plans), report_progress)
    damage: list[DamagedLayer] = []
    for plan in plans:
        try:
            files.append(write_planned(plan, workspace, location, settings))
        except DamagedLayer as problem:  # the others are read too: one more run then mends all
            damage.append(problem)
        counter.advance()
    if damage:
        raise damage[0]
    return dict(finalize(workspace, location, files, settings, name or location.title, decisions)["counts"])


def _run_phase(run: Run, phase: Phase, batch: Batch, pool: WorkerPool, counter: ProgressCounter) -> list[Failure]:
    """Take one batch through the stages of a phase in one worker."""
    with pool.lend() as worker:
        return run_phase(
            phase.stages,
            lambda stage: run_in_worker(run.kind, run.source, run.workspace, stage, batch, worker),
            counter.advance,
        )
