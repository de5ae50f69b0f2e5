"""Intervals of the bootstrap against slow twins written from their definition."""

import numpy as np
import pytest
from effectpairs.training.evaluation import bootstrap
from effectpairs.training.evaluation.bootstrap import frechet_of_products, with_fvd_interval, with_mean_interval
from effectpairs.training.evaluation.metric import Weights, mean, metric_value, undefined
from effectpairs.training.evaluation.video_metrics import frechet_distance, video_distance

NETWORK = Weights(id="network", sha256="a" * 64)


def test_the_ends_of_a_mean_are_those_of_means_over_clips_that_are_drawn_anew():
    rng = np.random.default_rng(1)
    numbers, frames = rng.normal(20, 3, 12), rng.integers(5, 86, 12)
    clips = [metric_value("psnr", value, n=int(n)) for value, n in zip(numbers, frames, strict=True)]
    clips.append(undefined("psnr", "equal frames"))
    value = with_mean_interval(mean("psnr", clips), clips)
    draws = [rng.integers(0, 13, 13) for _ in range(20_000)]
    chosen = [draw[draw < 12] for draw in draws]
    means = [np.average(numbers[draw], weights=frames[draw]) for draw in chosen if len(draw)]
    assert (value.low, value.high) == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.06)
    assert value == with_mean_interval(mean("psnr", clips), clips), "equal clips give equal ends"
    assert value.low < value.value < value.high


def test_one_clip_has_no_interval():
    clips = [metric_value("psnr", 20.0, n=5), undefined("psnr", "equal frames")]
    assert with_mean_interval(mean("psnr", clips), clips).low is None
    nothing = mean("psnr", clips[1:])
    assert with_mean_interval(nothing, clips[1:] * 2) == nothing


def test_the_distance_by_products_is_that_of_repeated_rows():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(9, 20)), rng.normal(0.3, 1.5, size=(9, 20))
    for counts in (np.ones(9, int), rng.multinomial(9, np.full(9, 1 / 9)), np.array([4, 5] + [0] * 7)):
        by_hand = frechet_distance(np.repeat(first, counts, axis=0), np.repeat(second, counts, axis=0))
        products = first @ first.T, second @ second.T, first @ second.T
        assert frechet_of_products(*products, counts) == pytest.approx(by_hand, rel=1e-6)


def test_an_fvd_lies_in_its_interval_and_equal_videos_have_none_above_0(monkeypatch):
    rng = np.random.default_rng(3)
    truth = [rng.normal(size=(windows, 8)) for windows in (2, 1, 0, 3, 2, 2, 1)]
    results = [rows + rng.normal(0.5, 0.2, size=rows.shape) for rows in truth]
    value = with_fvd_interval(video_distance(truth, results, NETWORK), truth, results)
    assert value.low < value.value < value.high
    same = with_fvd_interval(video_distance(truth, truth, NETWORK), truth, truth)
    assert (same.low, same.high) == pytest.approx((0, 0), abs=1e-6)
    monkeypatch.setattr(bootstrap, "MAX_FVD_WINDOWS", 5)
    assert with_fvd_interval(video_distance(truth, results, NETWORK), truth, results).low is None
