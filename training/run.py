"""Driver of a training run, or of an ablation's runs: starts their steps as programs and follows them.

Every step (see `training/__main__`) can be started again at any time: what is done is not done twice, and what was cut
off goes on. The programs end when the driver does.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..datasets.corpus.reader import open_corpus
from ..datasets.store.atomic_io import explain_os_errors
from ..extras import require
from ..processes import run_program
from .configs.config import AblationVariant, TrainingConfig, check_counts, load_training
from .evaluation.tables import write_ablation_tables
from .fitting.step_log import EVALUATION, read_step_log
from .latents.sampler import kind_weights
from .measure import describe_clips, held_out_clips, held_out_split
from .model_card import write_model_card

CONFIGS = Path(__file__).parent / "configs"
PROGRAM = "effectpairs.training"
TINY = "tiny"
"""As a model's id: the model in miniature, written into the run's folder."""
ReportStep = Callable[[int, int], None]
"""Receives the number of pieces done and their total."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One run: its settings, and how it is started."""

    config: Path
    settings: TrainingConfig
    overrides: tuple[str, ...] = ()
    processes: int = 1
    accelerate: str = ""
    """File of `accelerate config`; it says more than the number of processes, and is taken instead of it."""
    eval_clips: int = 8
    """Number of held-out clips to sample and measure at the end; 0 takes all."""
    uses_tiny_model: bool = False
    """Write the model in miniature before encoding."""
    variant: str = ""
    """Name of the ablation's variant; empty for a run of its own."""

    @property
    def title(self) -> str:
        """Name of the run: its folder's, and the variant's."""
        return f"{self.output.parent.name} {self.variant}" if self.variant else self.output.name

    def label(self, step: str) -> str:
        """Label of a step's progress bar."""
        return f"{step} {self.variant}".strip()

    @property
    def output(self) -> Path:
        """Path to the run's folder."""
        return Path(self.settings.output).expanduser()


def open_job(config: str, overrides: Sequence[str] = (), **launch: Any) -> TrainingJob:
    """Read and check all that can be checked before anything is started.

    Args:
        config: a settings file, or the name of one of `training/configs`.
        overrides: KEY=VALUE each.
        launch: processes, accelerate and eval_clips of the job.

    Raises:
        ValueError: settings, corpus or number of processes are wrong, or do not belong together.
        FileNotFoundError: there is no such corpus.
    """
    path = Path(config)
    if not path.suffix and not path.is_file():
        path = CONFIGS / f"{config}.toml"
        if not path.exists():
            names = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
            raise ValueError(f"{config}: is neither a settings file nor one of {names}; give the file's path")
    settings = load_training(path, overrides)
    uses_tiny_model = settings.model.id == TINY
    if uses_tiny_model:
        overrides = (*overrides, f'model.id="{Path(settings.output).expanduser().absolute() / TINY}"')
        settings = load_training(path, overrides)
    job = TrainingJob(
        config=path, settings=settings, overrides=tuple(overrides), uses_tiny_model=uses_tiny_model, **launch
    )
    if job.processes < 1:
        raise ValueError(f"--processes {job.processes} is below 1; give at least 1")
    if job.accelerate and not Path(job.accelerate).is_file():
        raise ValueError(f"{job.accelerate}: is not there; write it with: accelerate config --config_file FILE")
    if not job.accelerate:
        settings.accumulation_steps(job.processes)
    rows = open_corpus(settings.corpus).table.select(["kind", "split"]).to_pylist()
    split = settings.data.split
    counts = Counter(row["kind"] for row in rows if split in ("all", row["split"]))
    kind_weights(counts, settings.data.mix, label=f"{settings.corpus} (split {split})")
    check_counts(settings.ablation, counts, settings.corpus)
    return job


def encode_latents(job: TrainingJob, report: ReportStep) -> int:
    """Encode the corpus as latents; return the number of clips that were encoded now."""
    options = ["--tiny-model"] if job.uses_tiny_model else []
    return _run_counted(job, "encode", "encoded ", len(open_corpus(job.settings.corpus)), report, options)


def train(
    job: TrainingJob, report: ReportStep, on_step: Callable[[Mapping[str, Any]], None] = lambda record: None
) -> int:
    """Train from the newest checkpoint on; return the number of steps done.

    Args:
        job: the run.
        report: receives steps done and steps in all.
        on_step: receives the newest record of the step log.
    """
    step, total = 0, job.settings.steps

    def read_log() -> None:
        nonlocal step
        records = read_step_log(job.output)
        if records and records[-1]["step"] != step:
            step = records[-1]["step"]
            report(min(step, total), total)
            on_step(records[-1])

    report(0, total)  # before the program's first words, which take some seconds
    _run_step(job, _launcher(job), "train", on_poll=read_log)
    read_log()
    return step


