"""Transformer of a removal model: a published file, recognised by the shapes in it, on the base that it was trained on.

Casper is published as whole transformers (CogVideoX-Fun V1.5 5B InP, Wan2.1 Fun 1.3B InP) and as a LoRA (Wan2.1 Fun 14B
InP), under the names of VideoX-Fun: for CogVideoX the library's own, for Wan the original ones. Nothing is read before
names, shapes and the memory that they take are known to do.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...extras import require
from ..base.cogvideox import CogVideoXFamily
from ..base.family import Family
from ..base.lora import match_layers
from ..base.models import read_config
from ..base.wan import WanFamily

torch = require("torch", extra="train")
CHANNELS = {"CogVideoXTransformer3DModel": 33, "WanTransformer3DModel": 36}
"""Input channels of each class: noisy ones, mask and video."""
_EMBEDDINGS = {
    "patch_embed.proj.weight": "CogVideoXTransformer3DModel",
    "patch_embedding.weight": "WanTransformer3DModel",
}
_LORA = (".lora_down.weight", ".lora_up.weight", ".alpha")


class UnusableWeights(RuntimeError):
    """Weights are missing, damaged, or of another model; the message names the file and what to do."""

    is_sentence = True
    is_unavailable = True


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Weights of a transformer on disk: a file, or a folder of safetensors, of which only names and shapes are read."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def is_lora(self) -> bool:
        """Whether it holds low-rank changes of a transformer, not a transformer."""
        return any(name.endswith(_LORA[0]) for name in self.shapes)

    @property
    def numbers(self) -> int:
        """Count of all weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def read(self, dtype: Any, exact: Collection[str] = ()) -> dict[str, Any]:
        """Read all weights as one dtype, but those named in `exact` as 32-bit.

        Raises:
            UnusableWeights: the file is damaged or cut short.
        """
        weights = {}
        for file in _files(self.path):
            for name, weight in _read(file).items():
                weights[name] = weight.to(torch.float32 if name in exact else dtype, copy=True)
        return weights


def open_weights(path: Path) -> WeightsFile:
    """Read names and shapes of a file of weights, or of a folder's safetensors; no weight is loaded.

    Raises:
        UnusableWeights: it is damaged or cut short, or the folder holds none.
    """
    files = _files(path)
    if not files:
        raise UnusableWeights(f"{path}: holds no *.safetensors; name the file of the weights")
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        if file.suffix == ".safetensors":
            safetensors = require("safetensors", extra="train")
            try:
                with safetensors.safe_open(file, framework="pt") as opened:
                    shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            except (safetensors.SafetensorError, OSError) as error:
                raise _damaged(file, error) from error
        else:
            shapes |= {name: tuple(weight.shape) for name, weight in _read(file).items()}
    return WeightsFile(path=path, shapes=shapes)


def class_of(weights: WeightsFile) -> str:
    """Name of the transformer's class by the layer that takes the latents, or by the layers that a LoRA changes.

    Raises:
        UnusableWeights: it is neither CogVideoX's nor Wan's.
    """
    for name, class_name in _EMBEDDINGS.items():
        if name in weights.shapes:
            return class_name
    if weights.is_lora and any("blocks_0_" in name for name in weights.shapes):
        is_cog = any("transformer_blocks_0_" in name for name in weights.shapes)
        return "CogVideoXTransformer3DModel" if is_cog else "WanTransformer3DModel"
    names = ", ".join(list(weights.shapes)[:2]) or "none"
    raise UnusableWeights(
        f"{weights.path}: is no transformer of CogVideoX or Wan (first weights: {names}); name one of Casper's files"
    )


def open_transformer(weights: WeightsFile, base: Path, lora_base: Path | None) -> WeightsFile:
    """Open the whole transformer: the weights themselves, or what a LoRA changes, of the base where none is named."""
    return open_weights(lora_base or base / "transformer") if weights.is_lora else weights


