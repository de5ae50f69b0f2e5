"""Which clips of a corpus are to be encoded, which are done, and the manifest once all are; no torch in here.

What is done is kept by content: a row is named by the digests of its clip's videos, caption and window, of both models
and of the settings. A memo beside the rows, named by the digest of the clip's file, says which rows a clip became, so
that a second run need not read any video to see that it has nothing to do.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.store.atomic_io import atomic_write, digest_of, is_abandoned, json_bytes
from ..base.latent_shapes import SHORTEST, check_shape, is_valid_length, longest_valid_length
from ..base.models import BaseModelRef, fingerprint, locate_model
from ..base.strict import STRICT
from .cache import FORMAT, LatentCache, open_cache, row_path, write_manifest


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """How latents are made and kept."""

    __pydantic_config__ = STRICT
    frames: int = 85
    """Length of a window: 8k+5."""
    size: tuple[int, int] | None = None
    """Height and width to shrink clips to, in sixteens, where the corpus is larger than the card; None keeps theirs."""
    storage_dtype: Literal["float16", "float32"] = "float16"
    """float16 halves the disk and keeps 11 bits, more than the bfloat16 that the encoder computes in."""
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    device: str = "auto"
    """auto takes a GPU where there is one; otherwise a torch device by name."""

    def __post_init__(self) -> None:
        if not is_valid_length(self.frames):
            near = longest_valid_length(self.frames) or 5
            raise ValueError(f"cache.frames={self.frames} is not 8k+5; take {near} or {near + 8}")
        if self.size is not None:
            check_shape(self.frames, *self.size, what="cache.size")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a row's content beside its clip."""

    vae: str
    """Digest of the autoencoder."""
    text: str
    """Digest of text encoder and tokenizer."""
    frames: int
    size: tuple[int, int] | None
    storage_dtype: str
    compute_dtype: str
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class EncodeItem:
    """One clip and where its file says it has been encoded already."""

    clip_id: str
    memo: Path


def encode_recipe(folder: Path, settings: CacheSettings) -> Recipe:
    """What a model folder and settings make of clips."""
    return Recipe(
        vae=fingerprint(folder, "vae"),
        text=fingerprint(folder, "text_encoder", "tokenizer"),
        frames=settings.frames,
        size=settings.size,
        storage_dtype=settings.storage_dtype,
        compute_dtype=settings.compute_dtype,
    )


def finalize_cache(corpus: Corpus, model: BaseModelRef, folder: Path, settings: CacheSettings) -> LatentCache:
    """Write `cache.json` once every clip is encoded, and open the cache.

    Raises:
        ValueError: some clips are not encoded yet.
    """
    located = locate_model(model)
    recipe = encode_recipe(located.folder, settings)
    all_work = list_encode_items(corpus, folder, recipe)
    missing = pending_clips(corpus, folder, recipe)
    if missing:
        raise ValueError(f"{folder}: {len(missing)} clips are not encoded, such as {missing[0]}; run precompute again")
    content = {
        "format": FORMAT,
        "recipe": asdict(recipe),
        "scale": scaling_factor_of(located.folder),
        "no_caption": no_caption_key(recipe),
        "rows": [row for work in all_work for row in _listed(work, corpus, recipe)],
    }
    origin = {
        "corpus": {key: corpus.manifest[key] for key in ("name", "version", "digest")} | {"url": corpus.place.url},
        "model": {"id": located.id, "revision": located.revision},
    }
    write_manifest(folder, content | origin | {"digest": digest_of(content)})
    for partial in folder.rglob("*.partial-*"):
        if is_abandoned(partial):
            partial.unlink(missing_ok=True)
    return open_cache(folder)


def scaling_factor_of(folder: Path) -> float:
    """The factor between what the autoencoder gives and what the transformer takes."""
    return float(json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"])


def list_encode_items(corpus: Corpus, folder: Path, recipe: Recipe) -> list[EncodeItem]:
    """Every clip of a corpus; a clip's memo is named by its file's digest, so no video is read to find it.

    Raises:
        ValueError: there is no clip.
    """
    if not len(corpus):
        raise ValueError(f"{corpus.place.url}: has no clips; publish some before training on it")
    files = itertools.chain.from_iterable([file["sha256"]] * file["rows"] for file in corpus.manifest["files"])
    asked = asdict(recipe)
    return [
        EncodeItem(clip_id=clip_id, memo=folder / "clips" / f"{digest_of([file, clip_id, asked])}.json")
        for clip_id, file in zip(corpus.ids, files, strict=True)
    ]


def pending_clips(corpus: Corpus, folder: Path, recipe: Recipe) -> list[str]:
    """The clips that are not encoded yet."""
    return [work.clip_id for work in list_encode_items(corpus, folder, recipe) if not is_encoded(work, folder)]


def is_encoded(work: EncodeItem, folder: Path) -> bool:
    """Are all rows of a clip there?"""
    return work.memo.exists() and all(row_path(folder, key).exists() for key in _keys(work))


def mark_encoded(work: EncodeItem, keys: Sequence[str]) -> None:
    """Note which rows a clip became."""
    atomic_write(work.memo, json_bytes({"clip_id": work.clip_id, "keys": list(keys)}))


def starts(clip: Clip, frames: int) -> list[int]:
    """Where a clip's windows begin; a clip shorter than a window has one."""
    return list(range(0, max(clip.num_frames - frames, 0) + 1, frames))


def window(clip: Clip, frames: int) -> int:
    """How long its windows are.

    Raises:
        ValueError: it is too short for any.
    """
    if clip.num_frames < SHORTEST:
        raise ValueError(f"clip '{clip.clip_id}': has {clip.num_frames} frames, fewer than {SHORTEST}; leave it out")
    return min(frames, longest_valid_length(clip.num_frames))


def no_caption_key(recipe: Recipe) -> str:
    """The row of an empty caption."""
    return digest_of(["no caption", asdict(recipe)])


def _keys(work: EncodeItem) -> Sequence[str]:
    try:
        found: list[str] = json.loads(work.memo.read_text())["keys"]
    except (ValueError, KeyError, TypeError) as broken:
        raise ValueError(f"{work.memo}: is damaged; delete it and precompute again") from broken
    return found


def _listed(work: EncodeItem, corpus: Corpus, recipe: Recipe) -> list[dict[str, Any]]:
    clip = corpus.clip(work.clip_id)
    said = {name: getattr(clip, name) for name in ("clip_id", "kind", "source", "split")}
    height, width = recipe.size or (clip.height, clip.width)
    shape = {"frames": window(clip, recipe.frames), "height": height, "width": width}
    return [{"key": key, **shape, **said} for key in _keys(work)]
