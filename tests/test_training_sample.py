"""Sampling: windows, guidance, and a pipeline whose paths, scales and crops are right."""

import dataclasses
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
diffusers = pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.tests.fixtures_corpus import square_with_shadow  # noqa: E402
from effectpairs.tests.fixtures_video_models import tiny_parts  # noqa: E402
from effectpairs.training.base import checkpoint, conditioning, encoders, models  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily, rotary_embedding  # noqa: E402
from effectpairs.training.base.family import decode_latents  # noqa: E402
from effectpairs.training.sampling.pipeline import EffectPipeline, PipelineInput, reflect_indices  # noqa: E402
from effectpairs.training.sampling.sample import (  # noqa: E402
    SamplingSettings,
    WindowSettings,
    denoise,
    initial_noise,
    window_spans,
    window_weights,
)

torch.set_num_threads(1)
QUICK = SamplingSettings(steps=2, guidance=3.0)
SMALL = WindowSettings(length=4, overlap=2)
TRAINED = WindowSettings(length=22)
COG = CogVideoXFamily()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return tiny_parts(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def pipe(parts):
    found = EffectPipeline(parts.text.tokenizer, parts.text.encoder, parts.vae, parts.transformer, parts.scheduler)
    found.set_progress_bar_config(disable=True)
    return found


def given(frames=4, channels=17, seed=0):
    generator = torch.Generator().manual_seed(seed)
    texts = torch.randn(2, 32, 32, generator=generator)
    return torch.randn(1, frames, channels, 4, 6, generator=generator), (texts[:1], texts[1:])


@pytest.mark.parametrize("frames", range(2, 80, 2))
@pytest.mark.parametrize(
    "windows", [TRAINED, SMALL, WindowSettings(length=6, overlap=2), WindowSettings(length=8, overlap=0)]
)
def test_windows_cover_a_clip_and_their_weights_add_up_to_one(frames, windows):
    total, cut = np.zeros(frames), window_spans(COG, frames, windows)
    for window in cut:
        assert window.start % 2 == window.stop % 2 == 0
        assert len(window) <= windows.length
        total[window.start : window.stop] += window_weights(window, frames, windows.overlap)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert len(cut) == 1 or all(a.stop - b.start == windows.overlap for a, b in itertools.pairwise(cut))


def test_the_windows_of_197_frames():
    assert [(window.start, window.stop) for window in window_spans(COG, 50, TRAINED)] == [
        (0, 22),
        (18, 40),
        (36, 50),
    ]
    np.testing.assert_allclose(window_weights(range(18, 40), 50, 4)[:4], [0.2, 0.4, 0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("wrong", [{"length": 5}, {"overlap": 3}, {"length": 4, "overlap": 4}])
def test_windows_that_do_not_go_are_refused(wrong):
    with pytest.raises(ValueError, match="do not go"):
        window_spans(COG, 8, WindowSettings(**{"length": 22} | wrong))


def test_an_odd_number_of_latent_frames_is_refused():
    with pytest.raises(ValueError, match=r"pad the clip to 8k\+5"):
        window_spans(COG, 5, SMALL)


def test_one_window_is_plain_sampling(parts):
    """Against a loop written out from the formulas, without any window."""
    told, texts = given()
    found = denoise(COG, parts.transformer, parts.scheduler, told, texts, QUICK)
    again = denoise(COG, parts.transformer, parts.scheduler, told, texts, dataclasses.replace(QUICK, windows=SMALL))
    assert torch.equal(found, again)
    rotary = rotary_embedding(parts.transformer.config, 4, 4, 6, "cpu")
    latents, alphas = initial_noise(told, QUICK.seed, 16), [*parts.scheduler.alphas_cumprod.tolist(), 1.0]
    for now, then in ((999, 499), (499, -1)):
        ask = torch.cat([latents, told], 2)
        with torch.no_grad():
            velocities = [
                parts.transformer(ask, rows, torch.tensor([now]), image_rotary_emb=rotary).sample for rows in texts
            ]
        velocity = velocities[1] + 3 * (velocities[0] - velocities[1])
        signal, level = alphas[now] ** 0.5, (1 - alphas[now]) ** 0.5
        clean, noise = signal * latents - level * velocity, signal * velocity + level * latents
        latents = alphas[then] ** 0.5 * clean + (1 - alphas[then]) ** 0.5 * noise
    torch.testing.assert_close(found, latents, atol=2e-5, rtol=1e-4)


def test_sequential_guidance_is_the_same(parts):
    told, texts = given()
    found = [
        denoise(
            COG, parts.transformer, parts.scheduler, told, texts, dataclasses.replace(QUICK, sequential_cfg=one_by_one)
        )
        for one_by_one in (False, True)
    ]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_guidance_of_one_asks_once_and_does_not_see_the_negative_text(parts):
    told, texts = given()
    plain = dataclasses.replace(QUICK, guidance=1.0)
    found = [denoise(COG, parts.transformer, parts.scheduler, told, (texts[0], other), plain) for other in texts]
    assert torch.equal(*found)


def test_a_window_does_not_see_what_is_far_away(parts):
    """Three windows: what is changed in the last frames cannot reach the first in one step."""
    told, texts = given(frames=8)
    changed = told.clone()
    changed[:, 6:] += 1
    one = dataclasses.replace(QUICK, steps=1, windows=SMALL)
    first, second = (denoise(COG, parts.transformer, parts.scheduler, some, texts, one) for some in (told, changed))
    assert torch.equal(first[:, :4], second[:, :4])
    assert not torch.equal(first[:, 4:], second[:, 4:])


def test_both_ddim_schedulers_sample_the_same(parts):
    told, texts = given()
    other = diffusers.CogVideoXDDIMScheduler.from_config(parts.scheduler.config, snr_shift_scale=1.0)  # not its own 3.0
    found = [denoise(COG, parts.transformer, scheduler, told, texts, QUICK) for scheduler in (parts.scheduler, other)]
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_schedulers_with_a_memory_are_refused(parts):
    told, texts = given()
    euler = diffusers.EulerDiscreteScheduler()
    with pytest.raises(ValueError, match="EulerDiscreteScheduler keeps state"):
        denoise(COG, parts.transformer, euler, told, texts, QUICK)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"guidance": -1.0}])
