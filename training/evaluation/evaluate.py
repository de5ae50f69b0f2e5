"""Evaluation of methods side by side: every pair of a corpus against what each method made of its `over`.

One clip is in memory at a time, with the videos of all methods; all are cut to the shortest of them, so that methods
which make short videos are compared on equal terms. Averages of frame metrics are over all frames of a group.

Results of clips are kept on disk, so that an evaluation that was cut off goes on where it was. A result is named by the
digest of all that it depends on: the pixels of the videos, caption and frame rate, the metric's settings and the
weights that it takes. An unavailable value is never kept: it may be available the next time.
"""

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from ...arrays import Rgb
from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.gallery.thumbnails import encode_mp4
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ...untrusted_input import path_within
from ..latents.encode_plan import resize_frames
from .bootstrap import with_fvd_interval, with_mean_interval
from .clip_similarity import ClipSimilarity
from .frame_metrics import Lpips, PixelMetrics, Vmaf
from .metric import Measurement, MetricValue, Sample, Scorer, Unavailable, Weights, group_clips, mean, unavailable
from .video_metrics import Features, Fvd, VBench, video_distance
from .videos import Method, crop_to_even, find_video, pixels_digest, read_conformed, read_video, require_videos

FORMAT = 1
"""Higher where a metric's code comes to give other numbers; then all is measured anew."""
ClipValues = dict[str, list[MetricValue]]
"""Values of a clip by metric: one a frame, or a single one."""


@dataclass(frozen=True, kw_only=True)
class ResultCache:
    """A folder of results."""

    folder: Path

    def score(self, scorer: Scorer, sample: Sample) -> ClipValues:
        """Return a scorer's values of a sample, computed once."""
        try:
            weights = scorer.weights()
        except (Unavailable, ImportError):
            weights = None  # the scorer's own values give the reason, and are not kept
        sample_key = [*sample.digests, sample.caption, sample.fps]  # all that a metric may look at
        key = [repr(scorer), asdict(weights) if weights else None, sample_key]
        values = self.read(key)
        if values is None:
            values = {name: list(numbers) for name, numbers in sorted(scorer.score(sample).items())}  # as they are read
            self.write(key, values)
        return values

    def features(self, frames: Rgb, weights: Weights, extract: Callable[[Rgb], np.ndarray]) -> np.ndarray:
        """Return a video's features by a network, computed once."""
        path = self._path(["features", weights.sha256, pixels_digest(frames)], "npy")
        try:
            features: np.ndarray = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            features, stream = extract(frames), io.BytesIO()
            np.save(stream, features, allow_pickle=False)
            atomic_write(path, stream.getvalue())
        return features

    def read(self, key: Sequence[Any]) -> ClipValues | None:
        """Return the values under a key; None where there are none, or they are damaged."""
        try:
            values: ClipValues = TypeAdapter(ClipValues).validate_json(self._path(key, "json").read_bytes())
        except (OSError, ValueError):
            return None
        return values

    def write(self, key: Sequence[Any], values: ClipValues) -> None:
        """Keep values under a key, unless some are unavailable."""
        if not any(value.status == "unavailable" for row in values.values() for value in row):
            content = {name: [asdict(value) for value in row] for name, row in values.items()}
            atomic_write(self._path(key, "json"), json_bytes(content))

    def _path(self, key: Sequence[Any], suffix: str) -> Path:
        name = digest_of([FORMAT, *key])
        return self.folder / name[:2] / f"{name}.{suffix}"


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Metrics, clips and the cache of an evaluation."""

    scorers: tuple[Scorer, ...] = (ClipSimilarity(), PixelMetrics(), Lpips(), Vmaf())
    fvd: Fvd = Fvd()
    vbench: VBench = VBench()
    truth: Literal["gt", "background", "over"] = "gt"
    """Layer that the methods should have made."""
    input: Literal["over", "gt"] = "over"
    """Layer that they were given."""
    prompt: str | None = None
    """Text that all clips were made with; None takes the captions."""
    frames: int | None = None
    """Limit on the frames of every clip; None takes all that every method has."""
    size: tuple[int, int] | None = None
    """Height and width of the methods' videos, to which the corpus is downscaled; None where they are equal."""
    split: str | None = None
    """Split of the clips; None takes all."""
    clip_ids: tuple[str, ...] | None = None
    """Ids of the clips; None takes all."""
    cache: ResultCache | None = None
    """Results of clips, so that an evaluation that was cut off goes on; None keeps none."""
    conform: bool = False
    """Bring videos of any size and rate to the clip's by the rules of `read_conformed`, instead of refusing them."""
    intervals: bool = False
    """Add 95 % bootstrap intervals over clips to the values of all clips."""


