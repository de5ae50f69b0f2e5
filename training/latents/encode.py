"""A corpus to a latent cache: every clip goes once through the video autoencoder and the text encoder.

Encoding a clip costs more than the transformer's own forward pass, and the two encoders take 10 GB beside it; here they
run once, before training. Work is shared by clip: process k of n takes every n-th. A run that was killed goes on where
it stopped, and a corpus that changed in part is encoded in part.

A clip longer than a window becomes several windows; a shorter one is cut to the longest length of 8k+5 in it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.store.atomic_io import digest_of
from ..base import text, vae
from ..base.latent_shapes import check_shape
from ..base.models import BaseModelRef, load_text_model, load_vae, locate_model, text_length
from .cache import CachedRow, row_path, write_row
from .encode_plan import (
    CacheSettings,
    Recipe,
    encode_recipe,
    is_encoded,
    list_encode_items,
    mark_encoded,
    no_caption_key,
    starts,
    window,
)

_ENCODED_LAYERS = ("gt", "over", "effect_mask")


def encode_corpus(
    corpus: Corpus, model: BaseModelRef, folder: Path, settings: CacheSettings, *, share: tuple[int, int] = (0, 1)
) -> Iterator[str]:
    """Encode this process's share (number, of how many) of the clips; yield each clip's id when it is done.

    Raises:
        ValueError: the corpus is empty, or a clip cannot be encoded; rows that are done stay.
        BaseModelNotFound: the model is not on this machine.
    """
    located = locate_model(model)
    recipe = encode_recipe(located.folder, settings)
    todo = [
        work for work in list_encode_items(corpus, folder, recipe)[share[0] :: share[1]] if not is_encoded(work, folder)
    ]
    if not todo and row_path(folder, no_caption_key(recipe)).exists():
        return
    encoders = _Encoders(located.folder, settings)
    _write_no_caption(folder, recipe, encoders)
    for work in todo:
        clip = corpus.clip(work.clip_id)
        mark_encoded(work, [_encoded(clip, start, folder, recipe, encoders) for start in starts(clip, recipe.frames)])
        yield work.clip_id


class _Encoders:
    """The two models, loaded when the first clip needs them."""

    def __init__(self, folder: Path, settings: CacheSettings) -> None:
        device = settings.device
        if device == "auto":
            device = "cuda" if vae.torch.cuda.is_available() else "cpu"
        self.vae = load_vae(folder, dtype=settings.compute_dtype).to(device)
        tokenizer, encoder = load_text_model(folder, dtype=settings.compute_dtype)
        self.text = text.TextModel(tokenizer, encoder.to(device), text_length(folder))

    def moments(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = vae.encode(self.vae, vae.to_video(frames))
        return found.mean[0].cpu().numpy(), found.logvar[0].cpu().numpy()

    def rows(self, caption: str) -> np.ndarray:
        found: np.ndarray = text.encode_texts(self.text, [caption])[0].cpu().numpy()
        return found


def _encoded(clip: Clip, start: int, folder: Path, recipe: Recipe, encoders: _Encoders) -> str:
    """Make one row unless it is there; return its key."""
    key = _key(clip, start, recipe)
    if row_path(folder, key).exists():
        return key
    span = slice(start, start + window(clip, recipe.frames))
    layers = {name: layer[span] for name in _ENCODED_LAYERS if (layer := getattr(clip, name)) is not None}
    _check(clip, layers, span)
    if recipe.size is not None:
        layers = {name: downscale(layer, recipe.size) for name, layer in layers.items()}
    check_shape(*layers["gt"].shape[:3], what=f"clip '{clip.clip_id}'")
    row = CachedRow(
        key=key,
        clip_id=clip.clip_id,
        caption=clip.caption or "",
        start=start,
        gt=encoders.moments(layers["gt"]),
        over=encoders.moments(layers["over"]) if "over" in layers else None,
        mask=layers.get("effect_mask"),
        text=encoders.rows(clip.caption or ""),
    )
    write_row(folder, row, storage_dtype=recipe.storage_dtype)
    return key


def downscale(layer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A layer's frames at another size: colour averaged over area, a mask by the greater part."""
    height, width = size
    frames = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in _as_numbers(layer)]
    return np.stack(frames) >= 0.5 if layer.dtype == bool else np.stack(frames)


def _as_numbers(layer: np.ndarray) -> np.ndarray:
    return layer.astype(np.float32) if layer.dtype == bool else layer


def _check(clip: Clip, layers: Mapping[str, np.ndarray], span: slice) -> None:
    what = f"clip '{clip.clip_id}'"
    shape = layers["gt"].shape[:3]
    if ("over" in layers) != ("effect_mask" in layers):
        raise ValueError(f"{what}: has only one of over and effect_mask; publish it with both, or as unpaired")
    for name, layer in layers.items():
        if layer.shape[:3] != shape:
            raise ValueError(f"{what}: {name} is {layer.shape[:3]} and gt {shape} from frame {span.start}; mend it")


def _key(clip: Clip, start: int, recipe: Recipe) -> str:
    digests = [hashlib.sha256(clip.encoded(layer) or b"").hexdigest() for layer in _ENCODED_LAYERS]
    return digest_of([clip.clip_id, clip.caption, start, digests, asdict(recipe)])


def _write_no_caption(folder: Path, recipe: Recipe, encoders: _Encoders) -> None:
    key = no_caption_key(recipe)
    if row_path(folder, key).exists():
        return
    nothing = np.zeros((0, 16, 0, 0), np.float32)
    row = CachedRow(
        key=key,
        clip_id="",
        caption="",
        start=0,
        gt=(nothing, nothing),
        over=None,
        mask=None,
        text=encoders.rows(""),
    )
    write_row(folder, row, storage_dtype=recipe.storage_dtype)
