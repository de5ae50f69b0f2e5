"""Evaluation shared among programs: each measures its clips into the cache of results, and this process collects them.

A job travels as JSON in a file, with the metrics by the names of their classes.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from ...datasets.corpus.reader import Corpus, open_corpus
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ..base.shares import run_shares
from .clip_similarity import ClipSimilarity
from .evaluate import EvaluationSettings, ResultCache, evaluate, measure_share
from .frame_metrics import Lpips, PixelMetrics, Vmaf
from .metric import Measurement
from .video_metrics import Fvd
from .videos import Method

SCORERS: Mapping[str, type[Any]] = {scorer.__name__: scorer for scorer in (ClipSimilarity, PixelMetrics, Lpips, Vmaf)}


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """All that a program needs to measure its share."""

    corpus: str
    methods: tuple[Method, ...]
    scorers: tuple[tuple[str, dict[str, Any]], ...]
    """Class and fields of each metric."""
    fvd: Fvd
    frames: int | None
    size: tuple[int, int] | None
    split: str | None
    clip_ids: tuple[str, ...] | None
    cache: ResultCache
    conform: bool
    truth: Literal["gt", "background", "over"]
    input: Literal["over", "gt"]
    prompt: str | None


def evaluate_shared(
    corpus: Corpus,
    methods: Sequence[Method],
    settings: EvaluationSettings,
    count: int,
    report: Callable[[int, int], None] = lambda *_: None,
) -> list[Measurement]:
    """Measure as `evaluate` does, with so many programs side by side; `report` counts the clips that they finish.

    Raises:
        ProgramFailed: a program ended with an error; results of finished clips stay in the cache.
    """
    if count > 1:
        assert settings.cache is not None, "shares meet in the cache"
        names = ("fvd", "frames", "size", "split", "clip_ids", "cache", "conform", "truth", "input", "prompt")
        job = EvaluationJob(
            corpus=corpus.location.url,
            methods=tuple(methods),
            scorers=tuple((type(scorer).__name__, vars(scorer)) for scorer in settings.scorers),
            **{name: getattr(settings, name) for name in names},
        )
        total = len(settings.clip_ids or corpus.ids)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "job.json")
            atomic_write(file, json_bytes(TypeAdapter(EvaluationJob).dump_python(job, mode="json")))
            log = settings.cache.folder.parent / "measure.log"
            run_shares(["score", str(file)], count, log, lambda finished: report(min(finished, total), total))
    return evaluate(corpus, methods, settings, report)


def measure_job(file: Path, share: tuple[int, int]) -> Iterator[str]:
    """Measure a share of a job's clips into its cache; yield each clip's id when it is done."""
    job = TypeAdapter(EvaluationJob).validate_json(file.read_bytes())
    values = {name: value for name, value in vars(job).items() if name not in ("corpus", "methods", "scorers")}
    scorers = tuple(TypeAdapter(SCORERS[name]).validate_python(fields) for name, fields in job.scorers)
    yield from measure_share(open_corpus(job.corpus), job.methods, EvaluationSettings(scorers=scorers, **values), share)
