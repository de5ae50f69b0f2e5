"""Weights of a finished run: the whole transformer or a LoRA, with the record that a model card and a user need."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...extras import require
from ..base.lora import layers_of, merge_lora, write_lora
from ..latents.sampler import count_unpaired
from .context import TrainingContext, gather_weights
from .step_log import RECORD_FILE, TRAINED_FOLDER

torch = require("torch", extra="train")


def export_weights(context: TrainingContext) -> Path:
    """Write the weights, their moving average where there is one; every process calls it.

    A LoRA is written under the names of diffusers and of ComfyUI, and merged into the whole transformer on request.
    """
    folder, lora = context.settings.output_path / TRAINED_FOLDER, context.settings.lora
    state = gather_weights(context)
    if context.accelerator.is_main_process:
        if context.ema is not None:
            state = {**state, **context.ema.averages}
        record = _record(context)
        if lora is None or lora.merge:
            _write_transformer(context, state, folder / "transformer")
        if lora is not None:
            weights = {name: state[name] for name in context.weights}
            write_lora(folder, weights, lora, record, original=context.family.has_original_names)
        atomic_write(folder / RECORD_FILE, json_bytes(record))
    context.accelerator.wait_for_everyone()
    return folder


def _write_transformer(context: TrainingContext, state: Mapping[str, Any], folder: Path) -> None:
    """Write the whole transformer as `save_pretrained` does, an adapter merged into it.

    The library saves a model's own weights alone, not others that it is given, so they get a model of their own.
    """
    adapter = {name: weight for name, weight in state.items() if ".lora_" in name}
    weights = {name.replace(".base_layer.", "."): weight for name, weight in state.items() if name not in adapter}
    model_class = getattr(require("diffusers", extra="train"), context.family.transformer_class)
    with torch.device("meta"):
        transformer = model_class.from_config(context.config)
    transformer.load_state_dict(weights, assign=True)
    if context.settings.lora is not None:
        layers = layers_of(adapter, context.settings.lora)
        for name in layers:  # the frozen weights are those of the run, which may go on
            layer = transformer.get_submodule(name)
            layer.weight = torch.nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        merge_lora(transformer, layers)
    transformer.save_pretrained(str(folder))


def _record(context: TrainingContext) -> dict[str, Any]:
    """All that a model card needs."""
    settings, cache = context.settings, context.samples.cache
    sizes = Counter((row["height"], row["width"]) for row in context.samples.rows)
    return {
        "family": cache.manifest["family"],
        "base": cache.manifest["model"] | {"transformer": context.identity["model"]},
        "task": dataclasses.asdict(settings.learning_task),
        "corpus": cache.manifest["corpus"],
        "latents": {"digest": cache.digest, "recipe": cache.manifest["recipe"], "size": sizes.most_common(1)[0][0]},
        "settings": dataclasses.asdict(settings),
        "processes": context.accelerator.num_processes,
        "unpaired": count_unpaired(cache.rows, settings.data),
        "title": context.family.title,
        "trained_shape": context.family.trained_shape,
        "adds_noise": context.family.adds_noise,
        "software": f"effectpairs {version('effectpairs')}",
    }
