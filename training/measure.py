"""The videos of a run's sampled clips against their truth: `python -m effectpairs.training.launched measure CONFIG`.

Two rows: the run's own videos, and the composites as they are, which any method has to beat. All at the size that was
trained at.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import CannotWrite, atomic_write
from .configs.config import TrainingConfig, load_training
from .evaluation.evaluate import Evaluation, evaluate
from .evaluation.held_out import measured_split, what_they_are
from .evaluation.result_cache import Kept
from .evaluation.tables import write_tables
from .evaluation.videos import Method
from .fitting.step_log import EVALUATION, SAMPLES
from .latents.encode import downscale


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is in the run's samples; return the exit status."""
    parser = argparse.ArgumentParser(prog="effectpairs.training.measure")
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args(arguments)
    try:
        measure(load_training(Path(asked.config), asked.set))
    except (ValueError, FileNotFoundError, ImportError, CannotWrite) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    return 0


def measure(settings: TrainingConfig) -> Path:
    """Write the evaluation's tables into the run's folder, and return their folder.

    Raises:
        ValueError: there are no samples, or they do not fit the corpus.
    """
    output = Path(settings.output).expanduser()
    corpus = open_corpus(settings.corpus)
    seen: Any = HeldOut(corpus, output / SAMPLES, settings.cache.size)
    if not seen.ids:
        raise ValueError(f"{output / SAMPLES}: has no videos of clips of {settings.corpus}; sample first")
    folder = output / EVALUATION
    for clip_id in seen.ids:
        clip = seen[clip_id]
        atomic_write(folder / "composite" / f"{clip_id}.mkv", codec.encode(clip.over, fps=clip.fps))
    methods = [Method(name="trained", folder=output / SAMPLES), Method(name="composite", folder=folder / "composite")]
    clips = what_they_are(measured_split(corpus), len(seen.ids), trained_on=settings.data.split)
    title = f"{clips}; {settings.validation.steps} steps of sampling"
    write_tables(evaluate(seen, methods, Evaluation(kept=Kept(folder=folder / "clips")), _say), folder, title)
    return folder


class HeldOut:
    """The part of a corpus that was sampled, at the size that was trained at; all that an evaluation asks of one."""

    def __init__(self, corpus: Corpus, samples: Path, size: tuple[int, int] | None) -> None:
        self._corpus, self._size, self.place = corpus, size, corpus.place
        self.ids = [clip_id for clip_id in corpus.ids if (samples / f"{clip_id}.mkv").exists()]
        self.table = corpus.table.filter(pc.is_in(corpus.table.column("clip_id"), pa.array(self.ids, "string")))

    def __getitem__(self, clip_id: str) -> Any:
        clip = self._corpus[clip_id]
        return clip if self._size is None else _Smaller(clip, self._size)


class _Smaller:
    """A clip whose colour layers are shrunk as for the cache."""

    def __init__(self, clip: Clip, size: tuple[int, int]) -> None:
        self._clip, self._size = clip, size

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._clip, name)
        return downscale(found, self._size) if name in ("gt", "over") else found


def _say(done: int, total: int) -> None:
    if done:  # the first call comes before anything is done
        print(f"measured {done} of {total}", flush=True)