def sample_clips(job: TrainingJob, report: ReportStep) -> int:
    """Sample videos of held-out clips with the trained weights; return their number."""
    options = ["--count", str(job.eval_clips)]
    return _run_counted(job, "sample", "sampled ", _count_held_out(job), report, options)


def evaluate(job: TrainingJob, report: ReportStep) -> Path:
    """Measure the samples against their truth; return the folder of the tables."""
    _run_counted(job, "measure", "measured ", _count_held_out(job), report)
    return job.output / EVALUATION


def ablation_jobs(job: TrainingJob) -> list[TrainingJob]:
    """Jobs of an ablation's variants: each in a folder of its own, over the same latents, with its mix."""
    return [_variant_job(job, variant) for variant in job.settings.ablation]


def write_ablation(job: TrainingJob) -> Path:
    """Write the tables of an ablation's variants beside each other; return the page.

    Raises:
        ValueError: a variant was not measured.
    """
    settings = job.settings
    corpus = open_corpus(settings.corpus)
    held_out = held_out_clips(corpus, job.eval_clips)
    clips = describe_clips(held_out_split(corpus), len(held_out), trained_on=settings.data.split)
    title = (
        f"What each source of data is worth: {settings.steps} steps of {settings.global_batch} samples a variant, "
        f"on {clips}"
    )
    return write_ablation_tables(job.output, settings.ablation, title)


def run_training(job: TrainingJob, report: Callable[[str, int, int], None]) -> Path:
    """Run all steps of a run, or of an ablation's variants, without Prefect; return the model card, or the table."""
    if job.settings.ablation:
        for variant in ablation_jobs(job):
            run_training(variant, report)
        return write_ablation(job)
    encode_latents(job, partial(report, job.label("encode")))
    train(job, partial(report, job.label("train")))
    sampled = sample_clips(job, partial(report, job.label("sample")))
    evaluation = evaluate(job, partial(report, job.label("evaluate"))) if sampled else None
    return write_model_card(job.output, evaluation)


def _variant_job(job: TrainingJob, variant: AblationVariant) -> TrainingJob:
    overrides = (
        *job.overrides,
        f'output="{job.output.absolute() / variant.name}"',
        f'cache_folder="{job.settings.cache_path.absolute()}"',
        *(f"data.mix.{kind}=0" for kind in variant.without),
        "ablation=[]",
    )
    settings = load_training(job.config, overrides)
    return dataclasses.replace(job, settings=settings, overrides=overrides, variant=variant.name)


def _count_held_out(job: TrainingJob) -> int:
    return len(held_out_clips(open_corpus(job.settings.corpus), job.eval_clips))


def _run_counted(
    job: TrainingJob, step: str, word: str, total: int, report: ReportStep, options: Sequence[str] = ()
) -> int:
    """Run a step that prints a line, beginning with a word, for each piece; return their number."""
    count = 0
    report(count, total)

    def count_line(line: str) -> None:
        nonlocal count
        if line.startswith(word):
            count += 1
            report(count, max(total, count))

    _run_step(job, [sys.executable, "-m", PROGRAM], step, options, on_line=count_line)
    report(max(total, count), max(total, count))  # no line is printed for pieces that were there already
    return count


def _run_step(
    job: TrainingJob,
    launcher: Sequence[str],
    step: str,
    options: Sequence[str] = (),
    **callbacks: Callable[..., None],
) -> None:
    overrides = [word for override in job.overrides for word in ("--set", override)]
    with explain_os_errors(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    command = [*launcher, step, str(job.config), *overrides, *options, "--end-with-stdin"]
    run_program(command, job.output / "run.log", **callbacks)


def _launcher(job: TrainingJob) -> list[str]:
    """Command of `accelerate launch` in this Python; without a file it reads nothing of the user's configuration.

    It would start several processes without GPUs by MPI alone, so torchrun starts those.
    """
    if not job.accelerate and job.processes > 1 and not require("torch", extra="train").accelerator.is_available():
        options = ["--standalone", "--nproc_per_node", str(job.processes)]
        return [sys.executable, "-m", "torch.distributed.run", *options, "-m", PROGRAM]
    if job.accelerate:
        options = ["--config_file", job.accelerate]
    else:
        options = ["--num_machines", "1", "--num_processes", str(job.processes), "--dynamo_backend", "no"]
        options += ["--mixed_precision", job.settings.precision, "--num_cpu_threads_per_process", "1"]
        options += ["--multi_gpu"] if job.processes > 1 else []
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", PROGRAM]
