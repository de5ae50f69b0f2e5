import io
import math

import av
import numpy as np
import pytest
import torch
from effectpairs.datasets.store import codec
from effectpairs.tests.fixtures_metrics import noise, sample, write_clip
from effectpairs.training.evaluation.clip_similarity import ClipSimilarity, directional_similarity
from effectpairs.training.evaluation.frame_metrics import PixelMetrics, Vmaf
from effectpairs.training.evaluation.metric import MetricValue, mean, metric_value, unavailable, undefined
from effectpairs.training.evaluation.videos import read_video

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("nothing_is_fetched")


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
    assert (metric_value("psnr", value).status, metric_value("psnr", value).value) == ("undefined", None)
    with pytest.raises(ValueError, match="a finite number goes with ok alone"):
        MetricValue(name="psnr", value=value)


def test_a_missing_number_has_a_reason_and_no_value():
    with pytest.raises(ValueError, match="goes with ok alone"):
        MetricValue(name="fvd", value=0.0, status="unavailable", reason="no weights")
    with pytest.raises(ValueError, match="without a reason"):
        MetricValue(name="fvd", value=None, status="undefined")


def test_a_mean_counts_what_it_leaves_out_and_never_averages_around_what_is_missing():
    numbers = [metric_value("psnr", 20.0), undefined("psnr", "equal"), metric_value("psnr", 30.0)]
    found = mean("psnr", numbers)
    assert (found.value, found.n, found.left_out) == (25.0, 2, 1)
    assert mean("psnr", [undefined("psnr", "equal")] * 2).left_out == 2
    assert mean("psnr", [*numbers, unavailable("psnr", "gone")]).value is None
    assert mean("psnr", [found, metric_value("psnr", 55.0)]).value == 35.0  # means of unequal numbers weigh by them


# Pixels and VMAF


def test_psnr_and_ssim_are_those_of_their_formulas():
    truth = np.full((2, 16, 16, 3), 100, np.uint8)
    found = PixelMetrics().score(sample(truth, truth + np.uint8(10)))
    assert [value.value for value in found["psnr"]] == pytest.approx([10 * math.log10(255**2 / 100)] * 2)
    # Of flat pictures only the first factor of SSIM is left.
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert [value.value for value in found["ssim"]] == pytest.approx([expected] * 2)


def test_equal_frames_have_no_psnr_and_tiny_ones_no_ssim():
    found = PixelMetrics().score(sample(noise(0), noise(0)))
    assert {value.status for value in found["psnr"]} == {"undefined"}
    assert [value.value for value in found["ssim"]] == pytest.approx([1.0] * 3)
    assert PixelMetrics().score(sample(noise(0)[:, :6], noise(1)[:, :6]))["ssim"][0].status == "undefined"


@pytest.mark.clips
def test_a_real_clip_loses_by_every_recompression(clips_dir):
    truth = read_video(clips_dir / "gen_omnimatte" / "davis_camel" / "input_video.mp4")[:6]
    scores = []
    for made in (truth, recompressed(truth, 24), recompressed(truth, 38)):
        found = {**PixelMetrics().score(sample(truth, made)), **Vmaf().score(sample(truth, made))}
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
    found = directional_similarity(np.array([truth], float), np.array([[2.0, 0, 0]]), np.array([made], float))
    assert found[0].value == pytest.approx(expected, abs=1e-9)


def test_clip_dir_of_no_change_is_undefined():
    over, other = np.array([[1.0, 0, 0]]), np.array([[0.0, 1, 0]])
    for truth, made, word in ((over, other, "truth"), (other, over * 3, "result")):
        found = directional_similarity(truth, over, made)[0]
        assert (found.value, found.status) == (None, "undefined")
        assert word in found.reason


def test_clip_compares_what_it_is_told_to(tmp_path):
    metric = ClipSimilarity(model=str(write_clip(tmp_path / "clip")))
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
    from effectpairs.training.evaluation import clip_similarity
    from effectpairs.weights import WeightsRef
    from transformers import CLIPModel

    folder = write_clip(tmp_path / "clip")
    frames = noise(3, (2, 32, 32, 3))  # of the network's own size, so nothing is scaled
    mean_, deviation = np.float32([0.48145466, 0.4578275, 0.40821073]), np.float32([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(((frames / np.float32(255) - mean_) / deviation).transpose(0, 3, 1, 2).copy())
    model = CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        vectors = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    expected = torch.nn.functional.normalize(vectors, dim=1).numpy()
    np.testing.assert_allclose(
        clip_similarity._embed_frames(clip_similarity._load_clip(WeightsRef(model=str(folder)))[0], frames),
        expected,
        atol=1e-5,
    )
