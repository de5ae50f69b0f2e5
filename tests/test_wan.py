"""Wan in both layouts: masks and loss against twins written from the formulas, silent traps refused, corpus to card."""

import contextlib
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.settings import read_settings  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import (  # noqa: E402
    DATA,
    SETTINGS,
    SmallCache,
    make_small_cache,
    trained_weights,
    training_settings,
)
from effectpairs.tests.fixtures_video_models import original_wan_names  # noqa: E402
from effectpairs.training.base import conditioning, models  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.families import (  # noqa: E402
    family_of_model,
    family_of_record,
    family_record,
    load_transformer,
    open_family,
)
from effectpairs.training.base.family import Family, decode_latents  # noqa: E402
from effectpairs.training.base.models import BaseModelRef, locate_model  # noqa: E402
from effectpairs.training.base.network import TrainingBatch  # noqa: E402
from effectpairs.training.base.optimiser import select_trainable  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.base.wan import WanFamily, pack_pixels  # noqa: E402
from effectpairs.training.configs.config import TrainingConfig, ValidationSettings  # noqa: E402
from effectpairs.training.fitting import context  # noqa: E402
from effectpairs.training.fitting.loop import train  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.generate import DeviceSettings, load_pipeline  # noqa: E402
from effectpairs.training.latents.data import CachedSamples, collate  # noqa: E402
from effectpairs.training.latents.encode import encode_corpus  # noqa: E402
from effectpairs.training.latents.encode_plan import build_recipe, finalize_cache  # noqa: E402
from effectpairs.training.latents.sampler import SourceMix, TriMaskSettings  # noqa: E402
from effectpairs.training.results import evaluate_samples, generate_samples, write_model_card  # noqa: E402
from effectpairs.training.run import CONFIGS  # noqa: E402
from effectpairs.training.sampling.pipeline import PipelineInput  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings, WindowSettings, denoise  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")
FUN, VACE, STACK = WanFamily(), WanFamily(layout="vace"), CogVideoXFamily(mask_channels=4)
KINDS = ("tiny-wan", "tiny-vace")


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    return {kind: make_small_cache(folder / kind, clips=3, kind=kind) for kind in KINDS}


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


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_equals_a_slow_twin(caches, kind):
    """x = (1 - sigma) clip + sigma noise, and the answer is noise - clip; sigma is the timestep over 1000."""
    model, cache = Path(caches[kind].model.id), caches[kind].cache
    family = open_family(model)
    transformer, scheduler = family.load_transformer(model), family.load_scheduler(model)
    torch.testing.assert_close(scheduler.sigmas, scheduler.timesteps / 1000)
    shifted = 5 * 0.5 / (1 + 4 * 0.5)
    assert float(scheduler.sigmas[500]) == pytest.approx(shifted, abs=2e-3)
    samples = CachedSamples(cache, training_settings(caches[kind], "").data, seed=3)
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


def test_text_of_another_length_than_512_rows_is_refused(caches):
    model = Path(caches["tiny-wan"].model.id)
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
def test_frames_and_sides_that_would_be_dropped_are_refused(caches, shape, words):
    model = Path(caches["tiny-wan"].model.id)
    with pytest.raises(ValueError, match=words):
        FUN.encode_video(FUN.load_vae(model), torch.zeros(1, 3, *shape))
    settings = dataclasses.replace(training_settings(caches["tiny-wan"], "").cache, frames=shape[0], size=shape[1:])
    with pytest.raises(ValueError, match=f"cache.*{words}"):
        build_recipe(locate_model(caches["tiny-wan"].model), settings)


