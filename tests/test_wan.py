"""Wan in both layouts: masks and loss against twins written from the formulas, and silent traps refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.settings import read_settings  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import (  # noqa: E402
    WAN_KINDS,
    training_settings,
)
from effectpairs.training.base import conditioning, models  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.families import (  # noqa: E402
    open_family,
)
from effectpairs.training.base.family import Family, decode_latents  # noqa: E402
from effectpairs.training.base.models import locate_model  # noqa: E402
from effectpairs.training.base.network import TrainingBatch  # noqa: E402
from effectpairs.training.base.wan import WanFamily, pack_pixels  # noqa: E402
from effectpairs.training.configs.config import TrainingConfig  # noqa: E402
from effectpairs.training.latents.data import CachedSamples, collate  # noqa: E402
from effectpairs.training.latents.encode_plan import build_recipe  # noqa: E402
from effectpairs.training.run import CONFIGS  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings, WindowSettings, denoise  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")
FUN, VACE, STACK = WanFamily(), WanFamily(layout="vace"), CogVideoXFamily(mask_channels=4)


def nearest_exact(frames, latents, latent):
    return int(np.floor((latent + 0.5) * frames / latents))


@pytest.mark.parametrize("downsample", ["trilinear", "max"])
def test_fun_inp_masks_equal_a_slow_twin(downsample):
    mask = np.random.default_rng(0).random((13, 16, 32)).astype(np.float32)
    expected = np.empty((4, 4, 2, 4))
    for f in range(4):
        for m in range(4):
            keep = 1 - mask[0 if f == 0 else 4 * f - 3 + m]
            for y in range(2):
                for x in range(4):
                    middle = keep[8 * y + 3 : 8 * y + 5, 8 * x + 3 : 8 * x + 5].mean()
                    least = keep[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].min()
                    expected[f, m, y, x] = middle if downsample == "trilinear" else least
    visible, layers = torch.ones(4, dtype=torch.bool), {"video": torch.full((1, 4, 16, 2, 4), 7.0)}
    for family, scale in ((FUN, 1.0), (STACK, 0.7)):
        fed = family.condition(layers, torch.from_numpy(mask)[None], visible, downsample)[0]
        np.testing.assert_allclose(fed[:, :4].numpy(), expected * scale, atol=1e-6)
        assert (fed[:, 4:] == 7).all()


def test_vace_masks_equal_a_slow_twin():
    mask = np.random.default_rng(0).random((21, 16, 24)).astype(np.float32)
    fed = pack_pixels(torch.from_numpy(mask)[None], VACE.grid)[0].numpy()
    for f in range(6):
        behind = [0] if f == 0 else range(4 * f - 3, 4 * f + 1)
        frame = min(behind, key=lambda frame: abs(frame - nearest_exact(21, 6, f)))
        for channel in range(64):
            expected = mask[frame][channel // 8 :: 8, channel % 8 :: 8]
            np.testing.assert_array_equal(fed[f, channel], expected)


@pytest.mark.parametrize("family", [FUN, VACE, STACK], ids=["fun-inp", "vace", "stack"])
def test_a_keyframe_anywhere_acts_on_its_latent_frame_alone(family):
    """Frame 0 too, at which VACE's own resize never looks."""
    scale, change = (1 if family is VACE else 0), 0.7 if family is STACK else 1.0
    for frame in (0, 1, 4, 5, 28, 50, 80, 84):
        mask = conditioning.mask_from_keyframes({frame: np.ones((16, 16), np.float32)}, 85, family.grid)
        pixels = torch.from_numpy(mask)[None]
        visible = conditioning.visible_frames(pixels, family.grid)
        layers = {name: torch.zeros(1, 22, 16, 2, 2) for name in ("video", "grey")}
        fed = family.condition(layers, pixels, visible)[0]
        channels = fed[:, 32:] if family is VACE else fed[:, :4]
        expected = torch.full((22,), 0.5 * change)
        expected[family.grid.latent_index(frame)] = scale
        torch.testing.assert_close(channels, expected.view(-1, 1, 1, 1).expand_as(channels))


def test_vace_splits_the_composite_by_a_whole_mask_and_keeps_it_whole_otherwise():
    over = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    mask = (torch.rand(1, 5, 16, 16) > 0.5).float()
    videos = VACE.condition_videos(over, mask, torch.ones(2, dtype=torch.bool))
    assert list(videos) == ["inactive", "reactive"]
    (inactive, drawn), (reactive, _) = videos["inactive"], videos["reactive"]
    assert not drawn
    assert torch.equal(inactive + reactive, over)
    assert (inactive[:, :, mask[0] == 1] == 0).all()
    assert (reactive[:, :, mask[0] == 0] == 0).all()
    hidden = VACE.condition_videos(over, mask, torch.tensor([True, False]))
    assert torch.equal(hidden["video"][0], over)
    assert not hidden["grey"][0].any()
    assert {*VACE.condition_videos(over, mask)} == {"video", "grey", "inactive", "reactive"}


