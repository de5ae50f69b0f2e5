"""`effectpairs generate --corpus`: every mode, resumed, shared, and refused in one sentence."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.cli.app import app  # noqa: E402
from effectpairs.datasets.store import codec  # noqa: E402
from effectpairs.tests import fixtures_workspaces  # noqa: E402
from effectpairs.tests.fixtures_corpus import make_small_corpus, without_layer  # noqa: E402
from effectpairs.training import corpus_videos  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.families import family_record  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.benchmark.build import BenchmarkPlan, build_benchmark  # noqa: E402
from effectpairs.training.corpus_videos import (  # noqa: E402
    choose_request,
    clip_input,
    make_corpus_videos,
    make_videos,
    read_request,
)
from effectpairs.training.generate import DeviceSettings, read_training  # noqa: E402
from effectpairs.training.latents.task import REMOVE_PROMPT, parse_task  # noqa: E402
from effectpairs.training.sampling.pipeline import LoraRequest  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

torch.set_num_threads(1)
SIZE, FRAMES = (32, 48), 13


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("corpus"), clips=3, frames=FRAMES, size=SIZE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return DeviceSettings(base=str(write_tiny_model(tmp_path_factory.mktemp("model"))), device="cpu")


def request(corpus, model, folder, mode="mask", **more):
    values = {"folder": folder, "model": model, "sampling": SamplingSettings(steps=1, guidance=1.0), "size": SIZE}
    return choose_request(corpus.location.url, "train", None, mode, **values | more)


def test_the_modes_give_the_model_what_they_say(corpus, model, tmp_path):
    clip = corpus[corpus.ids[0]]
    inputs = {
        mode: clip_input(clip, request(corpus, model, tmp_path, mode), read_training(model))
        for mode in ("mask", "nomask", "keyframes", "text")
    }
    assert np.array_equal(inputs["mask"].effect_mask, clip.effect_mask)
    assert np.array_equal(inputs["nomask"].over, clip.over)
    assert inputs["nomask"].effect_mask is None
    assert inputs["text"].over is None
    assert inputs["text"].size == (FRAMES, *SIZE)
    assert {part.prompt for part in inputs.values()} == {clip.caption}
    keyframes = inputs["keyframes"].effect_mask
    shown = [frame for frame in range(FRAMES) if (keyframes[frame] != 0.5).any()]
    assert {0, 6, 12} <= set(shown), "the first, the middle and the last, each over its latent frame"
    assert len(shown) < FRAMES
    for frame in (0, 6, 12):
        assert np.array_equal(keyframes[frame], clip.effect_mask[frame])


def test_it_goes_on_where_it_was_cut_off_and_shares_make_the_same_videos(corpus, model, tmp_path, monkeypatch):
    whole, cut = (request(corpus, model, tmp_path / name) for name in ("whole", "cut"))
    seen = []
    make_corpus_videos(whole, 1, lambda *progress: seen.append(progress))
    assert seen == [(0, 2), (1, 2), (2, 2)]  # the unpaired clip has no composite
    for number in (1, 0):
        assert list(make_videos(cut, (number, 2))) == [whole.clip_ids[number]]
    videos = [fixtures_workspaces.read_files(tmp_path / name) for name in ("whole", "cut")]
    assert {name: videos[0][name] for name in videos[1]} == videos[1]
    assert codec.decode(videos[0][f"{whole.clip_ids[0]}.mkv"]).shape == (FRAMES, *SIZE, 3)
    (tmp_path / "whole" / f"{whole.clip_ids[1]}.mkv").unlink()
    loads = []
    load = corpus_videos.load_pipeline
    monkeypatch.setattr(corpus_videos, "load_pipeline", lambda *settings: loads.append(1) or load(*settings))
    make_corpus_videos(whole)
    assert len(loads) == 1
    make_corpus_videos(whole)
    assert len(loads) == 1, "with nothing to make no model is loaded"
    assert fixtures_workspaces.read_files(tmp_path / "whole") == videos[0]


def test_a_request_travels_to_other_programs(corpus, model, tmp_path, monkeypatch):
    asked, travelled = request(corpus, model, tmp_path, "keyframes", keyframes=2), []

    def run_shares(words, count, log, report, *, bind_gpus):
        travelled.append((words[0], read_request(corpus_videos.Path(words[1])), count, bind_gpus))
        report(1)

    monkeypatch.setattr(corpus_videos, "run_shares", run_shares)
    seen = []
    make_corpus_videos(asked, 2, lambda *progress: seen.append(progress))
    assert travelled == [("videos", asked, 2, False)]
    assert seen == [(0, 2), (1, 2)]


@pytest.fixture(scope="module")
def remover(model, tmp_path_factory):
    """A model as a removal leaves it: the tiny one's weights with the record of such a run."""
    trained = tmp_path_factory.mktemp("trained")
    shutil.copytree(Path(model.base, "transformer"), trained / "transformer")
    record = {
        "base": {"id": model.base, "revision": None},
        "family": family_record(CogVideoXFamily()),
        "latents": {"size": SIZE},
        "settings": {"data": {"mask_downsample": "area"}, "cache": {"conditioning_noise": "none"}},
        "task": dataclasses.asdict(parse_task("remove", "background")),
    }
    (trained / "training.json").write_text(json.dumps(record))
    return DeviceSettings(trained=trained, device="cpu")


