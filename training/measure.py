"""Held-out clips of a finished run, and the measures of their sampled videos against the truth; needs no torch.

The evaluation has two rows: the run's own videos, and the composites as they are, which any method has to beat; all at
the size that was trained at.
"""

from collections.abc import Callable
from pathlib import Path

from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write
from .configs.config import TrainingConfig
from .evaluation.evaluate import EvaluationSettings, ResultCache, evaluate
from .evaluation.tables import write_tables
from .evaluation.videos import Method
from .fitting.step_log import EVALUATION, SAMPLES
from .latents.encode_plan import downscale

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
    output, corpus, size = Path(settings.output).expanduser(), open_corpus(settings.corpus), settings.cache.size
    samples, folder = output / SAMPLES, output / EVALUATION
    clip_ids = [clip_id for clip_id in corpus.ids if (samples / f"{clip_id}.mkv").exists()]
    if not clip_ids:
        raise ValueError(f"{samples}: has no videos of clips of {settings.corpus}; sample first")
    for clip_id in clip_ids:
        clip = corpus[clip_id]
        assert clip.over is not None, "pairs have an over"
        composite = clip.over if size is None else downscale(clip.over, size)
        atomic_write(folder / "composite" / f"{clip_id}.mkv", codec.encode(composite, fps=clip.fps))
    methods = [Method(name="trained", folder=samples), Method(name="composite", folder=folder / "composite")]
    cache = ResultCache(folder=folder / "clips")
    measurements = evaluate(
        corpus, methods, EvaluationSettings(clip_ids=tuple(clip_ids), size=size, cache=cache), report
    )
    clips = describe_clips(held_out_split(corpus), len(clip_ids), trained_on=settings.data.split)
    write_tables(measurements, folder, f"{clips}; {settings.validation.steps} steps of sampling")
    return folder


def _pairs(corpus: Corpus) -> list[dict[str, str]]:
    rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    return [row for row in rows if row["kind"] != "unpaired"]
