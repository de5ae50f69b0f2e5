"""Plan of encoding: which clips of a corpus are encoded, and the manifest when all are; needs no torch.

The cache is addressed by content: the name of a row (one window of one clip) is a digest of the clip's videos, its
caption, the window, both models and the settings. A JSON file for each clip lists its rows, so that a second run need
not read any video to see that nothing is left to do.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import Field

from ...arrays import Mask
from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.corpus.schema import TRUTH, TRUTH_LAYER
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes, sweep_partials
from ...settings import STRICT
from ..base.latent_shapes import LatentGrid
from ..base.models import BaseModelRef, LocalBase, locate_model
from .cache import FORMAT, MANIFEST, LatentCache, open_cache, row_path
from .task import SUBJECT_LEVEL, Task, task_of_recipe

Recipe = dict[str, Any]
"""Settings and digests of models that, with the clip, decide a row's content."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Size and number types of the latents."""

    __pydantic_config__ = STRICT
    frames: int = 85
    """Longest window: 8k+5 frames for CogVideoX, 4k+1 for Wan; a shorter clip is one window, as long as goes."""
    size: tuple[int, int] | None = None
    """Height and width that clips are resized to, multiples of 16, e.g. to save memory; None keeps their own."""
    storage_dtype: Literal["float16", "float32"] = "float16"
    """float16 takes half the disk; its significand has 11 bits, that of bfloat16, in which is computed, 8."""
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    mask: Literal["effect_mask", "effect_truth"] = "effect_mask"
    """Mask that the model is shown. `effect_mask` is made alike in every pair; `effect_truth`, which reaches farther
    out, is known of rendered clips alone, and a corpus with other pairs is refused."""
    truth_threshold: Annotated[int, Field(ge=1, le=255)] = 51
    """Strength, of 255, from which a pixel of `effect_truth` is effect: others would mean "unknown". At a fifth it
    agrees with `effect_mask` at an IoU of 0.64 to 0.87 on the demo's rendered clips (0.45 to 0.79 at 1)."""
    conditioning_noise: Literal["none", "from_config"] | Annotated[float, Field(ge=0, le=1)] = "none"
    """Noise on the composite before it is encoded, of deviation 0 to 1 in [-1, 1]. from_config draws exp(N(-3, 0.5))
    for each encoding where the base model was trained so, and takes 0.0563 in sampling; it blurs the composite."""
    noise_draws: Annotated[int, Field(ge=1, le=64)] = 4
    """Encodings of each composite with noise, of which every sample takes one; one without noise."""
    device: str = "auto"
    """auto takes a GPU where there is one; otherwise a torch device by name."""


def build_recipe(model: LocalBase, settings: CacheSettings, task: Task = Task()) -> Recipe:
    """Return family, digests of autoencoder and text model, and the settings that decide a row's content.

    Raises:
        ValueError: the model is of no family that is here, or its family does not take such frames or sides.
    """
    from ..base.conditioning import noise_level
    from ..base.families import family_of_model, family_record  # torch stands in its head

    family = family_of_model(model)
    check_shape(family.grid, settings)
    recipe = {
        "family": family_record(family),
        "vae": model.sha256("vae"),
        "text": model.sha256("text_encoder", "tokenizer"),
        **{name: getattr(settings, name) for name in ("frames", "size", "storage_dtype", "compute_dtype")},
        "conditioning_noise": settings.conditioning_noise,
        "noise_draws": settings.noise_draws
        if noise_level(settings.conditioning_noise, adds_noise=family.adds_noise)
        else 1,
        "format": FORMAT,
    } | task.record()
    if settings.mask == TRUTH:
        recipe |= {"mask": settings.mask, "truth_threshold": settings.truth_threshold}
    return recipe


def check_shape(grid: LatentGrid, settings: CacheSettings) -> None:
    """Refuse windows or sizes that the model cannot take.

    Raises:
        ValueError: naming the setting and the nearest value that goes.
    """
    grid.check_length(settings.frames, "cache.frames")
    if settings.size is not None:
        grid.check_shape(settings.frames, *settings.size, label="cache.size")


def check_layers(corpus: Corpus, settings: CacheSettings, task: Task = Task()) -> None:
    """Refuse a corpus whose pairs do not all have the layers of the task and the mask that the settings ask for.

    No video is read.

    Raises:
        ValueError: naming a pair without one.
    """
    rows = corpus.table.select(["clip_id", "kind", TRUTH]).to_pylist()
    pairs = {row["clip_id"] for row in rows if row["kind"] != "unpaired"}
    for layer in task.layers if len(corpus) else ():  # that there are no clips is said later
        absent = [clip_id for clip_id in corpus.ids_without(layer) if clip_id in pairs]
        if absent:
            raise ValueError(
                f"{corpus.location.url}: pairs without {layer}, which task = '{task.name}' needs: {len(absent)}, such "
                f"as clip '{absent[0]}'; leave them out, or train another task"
            )
    if settings.mask != TRUTH:
        return
    lacking = [f"{row['kind']} clip '{row['clip_id']}'" for row in rows if row["kind"] != "unpaired" and not row[TRUTH]]
    if lacking:
        raise ValueError(
            f"{corpus.location.url}: pairs without {TRUTH}: {len(lacking)}, such as the {lacking[0]}; "
            "set cache.mask = 'effect_mask', or train on a corpus of rendered pairs alone"
        )


def mask_layers(clip: Clip, recipe: Recipe) -> list[str]:
    """Names of the layers that `training_mask` is made of."""
    if recipe.get("mask") != TRUTH:
        return ["effect_mask"]
    return [f"{TRUTH_LAYER}{entry['effect']}" for entry in clip.row[TRUTH]]


