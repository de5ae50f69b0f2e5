"""CLIPtext, CLIPimg and CLIPdir (Eq. 3 of the paper) by a CLIP of the transformers library.

All embeddings are brought to length 1 before they are compared, and the cosines are given times 100. CLIPdir compares
two changes of the embedding, from `over` to the result and from `over` to the truth; where either is no change at all
it is 0/0, so undefined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from PIL import Image

from ...arrays import Rgb
from ...datasets.store.atomic_io import digest_of
from ...digests import digest_of_file
from ...extras import require
from ...weights import WeightsNotFound, WeightsRef, find_weights
from ..base.models import exact_inference, select_device
from .metric import MetricValue, Sample, Unavailable, Weights, metric_value, unavailable, undefined

NO_CHANGE = 1e-6
"""Length of a change, of vectors of length 1, below which it is rounding in float32."""
BATCH = 16
METRICS = ("clip_dir", "clip_text", "clip_img")
# Preprocessing of every CLIP: mean and deviation of the colours, in [0, 1].
_MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
_DEVIATION = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)
Vectors = Float[np.ndarray, "n width"]


@dataclass(frozen=True, kw_only=True)
class ClipSimilarity:
    """Three cosines of each frame, times 100."""

    model: str = "openai/clip-vit-base-patch32"
    """A folder, or the name of a hub repository that was fetched before."""
    revision: str | None = None

    required_packages: ClassVar[Mapping[str, str]] = {"torch": "train", "transformers": "train"}

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The one model, in safetensors or as PyTorch writes it."""
        return (WeightsRef(model=self.model, revision=self.revision, parts=("config.json",)),)

    def weights(self) -> Weights:
        """Return the model's weights; raises `Unavailable` where they are missing."""
        return _load_clip(self.required_weights[0])[2]

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            model, tokenizer, weights = _load_clip(self.required_weights[0])
        except (Unavailable, ImportError) as error:
            return {name: [unavailable(name, str(error))] for name in METRICS}
        truth, over, result = (_embed_frames(model, frames) for frames in (sample.gt, sample.over, sample.result))
        text = [undefined("clip_text", "the clip has no caption", weights=weights)] * len(result)
        if sample.caption.strip():
            cosines = result @ _embed_caption(model, tokenizer, sample.caption)
            text = [metric_value("clip_text", value, weights=weights) for value in 100 * cosines]
        return {
            "clip_dir": directional_similarity(truth, over, result, weights),
            "clip_text": text,
            "clip_img": [metric_value("clip_img", value, weights=weights) for value in 100 * (result * truth).sum(1)],
        }


def directional_similarity(
    truth: Vectors, over: Vectors, result: Vectors, weights: Weights | None = None
) -> list[MetricValue]:
    """Eq. 3 for each row of embeddings, which need not have length 1 yet."""
    truth_changes = _unit_length(truth) - _unit_length(over)
    result_changes = _unit_length(result) - _unit_length(over)
    values = []
    for expected, actual in zip(truth_changes, result_changes, strict=True):
        lengths = float(np.linalg.norm(expected)), float(np.linalg.norm(actual))
        if min(lengths) <= NO_CHANGE:
            name = "truth" if lengths[0] <= NO_CHANGE else "result"
            values.append(undefined("clip_dir", f"to the model the {name} equals the input", weights=weights))
        else:
            cosine_times_100 = 100 * float(expected @ actual) / (lengths[0] * lengths[1])
            values.append(metric_value("clip_dir", cosine_times_100, weights=weights))
    return values


@cache
def _load_clip(ref: WeightsRef) -> tuple[Any, Any, Weights]:
    """Load the model, its tokenizer and the origin of its weights."""
    transformers, name = require("transformers", extra="train"), ref.model
    try:
        folder = find_weights(ref).path
        model, loading_info = transformers.CLIPModel.from_pretrained(
            folder, output_loading_info=True, local_files_only=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
        digests = [digest_of_file(file) for file in files]
        digest = digests[0] if len(digests) == 1 else digest_of(digests)
    except WeightsNotFound as error:
        raise Unavailable(str(error)) from error
    except (OSError, ValueError) as error:
        raise Unavailable(f"{name} holds no whole CLIP ({str(error).splitlines()[0]}); fetch it again") from error
    absent = sorted(loading_info["missing_keys"])
    if absent:
        raise Unavailable(f"{name} lacks {len(absent)} of its weights, such as {absent[0]}; fetch it again")
    # Training moves the temperature of every CLIP; one that stands where it began was never trained.
    if abs(model.logit_scale.item() - model.config.logit_scale_init_value) < NO_CHANGE:
        raise Unavailable(f"{name} holds weights that were never trained; choose a trained CLIP")
    return model.eval().to(select_device()), tokenizer, Weights(id=name, sha256=digest)


def _embed_frames(model: Any, frames: Rgb) -> Vectors:
    torch = require("torch", extra="train")
    side = model.config.vision_config.image_size
    batches = []
    with exact_inference():
        for start in range(0, len(frames), BATCH):
            pixels = np.stack([_preprocess(frame, side) for frame in frames[start : start + BATCH]])
            output = model.get_image_features(pixel_values=torch.from_numpy(pixels).to(model.device))
            batches.append(getattr(output, "pooler_output", output).cpu().double().numpy())
    vectors: Vectors = _unit_length(np.concatenate(batches))
    return vectors


def _embed_caption(model: Any, tokenizer: Any, caption: str) -> Float[np.ndarray, " width"]:
    max_length = model.config.text_config.max_position_embeddings
    tokens = tokenizer([caption], truncation=True, max_length=max_length, return_tensors="pt").to(model.device)
    with exact_inference():
        output = model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    rows = getattr(output, "pooler_output", output).cpu().double().numpy()
    vector: Float[np.ndarray, " width"] = _unit_length(rows)[0]
    return vector


def _preprocess(frame: Any, side: int) -> Float[np.ndarray, "3 side side"]:
    """Cut the frame's middle square, as CLIP's own preparation does, and normalise its colours."""
    height, width = frame.shape[:2]
    scale = side / min(height, width)
    size = max(side, int(width * scale)), max(side, int(height * scale))
    resized = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC), np.float32)
    y, x = (size[1] - side) // 2, (size[0] - side) // 2
    square = resized[y : y + side, x : x + side] / 255
    return np.ascontiguousarray(((square - _MEAN) / _DEVIATION).transpose(2, 0, 1))


def _unit_length(vectors: Any) -> Any:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
