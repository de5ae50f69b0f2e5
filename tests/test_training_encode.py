"""The latent cache: what is in a row, what is made again and what is not, and what is refused."""

import dataclasses
import json
import multiprocessing

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.datasets.corpus.reader import open_corpus  # noqa: E402
from effectpairs.tests.fixtures_corpus import make_small_corpus  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import SETTINGS, make_small_cache  # noqa: E402
from effectpairs.tests.fixtures_video_models import tiny_parts  # noqa: E402
from effectpairs.training.base import encoders  # noqa: E402
from effectpairs.training.base.models import BaseModelRef, locate_model  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.latents.cache import open_cache, row_path  # noqa: E402
from effectpairs.training.latents.encode import encode_corpus  # noqa: E402
from effectpairs.training.latents.encode_plan import build_recipe, finalize_cache, row_list_paths  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_small_cache(tmp_path_factory.mktemp("small"), clips=3)


def run(corpus, model, folder, settings=SETTINGS, **share):
    return list(encode_corpus(corpus, model, folder, settings, **share))


def test_a_row_is_what_the_models_make_of_the_clip(small):
    parts = tiny_parts(small.cache.folder.parent / "model")
    for listed in small.cache.rows:
        clip, row = small.corpus[listed["clip_id"]], small.cache.read(listed["key"])
        for frames, stored in ((clip.gt, row.target), (clip.over, row.conditions.get("video"))):
            if frames is None:
                assert stored is None
                continue
            moments = parts.family.encode_video(parts.vae, encoders.frames_to_video(frames))
            np.testing.assert_array_equal(stored[0], moments.mean[0].numpy())
            np.testing.assert_array_equal(stored[1], moments.logvar[0].numpy())
        assert (row.mask is None) == (clip.effect_mask is None) == (listed["kind"] == "unpaired")
        assert row.mask is None or (row.mask == clip.effect_mask).all()
        np.testing.assert_array_equal(row.text, parts.family.encode_texts(parts.text, [clip.caption])[0].numpy())
    np.testing.assert_array_equal(small.cache.no_caption(), parts.family.encode_texts(parts.text, [""])[0].numpy())


def test_the_second_run_does_nothing_and_loads_no_model(small, monkeypatch):
    monkeypatch.setattr("effectpairs.training.base.cogvideox.load_vae", lambda *_, **__: pytest.fail("loaded"))
    assert run(small.corpus, small.model, small.cache.folder) == []
    again = finalize_cache(small.corpus, small.model, small.cache.folder, SETTINGS)
    assert again.digest == small.cache.digest


def test_the_truth_may_stand_for_the_mask(tmp_path):
    corpus = make_small_corpus(tmp_path, clips=4, kinds=("synthetic", "unpaired"), frames=5, size=(32, 48))
    model = BaseModelRef(id=str(write_tiny_model(tmp_path / "model")))
    truth = dataclasses.replace(SETTINGS, mask="effect_truth", truth_threshold=100)
    keys = set()
    for settings in (SETTINGS, truth, dataclasses.replace(truth, truth_threshold=150)):
        run(corpus, model, tmp_path / "cache", settings)
        cache = finalize_cache(corpus, model, tmp_path / "cache", settings)
        for listed in cache.rows:
            clip, row = corpus[listed["clip_id"]], cache.read(listed["key"])
            keys.add(listed["key"])
            if clip.kind == "unpaired":
                assert row.mask is None
            elif settings.mask == "effect_truth":
                strongest = np.max(list(clip.effect_truth.values()), axis=0)
                np.testing.assert_array_equal(row.mask, strongest >= settings.truth_threshold)
                assert (row.mask != clip.effect_mask).any()
            else:
                np.testing.assert_array_equal(row.mask, clip.effect_mask)
    assert len(keys) == 3 * 4


def test_pairs_without_truth_are_refused_before_a_model_is_looked_for(small, tmp_path):
    settings = dataclasses.replace(SETTINGS, mask="effect_truth")
    with pytest.raises(ValueError, match=r"pairs without effect_truth: 1, such as the real clip 'tiny-000'; set cache"):
        run(small.corpus, BaseModelRef(id=str(tmp_path / "nowhere")), tmp_path, settings)


def test_a_killed_run_goes_on_where_it_stopped(small, tmp_path):
    halfway = encode_corpus(small.corpus, small.model, tmp_path, SETTINGS)
    first = next(halfway)
    halfway.close()
    with pytest.raises(ValueError, match=r"2 clips are not encoded.*again"):
        finalize_cache(small.corpus, small.model, tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="no cache was finished"):
        open_cache(tmp_path)
    assert first not in run(small.corpus, small.model, tmp_path)
    assert finalize_cache(small.corpus, small.model, tmp_path, SETTINGS).digest == small.cache.digest


def encode_share(url, model, folder, number):
    torch.set_num_threads(1)
    run(open_corpus(url), model, folder, share=(number, 2))


