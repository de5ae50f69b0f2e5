"""Sixty damaged files of every format in one run: it ends, its account adds up, the good ones come out as alone."""

from effectpairs.tests.fixtures_damaged_media import run_damaged


def test_damaged_media_cost_themselves_alone(tmp_path):
    figures = run_damaged(tmp_path, 60, seed=0, timeout_s=600.0)
    assert figures["fail"] >= 30, "most damage is noticed"
    assert figures["accept"] + figures["review"] + figures["reject"] >= 6, "the good ones at least"