@dataclass(frozen=True, kw_only=True)
class _ClipResult:
    """Values of one clip of one method."""

    clip: Mapping[str, object]
    values: ClipValues
    features: Sequence[Features]
    """FVD features of truth and result; empty where its network is unavailable."""
    vbench_key: Sequence[object]
    """Key of VBench's value in the cache."""


def evaluate(
    corpus: Corpus,
    methods: Sequence[Method],
    settings: EvaluationSettings = EvaluationSettings(),
    report: Callable[[int, int], None] = lambda *_: None,
) -> list[Measurement]:
    """Measure all methods on all pairs of a corpus; unpaired clips have no truth and are passed over.

    `report` receives the number of clips done and their total.

    Raises:
        ValueError: there is no pair, a method twice, a clip without a video, or one of another size.
    """
    clip_ids = _pair_ids(corpus, settings)
    require_videos(methods, clip_ids)
    network = _fvd_network(settings.fvd)
    results: dict[str, list[_ClipResult]] = {method.name: [] for method in methods}
    with_vbench = settings.vbench.missing_reason() is None
    with tempfile.TemporaryDirectory() as folder:
        cache, videos = settings.cache or ResultCache(folder=Path(folder, "clips")), Path(folder, "videos")
        for number, clip_id in enumerate(clip_ids):
            report(number, len(clip_ids))
            clip = corpus[clip_id]
            for name, sample in _samples(clip, methods, settings).items():
                results[name].append(_measure_clip(clip, sample, settings, cache, network))
                if with_vbench:
                    path = path_within(videos, f"{name}/{clip_id}.mp4")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(encode_mp4(crop_to_even(sample.result), fps=sample.fps))
        _add_vbench(settings.vbench, cache, results, videos)
        report(len(clip_ids), len(clip_ids))
    return [row for name, clips in results.items() for row in _measurements(name, clips, network, settings.intervals)]


def measure_share(
    corpus: Corpus, methods: Sequence[Method], settings: EvaluationSettings, share: tuple[int, int]
) -> Iterator[str]:
    """Measure a share (number, of how many) of the clips into the settings' cache; yield each clip's id when done.

    `evaluate` then finds the values there, and they are the same whatever the number of shares. VBench, which is
    started once for all videos, is left to it.
    """
    assert settings.cache is not None, "shares meet in the cache"
    network, (number, count) = _fvd_network(settings.fvd), share
    for clip_id in _pair_ids(corpus, settings)[number::count]:
        clip = corpus[clip_id]
        for sample in _samples(clip, methods, settings).values():
            _measure_clip(clip, sample, settings, settings.cache, network)
        yield clip_id


def missing_metrics(measurements: Sequence[Measurement]) -> dict[str, str]:
    """Return the metrics that are unavailable, each with its reason."""
    values = [row.value for row in measurements if row.level == "all" and row.value.status == "unavailable"]
    return {value.name: value.reason for value in values}


def _fvd_network(fvd: Fvd) -> Weights | MetricValue:
    """Load FVD's network; return its weights, or the value that says why there is none."""
    try:
        return fvd.load()
    except Unavailable as error:
        return unavailable("fvd", str(error))


def _pair_ids(corpus: Corpus, settings: EvaluationSettings) -> list[str]:
    rows = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    pairs = [
        row["clip_id"]
        for row in rows
        if settings.split in (None, row["split"])
        and row["kind"] != "unpaired"
        and (settings.clip_ids is None or row["clip_id"] in settings.clip_ids)
    ]
    if not pairs:
        of = f" of split {settings.split}" if settings.split else ""
        raise ValueError(
            f"{corpus.location.url} has no pair{of} to compare with; publish one with real or rendered clips"
        )
    return pairs


