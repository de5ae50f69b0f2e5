"""Driver of a training run, or of an ablation's runs: starts their steps as programs and follows them.

The steps are encode, train, sample and evaluate, of a drawn corpus also draw and check (see `training/__main__`). Each
can be started again at any time: what is done is not done twice, and what was cut off goes on. The programs end when
the driver does.
"""

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ..datasets.corpus.reader import open_corpus
from ..datasets.store.atomic_io import explain_os_errors
from ..extras import require
from ..processes import run_program
from ..requirements import check_requirements
from ..weights import WeightsNotFound
from .base.models import locate_model
from .base.shares import PROGRAM, run_shares, share_count
from .base.tiny import Kind, tiny_config
from .configs.config import TrainingConfig, check_counts, load_training
from .evaluation.tables import write_ablation_tables
from .fitting.step_log import read_step_log
from .latents.encode_plan import check_layers, check_shape, is_rendered
from .latents.sampler import count_unpaired, describe_unpaired, kind_weights, takes_row
from .results import describe_clips, select_evaluation_clips, write_model_card

CONFIGS = Path(__file__).parent / "configs"
ReportProgress = Callable[[str, int, int], None]
"""Receives a step's label, the number of pieces done and their total."""


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
    note: str = ""
    """Sentence about the corpus, to be shown at the start."""

    @property
    def title(self) -> str:
        """Name of the run: its folder's, and the variant's."""
        output = self.settings.output_path
        return f"{output.parent.name} {self.variant}" if self.variant else output.name

    def label(self, step: str) -> str:
        """Label of a step's progress bar."""
        return f"{step} {self.variant}".strip()


def open_job(config: str, overrides: Sequence[str] = (), **launch: Any) -> TrainingJob:
    """Read and check all that can be checked before anything is started.

    Args:
        config: a settings file, or the name of one of `training/configs`.
        overrides: KEY=VALUE each.
        launch: processes, accelerate and eval_clips of the job.

    Raises:
        ValueError: settings, corpus or number of processes are wrong, or do not belong together.
        RequirementMissing: a LoRA is asked for, and peft is not installed.
        FileNotFoundError: there is no such corpus.
    """
    path = Path(config)
    if not path.suffix and not path.is_file():
        path = CONFIGS / f"{config}.toml"
        if not path.exists():
            names = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
            raise ValueError(f"{config}: is neither a settings file nor one of {names}; give the file's path")
    settings = load_training(path, overrides)
    uses_tiny_model = settings.model.id in get_args(Kind)  # written into the run's folder
    _check_shape(settings, uses_tiny_model)
    if uses_tiny_model:
        overrides = (*overrides, f'model.id="{settings.output_path.absolute() / settings.model.id}"')
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
    else:
        _check_sharding(Path(job.accelerate))
    check_requirements(settings.lora)
    note = "" if settings.drawing is not None else _check_corpus(settings)
    return dataclasses.replace(job, note=note)


def _check_corpus(settings: TrainingConfig) -> str:
    """Refuse a corpus that a run cannot learn from; return the sentence about its unpaired clips."""
    corpus = open_corpus(settings.corpus)
    rows = corpus.table.select(["kind", "split", "provenance"]).to_pylist()
    rows = [row | {"rendered": is_rendered(row)} for row in rows]
    task = settings.learning_task
    check_layers(corpus, settings.cache, task)
    counts = Counter(row["kind"] for row in rows if takes_row(row, settings.data))
    kind_weights(counts, task.mix(settings.data.mix), label=f"{settings.corpus} (split {settings.data.split})")
    check_counts(settings.ablation, counts, settings.corpus)
    note = describe_unpaired(count_unpaired(rows, settings.data), settings.data)
    return "unpaired: left out, they teach no removal" if task.removes else note


def _check_shape(settings: TrainingConfig, uses_tiny_model: bool) -> None:
    """Refuse frames and sides that the model's family cannot take, where the model is on this machine."""
    from .base.families import family_of_configs, family_of_model

    try:
        model = settings.model
        if uses_tiny_model:
            family = family_of_configs(tiny_config(model.id), {}, model.layout)  # type: ignore[arg-type]
        else:
            family = family_of_model(locate_model(model, download=False))
    except WeightsNotFound:
        return  # encoding says so, or downloads it
    check_shape(family.grid, settings.cache)


