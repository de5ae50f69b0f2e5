"""Samples from the latent cache, each complete with its noise: only workers read, shrink masks and draw.

A sample is what one element of a batch needs (see `network.Batch`), with its clip's id and kind. All that is random in
it comes from the seed and its number (see `mix`), so a loader may be cut off anywhere and taken up again.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from ...arrays import Mask
from ...extras import require
from ..base.conditioning import UNKNOWN, empty_conditioning, encode_mask_channel, join
from ..base.network import Batch
from ..base.tensors import Latents
from ..base.trimask import choose_visible_frames
from ..base.vae import Moments, draw
from .cache import CachedRow, TextArray
from .sampler import DataSettings, RowSampler, rng_for_sample

torch = require("torch", extra="train")
_data = require("torch.utils.data", extra="train")
Dataset: Any = _data.Dataset
TIMESTEPS = 1000
READ_AHEAD = 4
"""Batches in this process that the model has not taken yet."""


@runtime_checkable
class RowSource(Protocol):
    """What samples are made from; a `LatentCache` is one."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of each row its key, clip id, kind and split."""

    def read(self, key: str) -> CachedRow:
        """One of them."""

    def no_caption(self) -> TextArray:
        """The rows of an empty caption."""


class CachedSamples(Dataset):  # type: ignore[misc]
    """The endless stream of samples: `samples[n]` for any n from 0."""

    def __init__(self, cache: RowSource, settings: DataSettings, *, seed: int) -> None:
        self.cache, self.settings, self.seed = cache, settings, seed
        self.rows = [row for row in cache.rows if settings.split in ("all", row["split"])]
        self.deck = RowSampler(self.rows, settings.mix, what=f"{cache.folder} (split {settings.split})")
        self.scale = float(cache.manifest["scale"])
        self.no_caption = torch.from_numpy(cache.no_caption())

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = rng_for_sample(self.seed, number)
        listed = self.rows[self.deck.draw(rng)]
        row = self.cache.read(listed["key"])
        keep_caption = rng.random() >= self.settings.caption_dropout
        timestep = int(rng.integers(TIMESTEPS))
        latents = self._latents(row.gt, rng)
        if row.over is None:
            conditioning = empty_conditioning(latents)
        else:
            conditioning = join(self._mask(row, rng), self._latents(row.over, rng))
        noise = _normal(latents.shape, rng)
        return {
            "clip_id": row.clip_id,
            "kind": listed["kind"],
            "latents": latents[0],
            "conditioning": conditioning[0],
            "text": torch.from_numpy(row.text) if keep_caption else self.no_caption,
            "noise": noise[0],
            "timesteps": torch.tensor(timestep),
        }

    def _latents(self, moments: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> Latents:
        mean, logvar = (torch.from_numpy(values)[None] for values in moments)
        return draw(Moments(mean, logvar), _normal(mean.shape, rng), self.scale)

    def _mask(self, row: CachedRow, rng: np.random.Generator) -> Any:
        assert row.mask is not None, "a row with over has a mask"
        mask = jitter_mask(row.mask, self.settings.trimask.jitter_px, rng)
        pixels = torch.from_numpy(mask.astype(np.float32))[None]
        fed = encode_mask_channel(pixels, how=self.settings.mask_downsample, scale=self.scale)
        seen = torch.from_numpy(choose_visible_frames(fed.shape[1], self.settings.trimask, rng))
        return torch.where(seen.view(1, -1, 1, 1, 1), fed, (1 - UNKNOWN) * self.scale)


def jitter_mask(mask: Mask, most_px: int, rng: np.random.Generator) -> Mask:
    """The mask grown or shrunk by up to so many pixels, the same in all frames."""
    by = int(rng.integers(-most_px, most_px + 1)) if most_px else 0
    if by == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(by) + 1,) * 2)
    change = cv2.dilate if by > 0 else cv2.erode
    return np.stack([change(frame.astype(np.uint8), kernel) for frame in mask]).astype(bool)


def loader(samples: CachedSamples, numbers: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Batches of these samples, in this order, read ahead by the settings' workers."""
    workers = samples.settings.workers
    options = {"prefetch_factor": 4, "persistent_workers": False} if workers else {}
    made = _data.DataLoader(
        samples,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=torch.cuda.is_available(),
        **options,
    )
    return _ahead(made) if workers else iter(made)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples of one shape as a batch.

    Raises:
        ValueError: their clips differ in shape.
    """
    shapes = {tuple(sample["latents"].shape) for sample in samples}
    if len(shapes) > 1:
        ids = ", ".join(sample["clip_id"] for sample in samples)
        raise ValueError(
            f"clips {ids} differ in shape, {sorted(shapes)}; set batch = 1, or cache.frames to the shortest"
        )
    stacked = {name: torch.stack([sample[name] for sample in samples]) for name in Batch._fields}
    return stacked | {name: [sample[name] for sample in samples] for name in ("clip_id", "kind")}


def sample_numbers(steps: range, *, batch: int, accumulate: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Which samples this process takes in these steps: of each step's share, in order, its own batches."""
    runs = [(step * accumulate + micro) * world * batch + rank * batch for step in steps for micro in range(accumulate)]
    return [list(range(start, start + batch)) for start in runs]


def _ahead(batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Fetch from the workers while the model computes: taking a batch over costs milliseconds of its own.

    Several are under way, so that one that comes late is not waited for.
    """
    with ThreadPoolExecutor(1) as hand:
        iterator = iter(batches)
        coming = deque(hand.submit(next, iterator, None) for _ in range(READ_AHEAD))
        while (batch := coming.popleft().result()) is not None:
            coming.append(hand.submit(next, iterator, None))
            yield batch


def _normal(shape: Sequence[int], rng: np.random.Generator) -> Any:
    return torch.from_numpy(rng.standard_normal(tuple(shape), np.float32))


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