def _samples(clip: Clip, methods: Sequence[Method], settings: EvaluationSettings) -> dict[str, Sample]:
    """Read each method's video of a clip, and cut all to one length."""
    truth, over = (resize_frames(getattr(clip, layer), settings.size) for layer in (settings.truth, settings.input))
    videos: dict[str, Rgb] = {}
    for method in methods:
        path = find_video(method.folder, clip.clip_id)
        assert path is not None, "looked for before"
        if settings.conform:
            videos[method.name] = read_conformed(path, truth.shape[:3], clip.fps)
            continue
        video = videos[method.name] = read_video(path)
        if video.shape[1:] != truth.shape[1:]:
            sizes = [f"{height}x{width}" for height, width in (video.shape[1:3], truth.shape[1:3])]
            raise ValueError(f"{path} has frames of {sizes[0]}, the corpus of {sizes[1]}; scale it to {sizes[1]}")
    length = min(len(truth), settings.frames or len(truth), *(len(video) for video in videos.values()))
    shared = {"clip_id": clip.clip_id, "gt": truth[:length], "over": over[:length]}
    texts = {"caption": clip.caption if settings.prompt is None else settings.prompt, "fps": clip.fps}
    return {name: Sample(**shared, **texts, result=video[:length]) for name, video in videos.items()}


def _measure_clip(
    clip: Clip, sample: Sample, settings: EvaluationSettings, cache: ResultCache, network: Weights | MetricValue
) -> _ClipResult:
    values: ClipValues = {}
    for scorer in settings.scorers:
        values.update(cache.score(scorer, sample))
    features: list[Features] = []
    if isinstance(network, Weights):
        features = [cache.features(video, network, settings.fvd.features) for video in (sample.gt, sample.result)]
    return _ClipResult(
        clip={name: clip.row[name] for name in ("clip_id", "source", "effects")} | {"caption": sample.caption},
        values=values,
        features=features,
        vbench_key=[repr(settings.vbench), sample.digests[2], sample.caption],
    )


def _add_vbench(vbench: VBench, cache: ResultCache, results: Mapping[str, list[_ClipResult]], folder: Path) -> None:
    """Start VBench once for all videos of a method without a score in the cache; the score comes last."""
    for name, clips in results.items():
        pending: dict[Path, _ClipResult] = {}
        for result in clips:
            cached = cache.read(result.vbench_key)
            if cached is None:
                pending[path_within(folder, f"{name}/{result.clip['clip_id']}.mp4")] = result
            else:
                result.values.update(cached)
        captions = {path: str(result.clip["caption"] or "") for path, result in pending.items()}
        for path, value in vbench.score(captions).items():
            pending[path].values["vbench"] = [value]
            cache.write(pending[path].vbench_key, {"vbench": [value]})


def _measurements(
    method: str, results: Sequence[_ClipResult], network: Weights | MetricValue, intervals: bool
) -> list[Measurement]:
    rows: list[Measurement] = []
    for result in results:
        clip_id = str(result.clip["clip_id"])
        for name, values in result.values.items():
            if len(values) > 1:
                rows += [
                    Measurement(method=method, level="frame", key=clip_id, frame=frame, value=value)
                    for frame, value in enumerate(values)
                ]
            rows.append(Measurement(method=method, level="clip", key=clip_id, value=mean(name, values)))
    for (level, key), indices in group_clips([result.clip for result in results]).items():
        members = [results[index] for index in indices]
        for name in members[0].values:
            value = mean(name, [value for result in members for value in result.values[name]])
            if intervals and level == "all":
                value = with_mean_interval(value, [mean(name, result.values[name]) for result in members])
            rows.append(Measurement(method=method, level=level, key=key, value=value))
        fvd = network
        if isinstance(fvd, Weights):
            truth, ours = ([result.features[side] for result in members] for side in (0, 1))
            fvd = video_distance(truth, ours, fvd)
            if intervals and level == "all":
                fvd = with_fvd_interval(fvd, truth, ours)
        rows.append(Measurement(method=method, level=level, key=key, value=fvd))
    return rows
