"""Training: what learns, what a killed run becomes, what the cache changes (nothing), and what is refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.tests.fixtures_latent_cache import DATA, as_toml, make_small_cache, trained_weights, training_settings  # noqa: E402
from effectpairs.tests.fixtures_video_models import tiny_parts  # noqa: E402
from effectpairs.training.base import checkpoint, encoders  # noqa: E402
from effectpairs.training.base.cogvideox import rotary_embedding  # noqa: E402
from effectpairs.training.base.network import TrainingBatch  # noqa: E402
from effectpairs.training.base.optimiser import OptimiserSettings, select_trainable  # noqa: E402
from effectpairs.training.configs.config import ValidationSettings  # noqa: E402
from effectpairs.training.fitting.loop import train  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.latents.cache import CachedRow, LatentCache, LayerMoments  # noqa: E402
from effectpairs.training.latents.data import CachedSamples, collate, sample_numbers  # noqa: E402
from effectpairs.training.latents.sampler import SourceMix  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_small_cache(tmp_path_factory.mktemp("small"))


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def one_batch(small, count=2) -> tuple[TrainingBatch, tuple]:
    samples = CachedSamples(small.cache, DATA, seed=3)
    given = collate([samples[number] for number in range(count)])
    return TrainingBatch(*(given[name] for name in TrainingBatch._fields)), given


def test_only_attention_learns(small, tmp_path):
    train(training_settings(small, tmp_path))
    before = load_file(Path(small.model.id) / "transformer" / "diffusion_pytorch_model.safetensors")
    after = trained_weights(tmp_path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    attention = {name for name in before if ".attn1." in name}
    assert len(attention) == 12 * 2  # tensors of a block, blocks
    assert changed == attention
    weights = checkpoint.read_tensors(tmp_path / "checkpoints" / "step-00000004", checkpoint.WEIGHTS)
    assert_same(weights, {name: after[name] for name in attention})


@pytest.mark.parametrize(("trainable", "least"), [("transformer_blocks", 0.2), ("attn1", 0.2), ("all", 0.5)])
def test_a_fixed_batch_overfits(small, trainable, least):
    parts = tiny_parts(Path(small.model.id))
    batch, _ = one_batch(small)
    select_trainable(parts.transformer, trainable)
    learning = [weight for weight in parts.transformer.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=3e-3)
    losses = []
    for _ in range(80):
        loss = parts.family.loss(parts.transformer, batch, parts.scheduler)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] <= (1 - least) * losses[0], losses[::10]


def test_a_killed_run_ends_in_the_very_weights_of_an_unbroken_one(small, tmp_path):
    """Really killed, once the checkpoint of step 20 stands; then gone on with to step 40."""
    ema = OptimiserSettings(learning_rate=1e-3, warmup_steps=30, ema=0.9)
    settings = training_settings(small, tmp_path / "killed", steps=40, checkpoint_every=20, optimiser=ema)
    train(dataclasses.replace(settings, output=str(tmp_path / "unbroken")))
    endless = dataclasses.replace(settings, steps=100_000, keep_checkpoints=1000)
    config = tmp_path / "endless.toml"
    config.write_text(as_toml(endless))
    program = [sys.executable, "-m", "effectpairs.training", "train", str(config)]
    running = subprocess.Popen(program, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "killed" / "checkpoints").glob("step-*20")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    for later in checkpoint.list_checkpoints(tmp_path / "killed" / "checkpoints")[1:]:
        (later / checkpoint.MANIFEST).unlink()
    assert checkpoint.latest_checkpoint(tmp_path / "killed" / "checkpoints").name == "step-00000020"
    train(settings)
    assert_same(trained_weights(tmp_path / "killed"), trained_weights(tmp_path / "unbroken"))
    ends = [tmp_path / run / "checkpoints" / "step-00000040" for run in ("killed", "unbroken")]
    for name in (checkpoint.WEIGHTS, checkpoint.OPTIMISER, checkpoint.EMA):
        assert_same(*(checkpoint.read_tensors(end, name) for end in ends))
    mean = checkpoint.read_tensors(ends[0], checkpoint.EMA)
    assert_same({name: trained_weights(tmp_path / "killed")[name] for name in mean}, mean)  # it is what is handed out
    told = [
        [(line["step"], line["loss"], line["clips_by_kind"]) for line in read_step_log(tmp_path / run)][:40]
        for run in ("killed", "unbroken")
    ]
    assert told[0] == told[1]


def test_a_sharded_run_goes_on_from_accelerates_own_state(small, tmp_path, monkeypatch):
    """The way of FSDP and DeepSpeed, walked by one process: without GPUs accelerate shards nothing."""
    monkeypatch.setattr("effectpairs.training.fitting.context.TrainingContext.sharded", True)
    settings = training_settings(small, tmp_path / "broken", steps=6, keep_checkpoints=1)
    train(dataclasses.replace(settings, output=str(tmp_path / "unbroken")))
    train(dataclasses.replace(settings, steps=4))
    found = sorted(path.name for path in (tmp_path / "broken" / "checkpoints").iterdir())
    assert found == ["shards-step-00000004", "step-00000004"]
    train(settings)
    assert_same(trained_weights(tmp_path / "broken"), trained_weights(tmp_path / "unbroken"))


def test_loader_workers_change_nothing(small, tmp_path):
    for workers in (0, 2):
        data = dataclasses.replace(DATA, workers=workers)
        train(training_settings(small, tmp_path / str(workers), data=data))
    assert_same(trained_weights(tmp_path / "0"), trained_weights(tmp_path / "2"))


def test_gradient_checkpointing_changes_nothing(small, tmp_path):
    for on in (True, False):
        train(training_settings(small, tmp_path / str(on), gradient_checkpointing=on))
    assert_same(trained_weights(tmp_path / "True"), trained_weights(tmp_path / "False"))


def test_half_precision_keeps_what_learns_in_32_bits(small, tmp_path):
    train(training_settings(small, tmp_path, precision="bf16"))
    found = trained_weights(tmp_path)
    assert {str(weight.dtype) for name, weight in found.items() if ".attn1." in name} == {"torch.float32"}
    assert {str(weight.dtype) for name, weight in found.items() if ".attn1." not in name} == {"torch.bfloat16"}
    tiny_parts(Path(small.model.id)).family.load_transformer(tmp_path / "trained")
    record = json.loads((tmp_path / "trained" / "training.json").read_text())
    assert record["base"]["id"] == small.model.id
    assert record["corpus"]["version"] == small.corpus.manifest["version"]
    assert record["settings"]["precision"] == "bf16"


class OnTheFly(LatentCache):
    """A cache that keeps nothing: every row is encoded when it is read."""

    def __init__(self, small) -> None:
        super().__init__(small.cache.folder, small.cache.manifest)
        self.small, self.parts = small, tiny_parts(Path(small.model.id))

    def no_caption(self):
        return self.parts.family.encode_texts(self.parts.text, [""])[0].numpy()

    def read(self, key) -> CachedRow:
        clip = self.small.corpus[next(row["clip_id"] for row in self.rows if row["key"] == key)]
        encoded = []
        for frames in (clip.gt, clip.over):
            moments = (
                None
                if frames is None
                else self.parts.family.encode_video(self.parts.vae, encoders.frames_to_video(frames))
            )
            encoded.append(moments and LayerMoments(*(part[0].numpy() for part in moments)))
        rows = self.parts.family.encode_texts(self.parts.text, [clip.caption])[0].numpy()
        mask, conditions = clip.effect_mask, {} if encoded[1] is None else {"video": encoded[1]}
        return CachedRow(key=key, clip_id=clip.clip_id, target=encoded[0], conditions=conditions, mask=mask, text=rows)


def test_the_loss_from_the_cache_is_the_loss_on_the_fly(small):
    parts, losses = tiny_parts(Path(small.model.id)), []
    for source in (small.cache, OnTheFly(small)):
        samples = CachedSamples(source, DATA, seed=3)
        given = collate([samples[number] for number in range(12)])
        assert len(set(given["kind"])) == 3
        batch = TrainingBatch(*(given[name] for name in TrainingBatch._fields))
        losses.append(float(parts.family.loss(parts.transformer, batch, parts.scheduler).detach()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_velocity_loss_is_the_weighted_loss_of_the_clean_latents(small):
    """1 / (1 - alpha) * (clean found - clean)^2, as other trainers write it."""
    parts = tiny_parts(Path(small.model.id))
    batch, _ = one_batch(small)
    rotary = rotary_embedding(parts.transformer.config, 4, 4, 6, "cpu")
    alpha = parts.scheduler.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1, 1)
    noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise
    with torch.no_grad():
        ours = parts.family.loss(parts.transformer, batch, parts.scheduler)
        velocity = parts.transformer(
            torch.cat([noisy, batch.conditioning], 2), batch.text, batch.timesteps, image_rotary_emb=rotary
        ).sample
    clean = alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity
    assert float(ours) == pytest.approx(float(((clean - batch.latents) ** 2 / (1 - alpha)).mean()), rel=1e-4)


def test_processes_share_the_samples_of_a_step():
    alone = sample_numbers(range(3, 6), batch=2, accumulate=4)
    shared = [sample_numbers(range(3, 6), batch=2, accumulate=2, rank=rank, world=2) for rank in range(2)]
    for step in range(3):
        of_step = {n for run in alone[4 * step : 4 * step + 4] for n in run}
        assert of_step == set(range(8 * (step + 3), 8 * (step + 4)))
        assert of_step == {n for numbers in shared for run in numbers[2 * step : 2 * step + 2] for n in run}


def test_kinds_come_as_often_as_asked_and_captions_are_dropped(small):
    samples = CachedSamples(small.cache, dataclasses.replace(DATA, caption_dropout=0.5), seed=0)
    drawn = [samples[number] for number in range(300)]
    shares = {kind: np.mean([sample["kind"] == kind for sample in drawn]) for kind in ("real", "synthetic", "unpaired")}
    assert shares == pytest.approx({"real": 0.35, "synthetic": 0.35, "unpaired": 0.3}, abs=0.08)
    assert np.mean([torch.equal(sample["text"], samples.no_caption) for sample in drawn]) == pytest.approx(
        0.5, abs=0.08
    )
    assert all((sample["conditioning"] == 0).all() == (sample["kind"] == "unpaired") for sample in drawn)


def test_what_is_logged(small, tmp_path):
    train(training_settings(small, tmp_path))
    lines = read_step_log(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert sum(lines[-1]["clips_by_kind"].values()) == 8
    assert all(line["grad_norm"] > 0 and 0 <= line["wait_s"] <= line["step_s"] for line in lines)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_a_torn_line_of_the_journal_swallows_no_other(small, tmp_path):
    train(training_settings(small, tmp_path))
    path = tmp_path / "progress.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    train(training_settings(small, tmp_path, steps=6))
    assert [line["step"] for line in read_step_log(tmp_path)] == [1, 2, 3, 5, 6]


def test_what_is_hidden_of_a_mask_is_unknown_and_the_rest_is_as_resized(small):
    samples, seen = CachedSamples(small.cache, DATA, seed=1), []
    for number in range(60):
        sample = samples[number]
        if sample["kind"] == "unpaired":
            continue
        row = next(row for row in small.cache.rows if row["clip_id"] == sample["clip_id"])
        mask = torch.from_numpy(small.cache.read(row["key"]).mask).float()[None]
        layers = {"video": torch.zeros(1, 4, 16, 4, 6)}
        whole = samples.family.condition(layers, mask, torch.ones(4, dtype=torch.bool))[0, :, 0]
        told = sample["conditioning"][:, 0]
        frames = [bool(torch.equal(told[f], whole[f])) for f in range(4)]
        assert all(shown or (told[f] == (1 - 0.5) * 0.7).all() for f, shown in enumerate(frames))
        seen.append(sum(frames))
    assert {0, 1, 4} <= set(seen)


def test_validation_makes_videos(small, tmp_path):
    train(
        training_settings(
            small, tmp_path, validation=ValidationSettings(every_steps=4, steps=2, count=1, decode_on="cpu")
        )
    )
    folder = tmp_path / "validation" / "step-00000004"
    assert [path.name for path in folder.glob("*.mp4")] == ["tiny-000.mp4"], (folder / "decoding.log").read_text()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(small, tmp_path):
    """The samples of a step are the same and so is their mean; resumed by one process, it stays so."""
    data = dataclasses.replace(DATA, mix=SourceMix(uniform=True))
    settings = training_settings(small, tmp_path / "one", global_batch=4, data=data, steps=6, checkpoint_every=3)
    train(settings)
    torchrun = Path(sys.executable).with_name("torchrun")
    program = [str(torchrun), "--nproc_per_node", "2", "-m", "effectpairs.training"]
    config = tmp_path / "two.toml"
    config.write_text(as_toml(dataclasses.replace(settings, output=str(tmp_path / "two"), steps=3)))
    asked = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*program, "train", str(config)], env=asked, check=True, timeout=200)
    one, two = (read_step_log(tmp_path / run) for run in ("one", "two"))
    assert two[-1]["clips_by_kind"] == one[2]["clips_by_kind"]
    train(dataclasses.replace(settings, output=str(tmp_path / "two")))
    one, two = trained_weights(tmp_path / "one"), trained_weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=0)