def test_senseless_sampling_is_refused(wrong):
    with pytest.raises(ValueError, match="is not in"):
        SamplingSettings(**wrong)


class Copying(torch.nn.Module):
    """A model whose clean latents are always those of the composite it is shown."""

    def __init__(self, parts) -> None:
        super().__init__()
        self.config, self.alphas = parts.transformer.config, parts.scheduler.alphas_cumprod
        self.weight, self.device = torch.nn.Parameter(torch.zeros(1)), torch.device("cpu")

    def forward(self, hidden_states, timestep, **_):
        alpha = self.alphas[timestep].view(-1, 1, 1, 1, 1)
        noisy, wanted = hidden_states[:, :, :16], hidden_states[:, :, 17:]
        return ((alpha.sqrt() * noisy - wanted) / (1 - alpha).sqrt(),)


@pytest.mark.parametrize("frames", [5, 11, 13, 29])
@pytest.mark.parametrize("windows", [TRAINED, SMALL])
def test_a_model_that_copies_gives_back_the_composite(parts, pipe, frames, windows):
    """What is left is the autoencoder's own error, so paths, scales, padding and crop are right."""
    pipe.register_modules(transformer=Copying(parts))
    over = square_with_shadow(frames, (32, 48))["over"]
    found = pipe(PipelineInput(prompt="a shadow", over=over), SamplingSettings(steps=4, windows=windows))
    assert found.shape == over.shape
    index = reflect_indices(frames, {5: 5, 11: 13, 13: 13, 29: 29}[frames])
    moments = COG.encode_video(parts.vae, encoders.frames_to_video(over[index]))
    alone = encoders.video_to_frames(decode_latents(COG, parts.vae, moments.mean))[:frames]
    assert np.abs(found.astype(int) - alone.astype(int)).max() <= 1


@pytest.mark.parametrize("frame", [0, 1, 4, 5, 8, 50, 80, 84])
def test_a_keyframe_changes_the_result_there(parts, frame):
    """Frames 1, 4, 5, 8 and 80 are those that a plain resize would not see."""
    over, texts = given(frames=22, channels=16)
    key = np.zeros((32, 48), np.float32)
    key[8:24, 16:32] = 1
    held = conditioning.mask_from_keyframes({frame: key}, 85, COG.grid)
    made = []
    for mask in (held, np.full_like(held, 0.5)):
        pixels = torch.from_numpy(mask)[None]
        told = COG.condition({"video": over}, pixels, conditioning.visible_frames(pixels, COG.grid))
        made.append(denoise(COG, parts.transformer, parts.scheduler, told, texts, QUICK))
    change = (made[0] - made[1]).abs().mean(dim=(0, 2, 3, 4))
    assert change[COG.grid.latent_index(frame)] > 2 * change.median()
    assert change.argmax() in (
        COG.grid.latent_index(frame) // 2 * 2,
        COG.grid.latent_index(frame) // 2 * 2 + 1,
    )  # a pair is one token


