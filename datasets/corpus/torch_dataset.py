"""A corpus as PyTorch datasets. Only `Corpus.torch` imports this module: torch is an optional package.

A sample is a dict: `clip_id`, `caption`, `fps`, and per asked layer a uint8 tensor `[T, C, H, W]`, C = 3 for colour and
1 for mattes (0 to 255) and masks (0 or 1). A layer that the clip does not have (unpaired clips) is left out. Asked for
`effect_truth`, a rendered clip gives a dict of such mattes by effect.

With `window=8` a sample is a run of 8 frames instead of a whole clip, and says at which frame it begins (`start`); only
those frames are read and decoded. Runs begin at 0, `stride`, twice `stride` and so on, as far as they fit in a clip;
`stride` is `window` where it is not given. A clip that is shorter than a run gives none.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from ...extras import require
from ..store.location import Location
from .clip import Clip
from .schema import LAYERS, MASK_LAYERS, TRUTH, TRUTH_LAYER

torch = require("torch", extra="train")
_data = require("torch.utils.data", extra="train")
Dataset: Any = _data.Dataset
IterableDataset: Any = _data.IterableDataset

DEFAULT_LAYERS = ("gt", "over", "effect_mask")


@runtime_checkable
class Clips(Protocol):
    """Corpus as the datasets need it."""

    location: Location

    @property
    def ids(self) -> tuple[str, ...]:
        """The clips' ids, in order."""

    @property
    def table(self) -> pa.Table:
        """Their words and numbers, in the same order."""

    def clip(self, clip_id: str) -> Clip:
        """One of them."""


class _Samples:
    """Samples of a corpus by number: its clips, or runs of their frames."""

    def __init__(
        self, corpus: Clips, layers: Sequence[str], split: str | None, window: int | None, stride: int | None
    ) -> None:
        self.corpus, self.layers, self.window = corpus, _checked_layers(layers), window
        self.stride = (window or 1) if stride is None else stride
        if self.stride < 1 or (window is not None and window < 1) or (window is None and stride is not None):
            raise ValueError(f"window={window}, stride={stride}: give a window of at least 1 frame, and a stride so")
        self.ids, lengths = _ids_of(corpus, split)
        fits = np.ones(len(lengths), np.int64)
        if window is not None:
            fits = np.maximum(0, (lengths - window) // self.stride + 1)
        if not fits.any():
            raise ValueError(f"{corpus.location.url} has no clip of {window} frames; the longest has {lengths.max()}")
        self.ends = np.cumsum(fits)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, number: int) -> dict[str, Any]:
        """Decode a sample."""
        place = int(np.searchsorted(self.ends, number, "right"))
        clip = self.corpus.clip(self.ids[place])
        if self.window is None:
            return _sample(clip, self.layers)
        start = (number - (int(self.ends[place - 1]) if place else 0)) * self.stride
        return _sample(clip, self.layers, (start, self.window))


class MappedClips(Dataset):  # type: ignore[misc]
    """Clips by number, for a DataLoader with a sampler of its own (a `DistributedSampler` shares them among ranks)."""

    def __init__(
        self,
        corpus: Clips,
        *,
        layers: Sequence[str] = DEFAULT_LAYERS,
        split: str | None = None,
        window: int | None = None,
        stride: int | None = None,
    ) -> None:
        self._samples = _Samples(corpus, layers, split, window, stride)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} is not among {len(self)}")
        return self._samples.read(index % len(self))


