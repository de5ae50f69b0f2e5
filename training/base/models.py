"""Base model: its parts, loaded with the stock classes from a folder or from the hub's local store.

Weights are safetensors alone (the older formats run code on loading). Revision and digests are recorded with the
latents made by it.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from ...extras import require
from ...settings import STRICT
from ...weights import LocalModel, WeightsRef, find_weights

DENOISING_STEPS = 50
"""Steps of sampling where no setting says otherwise."""
Layout = Literal["auto", "resize", "stack", "vae", "fun-inp", "vace"]
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True, kw_only=True)
class BaseModelRef:
    """Name of the model to start from."""

    __pydantic_config__ = STRICT
    id: str = "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP"
    """A folder, or the name of a hub repository that was fetched before."""
    revision: str | None = None
    """Commit, tag or branch of the repository; None takes what was fetched as main, and its commit is recorded."""
    weights: str = ""
    """File of a published transformer, recognised by its shapes, in place of the model's own: CogVideoX-Fun InP,
    Casper, VOID, Wan Fun InP or Wan VACE; the model brings the rest."""
    layout: Layout = "auto"
    """Way of the conditioning into the transformer. CogVideoX holds a mask in 1 channel (resize), 4 (stack) or 16
    (vae), and learns to do so where its weights have fewer; Wan is fun-inp or vace. auto is as the weights are."""

    required_packages: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("torch", "diffusers", "transformers", "accelerate", "safetensors"), "train"
    )
    required_gpu_bytes: ClassVar[int] = 18 * 10**9
    """Bytes of a LoRA of the default model, as `docs/training_cost.md` estimates; its attention needs 42 GB."""

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The model with all its parts, and the published transformer."""
        remedy = "download the file and give its path as model.weights"
        published = (WeightsRef(model=self.weights, parts=(), remedy=remedy),) if self.weights else ()
        return (WeightsRef(model=self.id, revision=self.revision, parts=PARTS), *published)


@dataclass(frozen=True, kw_only=True)
class LocalBase(LocalModel):
    """A base model on this machine."""

    weights: Path | None = None
    """The published transformer in place of its own."""
    layout: Layout = "auto"

    def sha256(self, *parts: str) -> str:
        """SHA-256 over the files of some parts; that of the published transformer in place of its own."""
        if self.weights is not None and parts == ("transformer",):
            return LocalModel(id=self.id, path=self.weights, revision=None).sha256()
        return super().sha256(*parts)


def locate_model(model: BaseModelRef, *, download: bool = True) -> LocalBase:
    """Find a model on this machine, all its parts, or download it where that is allowed.

    Raises:
        WeightsNotFound: it is not there, or a part of it is not.
    """
    local, *published = (find_weights(ref, download=download) for ref in model.required_weights)
    weights = published[0].path if published else None
    return LocalBase(id=local.id, path=local.path, revision=local.revision, weights=weights, layout=model.layout)


def select_device(name: str = "auto") -> str:
    """Return torch's name of a device; "auto" is a GPU where there is one.

    On a CPU torch gets one thread, unless OMP_NUM_THREADS is set: more than the system grants are many times slower.
    """
    torch = require("torch", extra="train")
    device = name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    return device


@contextmanager
def exact_inference() -> Iterator[None]:
    """Compute without gradients and with all digits of a float32, so that a GPU's measures are those of a CPU."""
    torch = require("torch", extra="train")
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


def visible_gpus() -> tuple[str, ...]:
    """Names, as CUDA_VISIBLE_DEVICES takes them, of the GPUs that this process may use."""
    count = require("torch", extra="train").cuda.device_count()
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(names[:count] if names else map(str, range(count)))


def load_vae(folder: Path, class_name: str, *, dtype: str = "float32") -> Any:
    """Load the video autoencoder, frozen.

    Raises:
        ValueError: it is of another class, its weights are damaged or do not fit its config.
    """
    diffusers, path = require("diffusers", extra="train"), folder / "vae"
    config = read_config(path)
    name = config.get("_class_name", class_name)
    if name != class_name:
        raise ValueError(f"{path}: is of {name}, not of {class_name} as its transformer wants; choose a whole model")
    vae = assemble(getattr(diffusers, name), config, load_weights(path, dtype), path)
    return vae.eval().requires_grad_(False)


class TextModel(NamedTuple):
    """A tokenizer, its encoder, and how many rows the transformer expects: 226 in the real model."""

    tokenizer: Any
    encoder: Any
    length: int


def load_text_model(folder: Path, *, dtype: str = "float32") -> TextModel:
    """Load the tokenizer and the text encoder (T5 of CogVideoX, UMT5 of Wan), frozen."""
    transformers = require("transformers", extra="train")
    _list_safetensors(folder / "text_encoder")
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    is_wan = read_config(folder / "text_encoder").get("model_type") == "umt5"
    encoder_class = transformers.UMT5EncoderModel if is_wan else transformers.T5EncoderModel
    encoder = encoder_class.from_pretrained(
        folder / "text_encoder", local_files_only=True, use_safetensors=True, dtype=dtype
    )
    length = int(read_config(folder / "transformer").get("max_text_seq_length", 226))
    return TextModel(tokenizer, encoder.eval().requires_grad_(False), length)


def read_config(path: Path) -> dict[str, Any]:
    """Read the config.json of a part of a model.

    Raises:
        ValueError: it is not there, or no JSON.
    """
    try:
        config: dict[str, Any] = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / 'config.json'}: is not there or no JSON; fetch the model again") from error
    return {name: value for name, value in config.items() if name != "_name_or_path"}


def _list_safetensors(path: Path) -> list[Path]:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{path}: has no *.safetensors; weights in other formats are not loaded, fetch it as such")
    return files


def load_weights(path: Path, dtype: str | None, *, exact: Collection[str] = ()) -> dict[str, Any]:
    """Load all shards, with or without an index beside them; copies, so that no file stays mapped into memory.

    Weights whose name has a word of `exact` become 32-bit instead.
    """
    safetensors = require("safetensors", extra="train")
    loader = require("safetensors.torch", extra="train")
    torch = require("torch", extra="train")
    torch_dtype = None if dtype is None else getattr(torch, dtype)
    merged: dict[str, Any] = {}
    for file in _list_safetensors(path):
        try:
            for name, weight in loader.load_file(file).items():
                is_exact = torch_dtype is not None and not set(exact).isdisjoint(name.split("."))
                merged[name] = weight.to(torch.float32 if is_exact else torch_dtype, copy=True)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file}: is damaged ({error}); fetch the model again") from error
    return merged


def assemble(model_class: Any, config: dict[str, Any], weights: dict[str, Any], path: Path) -> Any:
    """Build a module from its config around these tensors, with none allocated twice."""
    # Buffers are real: Wan's rotary tables are made when it is built and lie in no file.
    with require("accelerate", extra="train").init_empty_weights(include_buffers=False):
        module = model_class.from_config(config)
    try:
        module.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0].strip()
        raise ValueError(f"{path}: its weights do not fit its config.json ({reason}); fetch it again") from error
    return module