def test_latents_are_normalised_and_come_back(caches):
    model = Path(caches["tiny-wan"].model.id)
    vae, video = FUN.load_vae(model), torch.rand(1, 3, 9, 32, 48) * 2 - 1
    moments, posterior = FUN.encode_video(vae, video), vae.encode(video).latent_dist
    mean, deviation = (
        torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    torch.testing.assert_close(moments.mean.transpose(1, 2) * deviation + mean, posterior.mean)
    torch.testing.assert_close(moments.logvar.transpose(1, 2).div(2).exp() * deviation, posterior.std)
    torch.testing.assert_close(decode_latents(FUN, vae, moments.mean), vae.decode(posterior.mean).sample.clamp(-1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_from_corpus_to_card_and_back(caches, kind, tmp_path):
    small = caches[kind]
    validation = ValidationSettings(every_steps=4, steps=2, count=1, decode_on="cpu")
    settings = training_settings(small, tmp_path, validation=validation)
    train(settings)
    assert len(list((tmp_path / "validation").rglob("*.mp4"))) == 1
    assert list(generate_samples(settings, 1)) == ["tiny-000"]
    evaluate_samples(settings, lambda *_: None)
    card = write_model_card(tmp_path, is_measured=True).read_text()
    title = {"tiny-wan": "Wan 2.1 Fun InP", "tiny-vace": "Wan 2.1 VACE"}[kind]
    assert f"A {title} transformer" in card
    assert "81 frames at 480x832" in card
    assert "SSIM" in card
    record = json.loads((tmp_path / "trained" / "training.json").read_text())
    assert family_of_record(record["family"]) == open_family(Path(small.model.id))
    pipe = load_pipeline(DeviceSettings(trained=tmp_path / "trained", device="cpu"))
    clip = small.corpus["tiny-000"]
    quick = SamplingSettings(steps=2, windows=WindowSettings(length=3, overlap=1))
    video = pipe(PipelineInput(prompt="dust", over=clip.over[:11], effect_mask=clip.effect_mask[:11]), quick)
    assert video.shape == clip.over[:11].shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_interrupted_at_random_steps_ends_in_the_very_weights_of_an_unbroken_one(
    caches, kind, tmp_path, monkeypatch
):
    settings = training_settings(caches[kind], tmp_path / "broken", steps=9, checkpoint_every=2)
    train(dataclasses.replace(settings, output=str(tmp_path / "unbroken")))
    rng, loss, calls = np.random.default_rng(), WanFamily.loss, []

    def interrupted(family, *values):
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        return loss(family, *values)

    monkeypatch.setattr(WanFamily, "loss", interrupted)
    for _ in range(3):
        stop = len(calls) + int(rng.integers(1, 8))  # of two samples a step: in a step's middle, too
        with contextlib.suppress(KeyboardInterrupt):
            train(settings)
    stop = 1000
    train(settings)
    ours, theirs = trained_weights(tmp_path / "broken"), trained_weights(tmp_path / "unbroken")
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_two_windows_are_shared_by_a_flow_without_memory(caches):
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


def test_published_files_are_recognised_by_their_shapes(tmp_path):
    from safetensors.torch import save_file

    vace = write_tiny_model(tmp_path / "vace", kind="tiny-vace")
    plain = write_tiny_model(tmp_path / "plain", kind="tiny-wan", in_channels=16)
    weights = dict(open_family(vace).load_transformer(vace).state_dict())
    names = original_wan_names(weights)
    save_file(names, tmp_path / "vace.safetensors")
    model = locate_model(BaseModelRef(id=str(plain), weights=str(tmp_path / "vace.safetensors")))
    assert family_of_model(model) == VACE
    loaded = load_transformer(model).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())
    with pytest.raises(ValueError, match="takes 16 channels, not a WanTransformer3DModel that takes 36"):
        load_transformer(locate_model(BaseModelRef(id=str(plain))))
    with pytest.raises(ValueError, match=r"model.layout='fun-inp' is not for these weights of Wan, which are vace"):
        family_of_model(dataclasses.replace(model, layout="fun-inp"))
    cog = write_tiny_model(tmp_path / "cog")
    with pytest.raises(RuntimeError, match=r"vace.safetensors: is of WanVACE.* and the base .*cog of CogVideoX"):
        family_of_model(locate_model(BaseModelRef(id=str(cog), weights=str(tmp_path / "vace.safetensors"))))


@pytest.mark.parametrize(("layout", "channels"), [("stack", 4), ("vae", 16)])
def test_masks_of_more_channels_begin_with_the_answers_of_one(tmp_path, layout, channels):
    """As Casper's stacked and VOID's encoded masks: where the channels agree, nothing changes."""
    folder = write_tiny_model(tmp_path / "model")
    model = locate_model(BaseModelRef(id=str(folder), layout=layout))
    family = family_of_model(model)
    assert (family.mask_channels, family_of_record(family_record(family))) == (channels, family)
    wide, narrow = load_transformer(model), CogVideoXFamily().load_transformer(folder)
    noisy, mask, over = torch.randn(1, 2, 16, 4, 6), torch.randn(1, 2, 1, 4, 6), torch.randn(1, 2, 16, 4, 6)
    text, step = torch.randn(1, 32, 32), torch.tensor([500])
    with torch.no_grad():
        ours = family.predict(wide, noisy, torch.cat([mask.expand(-1, -1, channels, -1, -1), over], 2), text, step)
        theirs = CogVideoXFamily().predict(narrow, noisy, torch.cat([mask, over], 2), text, step)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"model.layout='fun-inp' is not for these weights of CogVideoX"):
        family_of_model(dataclasses.replace(model, layout="fun-inp"))


def test_an_encoded_mask_is_a_grey_video_and_hidden_frames_follow_the_known_one():
    family, mask = CogVideoXFamily(mask_channels=16), torch.zeros(1, 13, 16, 16)
    mask[:, 1:5], mask[:, 5:] = 1, 0.5
    over = torch.rand(1, 3, 13, 16, 16)
    videos = {
        name: video
        for name, (video, _) in family.condition_videos(over, mask, torch.tensor([True, True, False, False])).items()
    }
    assert torch.equal(videos["video"], over)
    assert (videos["keep"][:, :, 0] == 1).all()
    assert not videos["keep"][:, :, 1:].any()
    assert (videos["unknown"] == 0.5).all()
    layers = {
        name: torch.full((1, 4, 16, 2, 2), value) for name, value in (("video", 1.0), ("keep", 2.0), ("unknown", 3.0))
    }
    fed = family.condition(layers, mask, torch.tensor([True, True, False, False]))
    assert fed[0, :, 0, 0, 0].tolist() == [2, 2, 3, 3]
    assert (fed[:, :, 16:] == 1).all()


@pytest.mark.parametrize("name", ["wan-fun-1gpu", "wan-vace-1gpu"])
def test_the_presets_are_settings_that_the_family_takes(name):
    settings = read_settings(TrainingConfig, CONFIGS / f"{name}.toml", ())
    FUN.grid.check_shape(settings.cache.frames, *settings.cache.size, label=name)
    assert isinstance(FUN, Family)
    assert isinstance(STACK, Family)


def test_masks_that_are_encoded_are_not_changed_afterwards(caches):
    jitter = dataclasses.replace(training_settings(caches["tiny-vace"], "").data, trimask=TriMaskSettings(jitter_px=3))
    CachedSamples(caches["tiny-wan"].cache, jitter, seed=0)
    with pytest.raises(ValueError, match=r"jitter_px=3 does not go with Wan 2.1 VACE, .* set it to 0"):
        CachedSamples(caches["tiny-vace"].cache, jitter, seed=0)


class Engine(torch.nn.Module):
    """DeepSpeed's as far as dtypes go: every weight is 16-bit, inputs stay as they come, and nothing is autocast."""

    def __init__(self, module) -> None:
        super().__init__()
        self.module = module.to(torch.bfloat16)

    def forward(self, *values, **named):
        return self.module(*values, **named)


@pytest.mark.parametrize("kind", ["tiny", *KINDS])
def test_a_run_without_autocast_steps_in_half_precision(caches, kind, tmp_path, monkeypatch):
    small = caches.get(kind) or make_small_cache(tmp_path / "small", clips=3)
    build = context.build_accelerator

    def build_stub(settings):
        accelerator = build(dataclasses.replace(settings, precision="no"))
        accelerator.prepare = lambda transformer, optimiser: (Engine(transformer), optimiser)
        accelerator.get_state_dict = lambda engine: engine.module.state_dict()
        return accelerator

    monkeypatch.setattr(context, "build_accelerator", build_stub)
    monkeypatch.setattr(context.TrainingContext, "sharded", True)
    validation = ValidationSettings(every_steps=4, steps=1, count=1, decode_on="")
    train(training_settings(small, tmp_path / "run", precision="bf16", validation=validation))
    assert {str(weight.dtype) for weight in trained_weights(tmp_path / "run").values()} == {"torch.bfloat16"}
    assert len(read_step_log(tmp_path / "run")) == 4


def test_noise_on_the_composite_is_as_the_base_was_trained(tmp_path):
    corpus = make_small_cache(tmp_path, clips=3).corpus
    folder = write_tiny_model(tmp_path / "noisy")
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"add_noise_in_inpaint_model": True}))
    rng, model = np.random.default_rng(0), BaseModelRef(id=str(folder))
    levels = [conditioning.noise_level("from_config", adds_noise=True, rng=rng) for _ in range(2000)]
    assert np.log(levels).mean() == pytest.approx(-3, abs=0.05)
    assert np.log(levels).std() == pytest.approx(0.5, abs=0.03)
    assert conditioning.noise_level("from_config", adds_noise=True) == 0.0563
    assert conditioning.noise_level("from_config", adds_noise=False, rng=rng) == 0
    assert conditioning.noise_level(0.2, adds_noise=False, rng=rng) == 0.2
    video = torch.rand(1, 3, 5, 32, 32) - 0.5
    video[:, :, 0] = -1
    change = conditioning.add_noise(video, 0.1, seed=1) - video
    assert not change[:, :, 0].any()
    assert float(change[:, :, 1:].std()) == pytest.approx(0.1, rel=0.05)
    settings = dataclasses.replace(SETTINGS, conditioning_noise="from_config", noise_draws=3)
    list(encode_corpus(corpus, model, tmp_path / "cache", settings))
    cache = finalize_cache(corpus, model, tmp_path / "cache", settings)
    rows = {row.clip_id: row for row in (cache.read(entry["key"]) for entry in cache.rows)}
    assert {*rows["tiny-000"].conditions} == {"video", "video.1", "video.2"}
    means = [layer.mean for layer in rows["tiny-000"].conditions.values()]
    assert not np.array_equal(means[0], means[1])
    samples = CachedSamples(cache, DATA, seed=0)
    assert samples[0]["conditioning"].shape[1] == 17
    train(training_settings(SmallCache(corpus, model, cache), tmp_path / "run", cache=settings, steps=1))
    pipe = load_pipeline(DeviceSettings(trained=tmp_path / "run" / "trained", device="cpu"))
    inputs = PipelineInput(prompt="", over=corpus["tiny-000"].over)
    noisy = pipe.conditioning(inputs)
    assert torch.equal(noisy, pipe.conditioning(inputs))
    pipe.conditioning_noise = "none"
    assert not torch.equal(noisy, pipe.conditioning(inputs))
    assert "noise on the composite | from_config" in write_model_card(tmp_path / "run").read_text()


