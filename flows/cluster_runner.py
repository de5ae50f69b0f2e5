"""A run on the workers of an engine: one task for each batch and phase, which goes through all its stages there.

A worker that dies costs the calls it was in a second try; an engine that is lost ends the run with its account.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ..datasets.store.location import Location
from ..datasets.store.remote_calls import StorageError
from ..requirements import check_requirements
from .cluster import Cluster, EngineUnusable
from .engine.batches import Batch, Failure, failure_of, read_batch, run_phase_here
from .engine.item import Stage
from .engine.report import software
from .engine.run import Phase, ProgressCounter, ReportProgress, Run
from .engine.run_lease import SIGN, hold_lease
from .engine.workers import Demand, Engine
from .task_runners import open_cluster

MAX_LIMITS = 200
"""Limits that Prefect's server lists at once."""


def call_phase(batch: Batch, phase: str, call: Callable[[], list[Failure]]) -> list[Failure]:
    """Take one batch through every stage of a phase, in one worker."""
    return call()


def check_here(source: Any, lease: Location) -> str:
    """Check in this process, a worker of an engine, what a run needs of it; return the version of its software.

    Raises:
        FileNotFoundError: the workspace is not to be seen from there.
        RequirementMissing: a model or package is not there.
    """
    if not lease.exists(SIGN):
        raise FileNotFoundError(f"{lease.url} is not to be seen there; choose a workspace that all machines share")
    check_requirements(source)
    return software()


# Not by decorating: a task's function travels by reference only where its name is its own.
run_phase = task(task_run_name="{phase}-{batch.name}", cache_policy=NO_CACHE)(call_phase)
check_worker = task(task_run_name="check-worker", cache_policy=NO_CACHE)(check_here)


def run_on_cluster(run: Run, engine: Engine, report_progress: ReportProgress) -> EngineUnusable | StorageError | None:
    """Take every item of a run through its stages on an engine; return how engine or storage were lost, if they were.

    Raises:
        RequirementMissing: a model or package that the settings name is not on this machine; nothing was computed.
        EngineUnusable: the engine, or a worker of it, cannot do the work; nothing was computed.
    """
    demands = [run.demand(phase) for phase in run.phases]
    largest = Demand.largest(demands)
    with open_cluster(engine, run.workers, largest) as cluster, hold_lease(run.folder) as lease:
        cluster.check(demands)
        if engine.address:
            # One worker with all of it, where there is one, has the models too.
            _check_a_worker(cluster, run, lease, Demand() if cluster.describe_lack(largest) else largest)
            run.workers = cluster.count_slots(Demand.largest(demands[:1]))
        else:
            run.check_requirements()
        for phase in run.iter_phases():
            batches = {batch.name: batch for batch in run.write_pending_batches(phase)}
            calls = {name: _phase_call(run, phase, batch, lease) for name, batch in batches.items()}
            counter = ProgressCounter(phase.name, len(calls), report_progress)
            show_share = progress_artifact(run, phase, len(calls))
            try:
                for name, outcome in cluster.run_tasks(tagged(run_phase, phase.stages), calls, run.demand(phase)):
                    if isinstance(outcome, StorageError):  # the other batches would each wait for it in vain
                        raise outcome
                    batch = batches.pop(name)
                    run.record_failures(
                        _failures(run, phase, batch, outcome) if isinstance(outcome, Exception) else outcome
                    )
                    counter.advance()
                    show_share()
            except (EngineUnusable, StorageError) as trouble:
                for batch in batches.values():
                    run.record_failures(_failures(run, phase, batch, trouble))
                return trouble
    return None


def tagged(task: Any, stages: Sequence[Stage]) -> Any:
    """Return a task that carries what its stages use as tags, where Prefect's server limits how many of those run.

    A tag without a limit would cost a write to the server's database at each start of a task. With SQLite such a write
    meets another one now and then; Prefect's client then waits two seconds, and the worker with it.
    """
    tags = {resource for stage in stages for resource in stage.uses}
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:  # a server that stumbles limits all
        tags &= {limit.tag for limit in client.read_concurrency_limits(limit=MAX_LIMITS, offset=0)}
    return task.with_options(tags=tags)


def progress_artifact(run: Run, phase: Phase, total: int) -> Callable[[], None]:
    """Show a phase's progress in the UI, if it has batches; return a function that counts one more.

    A server that stumbles, for want of its database say, shows less: that is no reason to end a run.
    """
    if not total:
        return lambda: None
    key, finished, artifact = artifact_key(f"{run.source.name}-{phase.name}"), 0, None
    with contextlib.suppress(Exception):
        artifact = create_progress_artifact(0.0, key=key, description=f"{phase.name}, by batch")

    def count_batch() -> None:
        nonlocal finished
        finished += 1
        if artifact is not None:
            with contextlib.suppress(Exception):
                update_progress_artifact(artifact, 100 * finished / total)  # type: ignore[arg-type]

    return count_batch


def artifact_key(name: str) -> str:
    """Name in the characters that artifact keys take: small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _check_a_worker(cluster: Cluster, run: Run, lease: Location, demand: Demand) -> None:
    """Check that a worker elsewhere has this software, the workspace, and what the settings need, if work is left."""
    for _, outcome in cluster.run_tasks(check_worker, {"check": {"source": run.source, "lease": lease}}, demand):
        if isinstance(outcome, Exception):
            is_sentence = isinstance(outcome, OSError) or getattr(outcome, "is_sentence", False)
            last_line = (str(outcome).strip() or "no message").splitlines()[-1]  # Ray puts its own lines before
            lack = str(outcome) if is_sentence else f"{type(outcome).__name__}: {last_line}"
        else:
            lack = f"{outcome} is installed there, {software()} here; install the same"
        if outcome != software() and not run.check_done():
            raise EngineUnusable(f"a worker of the {cluster.name} cannot do the work: {lack}")


def _phase_call(run: Run, phase: Phase, batch: Batch, lease: Location) -> dict[str, Any]:
    """Parameters of a batch's task; they travel, by reference or small."""
    names = tuple(stage.name for stage in phase.stages)
    call = partial(run_phase_here, run.kind, run.source, run.workspace, names, batch, lease)
    return {"batch": batch, "phase": phase.name, "call": call}


def _failures(run: Run, phase: Phase, batch: Batch, problem: Exception) -> list[Failure]:
    """Failures of a batch whose task did not come back."""
    return [failure_of(item.id, phase.stages[0].name, problem) for item in read_batch(batch, run.kind)]
