"""Captions to clips of their own, without a pair: the `unpaired` flow."""

from typing import Any

from prefect import flow

from .engine.workers import Engine, EngineName
from .prefect_runner import check_parameters, flow_run_name, run_with_prefect, task_runner
from .sources import load_for, open_run

NAME = "unpaired"


@flow(name=NAME, flow_run_name=flow_run_name, task_runner=task_runner())
def unpaired(
    source: str,
    workspace: str = "workspace",
    overrides: list[str] | None = None,
    workers: int = 0,
    engine: EngineName = "local",
    engine_address: str = "",
) -> dict[str, Any]:
    """Augment every caption of a source and make clips of the augmented captions; return its summary.

    Args:
        source: a name in `datasets/sources/`, or the path of a settings file.
        workspace: folder or fsspec URL where results are kept; running again goes on there.
        overrides: settings to change, each as `key=value`.
        workers: worker processes; 0 takes what the machine carries, and one for a model, which fills a GPU.
        engine: what runs the work: worker processes of this machine (local), dask or ray.
        engine_address: of a Dask scheduler or a Ray head that runs; without one, a cluster of this machine is made.
    """
    check_parameters(overrides or (), places=(workspace, engine_address), files=(source,))
    run = open_run(load_for(NAME, source, overrides or ()), workspace, workers)
    return run_with_prefect(run, engine=Engine(name=engine, address=engine_address))
