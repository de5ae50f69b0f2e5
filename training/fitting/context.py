"""Context of a run: settings, data, model and optimiser that belong together, resumed from the newest checkpoint.

Also saves the state as a checkpoint; the weights of the end are written by `export`.
"""

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.corpus.publish import MANIFEST
from ...datasets.corpus.reader import open_corpus
from ...datasets.store.location import Location
from ...extras import require
from ..base import checkpoint
from ..base.families import family_of_model, load_transformer, transformer_config, transformer_shapes
from ..base.family import Family
from ..base.lora import add_lora
from ..base.memory import Sharing, check_memory, estimate_memory, free_memory_bytes
from ..base.models import LocalBase, locate_model
from ..base.optimiser import Ema, build_optimiser, select_trainable
from ..configs.config import TrainingConfig
from ..latents.cache import open_cache
from ..latents.data import CachedSamples

torch = require("torch", extra="train")
SHARDED = ("FSDP", "DEEPSPEED")


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """Settings, data, model and optimiser of a run."""

    settings: TrainingConfig
    accelerator: Any
    family: Family
    samples: CachedSamples
    transformer: Any
    """As accelerate wrapped it."""
    config: Any
    """The transformer's own."""
    weights: dict[str, Any]
    """Trainable weights by name."""
    optimiser: Any
    scheduler: Any
    model_folder: Path
    identity: dict[str, Any]
    ema: Ema | None = None
    first_step: int = 0
    """Steps done by the checkpoint that the run resumes from."""

    @property
    def sharded(self) -> bool:
        """Whether weights or optimiser are spread over the processes."""
        return self.accelerator.distributed_type.name in SHARDED

    def checkpoint_path(self, step: int) -> Path:
        """Path to the checkpoint after so many steps."""
        return self.settings.output_path / "checkpoints" / f"step-{step:08d}"


def build_context(settings: TrainingConfig) -> TrainingContext:
    """Load and check everything, and resume from the newest checkpoint where there is one.

    Raises:
        ValueError: cache, corpus, checkpoint, model and settings do not belong together.
        WeightsNotFound: the base model is not on this machine.
    """
    local, cache = locate_model(settings.model), open_cache(settings.cache_path)
    samples = CachedSamples(cache, settings.data, seed=settings.seed)
    accelerator = build_accelerator(settings)
    if accelerator.is_main_process:
        check_cache(samples, local, settings)
    identity = settings.identity() | {
        "corpus": " ".join(cache.manifest["corpus"][key] for key in ("name", "version")),
        "latents": cache.digest,
        "model": local.sha256("transformer") if accelerator.is_main_process else "",
    }
    family = samples.family
    if settings.check_memory:
        need_memory(settings, accelerator, samples, transformer_config(local))
    transformer = load_transformer(local, dtype=None)
    weights = _select_weights(transformer, settings, accelerator.distributed_type.name)
    context = TrainingContext(
        settings=settings,
        accelerator=accelerator,
        family=family,
        samples=samples,
        transformer=transformer,
        config=transformer.config,
        weights=weights,
        optimiser=build_optimiser(settings.optimiser, list(weights.values())),
        scheduler=family.load_scheduler(local.path),
        model_folder=local.path,
        identity=identity,
    )
    return _resume(context)


def need_memory(settings: TrainingConfig, accelerator: Any, samples: CachedSamples, config: dict[str, Any]) -> None:
    """Refuse a run whose step does not fit the device, as estimated before any weight is loaded.

    Raises:
        ValueError: with the estimate.
    """
    shapes = transformer_shapes(samples.family, config)
    sides = {samples.family.grid.latent_shape(row["frames"], row["height"], row["width"]) for row in samples.rows}
    plugin, kind = accelerator.state.deepspeed_plugin, accelerator.distributed_type.name
    shares_all = kind == "FSDP" or (plugin is not None and plugin.zero_stage == 3)
    sharing: Sharing = "all" if shares_all else "optimiser" if kind == "DEEPSPEED" else "none"
    plan = settings.memory_plan(accelerator.num_processes, sharing)
    estimate = estimate_memory(shapes, config, max(sides, key=math.prod), plan)
    check_memory(estimate.total, free_memory_bytes(str(accelerator.device)), str(accelerator.device))


