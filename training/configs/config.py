"""A training run as one frozen value, and the TOML file it is written in."""

import dataclasses
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from ..base.models import BaseModelRef
from ..base.optimiser import OptimiserSettings, Trainable
from ..base.strict import STRICT
from ..latents.encode_plan import CacheSettings
from ..latents.sampler import DataSettings
from .ablation import AblationVariant, check_variants


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """Videos of fixed clips, sampled while training."""

    __pydantic_config__ = STRICT
    every_steps: int = 100
    """Steps between them; 0 samples none."""
    clips: tuple[str, ...] = ()
    """Their ids; none names the first `count` clips of the validation split, or of training where that is empty."""
    count: int = 2
    steps: int = 20
    guidance: float = 6.0
    seed: int = 43
    decode_on: str = "auto"
    """Where the latents become videos, in a process of its own: a torch device, "auto", or "" for not at all."""

    def __post_init__(self) -> None:
        if self.every_steps < 0 or self.count < 0 or self.steps < 1 or self.guidance < 0:
            raise ValueError(
                f"validation every_steps={self.every_steps}, count={self.count}, steps={self.steps}, "
                f"guidance={self.guidance}: steps is at least 1, the others at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that a run depends on; the defaults are for the real model."""

    __pydantic_config__ = STRICT
    corpus: str
    """Folder or URL of a published corpus."""
    output: str
    """Folder for checkpoints, logs, videos and the trained weights."""
    cache_folder: str = ""
    """Folder of the latent cache; "" is `cache` in the output."""
    model: BaseModelRef = field(default_factory=BaseModelRef)
    cache: CacheSettings = field(default_factory=CacheSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    trainable: Trainable = "attn1"
    steps: int = 1000
    global_batch: int = 32
    """Samples in a step, over all processes; with fewer GPUs more of them come one after another."""
    batch: int = 1
    """Samples that a process holds at once."""
    seed: int = 0
    precision: Literal["bf16", "no"] = "bf16"
    """bf16 computes in 16 bits and keeps what learns in 32; "no" does all in 32."""
    gradient_checkpointing: bool = True
    checkpoint_every: int = 100
    keep_checkpoints: int = 3
    """Checkpoints that stay; the oldest goes first."""
    trackers: tuple[str, ...] = ()
    """Beside TensorBoard, by accelerate's names: wandb, mlflow, comet_ml, ..."""
    ablation: tuple[AblationVariant, ...] = ()
    """Not one run but several, each without some kinds of clips, and a table of what they came to."""

    def __post_init__(self) -> None:
        counts = ("steps", "global_batch", "batch", "checkpoint_every", "keep_checkpoints")
        low = [name for name in counts if getattr(self, name) < 1]
        if low:
            raise ValueError(f"{low[0]}={getattr(self, low[0])} is below 1; give at least 1")
        check_variants(self.ablation)

    def accumulate(self, processes: int) -> int:
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
    def cache_path(self) -> Path:
        """Where the latent cache is."""
        return Path(self.cache_folder or Path(self.output) / "cache").expanduser()

    def identity(self) -> dict[str, Any]:
        """What must not change between a checkpoint and the run that goes on from it."""
        fixed = ("trainable", "global_batch", "seed", "precision")
        said = dataclasses.asdict(self)
        data = {name: value for name, value in said["data"].items() if name != "workers"}
        return {name: said[name] for name in fixed} | {"data": data, "optimiser": said["optimiser"]}


def load_training(path: Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Read a run's settings.

    Args:
        path: a TOML file; its tables are model, cache, data, optimiser and validation.
        overrides: "key=value" or "table.key=value", the value as in TOML; a bare word is a string.

    Raises:
        ValueError: naming the file, the key, the value and the rule.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as missing:
        raise ValueError(f"{path}: cannot be read ({missing.strerror}); give a TOML file of settings") from missing
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{path}: is not valid TOML: {wrong}; mend that line") from wrong
    for override in overrides:
        _apply(given, override)
    try:
        return TypeAdapter(TrainingConfig).validate_python(given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        said = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "unexpected_keyword_argument":
            said = "is no setting; mend its name or take it out"
        given_there = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        raise ValueError(f"{path.name}: {key}{given_there}: {said}") from wrong


def _apply(given: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {override!r} is not key=value; write for example --set optimiser.learning_rate=1e-5")
    *tables, last = key.strip().split(".")
    for table in tables:
        given = given.setdefault(table, {})
        if not isinstance(given, dict):
            raise ValueError(f"--set {override!r}: {table!r} is a value, not a table")
    try:
        given[last] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        given[last] = text.strip()
