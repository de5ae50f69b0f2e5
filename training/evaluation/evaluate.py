"""Methods beside each other: every pair of a corpus against what each method made of its `over`.

One clip is in memory at a time, with the videos of all methods; all are cut to the shortest of them, so that methods
which make short videos are compared on equal terms. Averages of frame metrics are over all frames of a group.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ...arrays import Rgb
from ...datasets.corpus.clip import Clip as CorpusClip
from ...datasets.corpus.reader import Corpus
from ...datasets.gallery.thumbnails import film
from .aggregation import Line, grouped
from .clip import Clip
from .fvd import Features, Fvd, distance
from .lpips import Lpips
from .metric import MetricValue, Sample, Scorer, Unavailable, Weights, mean, unavailable
from .pixels import Pixels
from .result_cache import Kept, pixels_key
from .vbench import VBench
from .videos import Method, find_video, read_video, require_videos
from .vmaf import Vmaf


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to measure with."""

    scorers: tuple[Scorer, ...] = (Clip(), Pixels(), Lpips(), Vmaf())
    fvd: Fvd = Fvd()
    vbench: VBench = VBench()
    frames: int | None = None
    """At most so many frames of every clip; None takes all that every method has."""
    split: str | None = None
    """Of which split; None takes all."""
    kept: Kept = Kept()
    """Where what a clip came to is kept, so that an evaluation that was cut off goes on."""


@dataclass(kw_only=True)
class _Measured:
    """One clip of one method."""

    clip: Mapping[str, object]
    values: dict[str, list[MetricValue]] = field(default_factory=dict)
    truth: Features | None = None
    made: Features | None = None
    pixels: str = ""
    """Digest of the method's video, where VBench is asked of it."""


def evaluate(
    corpus: Corpus,
    methods: Sequence[Method],
    settings: Evaluation = Evaluation(),
    step: Callable[[int, int], None] = lambda *_: None,
) -> list[Line]:
    """Measure all methods on all pairs of a corpus; unpaired clips have no truth and are passed over.

    Raises:
        ValueError: there is no pair, a method twice, a clip without a video, or one of another size.
    """
    pairs = _pairs(corpus, settings)
    if not methods or len({method.name for method in methods}) < len(methods):
        raise ValueError("methods must have names that differ; give each as --method NAME=FOLDER")
    require_videos(methods, pairs)
    network = _network(settings.fvd)
    found: dict[str, list[_Measured]] = {method.name: [] for method in methods}
    with ExitStack() as stack:
        films = None
        if settings.vbench.missing() is None:
            films = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for done, clip_id in enumerate(pairs):
            step(done, len(pairs))
            clip = corpus[clip_id]
            for name, sample in _samples(clip, methods, settings.frames).items():
                found[name].append(_measure(clip, sample, settings, network))
                if films is not None:
                    found[name][-1].pixels = pixels_key(sample.result)
                    (films / name).mkdir(exist_ok=True)
                    (films / name / f"{clip_id}.mp4").write_bytes(film(_even(sample.result), fps=sample.fps))
        _add_vbench(settings, found, films)
        step(len(pairs), len(pairs))
    return [line for name, measured in found.items() for line in _lines(name, measured, network)]


def missing(lines: Sequence[Line]) -> dict[str, str]:
    """The metrics that are unavailable, each with its reason."""
    found = [line.value for line in lines if line.level == "all" and line.value.status == "unavailable"]
    return {value.name: value.reason for value in found}


def _pairs(corpus: Corpus, settings: Evaluation) -> list[str]:
    table = corpus.table.select(["clip_id", "kind", "split"]).to_pylist()
    wanted = [row for row in table if settings.split in (None, row["split"]) and row["kind"] != "unpaired"]
    if not wanted:
        of = f" of split {settings.split}" if settings.split else ""
        raise ValueError(f"{corpus.place.url} has no pair{of} to compare with; publish one with real or rendered clips")
    return [row["clip_id"] for row in wanted]


def _network(settings: Fvd) -> Weights | MetricValue:
    try:
        return settings.load()
    except Unavailable as missing:
        return unavailable("fvd", str(missing))


