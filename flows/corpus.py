"""Finished pairs of a workspace to a corpus: the `corpus` flow."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from prefect import flow, runtime, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from ..datasets.corpus.announcements import withdraw
from ..datasets.corpus.finalize import finalize
from ..datasets.corpus.publish import ShardPlan, first_day, plan_shards, write_planned
from ..datasets.corpus.selection import PublishSettings
from ..datasets.store.decision_log import read_decisions
from ..datasets.store.location import Location, Place
from ..datasets.store.store import DamagedLayer
from .engine.run import ProgressCounter, ReportProgress, ignore_progress
from .engine.run_lease import hold_lease, work_under_lease
from .engine.workers import Engine, EngineName, worker_count
from .prefect_runner import check_parameters, task_runner
from .task_runners import open_cluster

write_shard = task(task_run_name="shard-{plan.path}", cache_policy=NO_CACHE)(write_planned)
"""Write one shard; one that is there already, with the same content, stays as it is."""


def write_leased(
    plan: ShardPlan, workspace: Location, corpus: Location, settings: PublishSettings, lease: Location
) -> dict[str, Any]:
    """Write one shard in this process, a worker of an engine, as long as the publishing lives.

    Raises:
        RunEnded: it has ended, or was killed.
    """
    return work_under_lease(lease, partial(write_planned, plan, workspace, corpus, settings))


write_shard_there = task(task_run_name="shard-{plan.path}", cache_policy=NO_CACHE)(write_leased)


@flow(
    name="corpus",
    flow_run_name=lambda: f"corpus-{Location(runtime.flow_run.parameters['corpus']).title}",
    task_runner=task_runner(),
)
def publish(
    corpus: str,
    workspace: str = "workspace",
    settings: PublishSettings = PublishSettings(),
    name: str | None = None,
    engine: EngineName = "local",
    engine_address: str = "",
) -> dict[str, Any]:
    """Publish the finished pairs of every source of a workspace as one corpus; return its counts.

    Args:
        corpus: a folder or fsspec URL; an existing corpus there is replaced in one step, at the very end.
        workspace: folder or fsspec URL where the sources were run.
        settings: storage, verdicts to include, shares of the splits, size of a shard.
        name: title of the data card; the corpus's folder where none is given.
        engine: what writes the shards: threads of this process (local), dask or ray.
        engine_address: of a Dask scheduler or a Ray head that runs; without one, a cluster of this machine is made.
    """
    check_parameters(places=(corpus, workspace, engine_address))
    choice = Engine(name=engine, address=engine_address)
    if not settings.date_published:
        settings = replace(settings, date_published=first_day(Location.of(corpus)))
    return publish_with_prefect(corpus, workspace, settings, name, engine=choice)


def publish_with_prefect(
    corpus: str,
    workspace: Place,
    settings: PublishSettings,
    name: str | None,
    report_progress: ReportProgress = ignore_progress,
    engine: Engine = Engine(),
) -> dict[str, Any]:
    """Publish with a task for each shard, inside a flow."""
    location = Location.of(corpus)
    decisions = read_decisions(workspace, location)
    plans = plan_shards(workspace, location, settings, decisions)
    files = []
    counter = ProgressCounter("shards", len(plans), report_progress)
    damage: list[DamagedLayer] = []
    with closing(_write_shards(plans, engine, Location.of(workspace), location, settings)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, DamagedLayer):  # the others are read too: one more run then mends all
                damage.append(outcome)
            elif isinstance(outcome, Exception):
                withdraw(location, plans[0].note)  # a worker that died has not done so
                raise outcome
            else:
                files.append(outcome)
            counter.advance()
    if damage:
        raise damage[0]
    manifest = finalize(workspace, location, files, settings, name or location.title, decisions)
    counts = [{"what": key, "count": value} for key, value in manifest["counts"].items() if isinstance(value, int)]
    create_table_artifact(counts, key="corpus-counts", description=f"{corpus}, version {manifest['version']}")
    return dict(manifest["counts"])


def _write_shards(
    plans: Sequence[ShardPlan], engine: Engine, workspace: Location, corpus: Location, settings: PublishSettings
) -> Generator[dict[str, Any] | Exception, None, None]:
    """Write all shards; yield what each came to, as they end."""
    common = {"workspace": workspace, "corpus": corpus, "settings": settings}
    if engine.name != "local":
        with open_cluster(engine, worker_count(0)) as cluster, hold_lease(workspace) as lease:
            calls = {plan.path: {"plan": plan, **common, "lease": lease} for plan in plans}
            yield from (outcome for _, outcome in cluster.run_tasks(write_shard_there, calls))
        return
    options: Any = {name: unmapped(value) for name, value in common.items()}
    for future in as_completed(write_shard.map(plans, **options)):
        try:
            yield future.result()
        except Exception as problem:
            yield problem