class StreamedClips(IterableDataset):  # type: ignore[misc]
    """Clips in a shuffled order that seed and epoch fix, shared among ranks and DataLoader workers without overlap.

    Every rank yields the same number of samples (the order is filled up from its start), so that ranks stay in step.
    Workers take the order in runs of `batch_size`, so a DataLoader of that batch size gives the same batches in the
    same order for any number of workers. To go on in the middle of an epoch, use
    `torchdata.stateful_dataloader.StatefulDataLoader`, or a plain DataLoader with `resume_at`.
    """

    def __init__(
        self,
        corpus: Clips,
        *,
        layers: Sequence[str] = DEFAULT_LAYERS,
        split: str | None = None,
        window: int | None = None,
        stride: int | None = None,
        seed: int | None = 0,
        rank: int | None = None,
        world_size: int | None = None,
        batch_size: int = 1,
        resume_at: int = 0,
    ) -> None:
        """Set up the stream.

        Args:
            corpus: the corpus to read.
            layers: which layers to decode.
            split: "train", "validation" or "test"; None takes all.
            window: frames of a sample; None gives whole clips.
            stride: frames from the begin of one window to that of the next; None takes window.
            seed: of the shuffling; None keeps the corpus order.
            rank: this process among world_size; both are taken from `torch.distributed` where not given.
            world_size: how many processes share the clips.
            batch_size: the DataLoader's, so that a worker's run is a batch.
            resume_at: samples of this rank's epoch that are already used.
        """
        super().__init__()
        if batch_size < 1 or resume_at < 0:
            raise ValueError(f"batch_size={batch_size} is below 1 or resume_at={resume_at} below 0")
        self._samples = _Samples(corpus, layers, split, window, stride)
        self.seed = seed
        self.rank, self.world_size = _place_among(rank, world_size)
        self.batch_size = batch_size
        # In shared memory, so that a new epoch reaches workers that live on between epochs.
        self._shared = torch.tensor([0, resume_at]).share_memory_()
        self._loaded, self._yielded = 0, 0

    @property
    def epoch(self) -> int:
        """The number of the epoch, which the shuffling depends on."""
        return int(self._shared[0])

    @property
    def resume_at(self) -> int:
        """Samples of this rank's epoch that were used before this stream."""
        return int(self._shared[1])

    def __len__(self) -> int:
        """Samples of one epoch on this rank."""
        return -(-len(self._samples) // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle anew, the same way in every rank; call before each epoch."""
        self._shared[0], self._shared[1] = epoch, 0

    def order(self) -> list[str]:
        """The clip id of each sample of this rank's epoch, before they are shared among workers."""
        return [self._samples.ids[clip] for clip in np.searchsorted(self._samples.ends, self._numbers(), "right")]

    def _numbers(self) -> np.ndarray:
        numbers = np.arange(len(self._samples))
        if self.seed is not None:
            numbers = np.random.default_rng([self.seed, self.epoch]).permutation(len(numbers))
        return numbers[np.arange(self.rank, len(self) * self.world_size, self.world_size) % len(numbers)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = _data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        numbers = self._numbers()[self.resume_at :]
        mine = numbers[np.arange(len(numbers)) // self.batch_size % workers == number]
        self._yielded, self._loaded = self._loaded, 0
        for sample in mine[self._yielded :]:
            self._yielded += 1
            yield self._samples.read(int(sample))

    def state_dict(self) -> dict[str, int]:
        """Position of this (worker's copy of the) stream."""
        return {"epoch": self.epoch, "resume_at": self.resume_at, "yielded": self._yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state; the number of ranks and workers must be what it was."""
        self._shared[0], self._shared[1] = state["epoch"], state["resume_at"]
        self._loaded = state["yielded"]


def _sample(clip: Clip, layers: Sequence[str], window: tuple[int, int] | None = None) -> dict[str, Any]:
    sample: dict[str, Any] = {"clip_id": clip.clip_id, "caption": clip.caption or "", "fps": clip.fps}
    if window is not None:
        sample["start"] = window[0]

    def decode(layer: str) -> Any:
        frames = clip.decode(layer) if window is None else clip.frames(layer, *window)
        return None if frames is None else _tensor(frames.view(np.uint8) if layer in MASK_LAYERS else frames)

    for layer in layers:
        if layer == TRUTH:
            truth = {entry["effect"]: decode(f"{TRUTH_LAYER}{entry['effect']}") for entry in clip.row.get(TRUTH) or ()}
            sample |= {TRUTH: truth} if truth else {}
        elif (tensor := decode(layer)) is not None:
            sample[layer] = tensor
    return sample


def _tensor(frames: np.ndarray) -> Any:
    # A view: to bring colour into planes takes 0.2 ms a frame of 384x672, a sixth of decoding it.
    return torch.from_numpy(frames.transpose(0, 3, 1, 2) if frames.ndim == 4 else frames[:, None])


def _ids_of(corpus: Clips, split: str | None) -> tuple[tuple[str, ...], np.ndarray]:
    """The ids of a split's clips, and their lengths in frames."""
    splits = np.array(corpus.table.column("split").to_pylist())
    lengths = corpus.table.column("num_frames").to_numpy()
    chosen = np.ones(len(splits), bool) if split is None else splits == split
    if not chosen.any():
        raise ValueError(f"{corpus.location.url} has no clip in split '{split}'; it has {sorted(set(splits.tolist()))}")
    return tuple(np.array(corpus.ids, object)[chosen]), lengths[chosen]


def _checked_layers(layers: Sequence[str]) -> tuple[str, ...]:
    unknown = [layer for layer in layers if layer not in (*LAYERS, TRUTH)]
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not a layer; the layers are {', '.join((*LAYERS, TRUTH))}")
    return tuple(layers)


def _place_among(rank: int | None, world_size: int | None) -> tuple[int, int]:
    distributed = torch.distributed
    running = distributed.is_available() and distributed.is_initialized()
    rank = rank if rank is not None else (distributed.get_rank() if running else 0)
    world_size = world_size if world_size is not None else (distributed.get_world_size() if running else 1)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank={rank} is not in [0, world_size={world_size})")
    return rank, world_size
