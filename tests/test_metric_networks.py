import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
from effectpairs.digests import digest_of_file
from effectpairs.tests.fixtures_metrics import (
    CONVOLUTIONS,
    alexnet,
    heads,
    length_bench,
    noise,
    sample,
    write_clip,
)
from effectpairs.training.evaluation import frame_metrics, video_metrics
from effectpairs.training.evaluation.clip_similarity import ClipSimilarity
from effectpairs.training.evaluation.frame_metrics import Vmaf

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("nothing_is_fetched")


# LPIPS


@pytest.fixture
def trunk(tmp_path):
    path, layers = tmp_path / "alexnet.pth", tmp_path / "heads.pth"
    torch.save(alexnet(), path)
    torch.save(heads(), layers)
    return path, layers


@pytest.fixture
def original(monkeypatch):
    """The package lpips; where torchvision is missing a stand-in has the one network that is asked of it."""
    pytest.importorskip("tqdm")
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("lpips is not installed; get it with: pip install 'effectpairs[evaluate]'")
    layers = []
    for (_, inward, outward, side), (_, stride, padding) in zip(
        CONVOLUTIONS, frame_metrics.ALEXNET_LAYERS, strict=True
    ):
        layers += [torch.nn.Conv2d(inward, outward, side, stride, padding), torch.nn.ReLU(inplace=True)]
        layers += [torch.nn.MaxPool2d(3, 2)] if outward in (64, 192) else []
    network = types.SimpleNamespace(features=torch.nn.Sequential(*layers, torch.nn.MaxPool2d(3, 2)))
    vision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    vision.models, models.alexnet = models, lambda **_: network
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for name in [name for name in sys.modules if name.split(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("lpips")


def test_lpips_is_that_of_the_original_program(original):
    state, layers = alexnet(), heads()
    network = original.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).eval()
    convolutions = [layer for layer in network.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    for number, convolution in zip((0, 3, 6, 8, 10), convolutions, strict=True):
        convolution.weight.data = state[f"features.{number}.weight"]
        convolution.bias.data = state[f"features.{number}.bias"]
    network.load_state_dict(layers, strict=False)
    first, second = noise(4, (3, 64, 80, 3)), noise(5, (3, 64, 80, 3))
    as_input = lambda frames: torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1  # noqa: E731
    with torch.inference_mode():
        expected = network(as_input(first), as_input(second)).flatten().tolist()
    ours = {"trunk": state, "heads": list(layers.values())}
    assert frame_metrics.lpips_distances(ours, first, second) == pytest.approx(expected, rel=1e-5)
    assert frame_metrics.lpips_distances(ours, first, first) == pytest.approx([0] * 3)


def test_lpips_uses_the_weights_that_were_vouched_for(trunk):
    path, layers = trunk
    settings = frame_metrics.Lpips(trunk=path, heads=layers, trunk_sha256=digest_of_file(path))
    values = settings.score(sample(noise(1, (3, 64, 64, 3)), noise(2, (3, 64, 64, 3))))["lpips"]
    assert all(value.value > 0 and value.weights.sha256 == digest_of_file(path) for value in values)


def test_lpips_takes_the_layers_that_the_package_brings(trunk):
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("lpips is not installed; get it with: pip install 'effectpairs[evaluate]'")
    tried, digest = sample(noise(1, (2, 64, 64, 3)), noise(2, (2, 64, 64, 3))), digest_of_file(trunk[0])
    values = frame_metrics.Lpips(trunk=trunk[0], trunk_sha256=digest).score(tried)["lpips"]
    assert [value.status for value in values] == ["ok", "ok"]
    layers = torch.load(frame_metrics.packaged_lpips_heads(), map_location="cpu", weights_only=True).values()
    assert min(float(layer.min()) for layer in layers) >= 0


# FVD and VBench


def test_the_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4000, 3))
    rows = (rows - rows.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T  # exactly standard
    assert video_metrics.frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert video_metrics.frechet_distance(rows, rows + np.array([3, 0, 4])) == pytest.approx(25)
    assert video_metrics.frechet_distance(rows, 2 * rows) == pytest.approx(
        3
    )  # three variances of 1 and 4: (2 - 1)^2 each
    few = rng.standard_normal((5, 40))  # fewer rows than columns: nothing becomes complex or NaN
    assert video_metrics.frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert video_metrics.frechet_distance(few, few[::-1] + 1.0) == pytest.approx(40)


def test_fvd_of_too_few_windows_is_undefined():
    from effectpairs.training.evaluation.metric import Weights

    weights = Weights(id="made here", sha256="0" * 64)
    few = video_metrics.video_distance([np.zeros((1, 4))], [np.zeros((0, 0))], weights)
    assert (few.value, few.status) == (None, "undefined")
    some = video_metrics.video_distance([np.eye(4)], [np.eye(4) + 1], weights)
    assert (some.value, some.n) == (pytest.approx(4), 4)


@pytest.fixture
def bench(tmp_path):
    return length_bench(tmp_path)


def test_vbench_answers_through_its_own_environment(bench, tmp_path):
    python = tmp_path / "python"
    asked = {tmp_path / "a.mp4": "x" * 10, tmp_path / "b.mp4": "x" * 20, tmp_path / "c.mp4": ""}
    found = bench.score(asked)
    assert [found[path].value for path in asked] == [0.1, 0.2, None]
    assert found[tmp_path / "c.mp4"].status == "undefined"
    python.write_text("#!/bin/sh\necho ModuleNotFoundError: vbench >&2; exit 1\n")
    failed = bench.score(asked)[tmp_path / "a.mp4"]
    assert (failed.value, failed.status) == (None, "unavailable")
    assert "ModuleNotFoundError: vbench" in failed.reason


# No number from nothing


def test_no_metric_gives_a_number_with_absent_weights(tmp_path):
    tried = sample(noise(0), noise(1))
    found = {
        **ClipSimilarity(model=str(tmp_path / "no-clip")).score(tried),
        **frame_metrics.Lpips().score(tried),
        **Vmaf(program=str(tmp_path / "none")).score(tried),
        "vbench": list(video_metrics.VBench().score({tmp_path / "a.mp4": "a"}).values()),
    }
    for name, values in found.items():
        assert [(value.name, value.value, value.status) for value in values] == [(name, None, "unavailable")]
        assert values[0].reason
    with pytest.raises(video_metrics.Unavailable, match=r"effectpairs\[evaluate\]|VideoMAE"):
        video_metrics.Fvd(weights=tmp_path / "none.pth").load()
    with pytest.raises(video_metrics.Unavailable):
        video_metrics.Fvd(weights=tmp_path / "none.pth").features(noise(0))


def test_no_metric_gives_a_number_with_random_weights(tmp_path, trunk):
    tried = sample(noise(0), noise(1))
    untrained = ClipSimilarity(model=str(write_clip(tmp_path / "clip", trained=False))).score(tried)
    assert {value.status for values in untrained.values() for value in values} == {"unavailable"}
    assert "never trained" in untrained["clip_dir"][0].reason
    path, layers = trunk
    for expected in (frame_metrics.ALEXNET_SHA256, ""):
        found = frame_metrics.Lpips(trunk=path, heads=layers, trunk_sha256=expected).score(tried)["lpips"][0]
        assert (found.value, found.status) == (None, "unavailable")
        assert "not the published AlexNet" in found.reason


def test_a_clip_with_a_part_of_its_weights_is_unavailable(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_clip(tmp_path / "clip")
    state = load_file(folder / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    found = ClipSimilarity(model=str(folder)).score(sample(noise(0), noise(1)))["clip_text"][0]
    assert (found.value, found.status) == (None, "unavailable")
    assert "text_projection" in found.reason
    (folder / "model.safetensors").unlink()
    found = ClipSimilarity(model=str(folder), revision="later").score(sample(noise(0), noise(1)))["clip_text"][0]
    assert (found.value, found.status) == (None, "unavailable")
    assert "holds no whole CLIP" in found.reason
