"""A published corpus to a trained model with its card: the `training` flow."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from ..processes import ProgramKilled
from ..training.model_card import write_model_card
from ..training.run import (
    TrainingJob,
    ablation_jobs,
    encode_latents,
    evaluate,
    open_job,
    sample_clips,
    train,
    write_ablation,
)
from .engine.run import ReportProgress, ignore_progress
from .prefect_runner import artifact_key

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
def run_step(step: str, job: TrainingJob, report: ReportProgress) -> int:
    """Run one step, followed in the UI; what is done of it is not done again."""
    progress = _ProgressArtifact(step, job, report)
    if step == "train":
        return train(job, progress, progress.log_step)
    return encode_latents(job, progress) if step == "encode" else sample_clips(job, progress)


@task(cache_policy=NO_CACHE)
def run_evaluation(job: TrainingJob, report: ReportProgress) -> Path:
    """Measure videos of held-out clips against their truth; a metric without weights gives a reason, not a number."""
    return evaluate(job, _ProgressArtifact("evaluate", job, report))


@task(cache_policy=NO_CACHE, task_run_name="{name}")
def show_page(name: str, job: TrainingJob, write: Callable[[], Path]) -> Path:
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
    job = open_job(config, overrides, processes=processes, accelerate=accelerate, eval_clips=eval_clips)
    return str(train_with_prefect(job))


def train_with_prefect(job: TrainingJob, report: ReportProgress = ignore_progress) -> Path:
    """Run all steps of a run, or of an ablation's variants, inside a flow; return the model card, or the table."""
    if job.settings.ablation:
        for variant in ablation_jobs(job):
            train_with_prefect(variant, report)
        return show_page("ablation", job, partial(write_ablation, job))
    run_step("encode", job, report)
    run_step("train", job, report)
    evaluation = run_evaluation(job, report) if run_step("sample", job, report) else None
    return show_page("model-card", job, partial(write_model_card, job.output, evaluation))


class _ProgressArtifact:
    """Reports a step's progress to the UI and to the caller."""

    def __init__(self, step: str, job: TrainingJob, report: ReportProgress) -> None:
        key, description = artifact_key(f"{job.title}-{step}"), f"{step} of {job.title}"
        self.artifact: Any = create_progress_artifact(0.0, key=key, description=description)
        self.label, self.report = job.label(step), report
        self.log = get_run_logger()
        self.share = 0.0

    def __call__(self, count: int, total: int) -> None:
        self.report(self.label, count, total)
        if count == total or count / total >= self.share + UPDATE_EVERY:
            self.share = count / total
            update_progress_artifact(self.artifact, 100 * self.share)

    def log_step(self, record: Mapping[str, Any]) -> None:
        """Log a record of the step log as a line of the flow run."""
        self.log.info("step %d: loss %.4f, gradient %.3g", record["step"], record["loss"], record["grad_norm"])
