"""Settings of a training run as one frozen value, read from a TOML file.

An ablation is a table of these settings. Each of its variants is the run itself with a folder of its own, the latents
of all, and a mix that lacks some kinds of clips; the clips that it is measured on are the same for all.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ...render.shadow_clips import ShadowClips
from ...settings import STRICT, ErrorWording, read_settings
from ..base.memory import Sharing, TrainingPlan
from ..base.models import DENOISING_STEPS, BaseModelRef
from ..base.optimiser import LoraSettings, OptimiserSettings, Trainable
from ..latents.encode_plan import CacheSettings
from ..latents.sampler import KINDS, DataSettings
from ..latents.task import REMOVE_PROMPT, RemovalTarget, Task, TaskName

Kind = Literal["real", "synthetic", "unpaired"]

WORDING = ErrorWording(
    owner="run",
    unknown_key="{path} = {value!r}: is no setting",
    no_suggestion="; mend its name or take it out",
    wrong_value="{path} = {value!r}: {rule}",
)
"""Words in which a run's settings are refused."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """Videos of the same few clips, sampled while training."""

    __pydantic_config__ = STRICT
    every_steps: Annotated[int, Field(ge=0)] = 100
    """Steps between them; 0 samples none."""
    clips: tuple[str, ...] = ()
    """Their ids; none names the first `count` clips of the validation split, or of training where that is empty."""
    count: Annotated[int, Field(ge=0)] = 2
    steps: Annotated[int, Field(ge=1)] = DENOISING_STEPS
    guidance: Annotated[float, Field(ge=0)] = 6.0
    seed: int = 43
    decode_on: str = "auto"
    """Device that turns the latents into videos, in a process of its own: by torch's name, "auto", or "" for none."""


