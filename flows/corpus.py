"""Finished pairs of a workspace to a corpus: the `corpus` flow."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, runtime, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from ..datasets.corpus.finalize import finalize
from ..datasets.corpus.publish import PublishSettings, ShardPlan, plan_shards, write_planned
from ..datasets.store.location import Location
from ..progress import Pieces


@task(task_run_name="shard-{plan.path}", cache_policy=NO_CACHE)
def write_shard(plan: ShardPlan, workspace: Path, corpus: Location, settings: PublishSettings) -> dict[str, Any]:
    """One shard; one that is there already, with the same content, stays as it is."""
    return write_planned(plan, workspace, corpus, settings)


@flow(
    name="corpus",
    flow_run_name=lambda: f"corpus-{Location(runtime.flow_run.parameters['corpus']).title}",
    task_runner=ThreadPoolTaskRunner(max_workers=max(2, os.cpu_count() or 1)),  # type: ignore[arg-type]
)
def publish(
    corpus: str, workspace: str = "workspace", settings: PublishSettings = PublishSettings(), name: str | None = None
) -> dict[str, Any]:
    """Publish the finished pairs of every source of a workspace as one corpus; return its counts.

    Args:
        corpus: a folder or fsspec URL; an existing corpus there is replaced in one step, at the very end.
        workspace: where the sources were run.
        settings: storage, verdicts to include, shares of the splits, size of a shard.
        name: title of the data card; the corpus's folder where none is given.
    """
    place = Location(corpus)
    plans = plan_shards(Path(workspace), place, settings)
    futures = write_shard.map(
        plans, workspace=unmapped(Path(workspace)), corpus=unmapped(place), settings=unmapped(settings)
    )
    files = []
    done = Pieces("shards", len(plans))
    for future in as_completed(futures):
        files.append(future.result())
        done.one_more()
    manifest = finalize(Path(workspace), place, files, settings, name or place.title)
    counts = [{"what": key, "count": value} for key, value in manifest["counts"].items() if isinstance(value, int)]
    create_table_artifact(counts, key="corpus-counts", description=f"{corpus}, version {manifest['version']}")
    return dict(manifest["counts"])