@pytest.mark.parametrize("kind", WAN_KINDS)
def test_the_loss_equals_a_slow_twin(wan_caches, kind):
    """x = (1 - sigma) clip + sigma noise, and the answer is noise - clip; sigma is the timestep over 1000."""
    model, cache = Path(wan_caches[kind].model.id), wan_caches[kind].cache
    family = open_family(model)
    transformer, scheduler = family.load_transformer(model), family.load_scheduler(model)
    torch.testing.assert_close(scheduler.sigmas, scheduler.timesteps / 1000)
    shifted = 5 * 0.5 / (1 + 4 * 0.5)
    assert float(scheduler.sigmas[500]) == pytest.approx(shifted, abs=2e-3)
    samples = CachedSamples(cache, training_settings(wan_caches[kind], "").data, seed=3)
    values = collate([samples[number] for number in range(4)])
    batch = TrainingBatch(*(values[name] for name in TrainingBatch._fields))
    errors = []
    for n in range(4):
        sigma = scheduler.sigmas[batch.timesteps[n]]
        noisy = ((1 - sigma) * batch.latents[n] + sigma * batch.noise[n])[None]
        shown = {"hidden_states": torch.cat([noisy, batch.conditioning[n][None]], 2).transpose(1, 2)}
        if kind == "tiny-vace":
            shown = {
                "hidden_states": noisy.transpose(1, 2),
                "control_hidden_states": batch.conditioning[n][None].transpose(1, 2),
            }
        with torch.no_grad():
            answer = transformer(timestep=1000 * sigma[None], encoder_hidden_states=batch.text[n][None], **shown).sample
        errors.append((answer[0].transpose(0, 1) - (batch.noise[n] - batch.latents[n])) ** 2)
    ours = float(family.loss(transformer, batch, scheduler).detach())
    assert ours == pytest.approx(float(torch.stack(errors).mean()), rel=1e-5)


def test_text_of_another_length_than_512_rows_is_refused(wan_caches):
    model = Path(wan_caches["tiny-wan"].model.id)
    family = open_family(model)
    rows = family.encode_texts(models.load_text_model(model), ["dust", ""])
    assert rows.shape[1] == 512
    assert not rows[:, 32:].any()
    noisy, told = torch.zeros(1, 2, 16, 4, 6), torch.zeros(1, 2, 20, 4, 6)
    with pytest.raises(ValueError, match="a text of 226 rows would be mistaken for a picture; pad it to 512"):
        family.predict(family.load_transformer(model), noisy, told, rows[:1, :226], torch.tensor([500.0]))


@pytest.mark.parametrize(
    ("shape", "words"), [((6, 32, 48), r"6 frames are not 4k\+1; take 5 or 9"), ((5, 40, 48), "40x48 .* divide by 16")]
)
def test_frames_and_sides_that_would_be_dropped_are_refused(wan_caches, shape, words):
    model = Path(wan_caches["tiny-wan"].model.id)
    with pytest.raises(ValueError, match=words):
        FUN.encode_video(FUN.load_vae(model), torch.zeros(1, 3, *shape))
    settings = dataclasses.replace(training_settings(wan_caches["tiny-wan"], "").cache, frames=shape[0], size=shape[1:])
    with pytest.raises(ValueError, match=f"cache.*{words}"):
        build_recipe(locate_model(wan_caches["tiny-wan"].model), settings)


def test_latents_are_normalised_and_come_back(wan_caches):
    model = Path(wan_caches["tiny-wan"].model.id)
    vae, video = FUN.load_vae(model), torch.rand(1, 3, 9, 32, 48) * 2 - 1
    moments, posterior = FUN.encode_video(vae, video), vae.encode(video).latent_dist
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    torch.testing.assert_close(moments.mean.transpose(1, 2) * deviation + mean, posterior.mean)
    torch.testing.assert_close(moments.logvar.transpose(1, 2).div(2).exp() * deviation, posterior.std)
    torch.testing.assert_close(decode_latents(FUN, vae, moments.mean), vae.decode(posterior.mean).sample.clamp(-1, 1))


def test_two_windows_are_shared_by_a_flow_without_memory(wan_caches):
    """A model that knows the answer gives it back, in one window or in several."""
    truth = torch.randn(1, 7, 16, 2, 2)

    class Knowing(WanFamily):
        def predict(self, transformer, noisy, conditioning, text, timesteps):
            return (noisy - conditioning[:, :, -16:]) / (timesteps.view(-1, 1, 1, 1, 1) / 1000)

    told, text = torch.cat([torch.zeros(1, 7, 4, 2, 2), truth], 2), torch.zeros(1, 512, 32)
    for windows in (WindowSettings(length=7, overlap=2), WindowSettings(length=4, overlap=1)):
        sampling = SamplingSettings(steps=4, guidance=1.0, windows=windows)
        found = denoise(Knowing(), None, FUN.load_scheduler(Path()), told, (text, text), sampling)
        torch.testing.assert_close(found, truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["wan-fun-1gpu", "wan-vace-1gpu"])
def test_the_presets_are_settings_that_the_family_takes(name):
    settings = read_settings(TrainingConfig, CONFIGS / f"{name}.toml", ())
    FUN.grid.check_shape(settings.cache.frames, *settings.cache.size, label=name)
    assert isinstance(FUN, Family)
    assert isinstance(STACK, Family)
