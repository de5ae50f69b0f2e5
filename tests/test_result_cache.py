"""An evaluation that was cut off goes on: what is kept of a clip, and when it is measured again."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from effectpairs.datasets.store import codec
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.tests.fixtures_metrics import length_bench, noise, sample
from effectpairs.training.evaluation.evaluate import EvaluationSettings, ResultCache, evaluate
from effectpairs.training.evaluation.metric import Sample, Unavailable, Weights, metric_value, unavailable, undefined
from effectpairs.training.evaluation.videos import Method

pytestmark = pytest.mark.usefixtures("nothing_is_fetched")
TRAINED_FOLDER = Weights(id="ruler", sha256="a" * 64)


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """Measures the brightness, and counts how often it is asked; it breaks at one clip, or has no weights."""

    breaks_at: str = field(default="", repr=False)
    taken: Weights | None = field(default=TRAINED_FOLDER, repr=False)
    asked: list[str] = field(default_factory=list, repr=False)

    def score(self, sample: Sample):
        self.asked.append(sample.clip_id)
        if sample.clip_id == self.breaks_at:
            raise RuntimeError("killed")
        if self.taken is None:
            return {"psnr": [unavailable("psnr", "no weights")]}
        return {
            "psnr": [metric_value("psnr", float(sample.result.mean()), weights=self.taken)],
            "ssim": [undefined("ssim", "never")],
        }

    def weights(self):
        if self.taken is None:
            raise Unavailable("no weights")
        return self.taken


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("corpus"), clips=3, kinds=("real",), size=(32, 48))


@pytest.fixture
def method(corpus, tmp_path):
    for clip in corpus:
        (tmp_path / f"{clip.clip_id}.mkv").write_bytes(codec.encode(clip.over, fps=16.0))
    return Method(name="copy", folder=tmp_path)


def test_cut_off_it_goes_on_and_ends_with_the_same_lines(corpus, method, tmp_path):
    cache, last = ResultCache(folder=tmp_path / "kept"), corpus.ids[-1]
    with pytest.raises(RuntimeError, match="killed"):
        evaluate(corpus, [method], EvaluationSettings(scorers=(Ruler(breaks_at=last),), cache=cache))
    again = Ruler()
    found = evaluate(corpus, [method], EvaluationSettings(scorers=(again,), cache=cache))
    assert again.asked == [last]
    assert found == evaluate(corpus, [method], EvaluationSettings(scorers=(Ruler(),)))


def test_what_changed_is_measured_again(tmp_path):
    cache, first = ResultCache(folder=tmp_path), sample(noise(1), noise(2))
    other_weights = Ruler(taken=replace(TRAINED_FOLDER, sha256="b" * 64))
    for ruler, given, times in (
        (Ruler(), first, 1),
        (Ruler(), first, 0),
        (Ruler(), replace(first, clip_id="renamed"), 0),
        (Ruler(), replace(first, result=noise(3)), 1),
        (Ruler(), replace(first, caption="other words"), 1),
        (other_weights, first, 1),
    ):
        found = cache.score(ruler, given)
        assert len(ruler.asked) == times
        assert found == {name: list(values) for name, values in Ruler(taken=ruler.taken).score(given).items()}


def test_what_is_unavailable_or_damaged_is_not_taken(tmp_path):
    cache, given = ResultCache(folder=tmp_path), sample(noise(1), noise(2))
    assert cache.score(Ruler(taken=None), given)["psnr"][0].status == "unavailable"
    assert not list(tmp_path.rglob("*.json"))
    cache.score(Ruler(), given)
    (place,) = tmp_path.rglob("*.json")
    place.write_text("{")
    again = Ruler()
    assert cache.score(again, given)["psnr"][0].status == "ok"
    assert again.asked == ["one"]


def test_features_of_a_video_are_made_once(tmp_path):
    cache, made = ResultCache(folder=tmp_path), []

    def features(frames):
        made.append(len(frames))
        return frames.mean(axis=(1, 2)).astype(np.float64)

    twice = [cache.features(noise(1), TRAINED_FOLDER, features) for _ in range(2)]
    assert made == [3]
    np.testing.assert_array_equal(*twice)


def test_vbench_is_not_started_for_videos_that_it_has_scored(corpus, method, tmp_path):
    settings = EvaluationSettings(
        scorers=(), vbench=length_bench(tmp_path), cache=ResultCache(folder=tmp_path / "kept")
    )
    first = evaluate(corpus, [method], settings)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    assert [line.value.status for line in first if line.value.name == "vbench"] != []
    assert evaluate(corpus, [method], settings) == first