def _samples(clip: CorpusClip, methods: Sequence[Method], frames: int | None) -> dict[str, Sample]:
    """Each method's video beside the truth, all of one length."""
    truth, over = clip.gt, clip.over
    assert over is not None, "pairs have an over"
    made: dict[str, Rgb] = {}
    for method in methods:
        path = find_video(method.folder, clip.clip_id)
        assert path is not None, "looked for before"
        video = made[method.name] = read_video(path)
        if video.shape[1:] != truth.shape[1:]:
            sizes = [f"{height}x{width}" for height, width in (video.shape[1:3], truth.shape[1:3])]
            raise ValueError(f"{path} has frames of {sizes[0]}, the corpus of {sizes[1]}; scale it to {sizes[1]}")
    length = min(len(truth), frames or len(truth), *(len(video) for video in made.values()))
    shared = {"clip_id": clip.clip_id, "gt": truth[:length], "over": over[:length]}
    words = {"caption": clip.caption, "fps": clip.fps}
    return {name: Sample(**shared, **words, result=video[:length]) for name, video in made.items()}


def _measure(clip: CorpusClip, sample: Sample, settings: Evaluation, network: Weights | MetricValue) -> _Measured:
    measured = _Measured(clip={name: clip.row[name] for name in ("clip_id", "source", "effects", "caption")})
    for scorer in settings.scorers:
        measured.values.update(settings.kept.scored(scorer, sample))
    if isinstance(network, Weights):
        measured.truth, measured.made = (
            settings.kept.features(video, network, settings.fvd.features) for video in (sample.gt, sample.result)
        )
    return measured


def _even(frames: Rgb) -> Rgb:
    """Without an odd last row or column, which H.264 with halved colour does not store."""
    height, width = (side - side % 2 for side in frames.shape[1:3])
    return frames[:, :height, :width]


def _add_vbench(settings: Evaluation, found: Mapping[str, list[_Measured]], films: Path | None) -> None:
    """VBench starts once for all videos of a method of which no score is kept."""
    for name, measured in found.items():
        left: dict[Path, _Measured] = {}
        for one in measured:
            kept = settings.kept.read(_asked_of_vbench(settings, one)) if films is not None else None
            if kept is None:
                left[(films or Path()) / name / f"{one.clip['clip_id']}.mp4"] = one
            else:
                one.values.update(kept)
        scores = settings.vbench.score({path: str(one.clip.get("caption", "")) for path, one in left.items()})
        for path, value in scores.items():
            left[path].values["vbench"] = [value]
            settings.kept.write(_asked_of_vbench(settings, left[path]), {"vbench": [value]})


def _asked_of_vbench(settings: Evaluation, one: _Measured) -> list[object]:
    return [repr(settings.vbench), one.pixels, one.clip.get("caption", "")]


def _lines(method: str, measured: Sequence[_Measured], network: Weights | MetricValue) -> list[Line]:
    lines: list[Line] = []
    for one in measured:
        clip_id = str(one.clip["clip_id"])
        for name, values in one.values.items():
            if len(values) > 1:
                lines += [Line(method=method, level="frame", key=clip_id, frame=at, value=value)
                          for at, value in enumerate(values)]  # fmt: skip
            lines.append(Line(method=method, level="clip", key=clip_id, value=mean(name, values)))
    for (level, key), members in grouped([one.clip for one in measured]).items():
        inside = [measured[index] for index in members]
        for name in inside[0].values:
            every = [value for one in inside for value in one.values[name]]
            lines.append(Line(method=method, level=level, key=key, value=mean(name, every)))
        lines.append(Line(method=method, level=level, key=key, value=_fvd(inside, network)))
    return lines


def _fvd(measured: Sequence[_Measured], network: Weights | MetricValue) -> MetricValue:
    if isinstance(network, MetricValue):
        return network
    truth = [one.truth for one in measured if one.truth is not None]
    made = [one.made for one in measured if one.made is not None]
    return distance(truth, made, network)
