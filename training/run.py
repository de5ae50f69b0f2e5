"""A training run's parts, each a program of its own, started and followed without Prefect.

Each part can be asked for again at any time: what is done is not done twice, what was cut off goes on. The programs end
with whoever started them (see `training/launched`).
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store.atomic_io import explain_os_errors
from ..extras import require
from ..processes import run_program
from ..progress import Pieces
from .configs.config import TrainingConfig, check_counts, load_training
from .evaluation.held_out import held_out
from .fitting.step_log import EVALUATION, read_step_log
from .latents.sampler import kind_weights
from .model_card import write_card

CONFIGS = Path(__file__).parent / "configs"
TINY = "tiny"
"""As a model's id: the model in miniature, written into the run's folder."""
Tell = Callable[[int, int], None]
"""Pieces done, pieces in all."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run as it was asked for."""

    config: Path
    settings: TrainingConfig
    overrides: tuple[str, ...] = ()
    processes: int = 1
    accelerate: str = ""
    """A file of `accelerate config`; it says more than the number of processes, and is taken instead of it."""
    samples: int = 8
    """Videos of held-out clips at the end; 0 makes all."""
    tiny: Path | None = None
    """Where the model in miniature is written, where it was asked for."""
    variant: str = ""
    """Of an ablation, which this run is."""

    @property
    def title(self) -> str:
        """The run in a word."""
        return f"{self.output.parent.name} {self.variant}" if self.variant else self.output.name

    def says(self, part: str) -> str:
        """A part's name beside its bar."""
        return f"{part} {self.variant}".strip()

    @property
    def output(self) -> Path:
        """The run's folder."""
        return Path(self.settings.output).expanduser()


def open_job(config: str, overrides: Sequence[str] = (), **launch: Any) -> Job:
    """Read and check all that can be checked before anything is started.

    Args:
        config: a settings file, or the name of one of `training/configs`.
        overrides: KEY=VALUE each.
        launch: processes, accelerate, samples of `Job`.

    Raises:
        ValueError: settings, corpus or number of processes are wrong, or do not belong together.
        FileNotFoundError: there is no such corpus.
    """
    path = Path(config)
    if not path.suffix and not path.is_file():
        path = CONFIGS / f"{config}.toml"
        if not path.exists():
            known = ", ".join(sorted(found.stem for found in CONFIGS.glob("*.toml")))
            raise ValueError(f"{config}: is neither a settings file nor one of {known}; give the file's path")
    settings = load_training(path, overrides)
    asked, tiny = tuple(overrides), None
    if settings.model.id == TINY:
        tiny = Path(settings.output).expanduser().absolute() / TINY
        asked = (*asked, f'model.id="{tiny}"')
        settings = load_training(path, asked)
    job = Job(config=path, settings=settings, overrides=asked, tiny=tiny, **launch)
    if job.processes < 1:
        raise ValueError(f"--processes {job.processes} is below 1; give at least 1")
    if job.accelerate and not Path(job.accelerate).is_file():
        raise ValueError(f"{job.accelerate}: is not there; write it with: accelerate config --config_file FILE")
    if not job.accelerate:
        settings.accumulation_steps(job.processes)
    counts, of = kinds_to_learn_from(open_corpus(settings.corpus), settings), f"split {settings.data.split}"
    kind_weights(counts, settings.data.mix, label=f"{settings.corpus} ({of})")
    check_counts(settings.ablation, counts, settings.corpus)
    return job


def kinds_to_learn_from(corpus: Corpus, settings: TrainingConfig) -> dict[str, int]:
    """How many clips of each kind the run's split has."""
    rows = corpus.table.select(["kind", "split"]).to_pylist()
    return dict(Counter(row["kind"] for row in rows if settings.data.split in ("all", row["split"])))


def encode(job: Job, tell: Tell) -> int:
    """The tiny model where it is asked for, then the corpus as latents; return how many clips were encoded now."""
    if job.tiny is not None and not (job.tiny / "scheduler").exists():
        _run(job, [*_program(), "tiny", str(job.tiny)], lambda: None)
    return _counted(job, "precompute", "encoded ", len(open_corpus(job.settings.corpus)), tell)