def load_removal_transformer(
    weights: WeightsFile, base: Path, *, lora_base: Path | None = None, lora_weight: float = 1.0, dtype: str = "float32"
) -> tuple[Family, Any]:
    """Load the transformer onto the CPU, frozen, with its family.

    Args:
        weights: a whole transformer, or a LoRA.
        base: folder of the base model, whose `transformer/config.json` says how large it is.
        lora_base: file or folder of the transformer that a LoRA changes; None takes the base's.
        lora_weight: factor of a LoRA's changes.
        dtype: torch's name of the weights' type; those that the class wants exact stay 32-bit.

    Raises:
        UnusableWeights: the weights are of another family, size or mask encoding than the base, or are cut short.
    """
    class_name, config = class_of(weights), read_config(base / "transformer")
    base_name = config.get("_class_name")
    if base_name not in (None, class_name):
        raise UnusableWeights(
            f"{weights.path}: is of {class_name} and the base {base} of {base_name}; name its own base"
        )
    transformer = open_transformer(weights, base, lora_base)
    model_class = getattr(require("diffusers", extra="train"), class_name)
    names = {name: _diffusers_name(name, class_name, transformer.shapes) for name in transformer.shapes}
    shapes = {names[name]: shape for name, shape in transformer.shapes.items()}
    # Buffers are real: Wan's rotary tables are made when it is built and lie in no file.
    with require("accelerate", extra="train").init_empty_weights(include_buffers=False):
        module = model_class.from_config(_fit_config(config, class_name, shapes, transformer.path))
    _check_shapes(transformer.path, shapes, module.state_dict(), base)
    words = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    exact = {name for name, own in names.items() if words & set(own.split("."))}
    tensors = transformer.read(getattr(torch, dtype), exact)
    tensors = {names[name]: tensor for name, tensor in tensors.items() if names[name] in module.state_dict()}
    if weights.is_lora:
        _merge_lora(tensors, weights, lora_weight, base)
    module.load_state_dict(tensors, strict=True, assign=True)
    family: Family = WanFamily() if class_name.startswith("Wan") else CogVideoXFamily()
    return family, module.eval().requires_grad_(False)


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.safetensors")) if path.is_dir() else [path]


def _read(file: Path) -> dict[str, Any]:
    """All weights of a file; torch's own format is read without running what it holds."""
    try:
        if file.suffix == ".safetensors":
            return dict(require("safetensors.torch", extra="train").load_file(file))
        weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        weights = weights.get("state_dict", weights)
        return {name: weight for name, weight in weights.items() if isinstance(weight, torch.Tensor)}
    except Exception as error:  # pickle, zip and safetensors each have errors of their own
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> UnusableWeights:
    reason = " ".join(str(error).split())[:120]
    return UnusableWeights(f"{file}: is damaged or cut short ({reason}); download it again")


def _diffusers_name(name: str, class_name: str, names: Iterable[str]) -> str:
    if class_name.startswith("Cog") or not any(".self_attn." in each for each in names):
        return name
    files = require("diffusers.loaders.single_file_utils", extra="train")
    return str(next(iter(files.convert_wan_transformer_to_diffusers({name: None}))))


def _fit_config(config: dict[str, Any], class_name: str, shapes: Mapping[str, tuple[int, ...]], path: Path) -> Any:
    """The base's config with the input channels of the weights, and the picture's layers where they have them."""
    embedding = next(name for name, owner in _EMBEDDINGS.items() if owner == class_name)
    inputs = shapes[embedding][1]
    if class_name.startswith("Cog"):
        inputs //= (config.get("patch_size_t") or 1) * config["patch_size"] ** 2
    if inputs != CHANNELS[class_name]:
        raise UnusableWeights(
            f"{path}: takes {inputs} channels, not {CHANNELS[class_name]} (noisy video, mask and video); name the "
            "weights of Casper that were trained with the mask resized"
        )
    config |= {"in_channels": inputs}
    image = shapes.get("condition_embedder.image_embedder.norm1.weight")
    if image is not None:
        config |= {"image_dim": image[0], "added_kv_proj_dim": shapes[embedding][0]}
    return config


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], module: Mapping[str, Any], base: Path) -> None:
    absent = [name for name in module if name not in shapes]
    unlike = [name for name in module if name in shapes and shapes[name] != tuple(module[name].shape)]
    blocks = [name for name in shapes if name not in module and "blocks." in name]
    if unlike or (blocks and not absent):
        name = (unlike or blocks)[0]
        own = "x".join(map(str, module[name].shape)) if name in module else "absent"
        raise UnusableWeights(
            f"{path}: is of another size than its base {base} ({name} is {'x'.join(map(str, shapes[name]))}, there "
            f"{own}); name the base that it was trained on in decompose.base"
        )
    if absent:
        raise UnusableWeights(
            f"{path}: lacks {len(absent)} of {len(module)} weights (first {absent[0]}); it is cut short or of another "
            "size than its base; download it again, or name its own base in decompose.base"
        )


def _merge_lora(tensors: dict[str, Any], lora: WeightsFile, factor: float, base: Path) -> None:
    """Add the changes of a LoRA to the weights."""
    matrices = {name: tensor for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 2}
    shapes = {name.removesuffix(".weight"): tuple(tensor.shape) for name, tensor in matrices.items()}
    try:
        layers = match_layers(lora.read(torch.float32), shapes, label=str(lora.path), base=str(base))
    except ValueError as error:
        raise UnusableWeights(str(error)) from error
    for name, layer in layers.items():
        weight = tensors[f"{name}.weight"]
        tensors[f"{name}.weight"] = (weight.float() + layer.change(factor)).to(weight.dtype)
