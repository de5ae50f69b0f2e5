"""Training from a file of settings, and all that is refused in one sentence."""

import dataclasses
import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.tests.fixtures_latent_cache import DATA, SETTINGS, as_toml, make_small_cache, training_settings  # noqa: E402
from effectpairs.tests.fixtures_workspaces import limited_disk  # noqa: E402
from effectpairs.training import __main__ as training_program  # noqa: E402
from effectpairs.training.base import checkpoint  # noqa: E402
from effectpairs.training.base.models import BaseModelRef  # noqa: E402
from effectpairs.training.base.optimiser import OptimiserSettings  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.configs.config import ValidationSettings, load_training  # noqa: E402
from effectpairs.training.fitting.loop import LoaderDied, NonFiniteLoss, train  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.latents.data import CachedSamples, collate  # noqa: E402
from effectpairs.training.latents.sampler import SourceMix  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_small_cache(tmp_path_factory.mktemp("small"))


def test_old_checkpoints_go(small, tmp_path):
    train(training_settings(small, tmp_path, steps=6, checkpoint_every=1, keep_checkpoints=2))
    found = [path.name for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert found == ["step-00000005", "step-00000006"]


def test_a_loss_that_is_no_number_names_the_clips(small, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "effectpairs.training.base.cogvideox.CogVideoXFamily.loss",
        lambda family, model, *_: sum((weight * float("nan")).sum() for weight in model.parameters()),
    )
    with pytest.raises(NonFiniteLoss, match=r"step 1: the loss is nan .* on clips tiny-00\d"):
        train(training_settings(small, tmp_path))
    assert not (tmp_path / "checkpoints").exists()


def test_a_cache_of_another_model_is_refused(small, tmp_path):
    other = BaseModelRef(id=str(write_tiny_model(tmp_path / "model", seed=1)))
    with pytest.raises(ValueError, match=r"was made by vae of .*model.* differs; encode with this model"):
        train(training_settings(small, tmp_path, model=other))


def test_a_cache_of_another_corpus_is_refused(small, tmp_path):
    other = make_small_cache(tmp_path / "other", clips=3).corpus.location.url
    with pytest.raises(ValueError, match=r"was made of corpus version .* is now .*encode again"):
        train(training_settings(small, tmp_path, corpus=other))


def test_a_checkpoint_of_another_corpus_is_refused(small, tmp_path):
    train(training_settings(small, tmp_path / "run"))
    other = make_small_cache(tmp_path / "other", clips=3)
    with pytest.raises(ValueError, match=r"was written with corpus = .* this run has .*another output folder"):
        train(training_settings(other, tmp_path / "run"))
    with pytest.raises(ValueError, match=r"was written with optimiser.learning_rate = 0.001, this run has 0.01"):
        train(
            training_settings(small, tmp_path / "run", optimiser=OptimiserSettings(learning_rate=0.01, warmup_steps=5))
        )


def test_a_damaged_checkpoint_is_named(small, tmp_path):
    train(training_settings(small, tmp_path))
    file = tmp_path / "checkpoints" / "step-00000004" / checkpoint.WEIGHTS
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"step-00000004: trainable.safetensors is damaged; remove step-00000004"):
        train(training_settings(small, tmp_path, steps=6))


def test_a_corpus_without_real_clips_is_refused(tmp_path):
    small = make_small_cache(tmp_path, clips=2, kinds=("synthetic", "unpaired"))
    with pytest.raises(ValueError, match=r"has no real clips, but the mix .* set data.mix.real = 0"):
        CachedSamples(small.cache, DATA, seed=0)
    none = dataclasses.replace(DATA, mix=SourceMix(real=0.0))
    assert CachedSamples(small.cache, none, seed=0)[0]["kind"] in ("synthetic", "unpaired")
    with pytest.raises(ValueError, match="has no clips to train on"):
        CachedSamples(small.cache, dataclasses.replace(DATA, split="test"), seed=0)


def test_a_tracker_that_is_not_installed_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match=r"trackers names 'aim', which is not installed; .* pip install aim"):
        train(training_settings(small, tmp_path, trackers=("aim",)))


def test_a_global_batch_that_cannot_be_shared_is_refused(small):
    with pytest.raises(ValueError, match=r"global_batch=5 does not divide by batch=2 x 2 processes; take 4"):
        training_settings(small, "x", global_batch=5, batch=2).accumulation_steps(2)


def test_clips_of_two_shapes_make_no_batch(small):
    sample = CachedSamples(small.cache, DATA, seed=0)[0]
    shorter = sample | {"latents": sample["latents"][:2], "clip_id": "short"}
    with pytest.raises(ValueError, match=r"short differ in shape.*batch = 1"):
        collate([sample, shorter])


def test_a_full_disk_loses_no_older_checkpoint(small, tmp_path, monkeypatch):
    train(training_settings(small, tmp_path))
    monkeypatch.setattr(checkpoint.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"disk is full; free some space"):
        train(training_settings(small, tmp_path, steps=6))
    monkeypatch.undo()
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-00000002", "step-00000004"]
    assert json.loads((tmp_path / "checkpoints" / "step-00000004" / checkpoint.MANIFEST).read_text())["step"] == 4