def test_no_mask_is_an_unknown_one_and_text_alone_is_zeros(pipe):
    over = square_with_shadow(13, (32, 48))["over"]
    told = pipe.conditioning(PipelineInput(prompt="", over=over))
    torch.testing.assert_close(told[:, :, 0], torch.full((1, 4, 4, 6), 0.35), atol=1e-6, rtol=0)
    assert torch.equal(pipe.conditioning(PipelineInput(prompt="", shape=(13, 32, 48))), torch.zeros(1, 4, 17, 4, 6))
    assert pipe(PipelineInput(prompt="dust", shape=(11, 32, 48)), QUICK).shape == (11, 32, 48, 3)


def test_masks_of_every_kind_say_the_same(pipe):
    layers = square_with_shadow(13, (32, 48))
    mask = layers["effect_mask"]
    told = [
        pipe.conditioning(PipelineInput(prompt="", over=layers["over"], effect_mask=some))
        for some in (mask, mask.astype(np.uint8) * 255, mask.astype(np.float32))
    ]
    assert torch.equal(told[0], told[1])
    assert torch.equal(told[0], told[2])
    assert conditioning.to_soft_mask(np.array([[[0, 128, 255]]], np.uint8)).tolist() == [[[0, 0.5, 1]]]


def test_the_same_seed_makes_the_same_video(pipe):
    asked = PipelineInput(prompt="a splash", over=square_with_shadow(5, (32, 48))["over"])
    videos = [pipe(asked, dataclasses.replace(QUICK, seed=seed)) for seed in (1, 1, 2)]
    assert (videos[0] == videos[1]).all()
    assert (videos[0] != videos[2]).any()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"effect_mask": np.zeros((12, 32, 48), bool)}, "mask has 12 frames of 32x48, the video 13 frames of 32x48"),
        ({"shape": (13, 32, 48)}, "either over"),
        ({"over": None}, "either over"),
        ({"over": None, "shape": (5, 32, 48), "effect_mask": np.zeros((5, 32, 48), bool)}, "needs a composite"),
    ],
)
def test_what_does_not_go_together_is_refused(asked, words):
    over = square_with_shadow(13, (32, 48))["over"]
    with pytest.raises(ValueError, match=words):
        PipelineInput(**({"prompt": "", "over": over} | asked))


def test_odd_sizes_are_refused(pipe):
    with pytest.raises(ValueError, match="40x48 pixels do not divide by 16"):
        pipe(PipelineInput(prompt="", over=np.zeros((5, 40, 48, 3), np.uint8)), QUICK)


def test_save_pretrained_and_load(parts, pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    asked = PipelineInput(prompt="dust", over=square_with_shadow(5, (32, 48))["over"])
    expected = pipe(asked, QUICK)
    found = EffectPipeline.from_pretrained(tmp_path / "saved")
    assert (found(asked, QUICK) == expected).all()
    base = EffectPipeline.load(models.BaseModelRef(id=str(parts.folder)), dtype="float32")
    assert (base(asked, QUICK) == expected).all()


def test_offload_makes_the_same_video(parts, tmp_path):
    """Modules are moved when they are called; here to where they are, so the calls alone are tried."""
    accelerate = pytest.importorskip("accelerate", reason="pip install 'effectpairs[train]'")
    asked = PipelineInput(prompt="dust", over=square_with_shadow(5, (32, 48))["over"])
    base = EffectPipeline.load(models.BaseModelRef(id=str(parts.folder)), dtype="float32")
    expected, hook = base(asked, QUICK), None
    for part in (base.text_encoder, base.vae, base.transformer):
        part, hook = accelerate.cpu_offload_with_hook(part, "cpu", prev_module_hook=hook)
    assert (base(asked, QUICK) == expected).all()


def test_a_checkpoint_is_laid_over_the_base_model(parts, tmp_path):
    name = "transformer_blocks.0.attn1.to_q.weight"
    weight = torch.ones_like(parts.transformer.state_dict()[name])
    place = checkpoint.save_checkpoint(tmp_path, 1, {checkpoint.WEIGHTS: {name: weight}}, {}, keep=1)
    found = EffectPipeline.load(models.BaseModelRef(id=str(parts.folder)), place, dtype="float32")
    assert torch.equal(found.transformer.state_dict()[name], weight)
    found.transformer.save_pretrained(tmp_path / "trained" / "transformer")
    again = EffectPipeline.load(models.BaseModelRef(id=str(parts.folder)), tmp_path / "trained", dtype="float32")
    assert torch.equal(again.transformer.state_dict()[name], weight)
    place = checkpoint.save_checkpoint(tmp_path, 2, {checkpoint.WEIGHTS: {"other": weight}}, {}, keep=1)
    with pytest.raises(ValueError, match="weight other does not fit"):
        EffectPipeline.load(models.BaseModelRef(id=str(parts.folder)), place, dtype="float32")


def test_reflection_turns_at_the_last_frame():
    assert reflect_indices(3, 8).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
