"""Published transformers: a file of weights, recognised by the shapes in it, under whatever names it was published.

CogVideoX-Fun InP, Casper, VOID, Wan 2.1 Fun InP and VACE are published as whole transformers under the names of
VideoX-Fun: for CogVideoX the library's own, for Wan the original ones. Nothing is read before names, shapes and the
memory that they take are known to do.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...extras import require
from .models import load_weights, read_config

torch = require("torch", extra="train")
COGVIDEOX, WAN, VACE = "CogVideoXTransformer3DModel", "WanTransformer3DModel", "WanVACETransformer3DModel"
_EMBEDDINGS = {
    "patch_embed.proj.weight": COGVIDEOX,
    "vace_patch_embedding.weight": VACE,
    "patch_embedding.weight": WAN,
}
"""Layers that the latents come to, of which the first in a file tells its class."""
_LORA = ".lora_down.weight"


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
        return any(name.endswith(_LORA) for name in self.shapes)

    @property
    def numbers(self) -> int:
        """Count of all weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def read(self, dtype: Any, exact: Collection[str] = ()) -> dict[str, Any]:
        """Read all weights as one dtype, but those named in `exact` as 32-bit; None leaves them as they are.

        Raises:
            UnusableWeights: the file is damaged or cut short.
        """
        weights = {}
        for file in _files(self.path):
            for name, weight in _read(file).items():
                weights[name] = weight.to(torch.float32 if name in exact and dtype else dtype, copy=True)
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
        return COGVIDEOX if is_cog else WAN
    names = ", ".join(list(weights.shapes)[:2]) or "none"
    raise UnusableWeights(
        f"{weights.path}: is no transformer of CogVideoX or Wan (first weights: {names}); name a file of CogVideoX-Fun "
        "InP, Casper, VOID, Wan Fun InP or Wan VACE"
    )


def published_config(weights: WeightsFile, base: Path) -> dict[str, Any]:
    """Config of a published transformer: the base's, with the class, channels and layers that its shapes tell.

    Raises:
        UnusableWeights: it is of no class that is here, or of another than the base's.
    """
    config, class_name = read_config(base / "transformer"), class_of(weights)
    base_name = config.get("_class_name", class_name)
    if (base_name == COGVIDEOX) != (class_name == COGVIDEOX):
        raise UnusableWeights(
            f"{weights.path}: is of {class_name} and the base {base} of {base_name}; name its own base"
        )
    shapes = {name: weights.shapes[own] for own, name in diffusers_names(weights.shapes, class_name).items()}
    inputs = shapes["patch_embed.proj.weight" if class_name == COGVIDEOX else "patch_embedding.weight"]
    channels = inputs[1]
    if class_name == COGVIDEOX:
        channels //= (config.get("patch_size_t") or 1) * config["patch_size"] ** 2
    config |= {"_class_name": class_name, "in_channels": channels}
    image = shapes.get("condition_embedder.image_embedder.norm1.weight")
    if image is not None:
        config |= {"image_dim": image[0], "added_kv_proj_dim": inputs[0]}
    if class_name == VACE:
        blocks = len({name.split(".")[1] for name in shapes if name.startswith("vace_blocks.")})
        layers = list(range(0, config["num_layers"], max(1, config["num_layers"] // max(1, blocks))))[:blocks]
        config |= {"vace_layers": layers, "vace_in_channels": shapes["vace_patch_embedding.weight"][1]}
    return config


def read_transformer(folder: Path, published: WeightsFile | None, *, dtype: str | None) -> tuple[Path, Any, Any]:
    """Path, config and weights of the transformer of a model's folder, of a folder of its own, or of a published file.

    Weights that its class wants exact become 32-bit, whatever the dtype; None leaves each as it is in the file.

    Raises:
        UnusableWeights: the published file is of another family or size than the folder's model, or cut short.
        ValueError: the folder's weights are missing or damaged.
    """
    if published is None:
        path = folder / "transformer" if (folder / "transformer").is_dir() else folder
        config = read_config(path)
        return path, config, load_weights(path, dtype, exact=_exact_words(config.get("_class_name", COGVIDEOX)))
    config = published_config(published, folder)
    class_name = config["_class_name"]
    names = diffusers_names(published.shapes, class_name)
    with torch.device("meta"):
        module = getattr(require("diffusers", extra="train"), class_name).from_config(config).state_dict()
    check_shapes(published.path, {names[name]: shape for name, shape in published.shapes.items()}, module, folder)
    words = _exact_words(class_name)
    exact = {name for name, own in names.items() if words & set(own.split("."))}
    tensors = published.read(None if dtype is None else getattr(torch, dtype), exact)
    return published.path, config, {names[name]: value for name, value in tensors.items() if names[name] in module}


def diffusers_names(names: Iterable[str], class_name: str) -> dict[str, str]:
    """The library's names of weights, by those in the file."""
    names = list(names)
    if class_name == COGVIDEOX or not any(".self_attn." in name for name in names):
        return {name: name for name in names}
    files = require("diffusers.loaders.single_file_utils", extra="train")
    return {name: str(next(iter(files.convert_wan_transformer_to_diffusers({name: None})))) for name in names}


def _exact_words(class_name: str) -> set[str]:
    return set(getattr(getattr(require("diffusers", extra="train"), class_name), "_keep_in_fp32_modules", None) or ())


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


def check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], module: Mapping[str, Any], base: Path) -> None:
    """Refuse weights that are not those of a module of the base's size.

    Raises:
        UnusableWeights: naming the first that is of another shape, too much, or absent.
    """
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
