"""A published corpus to a trained model with its card: the `training` flow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from ..processes import Killed
from ..training.run import Job, card, encode, learn, measure, open_job, sample, told
from ..training.run_ablation import table, variants_of

SHOW_EVERY = 0.02
"""Share of a part after which the UI is told; more often would load the server for nothing."""


def _was_killed(task: Any, run: Any, state: Any) -> bool:
    """Retry what was ended from outside: it goes on where it was. All else fails the same way again."""
    return isinstance(state.result(raise_on_failure=False), Killed)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_was_killed,
    task_run_name=lambda: runtime.task_run.parameters["job"].says(runtime.task_run.parameters["part"]),
)
def run_part(part: str, job: Job) -> int:
    """One part of the run, followed in the UI; what is done of it is not done again."""
    shown = _Shown(part, job)
    if part == "precompute":
        return encode(job, shown)
    if part == "train":
        return learn(job, shown, shown.note)
    return sample(job, shown)


@task(cache_policy=NO_CACHE)
def evaluate(job: Job) -> Path:
    """The videos of held-out clips against their truth; a metric without weights says so instead of a number."""
    return measure(job, _Shown("evaluate", job))


@task(cache_policy=NO_CACHE)
def write_card(job: Job, evaluation: Path | None) -> Path:
    """The model card, in the run's folder and in the UI."""
    page = card(job, evaluation)
    create_markdown_artifact(page.read_text(), key=_key(f"{job.title}-model-card"), description=str(page))
    return page


@task(cache_policy=NO_CACHE)
def compare(job: Job) -> Path:
    """The table of an ablation, in its folder and in the UI."""
    page = table(job)
    create_markdown_artifact(page.read_text(), key=_key(f"{job.title}-ablation"), description=str(page))
    return page


@flow(name="training", flow_run_name=lambda: f"training-{Path(runtime.flow_run.parameters['config']).stem}")
def training(
    config: str, overrides: Sequence[str] = (), processes: int = 1, accelerate: str = "", samples: int = 8
) -> str:
    """Latents, training, videos of held-out clips, their measures and a model card; return the card's path.

    Of settings with an ablation, all of this for each variant, and the path of their table.

    Args:
        config: a settings file, or the name of one of `training/configs`.
        overrides: KEY=VALUE each, of the settings.
        processes: how many train, one for each GPU.
        accelerate: a file of `accelerate config`, taken instead of the number of processes.
        samples: how many held-out clips are made at the end; 0 makes all.
    """
    job = open_job(config, overrides, processes=processes, accelerate=accelerate, samples=samples)
    if not job.settings.ablation:
        return str(_run_one(job))
    for variant in variants_of(job):
        _run_one(variant)
    return str(compare(job))


def _run_one(job: Job) -> Path:
    made = [run_part(part, job) for part in ("precompute", "train", "sample")][-1]
    return write_card(job, evaluate(job) if made else None)


class _Shown:
    """Passes on how far a part is: to the UI and to the command line's bar."""

    def __init__(self, part: str, job: Job) -> None:
        key, said = _key(f"{job.title}-{part}"), f"{part} of {job.title}"
        self.log = get_run_logger()
        self.shown: Any = create_progress_artifact(0.0, key=key, description=said)
        self.tell = told(job.says(part))
        self.share = 0.0

    def __call__(self, done: int, total: int) -> None:
        self.tell(done, total)
        if done == total or done / total >= self.share + SHOW_EVERY:
            self.share = done / total
            update_progress_artifact(self.shown, 100 * self.share)

    def note(self, step: Mapping[str, Any]) -> None:
        """A step of the journal, as a line of the run's log."""
        self.log.info("step %d: loss %.4f, gradient %.3g", step["step"], step["loss"], step["grad_norm"])


def _key(name: str) -> str:
    """Artifact keys take small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
