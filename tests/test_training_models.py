"""Loading: Fun-style folders, unindexed shards, widening, refusals; the VAE's lengths and the text's rows."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.tests.fixtures_video_models import tiny_parts  # noqa: E402
from effectpairs.training.base import encoders, models  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.family import decode_latents  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.weights import WeightsNotFound  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

torch.set_num_threads(1)
COG = CogVideoXFamily()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return tiny_parts(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(parts, tmp_path):
    return shutil.copytree(parts.folder, tmp_path / "copy")


def transformer_config(folder, **changes):
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def output(transformer, channels=33):
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(1, 4, channels, 4, 6, generator=generator)
    rows = torch.randn(1, 32, 32, generator=generator)
    with torch.no_grad():
        return transformer(video, rows, torch.tensor([500]), return_dict=False)[0]


def test_the_same_seed_writes_the_same_model(parts, tmp_path):
    write_tiny_model(tmp_path / "again")
    write_tiny_model(tmp_path / "other", seed=1)
    again, other, of = (
        models.locate_model(models.BaseModelRef(id=str(folder))).sha256(*models.PARTS)
        for folder in (tmp_path / "again", tmp_path / "other", parts.folder)
    )
    assert again == of
    assert other != of


def test_unindexed_shards_and_strange_config_keys_load(parts, copy):
    """As the public Fun folders are."""
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    names = sorted(weights)
    for number, some in enumerate((names[::2], names[1::2]), start=1):
        save_file({name: weights[name] for name in some}, file.with_name(f"shard-{number:05d}-of-00002.safetensors"))
    file.unlink()
    transformer_config(copy, add_noise_in_inpaint_model=True)
    found = COG.load_transformer(copy)
    assert found.config.add_noise_in_inpaint_model
    assert torch.equal(output(found), output(parts.transformer))


def test_a_plain_model_is_widened_without_a_change(tmp_path):
    folder = write_tiny_model(tmp_path, in_channels=16)
    diffusers = pytest.importorskip("diffusers")
    plain = diffusers.CogVideoXTransformer3DModel.from_pretrained(folder / "transformer")
    wide = COG.load_transformer(folder)
    assert wide.config.in_channels == 33
    generator = torch.Generator().manual_seed(1)
    video, rest = torch.randn(1, 4, 16, 4, 6, generator=generator), torch.randn(1, 4, 17, 4, 6, generator=generator)
    rows = torch.randn(1, 32, 32, generator=generator)
    with torch.no_grad():
        expected = plain(video, rows, torch.tensor([500]), return_dict=False)[0]
        found = wide(torch.cat([video, rest], 2), rows, torch.tensor([500]), return_dict=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_save_pretrained_and_back(parts, tmp_path):
    parts.transformer.save_pretrained(tmp_path / "transformer")
    assert torch.equal(output(COG.load_transformer(tmp_path)), output(parts.transformer))


def test_a_missing_model_is_one_sentence(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    wanted = models.BaseModelRef(id="somebody/none", revision="abc")
    with pytest.raises(WeightsNotFound) as caught:
        models.locate_model(wanted)
    said = str(caught.value)
    assert "somebody/none" in said
    assert constants.HF_HUB_CACHE in said
    assert "hf download somebody/none --revision abc" in said


def test_a_missing_part_is_named(copy):
    shutil.rmtree(copy / "vae")
    with pytest.raises(WeightsNotFound, match="has no vae/"):
        models.locate_model(models.BaseModelRef(id=str(copy)))


def test_pickles_are_not_loaded(copy):
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ValueError, match="safetensors"):
        COG.load_transformer(copy)


def test_damaged_weights_are_named(copy):
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged.*again"):
        COG.load_vae(copy)


def test_weights_of_another_shape_are_named(copy):
    transformer_config(copy, num_layers=3)
    with pytest.raises(ValueError, match="do not fit"):
        COG.load_transformer(copy)


@pytest.mark.parametrize("changes", [{"in_channels": 48}, {"patch_size_t": None}])
def test_other_families_are_refused(copy, changes):
    transformer_config(copy, **changes)
    with pytest.raises(ValueError, match=r"CogVideoX 1\.5"):
        COG.load_transformer(copy)


def test_the_2b_schedule_is_refused(copy):
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"snr_shift_scale": 3.0}))
    with pytest.raises(ValueError, match="5B"):
        COG.load_scheduler(copy)


def test_the_schedule_ends_in_pure_noise(parts):
    parts.scheduler.set_timesteps(50)
    assert parts.scheduler.alphas_cumprod[-1] == 0
    assert parts.scheduler.timesteps[:2].tolist() == [999, 979]
    assert parts.scheduler.timesteps[-1] == 19


@pytest.mark.parametrize("frames", [5, 13, 21, 29])
def test_decoding_gives_back_as_many_frames(parts, frames):
    video = torch.rand(1, 3, frames, 16, 16) * 2 - 1
    moments = COG.encode_video(parts.vae, video)
    assert moments.mean.shape == (1, (frames - 1) // 4 + 1, 16, 2, 2)
    assert decode_latents(COG, parts.vae, moments.mean).shape == video.shape


def test_decoding_begins_with_the_first_latent_alone(parts):
    """As the video was encoded; the later latents cannot change the first frame, nor the first eight after it."""
    latents = torch.randn(1, 4, 16, 2, 2)
    changed = latents.clone()
    changed[:, 3] += 1
    first, second = decode_latents(COG, parts.vae, latents), decode_latents(COG, parts.vae, changed)
    assert torch.equal(first[:, :, :9], second[:, :, :9])
    assert not torch.equal(first[:, :, 9:], second[:, :, 9:])


def test_a_length_that_does_not_pair_up_is_refused(parts):
    with pytest.raises(ValueError, match=r"12 frames are not 8k\+5; take 5 or 13"):
        COG.encode_video(parts.vae, torch.zeros(1, 3, 12, 16, 16))


def test_frames_to_video_and_back():
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    assert (encoders.video_to_frames(encoders.frames_to_video(frames)) == frames).all()


def test_a_draw_has_the_moments_it_was_asked_for():
    moments = encoders.Moments(torch.full((1, 4, 16, 8, 8), 2.0), torch.full((1, 4, 16, 8, 8), float(np.log(0.25))))
    drawn = encoders.sample_latents(moments, torch.randn(1, 4, 16, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.02)


def test_every_caption_has_all_rows_and_none_is_zero(parts):
    rows = COG.encode_texts(parts.text, ["", "the shadow of a square", "x" * 500])
    assert rows.shape == (3, 32, 32)
    assert (rows.abs().sum(2) > 0).all()
    assert not torch.equal(rows[0], rows[1])