def test_a_cache_for_another_layout_is_refused_though_its_encoders_are_the_same(caches, tmp_path):
    settings = training_settings(caches["tiny-wan"], tmp_path, model=caches["tiny-vace"].model)
    with pytest.raises(ValueError, match=r"was made for Wan 2.1 Fun InP, and .* is Wan 2.1 VACE; encode with this"):
        train(settings)


def test_what_learns_is_named_alike_in_all_families(caches):
    def learning(kind, trainable):
        model = Path(caches[kind].model.id)
        return select_trainable(open_family(model).load_transformer(model), trainable, frozen_dtype="bfloat16")

    assert all(name.startswith("vace_blocks.") for name in learning("tiny-vace", "vace_blocks"))
    names = learning("tiny-vace", "transformer_blocks")
    assert {name.split(".")[0] for name in names} == {"blocks", "vace_blocks"}
    assert all(".attn1." in name for name in learning("tiny-wan", "attn1"))
    with pytest.raises(ValueError, match="'vace_blocks' names no weights of WanTransformer3DModel; take attn1"):
        learning("tiny-wan", "vace_blocks")


def test_validation_resizes_masks_as_the_run_does(caches, tmp_path, monkeypatch):
    condition, resizes = WanFamily.condition, []

    def spy(family, layers, mask, visible, downsample="trilinear"):
        resizes.append(downsample)
        return condition(family, layers, mask, visible, downsample)

    monkeypatch.setattr(WanFamily, "condition", spy)
    unpaired = SourceMix(real=0.0, synthetic=0.0)  # so that the only masks are those of validation
    data = dataclasses.replace(DATA, mask_downsample="area", mix=unpaired)
    validation = ValidationSettings(every_steps=1, steps=1, count=1, decode_on="", clips=("tiny-000",))
    train(training_settings(caches["tiny-wan"], tmp_path, steps=1, data=data, validation=validation))
    assert resizes == ["area"]
