"""A corpus to a latent cache: every clip goes once through the video autoencoder and the text encoder.

Encoding a clip costs more than the transformer's own forward pass, and the two encoders take 10 GB beside it; here they
run once, before training. Work is shared by clip: process k of n takes every n-th. A run that was killed goes on where
it stopped, and a corpus that changed in part is encoded in part.

A clip longer than a window becomes several windows; a shorter one is cut to the longest length that the model takes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Mask, Rgb
from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ...extras import require
from ..base.conditioning import add_noise, noise_level
from ..base.encoders import frames_to_video
from ..base.families import family_of_model
from ..base.family import Family
from ..base.models import BaseModelRef, load_text_model, locate_model, select_device
from ..base.network import Video
from .cache import HINT, CachedRow, LayerMoments, TextArray, draw_name, row_path, write_row
from .encode_plan import (
    CacheSettings,
    Recipe,
    build_recipe,
    check_layers,
    is_encoded,
    mask_layers,
    no_caption_key,
    resize_frames,
    row_list_paths,
    training_mask,
    window_length,
)
from .task import SUBJECT_LEVEL, Task, task_of_recipe

torch = require("torch", extra="train")


def encode_corpus(
    corpus: Corpus,
    model: BaseModelRef,
    folder: Path,
    settings: CacheSettings,
    *,
    task: Task = Task(),
    share: tuple[int, int] = (0, 1),
) -> Iterator[str]:
    """Encode this process's share (number, of how many) of the clips; yield each clip's id when it is done.

    Raises:
        ValueError: the corpus is empty, its pairs lack a layer that is needed, or a clip cannot be encoded; rows
            that are done stay.
        WeightsNotFound: the model is not on this machine.
    """
    check_layers(corpus, settings, task)
    local = locate_model(model)
    recipe = build_recipe(local, settings, task)
    no_caption, (number, count) = no_caption_key(recipe), share
    row_lists = list(row_list_paths(corpus, folder, recipe).items())[number::count]
    pending = [(clip_id, path) for clip_id, path in row_lists if not is_encoded(path, folder)]
    if not pending and row_path(folder, no_caption).exists():
        return
    encoders = _Encoders(family_of_model(local), local.path, settings)
    if not row_path(folder, no_caption).exists():
        nothing = LayerMoments(np.zeros((0, 0, 0, 0), np.float32))
        row = CachedRow(key=no_caption, target=nothing, text=encoders.encode_caption(""))
        write_row(folder, row, storage_dtype=recipe["storage_dtype"])
    for clip_id, path in pending:
        clip = corpus.clip(clip_id)
        starts = range(0, max(clip.num_frames - recipe["frames"], 0) + 1, recipe["frames"])  # what is over is left out
        mask = training_mask(clip, settings)
        keys = [_encode_window(clip, mask, start, folder, recipe, encoders) for start in starts]
        atomic_write(path, json_bytes({"clip_id": clip_id, "keys": keys}))
        yield clip_id


class _Encoders:
    """The two models on their device."""

    def __init__(self, family: Family, folder: Path, settings: CacheSettings) -> None:
        device, self.family = select_device(settings.device), family
        self.vae = family.load_vae(folder, dtype=settings.compute_dtype).to(device)
        self.text = load_text_model(folder, dtype=settings.compute_dtype)
        self.text.encoder.to(device)

    def encode_video(self, video: Video, is_drawn: bool = True) -> LayerMoments:
        """Mean and, where training draws from it, log-variance of a video's latents."""
        moments = self.family.encode_video(self.vae, video)
        return LayerMoments(moments.mean[0].cpu().numpy(), moments.logvar[0].cpu().numpy() if is_drawn else None)

    def encode_conditions(
        self, over: Rgb, masks: Mapping[str, np.ndarray], recipe: Recipe, key: str
    ) -> dict[str, LayerMoments]:
        """The videos that the family conditions with; those that another mask or draw of noise changes, too.

        Masks are by the prefix of their videos' names, that of the first is empty.
        """
        pixels = {prefix: torch.from_numpy(mask.astype(np.float32))[None] for prefix, mask in masks.items()}
        layers: dict[str, LayerMoments] = {}
        first: dict[str, Any] = {}
        for draw in range(recipe["noise_draws"]):
            rng = np.random.default_rng([int(key[:16], 16), draw])
            setting = recipe["conditioning_noise"]
            level, seed = noise_level(setting, adds_noise=self.family.adds_noise, rng=rng), int(rng.integers(2**31))
            noisy = add_noise(frames_to_video(over), level, seed=seed)
            first_masked: dict[str, Any] = {}
            for prefix, mask in pixels.items():
                for name, (video, is_drawn) in self.family.condition_videos(noisy, mask).items():
                    alike = first_masked.get(name, first.get(name))
                    if alike is None or not torch.equal(video, alike):
                        layers[draw_name(prefix + name, draw)] = self.encode_video(video, is_drawn)
                    first_masked.setdefault(name, video)
                    first.setdefault(name, video)
        return layers

    def encode_caption(self, caption: str) -> TextArray:
        """All rows of a caption."""
        rows: TextArray = self.family.encode_texts(self.text, [caption])[0].cpu().numpy()
        return rows


def _encode_window(clip: Clip, mask: Mask | None, start: int, folder: Path, recipe: Recipe, encoders: _Encoders) -> str:
    """Write the row of one window unless it exists; return its key."""
    task = task_of_recipe(recipe)
    caption = task.text(clip.caption)
    digests = [
        hashlib.sha256(clip.encoded(layer) or b"").hexdigest() for layer in (*task.layers, *mask_layers(clip, recipe))
    ]
    key = digest_of([clip.clip_id, caption, start, digests, recipe])
    if row_path(folder, key).exists():
        return key
    span = slice(start, start + window_length(clip, recipe["frames"], encoders.family.grid))
    subject = None if not task.removes else clip.decode("subject_mask")
    frames: dict[str, Any] = {"target": getattr(clip, task.target), "video": getattr(clip, task.video), "mask": mask}
    frames["subject"] = None if subject is None else subject >= SUBJECT_LEVEL
    layers = {name: layer[span] for name, layer in frames.items() if layer is not None}
    label, shape = f"clip '{clip.clip_id}'", layers["target"].shape[:3]
    if ("video" in layers) != ("mask" in layers):
        raise ValueError(f"{label}: has only one of {task.video} and mask; publish it with both, or as unpaired")
    for name, layer in layers.items():
        if layer.shape[:3] != shape:
            raise ValueError(
                f"{label}: {getattr(task, name, name)} is {layer.shape[:3]} and {task.target} {shape} from frame "
                f"{start}; mend it"
            )
    layers = {name: resize_frames(layer, recipe["size"]) for name, layer in layers.items()}
    encoders.family.grid.check_shape(*layers["target"].shape[:3], label=label)
    changes, conditions = None, {}
    if "video" in layers:
        changes = task.change_mask(layers["mask"], layers.get("subject"))
        masks = {"": changes} | ({HINT: task.hint(changes.shape, layers["subject"])} if task.removes else {})
        conditions = encoders.encode_conditions(layers["video"], masks, recipe, key)
    row = CachedRow(
        key=key,
        clip_id=clip.clip_id,
        caption=caption,
        start=start,
        target=encoders.encode_video(frames_to_video(layers["target"])),
        conditions=conditions,
        mask=changes,
        subject=layers.get("subject"),
        text=encoders.encode_caption(caption),
    )
    write_row(folder, row, storage_dtype=recipe["storage_dtype"])
    return key