def test_processes_that_do_not_know_of_each_other_are_refused(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were started and accelerate joined 1"):
        train(training_settings(small, tmp_path))


def test_a_disk_that_really_is_full_is_one_sentence(tmp_path):
    """The weights' writer wraps the system's error in words of its own."""
    with limited_disk(tmp_path / "disk", 200_000) as disk:
        if disk is None:
            pytest.skip("mounting a small file system is not permitted here")
        checkpoint.save_checkpoint(disk, 1, {checkpoint.WEIGHTS: {"a": torch.zeros(10_000)}}, {}, keep=3)
        with pytest.raises(OSError, match=r"step-00000002: the disk is full; free some space"):
            checkpoint.save_checkpoint(disk, 2, {checkpoint.WEIGHTS: {"a": torch.zeros(100_000)}}, {}, keep=3)
        assert [path.name for path in disk.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("steps = 0", "steps=0 is below 1"),
        ("[optimiser]\nlr = 1", "c.toml: optimiser.lr = 1: is no setting; mend its name"),
        ('trainable = "attention"', "trainable = 'attention'"),
        ("[data.mix]\nreal = -1", "mix weights"),
        ("steps = [", "not valid TOML"),
        ("[optimiser]\nrate = 1e-5", "c.toml: optimiser.rate is now learning_rate"),
        ("[optimiser]\nmax_grad_norm = 0", "optimiser.max_grad_norm = 0: .* greater than 0"),
        ('[cache]\nstored = "float32"', "cache.stored is now storage_dtype"),
        ("keep = 2", "keep is now keep_checkpoints"),
        ("[validation]\nevery = 5", "validation.every is now every_steps"),
        ("[validation]\nevery_step = 5", "did you mean 'every_steps'"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path, line, words):
    path = tmp_path / "c.toml"
    path.write_text(f'corpus = "a"\noutput = "b"\n{line}')
    with pytest.raises(ValueError, match=words):
        load_training(path)


def test_settings_are_read_and_overridden(small, tmp_path):
    settings = training_settings(small, tmp_path)
    path = tmp_path / "c.toml"
    path.write_text(as_toml(settings))
    assert load_training(path) == settings
    found = load_training(path, ["optimiser.learning_rate=1e-5", "trainable=all", "data.mix.uniform=true"])
    assert (found.optimiser.learning_rate, found.trainable, found.data.mix.uniform) == (1e-5, "all", True)
    for wrong in ("steps", "steps.more=1"):
        with pytest.raises(ValueError, match="--set"):
            load_training(path, [wrong])


def test_the_program_encodes_trains_and_says_what_is_wrong(small, tmp_path, capsys):
    settings = training_settings(small, tmp_path / "run", cache_folder="", cache=SETTINGS, steps=2)
    path = tmp_path / "c.toml"
    path.write_text(as_toml(settings))
    assert training_program.main(["train", str(path)]) == 2
    assert "has no cache.json, so no cache was finished there; encode the corpus first" in capsys.readouterr().err
    assert [training_program.main(["encode", str(path), "--share", f"{number}/2"]) for number in range(2)] == [0, 0]
    assert training_program.main(["train", str(path)]) == 0
    assert (tmp_path / "run" / "trained" / "transformer" / "config.json").exists()
    assert training_program.main(["train", str(path), "--set", "model.id=nobody/nothing"]) == 2
    assert "hf download nobody/nothing" in capsys.readouterr().err


def test_the_program_stops_with_a_sentence_when_a_run_goes_astray(small, tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.toml"
    path.write_text(as_toml(training_settings(small, tmp_path / "run")))
    for raised, words in (
        (NonFiniteLoss("step 3: the loss is nan"), "stopped: step 3"),
        (out_of_memory(), "lower batch"),
    ):
        monkeypatch.setattr(
            "effectpairs.training.fitting.loop.train", lambda _, raised=raised: (_ for _ in ()).throw(raised)
        )
        assert training_program.main(["train", str(path)]) == 3
        assert words in capsys.readouterr().err


def test_settings_and_progress_are_read_without_torch():
    """The command line and the flows read them, and need not wait for it."""
    inner = ("fitting.step_log", "latents.encode_plan", "latents.cache", "base.latent_shapes")
    modules = ("configs.config", "run", "base.optimiser", *inner)
    program = f"import sys; {'; '.join(f'import effectpairs.training.{name}' for name in modules)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert not {"torch", "diffusers", "transformers", "accelerate", "prefect"} & set(found.stdout.split())


def out_of_memory() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def test_a_killed_loader_is_one_sentence(small, tmp_path, monkeypatch):
    def ended(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        yield

    monkeypatch.setattr("effectpairs.training.fitting.loop.load_batches", ended)
    with pytest.raises(LoaderDied, match=r"killed by signal.* start again, the last checkpoint"):
        train(training_settings(small, tmp_path))


def test_validation_of_a_clip_that_is_not_there_is_refused_at_the_start(small, tmp_path):
    with pytest.raises(
        ValueError, match=r"validation.clips names 'gone', which the cache does not have; it has tiny-000"
    ):
        train(training_settings(small, tmp_path, validation=ValidationSettings(clips=("gone",))))
    assert read_step_log(tmp_path) == []


def test_sharding_that_accelerate_passes_over_is_said(small, tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.toml"
    path.write_text(as_toml(training_settings(small, tmp_path / "run")))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert training_program.main(["train", str(path)]) == 2
    assert "accelerate does not take FSDP on this machine" in capsys.readouterr().err


def test_checkpoints_of_another_format_are_refused(small, tmp_path):
    train(training_settings(small, tmp_path))
    manifest = tmp_path / "checkpoints" / "step-00000004" / checkpoint.MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 1}))
    with pytest.raises(
        ValueError, match=r"step-00000004: has format 1, not 2; train again, into another output folder"
    ):
        train(training_settings(small, tmp_path, steps=6))
