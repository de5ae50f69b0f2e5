import importlib
import importlib.util
import io
import math
import sys
import types

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from effectpairs.datasets import codec
from effectpairs.datasets.durable import digest_of_file
from effectpairs.tests.small_corpus import make_small_corpus
from effectpairs.tests.small_metrics import CONVOLUTIONS, alexnet, heads, write_clip
from effectpairs.training.evaluation import fvd, lpips, tables, vbench
from effectpairs.training.evaluation.clip import Clip, directions
from effectpairs.training.evaluation.evaluate import Evaluation, evaluate
from effectpairs.training.evaluation.metric import COLUMNS, MetricValue, Sample, known, mean, unavailable, undefined
from effectpairs.training.evaluation.pixels import Pixels
from effectpairs.training.evaluation.videos import Method, clip_ids, find_video, method_of, read_video
from effectpairs.training.evaluation.vmaf import Vmaf

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch, tmp_path):
    """No weights but those that a test makes, wherever else this runs."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(vbench.VARIABLE, raising=False)


def sample(gt, result, over=None, caption="a square drags its shadow over the floor"):
    over = gt if over is None else over
    return Sample(clip_id="one", gt=gt, over=over, result=result, caption=caption, fps=16.0)


def noise(seed, shape=(3, 40, 56, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def recompressed(frames, crf):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=16, options={"crf": str(crf)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return codec.decode(buffer.getvalue())


# Values and means


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_number(value):
    assert (known("psnr", value).status, known("psnr", value).value) == ("undefined", None)
    with pytest.raises(ValueError, match="a finite number goes with ok alone"):
        MetricValue(name="psnr", value=value)


def test_a_missing_number_has_a_reason_and_no_value():
    with pytest.raises(ValueError, match="goes with ok alone"):
        MetricValue(name="fvd", value=0.0, status="unavailable", reason="no weights")
    with pytest.raises(ValueError, match="without a reason"):
        MetricValue(name="fvd", value=None, status="undefined")


def test_a_mean_counts_what_it_leaves_out_and_never_averages_around_what_is_missing():
    numbers = [known("psnr", 20.0), undefined("psnr", "equal"), known("psnr", 30.0)]
    found = mean("psnr", numbers)
    assert (found.value, found.n, found.left_out) == (25.0, 2, 1)
    assert mean("psnr", [undefined("psnr", "equal")] * 2).left_out == 2
    assert mean("psnr", [*numbers, unavailable("psnr", "gone")]).value is None
    assert mean("psnr", [found, known("psnr", 55.0)]).value == 35.0  # means of unequal numbers weigh by them


# Pixels and VMAF


def test_psnr_and_ssim_are_those_of_their_formulas():
    truth = np.full((2, 16, 16, 3), 100, np.uint8)
    found = Pixels().score(sample(truth, truth + np.uint8(10)))
    assert [value.value for value in found["psnr"]] == pytest.approx([10 * math.log10(255**2 / 100)] * 2)
    # Of flat pictures only the first factor of SSIM is left.
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert [value.value for value in found["ssim"]] == pytest.approx([expected] * 2)


def test_equal_frames_have_no_psnr_and_tiny_ones_no_ssim():
    found = Pixels().score(sample(noise(0), noise(0)))
    assert {value.status for value in found["psnr"]} == {"undefined"}
    assert [value.value for value in found["ssim"]] == pytest.approx([1.0] * 3)
    assert Pixels().score(sample(noise(0)[:, :6], noise(1)[:, :6]))["ssim"][0].status == "undefined"


@pytest.mark.clips
def test_a_real_clip_loses_by_every_recompression(clips_dir):
    truth = read_video(clips_dir / "gen_omnimatte" / "davis_camel" / "input_video.mp4")[:6]
    scores = []
    for made in (truth, recompressed(truth, 24), recompressed(truth, 38)):
        found = {**Pixels().score(sample(truth, made)), **Vmaf().score(sample(truth, made))}
        assert len(found["vmaf"]) == len(truth)
        scores.append({name: mean(name, values) for name, values in found.items()})
    equal, fine, coarse = scores
    assert equal["psnr"].status == "undefined"
    assert equal["ssim"].value == pytest.approx(1)
    assert 100 >= equal["vmaf"].value > fine["vmaf"].value > coarse["vmaf"].value + 5
    assert 1 > fine["ssim"].value > coarse["ssim"].value + 0.05
    assert 50 > fine["psnr"].value > coarse["psnr"].value + 3 > 20
    assert len(fine["vmaf"].weights.sha256) == 64


def test_vmaf_without_its_program_is_unavailable(tmp_path):
    found = Vmaf(program=str(tmp_path / "ffmpeg")).score(sample(noise(0), noise(1)))["vmaf"]
    assert [(value.value, value.status) for value in found] == [(None, "unavailable")]
    assert "does not run" in found[0].reason
    other = Vmaf(program="/bin/true").score(sample(noise(0), noise(1)))["vmaf"][0]
    assert "without libvmaf" in other.reason


# CLIP


@pytest.mark.parametrize(
    ("truth", "made", "expected"),
    [
        ([0, 1, 0], [0, 1, 0], 100),  # the same change
        ([0, 3, 0], [0, 0.5, 0], 100),  # lengths of embeddings do not count
        ([0, 1, 0], [0, 0, 1], 50),  # (-1, 1, 0) . (-1, 0, 1) / 2
        ([0, 1, 0], [0, -1, 0], 0),  # (-1, 1, 0) . (-1, -1, 0)
        ([0.6, 0.8, 0], [0.6, -0.8, 0], -60),  # (-.4, .8) . (-.4, -.8) / .8
    ],
)
def test_clip_dir_by_hand(truth, made, expected):
    found = directions(np.array([truth], float), np.array([[2.0, 0, 0]]), np.array([made], float))
    assert found[0].value == pytest.approx(expected, abs=1e-9)


def test_clip_dir_of_no_change_is_undefined():
    over, other = np.array([[1.0, 0, 0]]), np.array([[0.0, 1, 0]])
    for truth, made, word in ((over, other, "truth"), (other, over * 3, "result")):
        found = directions(truth, over, made)[0]
        assert (found.value, found.status) == (None, "undefined")
        assert word in found.reason


def test_clip_compares_what_it_is_told_to(tmp_path):
    metric = Clip(model=str(write_clip(tmp_path / "clip")))
    gt, over = noise(1), noise(2)
    same = metric.score(sample(gt, gt, over))
    assert [value.value for value in same["clip_img"]] == pytest.approx([100] * 3)
    assert [value.value for value in same["clip_dir"]] == pytest.approx([100] * 3)
    assert {value.status for value in metric.score(sample(gt, over, over))["clip_dir"]} == {"undefined"}
    other = metric.score(sample(gt, gt, over, caption="shadow"))
    assert other["clip_text"][0].value != pytest.approx(same["clip_text"][0].value, abs=1e-3)
    assert all(-100 <= value.value <= 100 for value in same["clip_text"])
    assert {value.status for value in metric.score(sample(gt, gt, over, caption=" "))["clip_text"]} == {"undefined"}
    assert len(same["clip_text"][0].weights.sha256) == 64


def test_clip_embeds_as_the_library_does(tmp_path):
    from effectpairs.training.evaluation import clip
    from transformers import CLIPModel

    folder = write_clip(tmp_path / "clip")
    frames = noise(3, (2, 32, 32, 3))  # of the network's own size, so nothing is scaled
    mean_, deviation = np.float32([0.48145466, 0.4578275, 0.40821073]), np.float32([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(((frames / np.float32(255) - mean_) / deviation).transpose(0, 3, 1, 2).copy())
    model = CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        vectors = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    expected = torch.nn.functional.normalize(vectors, dim=1).numpy()
    np.testing.assert_allclose(clip._images(clip._load(str(folder), None), frames), expected, atol=1e-5)


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
    for (_, inward, outward, side), (_, stride, padding) in zip(CONVOLUTIONS, lpips.LAYERS, strict=True):
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
    assert lpips.distances(ours, first, second) == pytest.approx(expected, rel=1e-5)
    assert lpips.distances(ours, first, first) == pytest.approx([0] * 3)


def test_lpips_uses_the_weights_that_were_vouched_for(trunk):
    path, layers = trunk
    settings = lpips.Lpips(trunk=path, heads=layers, trunk_sha256=digest_of_file(path))
    values = settings.score(sample(noise(1, (3, 64, 64, 3)), noise(2, (3, 64, 64, 3))))["lpips"]
    assert all(value.value > 0 and value.weights.sha256 == digest_of_file(path) for value in values)


def test_lpips_takes_the_layers_that_the_package_brings(trunk):
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("lpips is not installed; get it with: pip install 'effectpairs[evaluate]'")
    tried, digest = sample(noise(1, (2, 64, 64, 3)), noise(2, (2, 64, 64, 3))), digest_of_file(trunk[0])
    values = lpips.Lpips(trunk=trunk[0], trunk_sha256=digest).score(tried)["lpips"]
    assert [value.status for value in values] == ["ok", "ok"]
    layers = torch.load(lpips._packaged_heads(), map_location="cpu", weights_only=True).values()
    assert min(float(layer.min()) for layer in layers) >= 0


# FVD and VBench


def test_the_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4000, 3))
    rows = (rows - rows.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T  # exactly standard
    assert fvd.frechet(rows, rows) == pytest.approx(0, abs=1e-9)
    assert fvd.frechet(rows, rows + np.array([3, 0, 4])) == pytest.approx(25)
    assert fvd.frechet(rows, 2 * rows) == pytest.approx(3)  # three variances of 1 and 4: (2 - 1)^2 each
    few = rng.standard_normal((5, 40))  # fewer rows than columns: nothing becomes complex or NaN
    assert fvd.frechet(few, few) == pytest.approx(0, abs=1e-6)
    assert fvd.frechet(few, few[::-1] + 1.0) == pytest.approx(40)


def test_fvd_of_too_few_windows_is_undefined():
    from effectpairs.training.evaluation.metric import Weights

    weights = Weights(id="made here", sha256="0" * 64)
    few = fvd.distance([np.zeros((1, 4))], [np.zeros((0, 0))], weights)
    assert (few.value, few.status) == (None, "undefined")
    some = fvd.distance([np.eye(4)], [np.eye(4) + 1], weights)
    assert (some.value, some.n) == (pytest.approx(4), 4)


@pytest.fixture
def bench(tmp_path):
    """An environment whose VBench scores a caption by its length."""
    python, weights = tmp_path / "python", tmp_path / "viclip.pth"
    weights.write_bytes(b"weights")
    python.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "captions = json.load(open(sys.argv[3]))\n"
        "assert all(os.path.dirname(path) == sys.argv[4] for path in captions)\n"
        "found = [{'video_path': path, 'video_results': len(text) / 100} for path, text in captions.items()]\n"
        "json.dump({'overall_consistency': [0, found]}, open(f'{sys.argv[5]}/{sys.argv[6]}_eval_results.json', 'w'))\n"
    )
    python.chmod(0o755)
    return vbench.VBench(python=str(python), weights=weights)


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
        **Clip(model=str(tmp_path / "no-clip")).score(tried),
        **lpips.Lpips().score(tried),
        **Vmaf(program=str(tmp_path / "none")).score(tried),
        "vbench": list(vbench.VBench().score({tmp_path / "a.mp4": "a"}).values()),
    }
    for name, values in found.items():
        assert [(value.name, value.value, value.status) for value in values] == [(name, None, "unavailable")]
        assert values[0].reason
    with pytest.raises(fvd.Unavailable, match=r"effectpairs\[evaluate\]|VideoMAE"):
        fvd.Fvd(weights=tmp_path / "none.pth").load()
    with pytest.raises(fvd.Unavailable):
        fvd.Fvd(weights=tmp_path / "none.pth").features(noise(0))


def test_no_metric_gives_a_number_with_random_weights(tmp_path, trunk):
    tried = sample(noise(0), noise(1))
    untrained = Clip(model=str(write_clip(tmp_path / "clip", trained=False))).score(tried)
    assert {value.status for values in untrained.values() for value in values} == {"unavailable"}
    assert "never trained" in untrained["clip_dir"][0].reason
    path, layers = trunk
    for expected in (lpips.PUBLISHED, ""):
        found = lpips.Lpips(trunk=path, heads=layers, trunk_sha256=expected).score(tried)["lpips"][0]
        assert (found.value, found.status) == (None, "unavailable")
        assert "not the published AlexNet" in found.reason


def test_a_clip_with_a_part_of_its_weights_is_unavailable(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_clip(tmp_path / "clip")
    state = load_file(folder / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    found = Clip(model=str(folder)).score(sample(noise(0), noise(1)))["clip_text"][0]
    assert (found.value, found.status) == (None, "unavailable")
    assert "text_projection" in found.reason
    (folder / "model.safetensors").unlink()
    found = Clip(model=str(folder), revision="later").score(sample(noise(0), noise(1)))["clip_text"][0]
    assert (found.value, found.status) == (None, "unavailable")
    assert "holds no whole CLIP" in found.reason


# The whole


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("evaluated"), clips=6)


@pytest.fixture(scope="module")
def methods(corpus, tmp_path_factory):
    """One that changes nothing, one that is nearly right and makes shorter videos."""
    folder = tmp_path_factory.mktemp("methods")
    for name in ("copy", "close"):
        (folder / name).mkdir()
    for clip in corpus:
        if clip.over is not None:
            (folder / "copy" / f"{clip.clip_id}.mkv").write_bytes(codec.encode(clip.over, fps=16.0))
            near = (clip.gt[:9].astype(int) * 3 + clip.over[:9]) // 4
            (folder / "close" / f"{clip.clip_id}.mkv").write_bytes(codec.encode(near.astype(np.uint8), fps=16.0))
    return tuple(Method(name=name, folder=folder / name) for name in ("copy", "close"))


@pytest.fixture(scope="module")
def lines(corpus, methods, tmp_path_factory):
    model = write_clip(tmp_path_factory.mktemp("models") / "clip")
    told = []
    settings = Evaluation(scorers=(Clip(model=str(model)), Pixels()))
    found = evaluate(corpus, methods, settings, lambda *at: told.append(at))
    assert told == [(done, 4) for done in range(5)]
    return found


def value_of(lines, method, name, level="all", key=""):
    found = [line.value for line in lines if (line.method, line.level, line.key) == (method, level, key)]
    return next(value for value in found if value.name == name)


def test_every_level_is_there_and_agrees(lines, corpus):
    assert value_of(lines, "close", "psnr").value > value_of(lines, "copy", "psnr").value
    assert value_of(lines, "copy", "clip_dir").status == "undefined"
    assert value_of(lines, "close", "psnr").n == 4 * 9  # cut to the shorter method, for both
    assert value_of(lines, "copy", "psnr").n == 4 * 9
    frames = [line.value.value for line in lines if line.method == "copy" and line.level == "frame"
              and line.key == "tiny-000" and line.value.name == "ssim"]  # fmt: skip
    assert len(frames) == 9
    assert value_of(lines, "copy", "ssim", "clip", "tiny-000").value == pytest.approx(np.mean(frames))
    sources = {line.key for line in lines if line.level == "source"}
    assert sources == {"real-source", "synthetic-source"}
    parts = [value_of(lines, "copy", "ssim", "source", source) for source in sources]
    assert mean("ssim", parts).value == pytest.approx(value_of(lines, "copy", "ssim").value)
    assert {line.key for line in lines if line.level == "effect"} == {"shadow", "splash"}
    for name in ("fvd", "vbench"):
        assert value_of(lines, "copy", name).status == "unavailable"


def test_the_tables_hold_numbers_or_reasons(lines, tmp_path):
    tables.write_tables(lines, tmp_path, "Small corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.parquet", "table.md", "table.tex"]
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert len(rows) == len(lines)
    for row in rows:
        assert (row["value"] is not None) == (row["status"] == "ok")
        assert (row["status"] == "ok") != bool(row["reason"])
        assert row["value"] is None or math.isfinite(row["value"])
    text = (tmp_path / "table.md").read_text()
    assert "undef." in text
    assert "## Effect: splash" in text
    assert "- VBench is unavailable: no environment with vbench is named" in text
    latex = (tmp_path / "table.tex").read_text()
    assert r"CLIPdir $\uparrow$" in latex
    assert latex.count(r"\\") == 3
    assert r"\textbf{" in latex


def test_the_best_is_bold_and_the_second_underlined():
    from effectpairs.training.evaluation.groups import Line

    lines = [
        Line(method=method, level="all", key="", value=known("lpips", value))
        for method, value in (("a_1", 0.3001), ("b", 0.1), ("c", 0.3002))
    ]
    columns = [column for column in COLUMNS if column.name == "lpips"]
    body = tables.latex(lines, columns).splitlines()[4:7]
    assert body == [r"a\_1 & \underline{0.300} \\", r"b & \textbf{0.100} \\", r"c & \underline{0.300} \\"]


@pytest.fixture
def video_features(monkeypatch, tmp_path):
    """In place of cd-fvd a network whose features are a video's mean colour; its weights may be trained or not."""
    module = types.ModuleType("cdfvd.third_party.VideoMAEv2.utils")
    module.__file__ = str(tmp_path / "utils.py")
    (tmp_path / fvd.FILE).write_bytes(b"weights")
    weight = torch.tensor([1.0, 0.9])
    network = types.SimpleNamespace(
        blocks=[types.SimpleNamespace(norm1=types.SimpleNamespace(weight=weight))],
        forward_features=lambda video: video.mean(dim=(1, 2, 3)),
    )
    network.eval = lambda: network
    module.load_videomae_model = lambda device, path: network
    module.preprocess_videomae = lambda videos: torch.from_numpy(videos).float()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    fvd._load.cache_clear()
    yield weight
    fvd._load.cache_clear()