def training_mask(clip: Clip, settings: CacheSettings) -> Mask | None:
    """Mask of a clip that the model is shown; None where the clip has no pair."""
    if settings.mask != TRUTH:
        return clip.effect_mask
    strength = clip.truth_strength()
    return None if strength is None else strength >= settings.truth_threshold


def change_mask(clip: Clip, settings: CacheSettings, task: Task) -> Mask | None:
    """Pixels of a clip that a task changes; None where the clip has no pair."""
    mask = training_mask(clip, settings)
    if mask is None or not task.removes:
        return mask
    subject = clip.decode("subject_mask")
    return task.change_mask(mask, None if subject is None else subject >= SUBJECT_LEVEL)


def finalize_cache(
    corpus: Corpus, model: BaseModelRef, folder: Path, settings: CacheSettings, task: Task = Task()
) -> LatentCache:
    """Write `cache.json` once every clip is encoded, delete abandoned partial files, and open the cache.

    Raises:
        ValueError: some clips are not encoded yet.
    """
    from ..base.families import family_of_record

    local = locate_model(model)
    recipe = build_recipe(local, settings, task)
    grid = family_of_record(recipe["family"]).grid
    pending, row_lists = pending_clip_ids(corpus, folder, recipe), row_list_paths(corpus, folder, recipe)
    if pending:
        raise ValueError(f"{folder}: {len(pending)} clips are not encoded, such as {pending[0]}; encode again")
    content = {
        "format": FORMAT,
        "recipe": recipe,
        "family": recipe["family"],
        "no_caption": no_caption_key(recipe),
        "rows": [row for item in row_lists.items() for row in _row_entries(*item, corpus, recipe, grid)],
    }
    origin = {  # not in the digest: the same latents may come from another copy of corpus or model
        "corpus": {key: corpus.manifest[key] for key in ("name", "version", "digest")} | {"url": corpus.location.url},
        "model": {"id": local.id, "revision": local.revision, "weights": model.weights, "layout": model.layout},
    }
    atomic_write(folder / MANIFEST, json_bytes(content | origin | {"digest": digest_of(content)}))
    sweep_partials(folder)
    return open_cache(folder)


def row_list_paths(corpus: Corpus, folder: Path, recipe: Recipe) -> dict[str, Path]:
    """Path by clip id to the list of the clip's rows; its name digests shard, id and recipe, so no video is read.

    A removal learns nothing from an unpaired clip, so those are passed over.

    Raises:
        ValueError: there is no clip.
    """
    if not len(corpus):
        raise ValueError(f"{corpus.location.url}: has no clips; publish some before training on it")
    shards = itertools.chain.from_iterable([shard["sha256"]] * shard["rows"] for shard in corpus.manifest["files"])
    kinds, removes = corpus.table.column("kind").to_pylist(), task_of_recipe(recipe).removes
    return {
        clip_id: folder / "clips" / f"{digest_of([shard_digest, clip_id, recipe])}.json"
        for clip_id, kind, shard_digest in zip(corpus.ids, kinds, shards, strict=True)
        if kind != "unpaired" or not removes
    }


def pending_clip_ids(corpus: Corpus, folder: Path, recipe: Recipe) -> list[str]:
    """Ids of the clips that are not encoded yet."""
    row_lists = row_list_paths(corpus, folder, recipe)
    return [clip_id for clip_id, path in row_lists.items() if not is_encoded(path, folder)]


def is_encoded(row_list: Path, folder: Path) -> bool:
    """Return whether the list of a clip's rows is there, and every row in it."""
    return row_list.exists() and all(row_path(folder, key).exists() for key in _row_keys(row_list))


def window_length(clip: Clip, frames: int, grid: LatentGrid) -> int:
    """Length of a clip's windows in frames.

    Raises:
        ValueError: the clip is too short for any.
    """
    longest = grid.longest_length(clip.num_frames)
    if not longest:
        raise ValueError(
            f"clip '{clip.clip_id}': has {clip.num_frames} frames, fewer than {grid.shortest}; leave it out"
        )
    return min(frames, longest)


def resize_frames(layer: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Resize a layer's frames to (height, width) if given: colour averaged over area, a mask where it covers half."""
    if size is None:
        return layer
    height, width = size
    values = layer.astype(np.float32) if layer.dtype == bool else layer
    frames = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in values])
    return frames >= 0.5 if layer.dtype == bool else frames


def is_rendered(row: Mapping[str, Any]) -> bool:
    """Whether a corpus's clip was drawn by a renderer, by the models that its provenance names."""
    return any(model["id"] == "blender" for model in row["provenance"]["models"] or ())


def no_caption_key(recipe: Recipe) -> str:
    """Key of the row of an empty caption."""
    return digest_of(["no caption", recipe])


def _row_keys(row_list: Path) -> list[str]:
    try:
        keys: list[str] = json.loads(row_list.read_text())["keys"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{row_list}: is damaged; delete it and encode again") from error
    return keys


def _row_entries(
    clip_id: str, row_list: Path, corpus: Corpus, recipe: Recipe, grid: LatentGrid
) -> list[dict[str, Any]]:
    clip = corpus.clip(clip_id)
    labels = {name: getattr(clip, name) for name in ("clip_id", "kind", "source", "split")}
    labels["rendered"] = is_rendered(clip.row)
    height, width = recipe["size"] or (clip.height, clip.width)
    shape = {"frames": window_length(clip, recipe["frames"], grid), "height": height, "width": width}
    return [{"key": key, **shape, **labels} for key in _row_keys(row_list)]