def build_accelerator(settings: TrainingConfig) -> Any:
    """Build the accelerator as `accelerate launch` configured it, with our batch and precision."""
    accelerate = require("accelerate", extra="train")
    accelerator = accelerate.Accelerator(
        # Told so, processes that torchrun started without GPUs find each other.
        cpu="MASTER_ADDR" in os.environ and not torch.accelerator.is_available(),
        mixed_precision=settings.precision,
        log_with=["tensorboard", *settings.trackers],
        project_config=require("accelerate.utils", extra="train").ProjectConfiguration(
            project_dir=str(settings.output_path), logging_dir=str(settings.output_path / "logs")
        ),
    )
    installed = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    missing = [name for name in settings.trackers if name not in installed]
    if missing:  # accelerate would go on without it and say nothing
        raise ValueError(
            f"trackers names '{missing[0]}', which is not installed; get it with: pip install {missing[0]}"
        )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:  # each would train alone, into the same folder
        raise ValueError(
            f"{started} processes were started and accelerate joined {accelerator.num_processes}; "
            "start them with accelerate launch, or without GPUs with torchrun"
        )
    for name in SHARDED:  # without GPUs accelerate does without, and says nothing
        requested = os.environ.get(f"ACCELERATE_USE_{name}", "false") == "true"
        if requested and accelerator.distributed_type.name != name:
            raise ValueError(
                f"accelerate does not take {name} on this machine, it wants GPUs; leave it out of its settings"
            )
    accelerator.gradient_accumulation_steps = settings.accumulation_steps(accelerator.num_processes)
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = settings.batch
        plugin.deepspeed_config["gradient_accumulation_steps"] = accelerator.gradient_accumulation_steps
        plugin.deepspeed_config["gradient_clipping"] = settings.optimiser.max_grad_norm
    if settings.optimiser.ema is not None and accelerator.distributed_type.name in SHARDED:
        raise ValueError("optimiser.ema needs whole weights in each process; leave it out under FSDP or DeepSpeed")
    return accelerator


def check_cache(samples: CachedSamples, local: LocalBase, settings: TrainingConfig) -> None:
    """Refuse a cache that does not fit the run.

    Raises:
        ValueError: its windows make no batch, it was made by another model, or of another version of the corpus.
    """
    cache, shapes = samples.cache, sorted({(row["frames"], row["height"], row["width"]) for row in samples.rows})
    if len(shapes) > 1 and settings.batch > 1:
        raise ValueError(
            f"{cache.folder}: has windows of {shapes[0]} and {shapes[-1]}, which make no batch of {settings.batch}; "
            "set batch = 1, global_batch stays"
        )
    if family_of_model(local) != samples.family:
        raise ValueError(
            f"{cache.folder}: was made for {samples.family.title}, and {local.id} is {family_of_model(local).title}; "
            "encode with this model, into another folder"
        )
    if samples.task != settings.learning_task:
        raise ValueError(
            f"{cache.folder}: was encoded for {samples.task}, not for {settings.learning_task}; encode again, into "
            "another cache_folder if both are wanted"
        )
    model = " ".join(filter(None, (cache.manifest["model"][key] for key in ("id", "revision"))))
    for part, folders in (("vae", ("vae",)), ("text", ("text_encoder", "tokenizer"))):
        if cache.manifest["recipe"][part] != local.sha256(*folders):
            raise ValueError(
                f"{cache.folder}: was made by {folders[0]} of {model}, and that of {local.id} differs; "
                "encode with this model, or train the other"
            )
    if Location(settings.corpus).exists(MANIFEST):  # a training machine may have the cache alone
        corpus = open_corpus(settings.corpus).manifest
        if corpus["digest"] != cache.manifest["corpus"]["digest"]:
            raise ValueError(
                f"{cache.folder}: was made of corpus version {cache.manifest['corpus']['version']}, and "
                f"{settings.corpus} is now {corpus['version']}; encode again, what did not change is kept"
            )