def test_fvd_and_vbench_are_computed_over_sets(tmp_path, bench, video_features):
    corpus = make_small_corpus(tmp_path / "longer", clips=3, frames=37, kinds=("real",))
    (tmp_path / "brighter").mkdir()
    for clip in corpus:
        made = np.minimum(clip.gt.astype(int) + 5, 255).astype(np.uint8)
        (tmp_path / "brighter" / f"{clip.clip_id}.mkv").write_bytes(codec.encode(made, fps=16.0))
    methods = [Method(name="brighter", folder=tmp_path / "brighter")]
    found = evaluate(corpus, methods, Evaluation(scorers=(), vbench=bench))
    assert value_of(found, "brighter", "fvd").n == 6  # two windows of 16 in 37 frames, three clips
    assert value_of(found, "brighter", "fvd").value == pytest.approx(3 * 25, rel=0.05)  # 5 in each of three colours
    expected = np.mean([len(clip.caption) / 100 for clip in corpus])
    assert value_of(found, "brighter", "vbench").value == pytest.approx(expected)


def test_fvd_by_a_network_that_was_never_trained_is_unavailable(video_features):
    video_features.fill_(1)
    with pytest.raises(fvd.Unavailable, match="never trained"):
        fvd.Fvd().load()


def test_the_command_tells_what_is_missing(corpus, methods, tmp_path, monkeypatch):
    from effectpairs.cli import app
    from typer.testing import CliRunner

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wanted = [f"--method={method.name}={method.folder}" for method in methods]
    command = ["evaluate", str(corpus.place.local), *wanted, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ValueError)
    assert "metrics are unavailable; bring what they need, or give --allow-missing" in str(done.exception)
    assert (tmp_path / "out" / "table.md").is_file()
    assert "vbench is unavailable: no environment with vbench is named" in done.output
    assert CliRunner().invoke(app, [*command, "--allow-missing"]).exit_code == 0
    assert CliRunner().invoke(app, [*command[:2], "--method", "ours"]).exit_code == 2