def run_step(
    step: str, job: TrainingJob, report: ReportProgress, on_record: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> int:
    """Run a step from where it was; return the number of clips done, or of training steps.

    `on_record` receives the newest record of the step log while training.
    """
    report_step = partial(report, job.label(step))
    if step == "train":
        return _train(job, report_step, on_record)
    words, total = _step_words(step, job)
    report_step(0, total)
    writes_model = step == "encode" and job.uses_tiny_model
    is_single = writes_model or step in ("draw", "check")  # one program alone may write what they write
    count_of_shares = 1 if is_single else share_count(0 if job.accelerate else job.processes)
    log, arguments = job.settings.output_path / "run.log", [str(job.config), *_override_words(job)]
    bind_gpus = step != "encode" or job.settings.cache.device == "auto"

    def report_count(finished: int) -> None:
        report_step(finished, max(total, finished))

    count = run_shares([*words, *arguments], count_of_shares, log, report_count, bind_gpus=bind_gpus)
    if step == "evaluate" and count_of_shares > 1:  # what the shares measured is in the cache; the tables are of all
        run_shares([*words, *arguments], 1, log)
    report_step(max(total, count), max(total, count))  # no line is printed for clips that were encoded already
    return count


def run_training(
    job: TrainingJob,
    report: ReportProgress,
    step: Callable[[str, TrainingJob, ReportProgress], int] = run_step,
    write_page: Callable[[str, TrainingJob, Callable[[], Path]], Path] = lambda name, job, write: write(),
) -> Path:
    """Run all steps of a run, or of an ablation's variants; return the model card, or the page of their tables.

    Each step is run by `step`, and each page written by `write_page`, given its name, job and the function that does.
    """
    if job.settings.ablation:
        for variant in ablation_jobs(job):
            run_training(variant, report, step, write_page)
        return write_page("ablation", job, partial(write_ablation, job))
    if job.settings.drawing is not None:
        step("draw", job, report)
    step("encode", job, report)
    step("train", job, report)
    is_measured = step("sample", job, report) > 0 and step("evaluate", job, report) > 0
    if job.settings.drawing is not None:
        step("check", job, report)
    return write_page("model-card", job, partial(write_model_card, job.settings.output_path, is_measured=is_measured))


def ablation_jobs(job: TrainingJob) -> list[TrainingJob]:
    """Jobs of an ablation's variants: each in a folder of its own, over the same latents, with its mix."""
    jobs = []
    for variant in job.settings.ablation:
        overrides = (
            *job.overrides,
            f'output="{job.settings.output_path.absolute() / variant.name}"',
            f'cache_folder="{job.settings.cache_path.absolute()}"',
            *(f"data.mix.{kind}=0" for kind in variant.without),
            "ablation=[]",
        )
        settings = load_training(job.config, overrides)
        jobs.append(dataclasses.replace(job, settings=settings, overrides=overrides, variant=variant.name))
    return jobs


def write_ablation(job: TrainingJob) -> Path:
    """Write the tables of an ablation's variants beside each other; return the page.

    Raises:
        ValueError: a variant was not measured.
    """
    settings, corpus = job.settings, open_corpus(job.settings.corpus)
    split, clip_ids = select_evaluation_clips(corpus, job.eval_clips)
    clips = describe_clips(split, len(clip_ids), trained_on=settings.data.split)
    title = (
        f"What each source of data is worth: {settings.steps} steps of {settings.global_batch} samples a variant, "
        f"on {clips}"
    )
    return write_ablation_tables(settings.output_path, settings.ablation, title)


def _check_sharding(config: Path) -> None:
    """Refuse a file of `accelerate config` that shares the model out among GPUs where there are none."""
    kind = re.search(r"^\W*distributed_type\W+(DEEPSPEED|FSDP)\b", config.read_text(), re.MULTILINE)
    if kind and not require("torch", extra="train").accelerator.is_available():
        raise ValueError(
            f"{config}: shares the model out by {kind[1]}, which wants GPUs, and there are none here; write another "
            "with: accelerate config"
        )


def _step_words(step: str, job: TrainingJob) -> tuple[list[str], int]:
    """Arguments of a step's program, and the number of clips."""
    if step == "draw":
        return ["draw"], job.settings.drawing.clips if job.settings.drawing else 0
    corpus = open_corpus(job.settings.corpus)
    held_out = len(select_evaluation_clips(corpus, job.eval_clips)[1])
    return {
        "encode": (["encode", *(["--tiny-model"] if job.uses_tiny_model else [])], len(corpus)),
        "sample": (["sample", "--count", str(job.eval_clips)], held_out),
        "evaluate": (["measure"], held_out),
        "check": (["check", "--count", str(job.eval_clips)], held_out),
    }[step]


def _train(job: TrainingJob, report: Callable[[int, int], None], on_record: Callable[[Mapping[str, Any]], None]) -> int:
    """Train from the newest checkpoint on, and follow the step log; return the number of steps done."""
    step, total = 0, job.settings.steps
    records = read_step_log(job.settings.output_path)
    if records:
        step = min(records[-1]["step"], total)

    def read_log() -> None:
        nonlocal step
        records = read_step_log(job.settings.output_path)
        if records and records[-1]["step"] != step:
            step = records[-1]["step"]
            report(min(step, total), total)
            on_record(records[-1])

    report(step, total)  # before the program's first words, which take some seconds
    _run_program(job, [*_launcher(job), "train"], on_poll=read_log)
    read_log()
    return step


def _run_program(job: TrainingJob, words: Sequence[str], **callbacks: Callable[..., None]) -> None:
    output = job.settings.output_path
    with explain_os_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    command = [*words, str(job.config), *_override_words(job), "--end-with-stdin"]
    run_program(command, output / "run.log", **callbacks)


def _override_words(job: TrainingJob) -> list[str]:
    return [word for override in job.overrides for word in ("--set", override)]


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
