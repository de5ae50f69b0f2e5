"""A run's state to its checkpoints and back, and the trained weights out at the end."""

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...extras import require
from ..base import checkpoint
from ..base.optimiser import Ema
from .setup import TrainingContext
from .step_log import RECORD, TRAINED

torch = require("torch", extra="train")


def resume(ready: TrainingContext) -> int:
    """Wrap model and optimiser and put the newest checkpoint into them; return the steps that are done."""
    place = checkpoint.latest_checkpoint(_folder(ready))
    identity = ready.identity if ready.accelerator.is_main_process else None
    said = checkpoint.read_manifest(place, identity) if place is not None else {"step": 0}
    if place is not None and not ready.sharded:
        _put(ready.weights, checkpoint.read(place, checkpoint.WEIGHTS))
    if ready.settings.gradient_checkpointing:
        ready.transformer.enable_gradient_checkpointing()
    ready.transformer, ready.optimiser = ready.accelerator.prepare(ready.transformer, ready.optimiser)
    if not ready.sharded:
        bare = ready.accelerator.unwrap_model(ready.transformer)
        ready.weights = {name: weight for name, weight in bare.named_parameters() if weight.requires_grad}
    if ready.settings.optimiser.ema is not None:
        ready.mean = Ema(ready.settings.optimiser.ema, ready.weights)
    if place is not None and ready.sharded:
        ready.accelerator.load_state(str(_shards(place)))
    elif place is not None:
        restored = checkpoint.read(place, checkpoint.OPTIMISER)
        checkpoint.restore_optimiser(ready.optimiser, list(ready.weights), restored)
        if ready.mean is not None:
            _put(ready.mean.mean, checkpoint.read(place, checkpoint.MEAN))
    return int(said["step"])


def save(ready: TrainingContext, done: int) -> None:
    """Write a checkpoint after so many steps; every process calls it.

    Raises:
        CannotWrite: the disk is full; older checkpoints stay.
    """
    folder = _folder(ready)
    if ready.sharded:  # accelerate writes every process's part before our manifest says that all is there
        ready.accelerator.save_state(str(_shards(folder / f"step-{done:08d}")))
        state = _gathered(ready)
        tensors = {checkpoint.WEIGHTS: {name: state[name] for name in ready.weights if name in state}}
    else:
        tensors = {
            checkpoint.WEIGHTS: ready.weights,
            checkpoint.OPTIMISER: checkpoint.optimiser_tensors(ready.optimiser, list(ready.weights)),
        }
    if ready.mean is not None:
        tensors[checkpoint.MEAN] = ready.mean.mean
    if ready.accelerator.is_main_process:
        checkpoint.save(folder, done, tensors, ready.identity, keep=ready.settings.keep_checkpoints)
    ready.accelerator.wait_for_everyone()


def export(ready: TrainingContext) -> Path:
    """The whole transformer, its running mean where one was kept, as `save_pretrained` writes it."""
    folder = Path(ready.settings.output).expanduser() / TRAINED / "transformer"
    state = _gathered(ready)
    if ready.accelerator.is_main_process:
        if ready.mean is not None:
            state = {**state, **ready.mean.mean}
        _whole(ready.config, state).save_pretrained(str(folder))
        atomic_write(folder.parent / RECORD, json_bytes(_record(ready)))
    ready.accelerator.wait_for_everyone()
    return folder.parent


def _whole(config: Any, state: dict[str, Any]) -> Any:
    """A transformer of these weights: the library saves a model's own weights alone, not others that it is given."""
    with torch.device("meta"):
        whole = require("diffusers", extra="train").CogVideoXTransformer3DModel.from_config(config)
    whole.load_state_dict(state, assign=True)
    return whole


def _gathered(ready: TrainingContext) -> dict[str, Any]:
    """All weights on the main process; the others may get none (FSDP's first version gives them none).

    Weights that are gathered on a CPU may still be on their way, in a wrapper that no file format takes.
    """
    state = ready.accelerator.get_state_dict(ready.transformer)
    return {name: value.wait() if hasattr(value, "wait") else value for name, value in state.items()}


def _record(ready: TrainingContext) -> dict[str, Any]:
    """Where trained weights come from: all that a model card needs."""
    manifest = ready.cache.manifest
    return {
        "base": manifest["model"] | {"transformer": ready.identity["model"]},
        "corpus": manifest["corpus"],
        "latents": {"digest": ready.cache.digest, "recipe": manifest["recipe"]},
        "settings": dataclasses.asdict(ready.settings),
        "processes": ready.accelerator.num_processes,
        "conditioning_noise": "none",
        "software": f"effectpairs {version('effectpairs')}",
    }


def _put(weights: dict[str, Any], found: dict[str, Any]) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(found[name])


def _folder(ready: TrainingContext) -> Path:
    return Path(ready.settings.output).expanduser() / "checkpoints"


def _shards(place: Path) -> Path:
    return place.parent / f"{checkpoint.SHARDS}{place.name}"