def test_a_model_that_removes_is_shown_the_video_and_the_masks_that_it_learnt_with(corpus, remover, tmp_path):
    clip, trained_on = corpus[corpus.ids[0]], read_training(remover)
    subject = clip.subject_mask >= 128
    expected = {"mask": clip.effect_mask | subject, "nomask": np.where(subject, 1, 0.5)}
    for mode, mask in expected.items():
        asked = request(corpus, remover, tmp_path / mode, mode)
        inputs = clip_input(clip, asked, trained_on)
        assert np.array_equal(inputs.over, clip.gt)
        assert np.array_equal(inputs.effect_mask, mask)
        assert (inputs.prompt, inputs.mask_downsample) == (REMOVE_PROMPT, "area")
        make_corpus_videos(asked)
        assert set(asked.clip_ids) == {path.stem for path in (tmp_path / mode).glob("*.mkv")}
    videos = [codec.decode((tmp_path / mode / f"{clip.clip_id}.mkv").read_bytes()) for mode in expected]
    assert (videos[0] != videos[1]).any(), "the model looks at the mask"
    to_over = dataclasses.replace(trained_on, task=parse_task("remove", "over"))
    inputs = [clip_input(clip, request(corpus, remover, tmp_path, mode), to_over) for mode in expected]
    assert np.array_equal(inputs[0].effect_mask, clip.effect_mask)
    assert np.array_equal(inputs[1].effect_mask, np.where(subject, 0, 0.5))


def test_a_benchmark_of_another_task_is_refused(corpus, model, remover, tmp_path):
    for task, settings, other in (
        ("add", remover, "add effects, .* learnt to remove .*"),
        ("remove", model, "remove .*"),
    ):
        plan = BenchmarkPlan(name=task, clip_ids=["tiny-000"], task=parse_task(task, "background"))
        build_benchmark(corpus, plan, tmp_path / task)
        with pytest.raises(ValueError, match=f"{task} asks to {other}; name another"):
            choose_request(corpus.location.url, "", tmp_path / task, "mask", model=settings)


def test_what_a_removal_cannot_be_asked_is_refused_before_anything_is_loaded(corpus, model, remover, tmp_path):
    for mode in ("keyframes", "text"):
        with pytest.raises(ValueError, match=f"--mode {mode} is for models that add effects; .*take --mode mask or no"):
            request(corpus, remover, tmp_path, mode)
    incomplete = without_layer(corpus, "subject_mask", tmp_path / "corpus")
    with pytest.raises(ValueError, match=r"clips without subject_mask, which a removal needs: 2, such as 'tiny-000'"):
        request(incomplete, remover, tmp_path)
    request(incomplete, model, tmp_path)


def test_other_videos_and_bad_options_are_refused_in_one_sentence(corpus, model, tmp_path):
    first = request(corpus, model, tmp_path / "out")
    corpus_videos.open_folder(first)
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(b"weights")
    for change, name in (
        ({"mode": "nomask"}, "mode"),
        ({"sampling": SamplingSettings(steps=2, guidance=1.0)}, "sampling"),
        ({"model": dataclasses.replace(model, base=str(write_tiny_model(tmp_path / "other", seed=1)))}, "weights"),
        ({"model": dataclasses.replace(model, lora=LoraRequest(path=lora))}, "weights"),
    ):
        with pytest.raises(ValueError, match=f"holds videos made with another {name}; choose a new folder"):
            corpus_videos.open_folder(dataclasses.replace(first, **change))
    with pytest.raises(ValueError, match="--mode masks is none of mask, nomask, keyframes, text"):
        request(corpus, model, tmp_path, "masks")
    with pytest.raises(ValueError, match="has no pair of split test; splits with pairs: train"):
        choose_request(corpus.location.url, "test", None, "mask", model=model)
    for options, message in (
        (["--corpus", corpus.location.url, "--prompt", "Dust."], "leave out those options"),
        ([], "--prompt is missing"),
        (["--benchmark", str(tmp_path), "--prompt", "Dust."], "give --corpus too"),
        (["--corpus", corpus.location.url, "--benchmark", str(tmp_path)], "name a folder of: benchmark build"),
    ):
        run = CliRunner().invoke(app, ["generate", *options])
        assert run.exit_code == 2
        assert message in " ".join(run.output.replace("│", " ").split())
