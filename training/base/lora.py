"""LoRA: low-rank changes of linear layers, learnt through peft, written for other programs, read, and merged.

A change is alpha / rank · up @ down. Both files that a run writes carry alpha, without which a reader takes the rank
for it and says nothing: diffusers reads it from the file's metadata, ComfyUI from a tensor beside each layer.

| file                               | names                                                        | read by       |
|------------------------------------|--------------------------------------------------------------|---------------|
| `pytorch_lora_weights.safetensors` | `transformer.blocks.0.attn1.to_q.lora_A.weight`              | diffusers     |
| `comfyui_lora.safetensors`, Wan    | `diffusion_model.blocks.0.self_attn.q.lora_A.weight`         | ComfyUI, too  |
| the same, CogVideoX                | `lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight` | its own nodes |

ComfyUI runs Wan by itself, under the names in which it was first published, and CogVideoX-Fun through the nodes of
VideoX-Fun, which join names by underscores.
"""

import json
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Float

from ...datasets.store.atomic_io import atomic_write
from ...extras import require
from ...untrusted_input import parse_json
from .network import Tensor
from .optimiser import LoraSettings

torch = require("torch", extra="train")
DIFFUSERS_FILE, COMFYUI_FILE = "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"
_ADAPTER = "default"
_METADATA, _ORIGIN = "lora_adapter_metadata", "effectpairs"
"""Keys of a file's metadata: peft's configuration where diffusers looks for it, and the origin of the weights."""
_PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "lora_unet_")
_DOWN, _UP = (".lora_A.weight", ".lora_down.weight"), (".lora_B.weight", ".lora_up.weight")
_ALPHA = ".alpha"
ORIGINAL_NAMES = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("attn1.", "self_attn."), ("attn2.", "cross_attn."), ("to_out.0", "o"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
    ("add_k_proj", "k_img"), ("add_v_proj", "v_img"), ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"),
    ("proj_out", "head.head"),
)  # fmt: skip
"""Names of Wan's linear layers here and originally, in which most LoRA files speak of them."""


class LoraLayer(NamedTuple):
    """Change of one linear layer."""

    down: Float[Tensor, "rank columns"]
    up: Float[Tensor, "rows rank"]
    alpha: float

    def change(self, factor: float = 1.0) -> Float[Tensor, "rows columns"]:
        """The change itself, in 32-bit."""
        return factor * self.alpha / len(self.down) * (self.up.float() @ self.down.float())


class LoraFile(NamedTuple):
    """Changes of a transformer by the names of its layers."""

    path: Path
    layers: dict[str, LoraLayer]
    origin: dict[str, Any]
    """Record of the run that wrote it; empty in files of other programs."""


def add_lora(transformer: Any, settings: LoraSettings, *, seed: int) -> dict[str, Any]:
    """Put an adapter that changes nothing yet onto a frozen transformer; return its 32-bit weights by name.

    Raises:
        ValueError: a target is the name of no linear layer.
    """
    peft = require("peft", extra="lora")
    layers = linear_shapes(transformer)
    for target in settings.targets:
        if not any(LoraSettings(targets=(target,)).changes(name) for name in layers):
            layer_names = ", ".join(sorted({name.rsplit("blocks.", 1)[-1].split(".", 1)[-1] for name in layers})[:8])
            raise ValueError(
                f"lora.targets names '{target}', which is no linear layer of the transformer; it has {layer_names}"
            )
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.effective_alpha, target_modules=list(settings.targets), lora_bias=False
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # every process draws the same
        transformer.add_adapter(config, adapter_name=_ADAPTER)
    weights = {name: weight for name, weight in transformer.named_parameters() if ".lora_" in name}
    for weight in weights.values():
        weight.data = weight.data.float()  # peft takes the frozen weights' dtype, in which small updates are lost
        weight.requires_grad_(True)
    return weights


def linear_shapes(transformer: Any) -> dict[str, tuple[int, int]]:
    """Rows and columns of every linear layer by its name."""
    modules = transformer.named_modules()
    return {name: tuple(module.weight.shape) for name, module in modules if isinstance(module, torch.nn.Linear)}


def write_lora(
    folder: Path, weights: Mapping[str, Any], settings: LoraSettings, origin: Mapping[str, Any], *, original: bool
) -> None:
    """Write both files of an adapter.

    Args:
        folder: gets the files.
        weights: the adapter's weights by name, as `add_lora` returns them.
        settings: rank, alpha and targets that they were trained with.
        origin: kept in the metadata of both files.
        original: whether the base was first published under other names than the library's (Wan).

    Raises:
        CannotWrite: the disk is full or the folder cannot be written.
    """
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save = require("safetensors.torch", extra="train").save
    config = {"r": settings.rank, "lora_alpha": settings.effective_alpha, "target_modules": list(settings.targets)}
    config = {f"transformer.{key}": value for key, value in config.items()}
    metadata = {"format": "pt", _ORIGIN: json.dumps(origin), _METADATA: json.dumps(config)}
    named = {f"transformer.{name.replace(f'.{_ADAPTER}.', '.')}": tensor for name, tensor in tensors.items()}
    atomic_write(folder / DIFFUSERS_FILE, save(named, metadata))
    comfyui: dict[str, Any] = {}
    for name, layer in layers_of(tensors, settings).items():
        name = f"diffusion_model.{original_name(name)}" if original else f"lora_unet_{name.replace('.', '_')}"
        down, up = (ends[0 if original else 1] for ends in (_DOWN, _UP))
        comfyui |= {name + down: layer.down, name + up: layer.up, name + _ALPHA: torch.tensor(layer.alpha)}
    atomic_write(folder / COMFYUI_FILE, save(comfyui, {"format": "pt", _ORIGIN: metadata[_ORIGIN]}))


