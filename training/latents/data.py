"""Samples from the latent cache, each complete with its noise: only workers read, shrink masks and draw.

A sample is one element of a `network.TrainingBatch`, with its clip's id and kind. All that is random in it comes from
the seed and its number (see `sampler`), so a loader may be cut off anywhere and resumed.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from ...arrays import Mask
from ...extras import require
from ..base.conditioning import empty_conditioning, visible_frames
from ..base.encoders import Moments, sample_latents
from ..base.families import family_of_record
from ..base.network import Conditioning, Latents, TrainingBatch
from .cache import HINT, CachedRow, LatentCache, LayerMoments, draw_name
from .sampler import DataSettings, RowSampler, draw_visible_frames, takes_row
from .task import task_of_recipe

torch = require("torch", extra="train")
_data = require("torch.utils.data", extra="train")
Dataset: Any = _data.Dataset
TIMESTEPS = 1000
READ_AHEAD = 4
"""Batches in this process that the model has not taken yet."""


class CachedSamples(Dataset):  # type: ignore[misc]
    """The endless stream of samples: `samples[n]` for any n from 0."""

    def __init__(self, cache: LatentCache, settings: DataSettings, *, seed: int) -> None:
        self.cache, self.settings, self.seed = cache, settings, seed
        self.rows = [row for row in cache.rows if takes_row(row, settings)]
        self.task = task_of_recipe(cache.manifest["recipe"])
        mix = self.task.mix(settings.mix)
        self.sampler = RowSampler(self.rows, mix, label=f"{cache.folder} (split {settings.split})")
        self.family = family_of_record(cache.manifest["family"])
        paired = next((row["key"] for row in self.rows if row["kind"] != "unpaired"), None)
        if (
            settings.trimask.jitter_px
            and paired
            and {name.split(".")[0] for name in cache.read(paired).conditions} != {"video"}
        ):
            raise ValueError(
                f"data.trimask.jitter_px={settings.trimask.jitter_px} does not go with {self.family.title}, which is "
                "encoded with its masks; set it to 0"
            )
        self.draws = int(cache.manifest["recipe"]["noise_draws"])
        self.no_caption = torch.from_numpy(cache.no_caption())

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        entry = self.rows[self.sampler.draw(rng)]
        row = self.cache.read(entry["key"])
        keep_caption = rng.random() >= self.settings.caption_dropout
        timestep = int(rng.integers(TIMESTEPS))
        latents = self._draw_latents(row.target, rng)
        if row.conditions:
            conditioning = self._draw_conditioning(row, rng)
        else:
            conditioning = empty_conditioning(latents, self.family.conditioning_channels)
        noise = _normal(latents.shape, rng)
        return {
            "clip_id": row.clip_id,
            "kind": entry["kind"],
            "latents": latents[0],
            "conditioning": conditioning[0],
            "text": torch.from_numpy(row.text) if keep_caption else self.no_caption,
            "noise": noise[0],
            "timesteps": torch.tensor(timestep),
        }

    def _draw_latents(self, layer: LayerMoments, rng: np.random.Generator) -> Latents:
        mean = torch.from_numpy(layer.mean)[None]
        if layer.logvar is None:
            return mean
        return sample_latents(Moments(mean, torch.from_numpy(layer.logvar)[None]), _normal(mean.shape, rng))

    def _draw_conditioning(self, row: CachedRow, rng: np.random.Generator) -> Conditioning:
        assert row.mask is not None, "a row with a pair has a mask"
        mask = jitter_mask(row.mask, self.settings.trimask.jitter_px, rng)
        visible = torch.from_numpy(draw_visible_frames(len(row.target.mean), self.settings.trimask, rng))
        draw = int(rng.integers(self.draws)) if self.draws > 1 else 0
        pixels, hint = torch.from_numpy(mask.astype(np.float32))[None], ""
        if self.task.removes and not visible.all():  # the effect's mask is hidden in all frames, the subject's in none
            pixels, hint = torch.from_numpy(self.task.hint(mask.shape, row.subject))[None], HINT
            visible = visible_frames(pixels, self.family.grid)
        layers = {}
        for name in (name for name in row.conditions if "." not in name and not name.startswith(HINT)):
            choices = (draw_name(hint + name, draw), hint + name, draw_name(name, draw), name)
            layer = next(row.conditions[choice] for choice in choices if choice in row.conditions)
            layers[name] = self._draw_latents(layer, rng)
        return self.family.condition(layers, pixels, visible, self.settings.mask_downsample)


def jitter_mask(mask: Mask, max_px: int, rng: np.random.Generator) -> Mask:
    """Grow or shrink a mask by up to so many pixels, the same in all frames."""
    radius_px = int(rng.integers(-max_px, max_px + 1)) if max_px else 0
    if radius_px == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(radius_px) + 1,) * 2)
    change = cv2.dilate if radius_px > 0 else cv2.erode
    return np.stack([change(frame.astype(np.uint8), kernel) for frame in mask]).astype(bool)


def load_batches(samples: CachedSamples, numbers: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Batches of these samples, in this order, read ahead by the settings' workers."""
    workers = samples.settings.workers
    options = {"prefetch_factor": 4, "persistent_workers": False} if workers else {}
    loader = _data.DataLoader(
        samples,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_use_one_thread,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=torch.cuda.is_available(),
        **options,
    )
    return _read_ahead(loader) if workers else iter(loader)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples of one shape into a batch.

    Raises:
        ValueError: their clips differ in shape.
    """
    shapes = {tuple(sample["latents"].shape) for sample in samples}
    if len(shapes) > 1:
        ids = ", ".join(sample["clip_id"] for sample in samples)
        raise ValueError(
            f"clips {ids} differ in shape, {sorted(shapes)}; set batch = 1, or cache.frames to the shortest"
        )
    stacked = {name: torch.stack([sample[name] for sample in samples]) for name in TrainingBatch._fields}
    return stacked | {name: [sample[name] for sample in samples] for name in ("clip_id", "kind")}


def sample_numbers(steps: range, *, batch: int, accumulate: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Numbers of the samples that this process takes in these steps, in batches: its own share of each step."""
    runs = [(step * accumulate + micro) * world * batch + rank * batch for step in steps for micro in range(accumulate)]
    return [list(range(start, start + batch)) for start in runs]


def _read_ahead(batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Fetch from the workers while the model computes: taking a batch over costs milliseconds of its own.

    Several are under way, so that one that comes late is not waited for.
    """
    with ThreadPoolExecutor(1) as reader:
        iterator = iter(batches)
        pending = deque(reader.submit(next, iterator, None) for _ in range(READ_AHEAD))
        while (batch := pending.popleft().result()) is not None:
            pending.append(reader.submit(next, iterator, None))
            yield batch


def _normal(shape: Sequence[int], rng: np.random.Generator) -> Any:
    return torch.from_numpy(rng.standard_normal(tuple(shape), np.float32))


def _use_one_thread(_: int) -> None:
    torch.set_num_threads(1)
