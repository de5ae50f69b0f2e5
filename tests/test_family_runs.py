"""Runs of every family: published weights, layouts, noise, interruptions, no autocast; from corpus to card."""

import contextlib
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.tests.fixtures_latent_cache import (  # noqa: E402
    DATA,
    SETTINGS,
    WAN_KINDS,
    SmallCache,
    make_small_cache,
    trained_weights,
    training_settings,
)
from effectpairs.tests.fixtures_video_models import original_wan_names  # noqa: E402
from effectpairs.training.base import conditioning  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.families import (  # noqa: E402
    family_of_model,
    family_of_record,
    family_record,
    load_transformer,
    open_family,
)
from effectpairs.training.base.models import BaseModelRef, locate_model  # noqa: E402
from effectpairs.training.base.network import TrainingBatch  # noqa: E402
from effectpairs.training.base.optimiser import select_trainable  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.base.wan import WanFamily  # noqa: E402
from effectpairs.training.configs.config import ValidationSettings  # noqa: E402
from effectpairs.training.fitting import context  # noqa: E402
from effectpairs.training.fitting.loop import train  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.generate import DeviceSettings, load_pipeline  # noqa: E402
from effectpairs.training.latents.data import CachedSamples  # noqa: E402
from effectpairs.training.latents.encode import encode_corpus  # noqa: E402
from effectpairs.training.latents.encode_plan import finalize_cache  # noqa: E402
from effectpairs.training.latents.sampler import SourceMix, TriMaskSettings  # noqa: E402
from effectpairs.training.results import evaluate_samples, generate_samples, write_model_card  # noqa: E402
from effectpairs.training.sampling.pipeline import PipelineInput  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings, WindowSettings  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")
VACE = WanFamily(layout="vace")


@pytest.mark.parametrize("kind", WAN_KINDS)
def test_from_corpus_to_card_and_back(wan_caches, kind, tmp_path):
    small = wan_caches[kind]
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


@pytest.mark.parametrize("kind", WAN_KINDS)
def test_a_run_interrupted_at_random_steps_ends_in_the_very_weights_of_an_unbroken_one(
    wan_caches, kind, tmp_path, monkeypatch
):
    settings = training_settings(wan_caches[kind], tmp_path / "broken", steps=9, checkpoint_every=2)
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


def test_masks_that_are_encoded_are_not_changed_afterwards(wan_caches):
    jitter = dataclasses.replace(
        training_settings(wan_caches["tiny-vace"], "").data, trimask=TriMaskSettings(jitter_px=3)
    )
    CachedSamples(wan_caches["tiny-wan"].cache, jitter, seed=0)
    with pytest.raises(ValueError, match=r"jitter_px=3 does not go with Wan 2.1 VACE, .* set it to 0"):
        CachedSamples(wan_caches["tiny-vace"].cache, jitter, seed=0)


class Engine(torch.nn.Module):
    """DeepSpeed's as far as dtypes go: every weight is 16-bit, inputs stay as they come, and nothing is autocast."""

    def __init__(self, module) -> None:
        super().__init__()
        self.module = module.to(torch.bfloat16)

    def forward(self, *values, **named):
        return self.module(*values, **named)


@pytest.mark.parametrize("kind", ["tiny", *WAN_KINDS])
def test_a_run_without_autocast_steps_in_half_precision(wan_caches, kind, tmp_path, monkeypatch):
    small = wan_caches.get(kind) or make_small_cache(tmp_path / "small", clips=3)
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


@pytest.mark.parametrize("kind", ["tiny", *WAN_KINDS])
def test_the_loss_alone_is_computed_on_16_bit_weights(kind, tmp_path):
    """Without autocast and with 32-bit inputs, as under DeepSpeed; near that of 32-bit weights, with gradients."""
    family = open_family(write_tiny_model(tmp_path, kind=kind))
    exact = family.load_transformer(tmp_path)
    generator = torch.Generator().manual_seed(0)
    frames, rows = family.grid.latent_frames(13), exact.config.get("max_text_seq_length", 512)
    width = exact.config.get("text_embed_dim", exact.config.get("text_dim"))

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    latents, noise = draw(2, frames, 16, 4, 6), draw(2, frames, 16, 4, 6)
    cond = draw(2, frames, family.conditioning_channels, 4, 6)
    batch = TrainingBatch(latents, cond, draw(2, rows, width), noise, torch.tensor([100, 900]))
    scheduler = family.load_scheduler(tmp_path)
    expected = family.loss(exact, batch, scheduler).item()
    half = family.load_transformer(tmp_path).to(torch.bfloat16)
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    loss = family.loss(half, batch, scheduler)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=0.02)
    gradients = [weight.grad for name, weight in half.named_parameters() if ".attn1.to_" in name]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


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


def test_a_cache_for_another_layout_is_refused_though_its_encoders_are_the_same(wan_caches, tmp_path):
    settings = training_settings(wan_caches["tiny-wan"], tmp_path, model=wan_caches["tiny-vace"].model)
    with pytest.raises(ValueError, match=r"was made for Wan 2.1 Fun InP, and .* is Wan 2.1 VACE; encode with this"):
        train(settings)


def test_what_learns_is_named_alike_in_all_families(wan_caches):
    def learning(kind, trainable):
        model = Path(wan_caches[kind].model.id)
        return select_trainable(open_family(model).load_transformer(model), trainable, frozen_dtype="bfloat16")

    assert all(name.startswith("vace_blocks.") for name in learning("tiny-vace", "vace_blocks"))
    names = learning("tiny-vace", "transformer_blocks")
    assert {name.split(".")[0] for name in names} == {"blocks", "vace_blocks"}
    assert all(".attn1." in name for name in learning("tiny-wan", "attn1"))
    with pytest.raises(ValueError, match="'vace_blocks' names no weights of WanTransformer3DModel; take attn1"):
        learning("tiny-wan", "vace_blocks")


def test_validation_resizes_masks_as_the_run_does(wan_caches, tmp_path, monkeypatch):
    condition, resizes = WanFamily.condition, []

    def spy(family, layers, mask, visible, downsample="trilinear"):
        resizes.append(downsample)
        return condition(family, layers, mask, visible, downsample)

    monkeypatch.setattr(WanFamily, "condition", spy)
    unpaired = SourceMix(real=0.0, synthetic=0.0)  # so that the only masks are those of validation
    data = dataclasses.replace(DATA, mask_downsample="area", mix=unpaired)
    validation = ValidationSettings(every_steps=1, steps=1, count=1, decode_on="", clips=("tiny-000",))
    train(training_settings(wan_caches["tiny-wan"], tmp_path, steps=1, data=data, validation=validation))
    assert resizes == ["area"]