def test_bad_input_is_one_sentence(corpus, methods, tmp_path):
    with pytest.raises(ValueError, match="is not NAME=FOLDER"):
        method_of("outputs")
    with pytest.raises(ValueError, match="there is no folder"):
        method_of(f"ours={tmp_path}/none")
    empty = Method(name="empty", folder=tmp_path)
    with pytest.raises(ValueError, match="no video of 4 of 4 clips, the first is tiny-0"):
        evaluate(corpus, [empty])
    with pytest.raises(ValueError, match="names that differ"):
        evaluate(corpus, [methods[0], methods[0]])
    with pytest.raises(ValueError, match="no pair of split nowhere"):
        evaluate(corpus, methods, Evaluation(split="nowhere"))
    for clip in corpus:
        (tmp_path / f"{clip.clip_id}.mkv").write_bytes(codec.encode(clip.gt[:, :40], fps=16.0))
    with pytest.raises(ValueError, match="frames of 40x80, the corpus of 48x80"):
        evaluate(corpus, [empty], Evaluation(scorers=(Pixels(),)))
    (tmp_path / "tiny-000.mkv").write_bytes(b"no video")
    with pytest.raises(ValueError, match="does not decode"):
        read_video(tmp_path / "tiny-000.mkv")


def test_a_video_is_found_in_every_form(tmp_path):
    for name in ("a.mp4", "b/video.mkv", "b/difference.mp4", "c/00000.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {clip_id: find_video(tmp_path, clip_id) for clip_id in "abcd"}
    expected = {"a": tmp_path / "a.mp4", "b": tmp_path / "b" / "video.mkv", "c": tmp_path / "c", "d": None}
    assert found == expected
    assert clip_ids(tmp_path) == ("a", "b", "c")


def test_a_folder_of_images_is_a_video_too(tmp_path):
    import cv2

    frames = noise(7)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number:05d}.png"), frame[..., ::-1])
    np.testing.assert_array_equal(read_video(tmp_path), frames)