def learn(job: Job, tell: Tell, note: Callable[[Mapping[str, Any]], None] = lambda step: None) -> int:
    """The steps, from the newest checkpoint on; return how many steps are done.

    Args:
        job: the run.
        tell: called with steps done and steps in all.
        note: called with the newest line of the journal.
    """
    seen = 0

    def look() -> None:
        nonlocal seen
        told = read_step_log(job.output)
        if told and told[-1]["step"] != seen:
            seen = told[-1]["step"]
            tell(min(seen, job.settings.steps), job.settings.steps)
            note(told[-1])

    tell(0, job.settings.steps)  # before the program's first words, which take some seconds
    _run(job, [*_launcher(job), "train", *_settings(job)], look)
    look()
    return seen


def sample(job: Job, tell: Tell) -> int:
    """Videos of held-out clips by the trained weights; return how many there are."""
    return _counted(job, "sample", "sampled ", len(_sampled(job)), tell, "--count", str(job.samples))


def measure(job: Job, tell: Tell) -> Path:
    """The samples against their truth; return the folder of the tables."""
    _counted(job, "measure", "measured ", len(_sampled(job)), tell)
    return job.output / EVALUATION


def card(job: Job, evaluation: Path | None) -> Path:
    """The model card beside the trained weights."""
    return write_card(job.output, evaluation)


def run_directly(job: Job) -> Path:
    """All parts of one run in order without Prefect; return the model card."""
    encode(job, told(job.says("precompute")))
    learn(job, told(job.says("train")))
    made = sample(job, told(job.says("sample")))
    return card(job, measure(job, told(job.says("evaluate"))) if made else None)


def told(part: str) -> Tell:
    """Passes on how far a part is to whoever listens in this process."""
    pieces: list[Pieces] = []

    def tell(done: int, total: int) -> None:
        if not pieces:
            pieces.append(Pieces(part, total))
        for _ in range(done - pieces[0].done):
            pieces[0].one_more()

    return tell


def _sampled(job: Job) -> list[str]:
    return held_out(open_corpus(job.settings.corpus), job.samples)


def _counted(job: Job, what: str, word: str, total: int, tell: Tell, *more: str) -> int:
    """Run a part that says a line for each piece."""
    done = 0
    tell(done, total)

    def look(line: str) -> None:
        nonlocal done
        if line.startswith(word):
            done += 1
            tell(done, max(total, done))

    _run(job, [*_program(), what, *_settings(job), *more], lambda: None, look)
    tell(max(total, done), max(total, done))  # pieces that were there already are not told of one by one
    return done


def _program() -> list[str]:
    return [sys.executable, "-m", "effectpairs.training.launched"]


def _launcher(job: Job) -> list[str]:
    """`accelerate launch` of this Python; without a file of its own it asks the user's configuration nothing.

    Several processes without GPUs it would start by MPI alone, so torchrun starts those.
    """
    if not job.accelerate and job.processes > 1 and not _has_gpu():
        how = ["--standalone", "--nproc_per_node", str(job.processes)]
        return [sys.executable, "-m", "torch.distributed.run", *how, "-m", "effectpairs.training.launched"]
    if job.accelerate:
        how = ["--config_file", job.accelerate]
    else:
        how = ["--num_machines", "1", "--num_processes", str(job.processes), "--dynamo_backend", "no"]
        how += ["--mixed_precision", job.settings.precision, "--num_cpu_threads_per_process", "1"]
        how += ["--multi_gpu"] if job.processes > 1 else []
    return [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", "effectpairs.training.launched"]


def _has_gpu() -> bool:
    return bool(require("torch", extra="train").accelerator.is_available())


def _settings(job: Job) -> list[str]:
    return [str(job.config), *(part for override in job.overrides for part in ("--set", override))]


def _run(
    job: Job, command: list[str], look: Callable[[], None], read: Callable[[str], None] = lambda line: None
) -> None:
    with explain_os_errors(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    run_program(command, job.output / "run.log", look, read)