def read_lora(path: Path, shapes: Mapping[str, tuple[int, int]], *, base: str) -> LoraFile:
    """Read a LoRA in any of the names above, of a run's `trained` folder or a file of another program.

    Args:
        path: the file, or the folder that `write_lora` wrote.
        shapes: rows and columns of the transformer's linear layers.
        base: name of the transformer, for the error.

    Raises:
        ValueError: it is damaged, of another base, or its parts do not fit each other.
    """
    path = lora_file(path)
    config, origin = _open(path)
    tensors = require("safetensors.torch", extra="train").load_file(path)
    return LoraFile(path, match_layers(tensors, shapes, label=str(path), base=base, config=config), origin)


def read_origin(path: Path) -> dict[str, Any]:
    """Record of the run that wrote a LoRA, as in its `trained` folder; empty in files of other programs.

    Raises:
        ValueError: the file cannot be read.
    """
    return _open(lora_file(path))[1]


def lora_file(path: Path) -> Path:
    """File of a LoRA that is named by itself or by a run's `trained` folder."""
    return path / DIFFUSERS_FILE if path.is_dir() else path


def match_layers(
    tensors: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    *,
    label: str,
    base: str,
    config: Mapping[str, Any] | None = None,
) -> dict[str, LoraLayer]:
    """Sort the tensors of a LoRA file by the layers that they change; those of a text encoder are passed over.

    Raises:
        ValueError: a layer is not there in this size, or a part of its change is missing or of another rank.
    """
    config = config or {}
    parts: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        name = name.replace(f".{_ADAPTER}.", ".")
        for half, ends in {"down": _DOWN, "up": _UP, "alpha": (_ALPHA,)}.items():
            for end in ends:
                if name.endswith(end) and not name.startswith(("lora_te", "text_encoder")):
                    parts.setdefault(_strip(name.removesuffix(end)), {})[half] = tensor
    if not parts:
        raise ValueError(f"{label}: holds no LoRA; give a file of one, with names such as *.lora_A.weight")
    names = {alias: name for name in shapes for alias in _aliases(name)}
    layers = {}
    for layer, part in parts.items():
        target, down, up = names.get(layer), part.get("down"), part.get("up")
        if target is None or down is None or up is None or (len(up), down.shape[1]) != tuple(shapes[target]):
            raise ValueError(
                f"{label}: changes a layer {layer} that {base} does not have in this size, or in part; name the base "
                "that it was trained on, or download it again"
            )
        if up.shape[1] != len(down) or config.get("r", len(down)) != len(down):
            raise ValueError(
                f"{label}: layer {layer} has rank {len(down)}, its other half {up.shape[1]} and its description "
                f"{config.get('r', len(down))}; download it again"
            )
        alpha = part.get("alpha", config.get("lora_alpha", len(down)))
        layers[target] = LoraLayer(down, up, float(alpha))
    return layers


def merge_lora(transformer: Any, layers: Mapping[str, LoraLayer], factor: float = 1.0) -> None:
    """Add the changes to the weights themselves, each rounded once to its weight's dtype."""
    with torch.no_grad():
        for name, layer in layers.items():
            weight = transformer.get_submodule(name).weight
            weight.copy_(weight.float() + layer.change(factor).to(weight.device))


def attach_lora(transformer: Any, layers: Mapping[str, LoraLayer], factor: float = 1.0) -> None:
    """Put the changes beside the weights, as peft's adapter of the transformer, frozen and of its dtype."""
    peft = require("peft", extra="lora")
    ranks = {name: len(layer.down) for name, layer in layers.items()}
    alphas = {name: layer.alpha * factor for name, layer in layers.items()}
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(layers),
        rank_pattern={name: each for name, each in ranks.items() if each != rank},
        alpha_pattern={name: each for name, each in alphas.items() if each != alpha},
    )
    transformer.add_adapter(config, adapter_name=_ADAPTER)
    with torch.no_grad():
        for name, layer in layers.items():
            module = transformer.get_submodule(name)
            module.lora_A[_ADAPTER].weight.copy_(layer.down)
            module.lora_B[_ADAPTER].weight.copy_(layer.up)
    transformer.requires_grad_(False)


def layers_of(weights: Mapping[str, Any], settings: LoraSettings) -> dict[str, LoraLayer]:
    """Changes that an adapter's weights, by the names of `add_lora`, stand for."""
    end = f".lora_A.{_ADAPTER}.weight"
    downs = {name.removesuffix(end): weight for name, weight in weights.items() if name.endswith(end)}
    alpha = settings.effective_alpha
    return {name: LoraLayer(down, weights[f"{name}.lora_B.{_ADAPTER}.weight"], alpha) for name, down in downs.items()}


def original_name(layer: str) -> str:
    """Name under which a linear layer of Wan was first published."""
    return reduce(lambda name, pair: name.replace(*pair), ORIGINAL_NAMES, layer)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Peft's configuration and the origin in the metadata of a file."""
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        config, origin = (dict(parse_json(metadata.get(key, "{}"))) for key in (_METADATA, _ORIGIN))
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path}: is no LoRA that can be read ({reason}); give a .safetensors file") from error
    return {key.removeprefix("transformer."): value for key, value in config.items()}, origin


def _aliases(layer: str) -> Iterable[str]:
    for name in (layer, original_name(layer)):
        yield from (name, name.replace(".", "_"))


def _strip(layer: str) -> str:
    for prefix in _PREFIXES:
        layer = layer.removeprefix(prefix)
    return layer.strip("_")
