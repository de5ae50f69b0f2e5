"""Held-out clips of a finished run, and the measures of their sampled videos against the truth; needs no torch.

The evaluation has two rows: the run's own videos, and the composites as they are, which any method has to beat; all at
the size that was trained at.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write
from ..extras import require
from .configs.config import TrainingConfig
from .evaluation.evaluate import EvaluationSettings, evaluate
from .evaluation.result_cache import ResultCache
from .evaluation.tables import write_tables
from .evaluation.videos import Method
from .fitting.step_log import EVALUATION, SAMPLES

SPLITS = ("test", "validation", "train")
"""Splits to hold clips out of, by preference."""


def held_out_clips(corpus: Corpus, count: int) -> list[str]:
    """Return ids of the first pairs of the held-out split; a count of 0 takes all."""
    split = held_out_split(corpus)
    clip_ids = [row["clip_id"] for row in _pairs(corpus) if row["split"] == split]
    return clip_ids[:count] if count else clip_ids


def held_out_split(corpus: Corpus) -> str:
    """Return the first of test, validation and training that has a pair."""
    splits = {row["split"] for row in _pairs(corpus)}
    return next((split for split in SPLITS if split in splits), SPLITS[-1])


def describe_clips(split: str, count: int, *, trained_on: str) -> str:
    """Say how many clips were measured, and whether the run was trained on them: then the numbers hold for no others.

    Args:
        split: theirs.
        count: their number.
        trained_on: the split that the run was trained on, or "all".
    """
    clips = f"{count} clip{'' if count == 1 else 's'}"
    if trained_on not in ("all", split):
        return f"{clips} of the {split} split, held out of training"
    if split == SPLITS[-1]:
        return f"{clips} of the training split, for the corpus holds no pair back: the model may have learnt from them"
    return f"{clips} of the {split} split, on which this run was trained"


def measure_samples(settings: TrainingConfig, report: Callable[[int, int], None]) -> Path:
    """Write the evaluation's tables into the run's folder, and return their folder.

    Args:
        settings: the run's.
        report: receives the number of clips measured and their total.

    Raises:
        ValueError: there are no samples, or they do not fit the corpus.
    """
    output = Path(settings.output).expanduser()
    corpus = open_corpus(settings.corpus)
    sampled: Any = SampledCorpus(corpus, output / SAMPLES, settings.cache.size)
    if not sampled.ids:
        raise ValueError(f"{output / SAMPLES}: has no videos of clips of {settings.corpus}; sample first")
    folder = output / EVALUATION
    for clip_id in sampled.ids:
        clip = sampled[clip_id]
        atomic_write(folder / "composite" / f"{clip_id}.mkv", codec.encode(clip.over, fps=clip.fps))
    methods = [Method(name="trained", folder=output / SAMPLES), Method(name="composite", folder=folder / "composite")]
    measures = evaluate(sampled, methods, EvaluationSettings(cache=ResultCache(folder=folder / "clips")), report)
    clips = describe_clips(held_out_split(corpus), len(sampled.ids), trained_on=settings.data.split)
    write_tables(measures, folder, f"{clips}; {settings.validation.steps} steps of sampling")
    return folder


class SampledCorpus:
    """The sampled clips of a corpus at the size that was trained at; has what an evaluation needs of a corpus."""

    def __init__(self, corpus: Corpus, samples: Path, size: tuple[int, int] | None) -> None:
        self._corpus, self._size, self.place = corpus, size, corpus.place
        self.ids = [clip_id for clip_id in corpus.ids if (samples / f"{clip_id}.mkv").exists()]
        self.table = corpus.table.filter(pc.is_in(corpus.table.column("clip_id"), pa.array(self.ids, "string")))

    def __getitem__(self, clip_id: str) -> Any:
        clip = self._corpus[clip_id]
        return clip if self._size is None else _DownscaledClip(clip, self._size)


class _DownscaledClip:
    """A clip whose colour layers are downscaled as for the cache."""

    def __init__(self, clip: Clip, size: tuple[int, int]) -> None:
        self._clip, self._size = clip, size

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._clip, name)
        if name not in ("gt", "over"):
            return value
        return require(f"{__package__}.latents.encode", extra="train").downscale(value, self._size)


def _pairs(corpus: Corpus) -> list[dict[str, str]]:
    rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    return [row for row in rows if row["kind"] != "unpaired"]
