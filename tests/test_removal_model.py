"""Removal models are fed, tensor by tensor, what Generative Omnimatte's public code feeds them; clips of any length go.

Expected tensors are computed here a second time, from the formulas and with the libraries' own classes alone.
"""

import itertools
import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
diffusers = pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
import transformers  # noqa: E402
from effectpairs.tests.fixtures_scene import sliding_square  # noqa: E402
from effectpairs.tests.fixtures_video_models import (  # noqa: E402
    tiny_wan_inpainter,
    write_cogvideox_removal,
    write_wan_removal,
)
from effectpairs.training.removal import remover  # noqa: E402
from effectpairs.training.removal.casper import build_trimask  # noqa: E402

torch.set_num_threads(1)
PROMPT = "a video of a square"
WINDOW = 13
"""Frames: four latent frames."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("removal")
    return {"cogvideox": write_cogvideox_removal(folder / "cog"), "wan": write_wan_removal(folder / "wan")}


def removal_model(files, **changes):
    values = {
        "weights": files.weights, "base": files.base, "lora_base": None, "lora_weight": 1.0, "steps": 3,
        "guidance": 1.0, "seed": 43, "window_frames": WINDOW, "overlap_frames": 8, "device": "cpu",
    }  # fmt: skip
    return remover.Remover(remover.RemovalSettings(**values | changes))


def clip_and_trimask(frames, height=32, width=48):
    scene = sliding_square(frames, height, width)
    stays = np.zeros(scene.subject_mask.shape, bool)
    stays[:, height // 2 + 3 :, 3:14] = True
    return scene.gt, build_trimask(stays, scene.subject_mask > 127)


def run(model, gt, trimask):
    """Remove, and keep what each call of the transformer got."""
    calls = []
    hook = model.transformer.register_forward_pre_hook(lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True)
    removed = model.remove(gt, trimask, PROMPT)
    hook.remove()
    return removed, calls


def fed_video(model, gt, trimask, monkeypatch):
    """The video that goes into the autoencoder."""
    videos, encode = [], type(model.family).encode_video
    with monkeypatch.context() as patch:
        patch.setattr(
            type(model.family), "encode_video", lambda own, vae, video: videos.append(video) or encode(own, vae, video)
        )
        model.conditioning(gt, trimask)
    return videos[0]


def noise(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(43))


def keep_of(trimask):
    """Remove 0, undecided one minus 127/255 (as the public code rounds a half), keep 1."""
    return np.select([trimask == 0, trimask == 255], [0.0, 1.0], 1 - 127 / 255).astype(np.float64)


def middles(keep):
    """Means of the middle four pixels of each 8x8: a linear resize by a whole even factor."""
    rows = (keep[..., 3::8, :] + keep[..., 4::8, :]) / 2
    return (rows[..., 3::8] + rows[..., 4::8]) / 2


def test_cogvideox_is_fed_mask_clip_noise_text_and_timesteps(files):
    gt, trimask = clip_and_trimask(WINDOW)
    base = files["cogvideox"].base
    _, calls = run(removal_model(files["cogvideox"]), gt, trimask)
    small = middles(keep_of(trimask))
    mask = np.stack([small[0], *((small[1:][1::4] + small[1:][2::4]) / 2)])  # of four frames the middle two
    vae = diffusers.AutoencoderKLCogVideoX.from_pretrained(base / "vae")
    with torch.no_grad():
        video = torch.from_numpy(gt).permute(3, 0, 1, 2)[None].float() / 255 * 2 - 1
        latents = vae.encode(video).latent_dist.mode().permute(0, 2, 1, 3, 4)
    tokens = transformers.AutoTokenizer.from_pretrained(base / "tokenizer")(
        [PROMPT], padding="max_length", max_length=32, return_tensors="pt"
    )
    with torch.no_grad():
        text = transformers.T5EncoderModel.from_pretrained(base / "text_encoder")(tokens.input_ids)[0]
    assert [call["timestep"].tolist() for call in calls] == [[999], [666], [332]]  # trailing: 1000/3, 2000/3, ...
    for call in calls:
        fed = call["hidden_states"]
        assert fed.shape == (1, 4, 33, 4, 6)
        np.testing.assert_allclose(fed[0, :, 16], 0.7 * mask, atol=1e-6)
        torch.testing.assert_close(fed[:, :, 17:], latents * 0.7, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(call["encoder_hidden_states"], text)
    torch.testing.assert_close(calls[0]["hidden_states"][:, :, :16], noise((1, 4, 16, 4, 6)))
    assert len(np.unique(np.rint(mask * 1000))) > 3  # removed, kept, undecided, and edges between them


def test_cogvideox_steps_are_those_of_a_zero_snr_ddim_scheduler(files):
    gt, trimask = clip_and_trimask(WINDOW)
    model = removal_model(files["cogvideox"])
    _, calls = run(model, gt, trimask)
    scheduler = diffusers.DDIMScheduler.from_pretrained(files["cogvideox"].base / "scheduler")
    scheduler.set_timesteps(3)
    assert scheduler.config.rescale_betas_zero_snr
    assert scheduler.config.prediction_type == "v_prediction"
    for before, after in itertools.pairwise(calls):
        with torch.no_grad():
            velocity = model.transformer(**before)[0]
        stepped = scheduler.step(velocity, before["timestep"][0], before["hidden_states"][:, :, :16]).prev_sample
        torch.testing.assert_close(after["hidden_states"][:, :, :16], stepped, atol=1e-5, rtol=1e-4)


def test_a_base_with_noise_on_its_conditioning_gets_it_and_black_stays(files, tmp_path, monkeypatch):
    base = shutil.copytree(files["cogvideox"].base, tmp_path / "base")
    config = base / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_noise_in_inpaint_model": True}))
    gt, trimask = clip_and_trimask(WINDOW)
    gt[..., :8, :] = 0
    disturbed = fed_video(removal_model(files["cogvideox"]._replace(base=base)), gt, trimask, monkeypatch)
    plain = fed_video(removal_model(files["cogvideox"]), gt, trimask, monkeypatch)
    assert torch.equal(plain, torch.from_numpy(gt).permute(3, 0, 1, 2)[None].float() / 127.5 - 1)
    assert torch.equal(disturbed[..., :8], plain[..., :8])
    shows = plain > -1
    assert float((disturbed - plain)[shows].std()) == pytest.approx(0.0563, rel=0.02)


def test_wan_is_fed_packed_masks_normalised_latents_and_masked_text(files):
    gt, trimask = clip_and_trimask(WINDOW)
    base = files["wan"].base
    _, calls = run(removal_model(files["wan"]), gt, trimask)
    small, packed = middles(keep_of(trimask)), np.zeros((4, 4, 4, 6))  # channel, latent frame
    for latent in range(4):
        for channel in range(4):
            packed[channel, latent] = small[0 if latent == 0 else 4 * (latent - 1) + 1 + channel]
    vae = diffusers.AutoencoderKLWan.from_pretrained(base / "vae")
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(gt).permute(3, 0, 1, 2)[None].float() / 127.5 - 1).latent_dist.mode()
    for channel, (mean, deviation) in enumerate(zip(vae.config.latents_mean, vae.config.latents_std, strict=True)):
        latents[:, channel] = (latents[:, channel] - mean) / deviation
    tokens = transformers.AutoTokenizer.from_pretrained(base / "tokenizer")([PROMPT], return_tensors="pt")
    with torch.no_grad():
        text = transformers.UMT5EncoderModel.from_pretrained(base / "text_encoder")(tokens.input_ids)[0]
    schedule = diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)
    schedule.set_timesteps(3)
    assert [call["timestep"].item() for call in calls] == schedule.timesteps.tolist()
    for call in calls:
        fed = call["hidden_states"]
        assert fed.shape == (1, 36, 4, 4, 6)
        np.testing.assert_allclose(fed[0, 16:20], packed, atol=1e-6)
        torch.testing.assert_close(fed[:, 20:], latents, atol=1e-5, rtol=1e-5)
        assert call["encoder_hidden_states"].shape == (1, 512, 32)
        torch.testing.assert_close(call["encoder_hidden_states"][:, : text.shape[1]], text, atol=1e-5, rtol=1e-4)
        assert not call["encoder_hidden_states"][:, text.shape[1] :].any()
        assert not call["encoder_hidden_states_image"].any()  # this base has no encoder of pictures
    for before, after in itertools.pairwise(calls):  # x + (sigma_next - sigma) v, by the library's own step
        with torch.no_grad():
            velocity = tiny_wan_inpainter()(**before)[0]
        stepped = schedule.step(velocity, before["timestep"][0], before["hidden_states"][:, :16]).prev_sample
        torch.testing.assert_close(after["hidden_states"][:, :16], stepped, atol=1e-4, rtol=1e-4)


def test_wan_sees_the_first_frame_where_the_base_has_an_encoder_of_pictures(files, tmp_path):
    base = shutil.copytree(files["wan"].base, tmp_path / "base")
    config = transformers.CLIPVisionConfig(
        hidden_size=20, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14
    )
    encoder = transformers.CLIPVisionModel(config).eval()
    encoder.save_pretrained(base / "image_encoder")
    gt, trimask = clip_and_trimask(WINDOW, 32, 32)
    _, calls = run(removal_model(files["wan"]._replace(base=base), steps=1), gt, trimask)
    picture = torch.from_numpy(gt[0]).permute(2, 0, 1)[None].float() / 255
    picture = torch.nn.functional.interpolate(picture, size=(28, 28), mode="bicubic", align_corners=False)
    mean, deviation = transformers.image_utils.OPENAI_CLIP_MEAN, transformers.image_utils.OPENAI_CLIP_STD
    pixels = (picture - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)
    with torch.no_grad():
        rows = encoder(pixels, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(calls[0]["encoder_hidden_states_image"], rows, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "frames", "spans"),
    [
        ("cogvideox", 24, [(0, 4), (2, 6), (4, 8)]),  # 29 frames
        ("cogvideox", 32, [(0, 4), (2, 6), (4, 8), (6, 10)]),  # 37
        ("wan", 20, [(0, 4), (2, 6)]),  # 21
        ("wan", 23, [(0, 4), (2, 6), (3, 7)]),  # 25; the last window begins earlier
    ],
)
def test_long_clips_go_in_windows_of_the_model_own_length(files, family, frames, spans):
    """Whatever the length, one call sees one window, so memory of activations does not grow."""
    gt, trimask = clip_and_trimask(frames)
    removed, calls = run(removal_model(files[family], steps=1), gt, trimask)
    assert removed.shape == gt.shape
    assert len(calls) == len(spans)
    model = removal_model(files[family])
    index = np.pad(np.arange(frames), (0, frames), "symmetric")[: 4 * spans[-1][1] - 3]
    axis = 2 if family == "wan" else 1
    known = model.conditioning(gt[index], trimask[index])
    for (start, stop), call in zip(spans, calls, strict=True):
        fed = call["hidden_states"].transpose(1, 2) if axis == 2 else call["hidden_states"]
        torch.testing.assert_close(fed[:, :, 16:], known[:, start:stop], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
@pytest.mark.parametrize("shape", [(3, 32, 48), (11, 42, 50)])
def test_clips_of_any_length_and_size_come_back_as_they_were(files, family, shape):
    gt, trimask = clip_and_trimask(*shape)
    model = removal_model(files[family], steps=1)
    removed, calls = run(model, gt, trimask)
    assert removed.shape == gt.shape
    assert removed.dtype == np.uint8
    sides = [-(-side // 16) * 2 for side in shape[1:]]  # whole sixteens of pixels, eight to a latent
    assert list(calls[0]["hidden_states"].shape[3:]) == sides
    np.testing.assert_array_equal(removed, model.remove(gt, trimask, PROMPT))


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
def test_a_transformer_that_knows_the_answer_gives_the_clip_back_in_place(files, family):
    """A model whose clean latents are those it is shown: what is left is the autoencoder's own error, at each pixel."""
    gt, trimask = clip_and_trimask(24)
    model = removal_model(files[family])
    known = model.conditioning(*(layer[np.pad(np.arange(24), (0, 5), "symmetric")] for layer in (gt, trimask)))
    alphas = model.scheduler.alphas_cumprod if family == "cogvideox" else None

    class Answering(type(model.family)):
        def predict(self, transformer, noisy, conditioning, text, timesteps):
            clean = conditioning[:, :, -16:]
            if alphas is None:
                return (noisy - clean) / (timesteps.view(-1, 1, 1, 1, 1) / 1000)
            alpha = alphas[timesteps].view(-1, 1, 1, 1, 1)
            return (alpha.sqrt() * noisy - clean) / (1 - alpha).sqrt()

    model.family = Answering()
    removed = model.remove(gt, trimask, PROMPT)
    runs = model.family.decode_in_runs(model.vae, known[:, :, -16:])
    alone = np.concatenate([remover.video_to_frames(run) for run in runs])[:24]
    assert np.abs(removed.astype(int) - alone).max() <= 1
