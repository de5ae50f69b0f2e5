"""Captions to clips of their own, without a pair: the `unpaired` flow."""

import os
from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.task_runners import ThreadPoolTaskRunner

from .engine.sources import begin, load_for
from .prefect_runner import run_scheduled

NAME = "unpaired"


@flow(
    name=NAME,
    flow_run_name=lambda: f"{NAME}-{Path(runtime.flow_run.parameters['source']).stem}",
    task_runner=ThreadPoolTaskRunner(max_workers=max(2, os.cpu_count() or 1)),  # type: ignore[arg-type]
    validate_parameters=True,
)
def unpaired(
    source: str, workspace: str = "workspace", overrides: list[str] | None = None, workers: int = 0
) -> dict[str, Any]:
    """Every caption of a source to augmented ones and these to clips, to an account of each.

    Args:
        source: a name in `datasets/sources/`, or the path of a settings file.
        workspace: where results are kept; running again goes on there.
        overrides: settings to change, each as `key=value`.
        workers: worker processes; 0 takes what the machine carries, and one for a model, which fills a GPU.
    """
    settings = load_for(NAME, source, overrides or ())
    return run_scheduled(begin(settings, Path(workspace), workers))
