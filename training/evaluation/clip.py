"""CLIPtext, CLIPimg and CLIPdir (Eq. 3 of the paper) by a CLIP of the transformers library.

All embeddings are brought to length 1 before they are compared, and the cosines are given times 100. CLIPdir compares
two changes of the embedding, from `over` to the result and from `over` to the truth; where either is no change at all
it is 0/0, so undefined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from ...arrays import Rgb
from ...datasets.store.atomic_io import digest_of
from ...datasets.store.atomic_io import digest_of_file as sha256_of
from ...extras import require
from .metric import MetricValue, Sample, Unavailable, Weights, known, unavailable, undefined

NO_CHANGE = 1e-6
"""Length of a change, of vectors of length 1, below which it is rounding in float32."""
BATCH = 16
NAMES = ("clip_dir", "clip_text", "clip_img")
# What every CLIP was trained on: mean and deviation of the colours, in [0, 1].
_MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
_DEVIATION = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)
Vectors = Float[np.ndarray, "n width"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Three cosines of each frame, times 100."""

    model: str = "openai/clip-vit-base-patch32"
    """A folder, or the name of a hub repository that was fetched before."""
    revision: str | None = None

    def weights(self) -> Weights:
        """The model's.

        Raises:
            Unavailable: they are not there.
        """
        return _load(self.model, self.revision).weights

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            loaded = _load(self.model, self.revision)
        except (Unavailable, ImportError) as missing:
            return {name: [unavailable(name, str(missing))] for name in NAMES}
        truth, over, made = (_images(loaded, frames) for frames in (sample.gt, sample.over, sample.result))
        text = [undefined("clip_text", "the clip has no caption", weights=loaded.weights)] * len(made)
        if sample.caption.strip():
            cosines = made @ _words(loaded, sample.caption)
            text = [known("clip_text", value, weights=loaded.weights) for value in 100 * cosines]
        return {
            "clip_dir": directions(truth, over, made, loaded.weights),
            "clip_text": text,
            "clip_img": [known("clip_img", value, weights=loaded.weights) for value in 100 * (made * truth).sum(1)],
        }


def directions(truth: Vectors, over: Vectors, made: Vectors, weights: Weights | None = None) -> list[MetricValue]:
    """Eq. 3 for each row of embeddings, which need not have length 1 yet."""
    wanted = _unit(truth) - _unit(over)
    got = _unit(made) - _unit(over)
    values = []
    for want, have in zip(wanted, got, strict=True):
        lengths = float(np.linalg.norm(want)), float(np.linalg.norm(have))
        if lengths[0] <= NO_CHANGE:
            values.append(undefined("clip_dir", "to the model the truth equals the input", weights=weights))
        elif lengths[1] <= NO_CHANGE:
            values.append(undefined("clip_dir", "to the model the result equals the input", weights=weights))
        else:
            values.append(known("clip_dir", 100 * float(want @ have) / (lengths[0] * lengths[1]), weights=weights))
    return values


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    model: Any
    tokenizer: Any
    weights: Weights


@cache
def _load(name: str, revision: str | None) -> _Loaded:
    transformers = require("transformers", extra="train")
    place: dict[str, Any] = {"revision": revision or "main", "local_files_only": True}
    try:
        model, found = transformers.CLIPModel.from_pretrained(name, output_loading_info=True, **place)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **place)
        digest = _digest(transformers, name, place)
    except (OSError, ValueError) as missing:
        if Path(name).is_dir():
            raise Unavailable(
                f"{name} holds no whole CLIP ({str(missing).splitlines()[0]}); fetch it again"
            ) from missing
        where = f"the weights of {name} are not on this machine"
        raise Unavailable(f"{where}; get them with: hf download {name}") from missing
    absent = sorted(found["missing_keys"])
    if absent:
        raise Unavailable(f"{name} lacks {len(absent)} of its weights, such as {absent[0]}; fetch it again")
    # Training moves the temperature of every CLIP; one that stands where it began was never trained.
    if abs(model.logit_scale.item() - model.config.logit_scale_init_value) < NO_CHANGE:
        raise Unavailable(f"{name} holds weights that were never trained; choose a trained CLIP")
    return _Loaded(model=model.eval(), tokenizer=tokenizer, weights=Weights(id=name, sha256=digest))


def _digest(transformers: Any, name: str, place: Mapping[str, Any]) -> str:
    """SHA-256 of the file of weights; of several files, of their digests."""
    folder = Path(transformers.utils.cached_file(name, "config.json", **place)).parent
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return sha256_of(files[0]) if len(files) == 1 else digest_of([sha256_of(file) for file in files])


def _images(loaded: _Loaded, frames: Rgb) -> Vectors:
    torch = require("torch", extra="train")
    side = loaded.model.config.vision_config.image_size
    parts = []
    with torch.inference_mode():
        for start in range(0, len(frames), BATCH):
            pixels = np.stack([_prepared(frame, side) for frame in frames[start : start + BATCH]])
            found = loaded.model.get_image_features(pixel_values=torch.from_numpy(pixels))
            parts.append(getattr(found, "pooler_output", found).double().numpy())
    vectors: Vectors = _unit(np.concatenate(parts))
    return vectors


def _words(loaded: _Loaded, caption: str) -> Float[np.ndarray, " width"]:
    torch = require("torch", extra="train")
    longest = loaded.model.config.text_config.max_position_embeddings
    tokens = loaded.tokenizer([caption], truncation=True, max_length=longest, return_tensors="pt")
    with torch.inference_mode():
        found = loaded.model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        vectors = getattr(found, "pooler_output", found).double().numpy()
    vector: Float[np.ndarray, " width"] = _unit(vectors)[0]
    return vector


def _prepared(frame: Any, side: int) -> Float[np.ndarray, "3 side side"]:
    """The frame's middle square, as CLIP's own preparation cuts it."""
    height, width = frame.shape[:2]
    scale = side / min(height, width)
    size = max(side, int(width * scale)), max(side, int(height * scale))
    small = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC), np.float32)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    square = small[top : top + side, left : left + side] / 255
    return np.ascontiguousarray(((square - _MEAN) / _DEVIATION).transpose(2, 0, 1))


def _unit(vectors: Any) -> Any:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
