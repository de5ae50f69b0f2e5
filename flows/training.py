"""A published corpus to a trained model with its card: the `training` flow."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from ..processes import ProgramKilled
from ..training import run
from ..training.fitting.step_log import describe_step
from .cluster_runner import artifact_key
from .engine.run import ReportProgress, ignore_progress
from .prefect_runner import check_parameters

UPDATE_EVERY = 0.02
"""Share of a step after which the UI is updated; more often would load the server for nothing."""


def _was_killed(task: Any, run: Any, state: Any) -> bool:
    """Retry a step that was killed: it goes on where it was. All else fails the same way again."""
    return isinstance(state.result(raise_on_failure=False), ProgramKilled)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_was_killed,
    task_run_name=lambda: runtime.task_run.parameters["job"].label(runtime.task_run.parameters["step"]),
)
def run_step(step: str, job: run.TrainingJob, report: ReportProgress) -> int:
    """Run one step, followed in the UI; what is done of it is not done again."""
    key, log, share = artifact_key(f"{job.title}-{step}"), get_run_logger(), 0.0
    artifact: Any = create_progress_artifact(0.0, key=key, description=f"{step} of {job.title}")

    def show_progress(label: str, count: int, total: int) -> None:
        nonlocal share
        report(label, count, total)
        if count == total or count / total >= share + UPDATE_EVERY:
            share = count / total
            update_progress_artifact(artifact, 100 * share)

    def log_record(record: Mapping[str, Any]) -> None:
        log.info("%s, gradient %.3g", describe_step(record), record["grad_norm"])

    return run.run_step(step, job, show_progress, log_record)


@task(cache_policy=NO_CACHE, task_run_name="{name}")
def show_page(name: str, job: run.TrainingJob, write: Callable[[], Path]) -> Path:
    """Write a page of Markdown, and show it in the UI."""
    page = write()
    create_markdown_artifact(page.read_text(), key=artifact_key(f"{job.title}-{name}"), description=str(page))
    return page


@flow(name="training", flow_run_name=lambda: f"training-{Path(runtime.flow_run.parameters['config']).stem}")
def training(
    config: str, overrides: Sequence[str] = (), processes: int = 1, accelerate: str = "", eval_clips: int = 8
) -> str:
    """Latents, training, videos of held-out clips, their measures and a model card; return the card's path.

    With an ablation in the settings, do all of this for each variant, and return the path of their table.

    Args:
        config: a settings file, or the name of one of `training/configs`.
        overrides: settings to change, each as KEY=VALUE.
        processes: number of processes that train, one for each GPU.
        accelerate: a file of `accelerate config`, taken instead of the number of processes.
        eval_clips: number of held-out clips that are made at the end; 0 makes all.
    """
    check_parameters(overrides, places=(accelerate,), files=(config,))
    job = run.open_job(config, overrides, processes=processes, accelerate=accelerate, eval_clips=eval_clips)
    return str(train_with_prefect(job))


def train_with_prefect(job: run.TrainingJob, report: ReportProgress = ignore_progress) -> Path:
    """Run all steps of a run, or of an ablation's variants, inside a flow; return the model card, or the table."""
    return run.run_training(job, report, run_step, show_page)