@dataclass(frozen=True, kw_only=True)
class AblationVariant:
    """One line of the ablation's table."""

    __pydantic_config__ = STRICT
    name: str
    """Name of its folder in the run's output: small letters, digits and dashes."""
    without: tuple[Kind, ...] = ()
    """Kinds of clips that it does not see."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise ValueError(f"ablation.name='{self.name}' names a folder; write small letters, digits and dashes")
        if set(self.without) >= set(KINDS):
            raise ValueError(f"ablation '{self.name}' goes without all kinds of clips; leave it one to learn from")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it does see, in the order of the table."""
        return tuple(kind for kind in KINDS if kind not in self.without)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that a run depends on; the defaults are for the real model."""

    __pydantic_config__ = STRICT
    corpus: str
    """Folder or URL of a published corpus."""
    output: str
    """Folder for checkpoints, logs, videos and the trained weights."""
    task: TaskName = "add"
    """"add" puts effects into `over`; "remove" takes subject and effects out of `gt`."""
    remove_to: RemovalTarget = "background"
    """Layer that comes out of "remove": the background, or `over`, where the subject stays."""
    remove_prompt: str = REMOVE_PROMPT
    """Text of every clip for "remove": captions describe what is taken out."""
    cache_folder: str = ""
    """Folder of the latent cache; "" is `cache` in the output."""
    drawing: ShadowClips | None = None
    """Clips that are drawn first and published as the corpus; None trains on a corpus that is there."""
    model: BaseModelRef = field(default_factory=BaseModelRef)
    cache: CacheSettings = field(default_factory=CacheSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    trainable: Trainable = "attn1"
    lora: LoraSettings | None = None
    """Low-rank changes that learn in place of `trainable`; None trains the weights themselves."""
    steps: int = 1000
    global_batch: int = 32
    """Samples in a step, over all processes; with fewer GPUs more of them come one after another."""
    batch: int = 1
    """Samples that a process holds at once."""
    seed: int = 0
    precision: Literal["bf16", "no"] = "bf16"
    """bf16 computes in 16 bits and keeps what learns in 32; "no" does all in 32."""
    gradient_checkpointing: bool = True
    check_memory: bool = True
    """Refuse a run that does not fit the device by the estimate of `base/memory.py`, before weights are loaded."""
    checkpoint_every: int = 100
    keep_checkpoints: int = 3
    """Checkpoints that stay; the oldest goes first."""
    trackers: tuple[str, ...] = ()
    """Beside TensorBoard, by accelerate's names: wandb, trackio, mlflow, comet_ml, ..."""
    ablation: tuple[AblationVariant, ...] = ()
    """Several runs instead of one, each without some kinds of clips, and a table of their measures."""

    def __post_init__(self) -> None:
        counts = ("steps", "global_batch", "batch", "checkpoint_every", "keep_checkpoints")
        low = [name for name in counts if getattr(self, name) < 1]
        if low:
            raise ValueError(f"{low[0]}={getattr(self, low[0])} is below 1; give at least 1")
        for label, values in (
            ("name", [variant.name for variant in self.ablation]),
            ("mix", [", ".join(variant.kinds) for variant in self.ablation]),
        ):
            double = next((value for number, value in enumerate(values) if value in values[:number]), None)
            if double is not None:
                raise ValueError(f"ablation has two variants of one {label} ({double}); leave one of them out")

    def accumulation_steps(self, processes: int) -> int:
        """Batches that a process takes one after another for one step.

        Raises:
            ValueError: the global batch cannot be shared so.
        """
        at_once = self.batch * processes
        if self.global_batch % at_once:
            raise ValueError(
                f"global_batch={self.global_batch} does not divide by batch={self.batch} x {processes} processes; "
                f"take {max(1, round(self.global_batch / at_once)) * at_once}"
            )
        return self.global_batch // at_once

    @property
    def output_path(self) -> Path:
        """Path to the run's folder."""
        return Path(self.output).expanduser()

    @property
    def cache_path(self) -> Path:
        """Path to the latent cache."""
        return Path(self.cache_folder).expanduser() if self.cache_folder else self.output_path / "cache"

    @property
    def learning_task(self) -> Task:
        """Layers and prompt of the task."""
        return Task() if self.task == "add" else Task(name="remove", target=self.remove_to, prompt=self.remove_prompt)

    def memory_plan(self, processes: int = 1, sharing: Sharing = "none") -> TrainingPlan:
        """The settings that decide the memory of a training step."""
        return TrainingPlan(
            trainable=self.trainable,
            lora=self.lora,
            bf16=self.precision == "bf16",
            gradient_checkpointing=self.gradient_checkpointing,
            batch=self.batch,
            ema=self.optimiser.ema is not None,
            processes=processes,
            sharing=sharing,
        )

    def identity(self) -> dict[str, Any]:
        """Settings that must not change between a checkpoint and the run that resumes from it."""
        settings = dataclasses.asdict(self)
        del settings["data"]["workers"]
        if self.lora is not None:
            del settings["lora"]["merge"]
        names = (
            "task",
            "remove_to",
            "remove_prompt",
            "trainable",
            "lora",
            "global_batch",
            "seed",
            "precision",
            "optimiser",
            "data",
        )
        return {name: settings[name] for name in names}


def check_counts(variants: Sequence[AblationVariant], counts: Mapping[str, int], corpus: str) -> None:
    """Refuse an ablation whose variants do not differ on a corpus with so many clips of each kind to learn from.

    Raises:
        ValueError: a kind that a variant goes without is not there anyway, or a variant has nothing left.
    """
    for variant in variants:
        for kind in variant.without:
            if not counts.get(kind):
                raise ValueError(
                    f"{corpus}: has no {kind} clips to learn from, so the variant '{variant.name}' would show nothing; "
                    f"add some, or take the variant out of the ablation"
                )
        if not any(counts.get(kind) for kind in variant.kinds):
            raise ValueError(
                f"{corpus}: has nothing to learn from for the variant '{variant.name}'; add "
                f"{' or '.join(variant.kinds)} clips, or take the variant out of the ablation"
            )


def load_training(path: Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Read a run's settings from a TOML file and "key=value" overrides (see `read_settings`).

    Raises:
        ValueError: naming the file, the key, the value and the rule, or the present name of a renamed setting.
    """
    return read_settings(TrainingConfig, path, overrides, wording=WORDING)
