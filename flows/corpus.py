"""Finished pairs of a workspace to a corpus: the `corpus` flow."""

from typing import Any

from prefect import flow, runtime, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from ..datasets.corpus.finalize import finalize
from ..datasets.corpus.publish import PublishSettings, ShardPlan, plan_shards, write_planned
from ..datasets.store.location import Location, Place
from ..datasets.store.store import DamagedLayer
from .engine.run import ProgressCounter, ReportProgress, ignore_progress
from .prefect_runner import task_runner


@task(task_run_name="shard-{plan.path}", cache_policy=NO_CACHE)
def write_shard(plan: ShardPlan, workspace: Place, corpus: Location, settings: PublishSettings) -> dict[str, Any]:
    """Write one shard; one that is there already, with the same content, stays as it is."""
    return write_planned(plan, workspace, corpus, settings)


@flow(
    name="corpus",
    flow_run_name=lambda: f"corpus-{Location(runtime.flow_run.parameters['corpus']).title}",
    task_runner=task_runner(),
)
def publish(
    corpus: str, workspace: str = "workspace", settings: PublishSettings = PublishSettings(), name: str | None = None
) -> dict[str, Any]:
    """Publish the finished pairs of every source of a workspace as one corpus; return its counts.

    Args:
        corpus: a folder or fsspec URL; an existing corpus there is replaced in one step, at the very end.
        workspace: folder or fsspec URL where the sources were run.
        settings: storage, verdicts to include, shares of the splits, size of a shard.
        name: title of the data card; the corpus's folder where none is given.
    """
    return publish_with_prefect(corpus, workspace, settings, name)


def publish_with_prefect(
    corpus: str,
    workspace: Place,
    settings: PublishSettings,
    name: str | None,
    report_progress: ReportProgress = ignore_progress,
) -> dict[str, Any]:
    """Publish with a task for each shard, inside a flow."""
    location = Location(corpus)
    plans = plan_shards(workspace, location, settings)
    futures = write_shard.map(
        plans, workspace=unmapped(workspace), corpus=unmapped(location), settings=unmapped(settings)
    )
    files = []
    counter = ProgressCounter("shards", len(plans), report_progress)
    damage: list[DamagedLayer] = []
    for future in as_completed(futures):
        try:
            files.append(future.result())
        except DamagedLayer as problem:  # the others are read too: one more run then mends all
            damage.append(problem)
        counter.advance()
    if damage:
        raise damage[0]
    manifest = finalize(workspace, location, files, settings, name or location.title)
    counts = [{"what": key, "count": value} for key, value in manifest["counts"].items() if isinstance(value, int)]
    create_table_artifact(counts, key="corpus-counts", description=f"{corpus}, version {manifest['version']}")
    return dict(manifest["counts"])
