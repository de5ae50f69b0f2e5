"""Before the first step: what is needed is there and belongs together, and the model stands ready to learn."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.corpus.publish import MANIFEST
from ...datasets.corpus.reader import open_corpus
from ...datasets.store.location import Location
from ...extras import require
from ..base.models import LocalModel, fingerprint, load_scheduler, load_transformer, locate_model
from ..base.optimiser import Ema, build, choose
from ..configs.config import TrainingConfig
from ..latents.cache import LatentCache, open_cache
from ..latents.data import CachedSamples

torch = require("torch", extra="train")
SHARDED = ("FSDP", "DEEPSPEED")


@dataclass(kw_only=True)
class TrainingContext:
    """All that the loop works with."""

    settings: TrainingConfig
    accelerator: Any
    cache: LatentCache
    samples: CachedSamples
    transformer: Any
    """As accelerate wrapped it."""
    config: Any
    """The transformer's own."""
    weights: dict[str, Any]
    """Those that learn, by name."""
    optimiser: Any
    mean: Ema | None
    scheduler: Any
    model_folder: Path
    identity: dict[str, Any]
    decoding: list[Any] = field(default_factory=list)
    """Processes that make videos of validation samples."""

    @property
    def sharded(self) -> bool:
        """Are weights or optimiser spread over the processes?"""
        return self.accelerator.distributed_type.name in SHARDED


def build_context(settings: TrainingConfig) -> TrainingContext:
    """Load and check everything.

    Raises:
        ValueError: cache, corpus, model and settings do not belong together.
        BaseModelNotFound: the base model is not on this machine.
    """
    located, cache = locate_model(settings.model), open_cache(settings.cache_path)
    samples = CachedSamples(cache, settings.data, seed=settings.seed)
    _check_shapes(samples, settings)
    accelerator = make_accelerator(settings)
    if accelerator.is_main_process:
        check_cache(cache, located, settings)
    identity = settings.identity() | {
        "corpus": " ".join(cache.manifest["corpus"][key] for key in ("name", "version")),
        "latents": cache.digest,
        "model": fingerprint(located.folder, "transformer") if accelerator.is_main_process else "",
    }
    transformer, names = _transformer(settings, located.folder, accelerator)
    weights = {name: weight for name, weight in transformer.named_parameters() if name in names}
    optimiser = build(settings.optimiser, list(weights.values()))
    return TrainingContext(
        settings=settings,
        accelerator=accelerator,
        cache=cache,
        samples=samples,
        transformer=transformer,
        config=transformer.config,
        weights=weights,
        optimiser=optimiser,
        mean=None,
        scheduler=load_scheduler(located.folder),
        model_folder=located.folder,
        identity=identity,
    )


def make_accelerator(settings: TrainingConfig) -> Any:
    """The accelerator as `accelerate launch` configured it, with our batch and precision."""
    accelerate = require("accelerate", extra="train")
    output = Path(settings.output).expanduser()
    accelerator = accelerate.Accelerator(
        # Told so, processes that torchrun started without GPUs find each other.
        cpu="MASTER_ADDR" in os.environ and not torch.accelerator.is_available(),
        mixed_precision=settings.precision,
        log_with=["tensorboard", *settings.trackers],
        project_dir=str(output),
    )
    there = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    gone = [name for name in settings.trackers if name not in there]
    if gone:  # accelerate would go on without it and say nothing
        raise ValueError(f"trackers names '{gone[0]}', which is not installed; get it with: pip install {gone[0]}")
    _check_joined(accelerator)
    accelerator.gradient_accumulation_steps = settings.accumulate(accelerator.num_processes)
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = settings.batch
        plugin.deepspeed_config["gradient_accumulation_steps"] = accelerator.gradient_accumulation_steps
        plugin.deepspeed_config["gradient_clipping"] = settings.optimiser.max_grad_norm
    if settings.optimiser.ema is not None and accelerator.distributed_type.name in SHARDED:
        raise ValueError("optimiser.ema needs whole weights in each process; leave it out under FSDP or DeepSpeed")
    return accelerator


def _check_joined(accelerator: Any) -> None:
    """Do all processes work together, and as they were asked to?"""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:  # each would train alone, into the same folder
        raise ValueError(
            f"{started} processes were started and accelerate joined {accelerator.num_processes}; "
            "start them with accelerate launch, or without GPUs with torchrun"
        )
    for word in SHARDED:  # without GPUs accelerate does without, and says nothing
        asked = os.environ.get(f"ACCELERATE_USE_{word}", "false") == "true"
        if asked and accelerator.distributed_type.name != word:
            raise ValueError(
                f"accelerate does not take {word} on this machine, it wants GPUs; leave it out of its settings"
            )


def check_cache(cache: LatentCache, located: LocalModel, settings: TrainingConfig) -> None:
    """Does the cache come from this model and this corpus?

    Raises:
        ValueError: it does not.
    """
    made = [cache.manifest["model"][key] for key in ("id", "revision")]
    for part, folders in (("vae", ("vae",)), ("text", ("text_encoder", "tokenizer"))):
        if cache.manifest["recipe"][part] != fingerprint(located.folder, *folders):
            raise ValueError(
                f"{cache.folder}: was made by {folders[0]} of {' '.join(filter(None, made))}, and that of "
                f"{located.id} differs; precompute with this model, or train the other"
            )
    if Location(settings.corpus).exists(MANIFEST):  # a training machine may have the cache alone
        found = open_corpus(settings.corpus).manifest
        if found["digest"] != cache.manifest["corpus"]["digest"]:
            raise ValueError(
                f"{cache.folder}: was made of corpus version {cache.manifest['corpus']['version']}, and "
                f"{settings.corpus} is now {found['version']}; precompute again, what did not change is kept"
            )


def _check_shapes(samples: CachedSamples, settings: TrainingConfig) -> None:
    shapes = sorted({(row["frames"], row["height"], row["width"]) for row in samples.rows})
    if len(shapes) > 1 and settings.batch > 1:
        raise ValueError(
            f"{samples.cache.folder}: has windows of {shapes[0]} and {shapes[-1]}, which make no batch of "
            f"{settings.batch}; set batch = 1, global_batch stays"
        )


def _transformer(settings: TrainingConfig, folder: Path, accelerator: Any) -> tuple[Any, list[str]]:
    """FSDP keeps weights of one kind together, so all are 32-bit there; elsewhere the frozen ones follow precision."""
    half = settings.precision == "bf16" and accelerator.distributed_type.name != "FSDP"
    dtype = "bfloat16" if half else "float32"
    transformer = load_transformer(folder, dtype=None)
    return transformer, choose(transformer, settings.trainable, frozen_dtype=dtype)