def test_two_processes_share_the_work(small, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    started = [
        spawn.Process(target=encode_share, args=(small.corpus.location.url, small.model, tmp_path, number))
        for number in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    assert finalize_cache(small.corpus, small.model, tmp_path, SETTINGS).digest == small.cache.digest


def test_another_model_or_setting_is_another_cache(small, tmp_path):
    other = BaseModelRef(id=str(write_tiny_model(tmp_path / "model", seed=1)))
    recipe = build_recipe(locate_model(other), SETTINGS)
    ours = row_list_paths(small.corpus, tmp_path, build_recipe(locate_model(small.model), SETTINGS))
    assert not {*ours.values()} & {*row_list_paths(small.corpus, tmp_path, recipe).values()}
    with pytest.raises(ValueError, match="3 clips are not encoded"):
        finalize_cache(small.corpus, other, small.cache.folder, SETTINGS)
    half = dataclasses.replace(SETTINGS, storage_dtype="float16")
    with pytest.raises(ValueError, match="3 clips are not encoded"):
        finalize_cache(small.corpus, small.model, small.cache.folder, half)


def test_long_clips_become_windows_and_odd_ones_are_cut(tmp_path):
    corpus = make_small_corpus(tmp_path / "long", clips=1, frames=29, size=(32, 48))
    model = BaseModelRef(id=str(write_tiny_model(tmp_path / "model")))
    for frames, rows in ((13, [13, 13]), (21, [21]), (85, [29])):
        settings = dataclasses.replace(SETTINGS, frames=frames)
        run(corpus, model, tmp_path / "cache", settings)
        cache = finalize_cache(corpus, model, tmp_path / "cache", settings)
        assert [row["frames"] for row in cache.rows] == rows
    starts = sorted(path.stem for path in (tmp_path / "cache").rglob("*.parquet"))
    assert len(starts) == 2 + 1 + 1 + 3  # an empty caption for each recipe


def test_clips_may_be_shrunk(small, tmp_path):
    less = dataclasses.replace(SETTINGS, size=(16, 32))
    run(small.corpus, small.model, tmp_path, less)
    cache = finalize_cache(small.corpus, small.model, tmp_path, less)
    assert {(row["height"], row["width"]) for row in cache.rows} == {(16, 32)}
    row = cache.read(cache.rows[0]["key"])
    assert row.target.mean.shape == (4, 16, 2, 4)
    assert row.mask.shape == (13, 16, 32)
    assert row.mask.mean() == pytest.approx(small.corpus[row.clip_id].effect_mask.mean(), rel=0.3)
    with pytest.raises(ValueError, match=r"cache.size: 20x32 pixels do not divide by 16; resize it, to 16x32 say"):
        build_recipe(locate_model(small.model), dataclasses.replace(SETTINGS, size=(20, 32)))


def test_half_precision_is_close(small, tmp_path):
    half = dataclasses.replace(SETTINGS, storage_dtype="float16")
    run(small.corpus, small.model, tmp_path, half)
    cache = finalize_cache(small.corpus, small.model, tmp_path, half)
    for ours, theirs in zip(cache.rows, small.cache.rows, strict=True):
        found, exact = cache.read(ours["key"]).target.mean, small.cache.read(theirs["key"]).target.mean
        assert np.abs(found - exact).max() <= 2**-11 * np.abs(exact).max()


def test_a_damaged_row_is_named(small, tmp_path):
    run(small.corpus, small.model, tmp_path)
    cache = finalize_cache(small.corpus, small.model, tmp_path, SETTINGS)
    path = row_path(tmp_path, cache.rows[0]["key"])
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name}.*damaged.*again"):
        cache.read(cache.rows[0]["key"])


@pytest.mark.parametrize("frames", [84, 12, 4, 0])
def test_a_window_that_is_not_8k_5_is_refused(small, frames):
    with pytest.raises(ValueError, match=r"not 8k\+5; take"):
        build_recipe(locate_model(small.model), dataclasses.replace(SETTINGS, frames=frames))


def test_odd_sizes_are_refused(tmp_path):
    corpus = make_small_corpus(tmp_path, clips=1, size=(40, 48))
    model = BaseModelRef(id=str(write_tiny_model(tmp_path / "model")))
    with pytest.raises(ValueError, match=r"clip 'tiny-000': 40x48 pixels do not divide by 16; resize"):
        run(corpus, model, tmp_path / "cache")


def test_an_empty_corpus_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setitem(small.corpus.manifest, "files", [])
    with pytest.raises(ValueError, match="has no clips"):
        run(small.corpus, small.model, tmp_path)


def test_a_cache_of_another_format_is_refused(small, tmp_path):
    (tmp_path / "cache.json").write_text(json.dumps(small.cache.manifest | {"format": 1}))
    with pytest.raises(ValueError, match="has format 1, not 3; encode again into another folder"):
        open_cache(tmp_path)
