import math
import sys
import types

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from effectpairs.datasets.store import codec
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.tests.fixtures_metrics import length_bench, noise, value_of, write_clip
from effectpairs.training.evaluation import tables, video_metrics
from effectpairs.training.evaluation.clip_similarity import ClipSimilarity
from effectpairs.training.evaluation.evaluate import EvaluationSettings, evaluate
from effectpairs.training.evaluation.frame_metrics import PixelMetrics
from effectpairs.training.evaluation.metric import COLUMNS, mean, metric_value
from effectpairs.training.evaluation.videos import Method, find_video, list_clip_ids, parse_method, read_video

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("nothing_is_fetched")


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
    settings = EvaluationSettings(scorers=(ClipSimilarity(model=str(model)), PixelMetrics()))
    found = evaluate(corpus, methods, settings, lambda *at: told.append(at))
    assert told == [(done, 4) for done in range(5)]
    return found


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
    from effectpairs.training.evaluation.metric import Measurement

    lines = [
        Measurement(method=method, level="all", key="", value=metric_value("lpips", value))
        for method, value in (("a_1", 0.3001), ("b", 0.1), ("c", 0.3002))
    ]
    columns = [column for column in COLUMNS if column.name == "lpips"]
    body = tables.to_latex(lines, columns).splitlines()[4:7]
    assert body == [r"a\_1 & \underline{0.300} \\", r"b & \textbf{0.100} \\", r"c & \underline{0.300} \\"]


@pytest.fixture
def video_features(monkeypatch, tmp_path):
    """In place of cd-fvd a network whose features are a video's mean colour; its weights may be trained or not."""
    module = types.ModuleType("cdfvd.third_party.VideoMAEv2.utils")
    module.__file__ = str(tmp_path / "utils.py")
    (tmp_path / video_metrics.VIDEOMAE_FILE).write_bytes(b"weights")
    weight = torch.tensor([1.0, 0.9])
    network = types.SimpleNamespace(
        blocks=[types.SimpleNamespace(norm1=types.SimpleNamespace(weight=weight))],
        forward_features=lambda video: video.mean(dim=(1, 2, 3)),
    )
    network.eval = lambda: network
    module.load_videomae_model = lambda device, path: network
    module.preprocess_videomae = lambda videos: torch.from_numpy(videos).float()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    video_metrics._load_videomae.cache_clear()
    yield weight
    video_metrics._load_videomae.cache_clear()


@pytest.fixture
def bench(tmp_path):
    return length_bench(tmp_path)


def test_fvd_and_vbench_are_computed_over_sets(tmp_path, bench, video_features):
    corpus = make_small_corpus(tmp_path / "longer", clips=3, frames=37, kinds=("real",))
    (tmp_path / "brighter").mkdir()
    for clip in corpus:
        made = np.minimum(clip.gt.astype(int) + 5, 255).astype(np.uint8)
        (tmp_path / "brighter" / f"{clip.clip_id}.mkv").write_bytes(codec.encode(made, fps=16.0))
    methods = [Method(name="brighter", folder=tmp_path / "brighter")]
    found = evaluate(corpus, methods, EvaluationSettings(scorers=(), vbench=bench))
    assert value_of(found, "brighter", "fvd").n == 6  # two windows of 16 in 37 frames, three clips
    assert value_of(found, "brighter", "fvd").value == pytest.approx(3 * 25, rel=0.05)  # 5 in each of three colours
    expected = np.mean([len(clip.caption) / 100 for clip in corpus])
    assert value_of(found, "brighter", "vbench").value == pytest.approx(expected)


def test_fvd_by_a_network_that_was_never_trained_is_unavailable(video_features):
    video_features.fill_(1)
    with pytest.raises(video_metrics.Unavailable, match="never trained"):
        video_metrics.Fvd().load()


def test_the_command_tells_what_is_missing(corpus, methods, tmp_path, monkeypatch):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    wanted = [f"--method={method.name}={method.folder}" for method in methods]
    command = ["evaluate", str(corpus.location.local), *wanted, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, ValueError)
    assert "metrics are unavailable; bring what they need, or give --allow-missing" in str(done.exception)
    assert (tmp_path / "out" / "table.md").is_file()
    assert "vbench is unavailable: no environment with vbench is named" in done.output
    assert CliRunner().invoke(app, [*command, "--allow-missing"]).exit_code == 0
    assert CliRunner().invoke(app, [*command[:2], "--method", "ours"]).exit_code == 2


def test_bad_input_is_one_sentence(corpus, methods, tmp_path):
    with pytest.raises(ValueError, match="is not NAME=FOLDER"):
        parse_method("outputs")
    with pytest.raises(ValueError, match="there is no folder"):
        parse_method(f"ours={tmp_path}/none")
    empty = Method(name="empty", folder=tmp_path)
    with pytest.raises(ValueError, match="no video of 4 of 4 clips, the first is tiny-0"):
        evaluate(corpus, [empty])
    with pytest.raises(ValueError, match="names that differ"):
        evaluate(corpus, [methods[0], methods[0]])
    with pytest.raises(ValueError, match="no pair of split nowhere"):
        evaluate(corpus, methods, EvaluationSettings(split="nowhere"))
    for clip in corpus:
        (tmp_path / f"{clip.clip_id}.mkv").write_bytes(codec.encode(clip.gt[:, :40], fps=16.0))
    with pytest.raises(ValueError, match="frames of 40x80, the corpus of 48x80"):
        evaluate(corpus, [empty], EvaluationSettings(scorers=(PixelMetrics(),)))
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
    assert list_clip_ids(tmp_path) == ("a", "b", "c")


def test_a_folder_of_images_is_a_video_too(tmp_path):
    import cv2

    frames = noise(7)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number:05d}.png"), frame[..., ::-1])
    np.testing.assert_array_equal(read_video(tmp_path), frames)