def save_state(context: TrainingContext, step: int) -> None:
    """Write a checkpoint after so many steps; every process calls it.

    Raises:
        CannotWrite: the disk is full; older checkpoints stay.
    """
    path = context.checkpoint_path(step)
    if context.sharded:  # accelerate writes every process's part before our manifest says that all is there
        context.accelerator.save_state(str(_shards_path(path)))
        state = gather_weights(context)
        tensors = {checkpoint.WEIGHTS: {name: state[name] for name in context.weights if name in state}}
    else:
        tensors = {
            checkpoint.WEIGHTS: context.weights,
            checkpoint.OPTIMISER: checkpoint.optimiser_tensors(context.optimiser, list(context.weights)),
        }
    if context.ema is not None:
        tensors[checkpoint.EMA] = context.ema.averages
    if context.accelerator.is_main_process:
        keep = context.settings.keep_checkpoints
        checkpoint.save_checkpoint(path.parent, step, tensors, context.identity, keep=keep)
    context.accelerator.wait_for_everyone()


def _select_weights(transformer: Any, settings: TrainingConfig, distributed: str) -> dict[str, Any]:
    """Freeze all but what learns, and return that: some weights, or an adapter's.

    FSDP keeps weights of one kind together, so all are 32-bit there; elsewhere the frozen ones follow precision.
    """
    frozen_dtype = "bfloat16" if settings.precision == "bf16" and distributed != "FSDP" else "float32"
    if settings.lora is None:
        return select_trainable(transformer, settings.trainable, frozen_dtype=frozen_dtype)
    select_trainable(transformer, None, frozen_dtype=frozen_dtype)
    return add_lora(transformer, settings.lora, seed=settings.seed)


def _resume(context: TrainingContext) -> TrainingContext:
    """Wrap model and optimiser, and load the newest checkpoint into them."""
    accelerator, settings = context.accelerator, context.settings
    path = checkpoint.latest_checkpoint(context.checkpoint_path(0).parent)
    identity = context.identity if accelerator.is_main_process else None
    manifest = checkpoint.read_manifest(path, identity) if path is not None else {"step": 0}
    if path is not None and not context.sharded:
        checkpoint.copy_tensors(context.weights, checkpoint.read_tensors(path, checkpoint.WEIGHTS))
    if settings.gradient_checkpointing:
        context.transformer.enable_gradient_checkpointing()
    transformer, optimiser = accelerator.prepare(context.transformer, context.optimiser)
    weights = context.weights
    if not context.sharded:
        named = accelerator.unwrap_model(transformer).named_parameters()
        weights = {name: weight for name, weight in named if weight.requires_grad}
    ema = Ema(settings.optimiser.ema, weights) if settings.optimiser.ema is not None else None
    if path is not None and context.sharded:
        accelerator.load_state(str(_shards_path(path)))
    elif path is not None:
        state = checkpoint.read_tensors(path, checkpoint.OPTIMISER)
        checkpoint.restore_optimiser(optimiser, list(weights), state)
        if ema is not None:
            checkpoint.copy_tensors(ema.averages, checkpoint.read_tensors(path, checkpoint.EMA))
    return dataclasses.replace(
        context,
        transformer=transformer,
        optimiser=optimiser,
        weights=weights,
        ema=ema,
        first_step=int(manifest["step"]),
    )


def gather_weights(context: TrainingContext) -> dict[str, Any]:
    """All weights on the main process; the others may get none (FSDP's first version gives them none).

    Weights that are gathered on a CPU may still be on their way, in a wrapper that no file format takes.
    """
    state = context.accelerator.get_state_dict(context.transformer)
    return {name: value.wait() if hasattr(value, "wait") else value for name, value in state.items()}


def _shards_path(path: Path) -> Path:
    return path.parent / f"{checkpoint.SHARDS}{path.name}"
