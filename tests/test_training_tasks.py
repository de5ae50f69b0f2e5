"""Both tasks from one corpus: layers, masks, unpaired clips; and LoRA, both families, killed at random, to the card."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard", "peft"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[lora]'")
from accelerate.state import AcceleratorState  # noqa: E402
from effectpairs.tests.fixtures_corpus import make_small_corpus, without_layer  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import DATA, SETTINGS, SmallCache, training_settings  # noqa: E402
from effectpairs.training import run as training_run  # noqa: E402
from effectpairs.training.base import checkpoint  # noqa: E402
from effectpairs.training.base.encoders import frames_to_video  # noqa: E402
from effectpairs.training.base.families import family_of_model  # noqa: E402
from effectpairs.training.base.lora import COMFYUI_FILE, DIFFUSERS_FILE  # noqa: E402
from effectpairs.training.base.models import BaseModelRef, locate_model  # noqa: E402
from effectpairs.training.base.optimiser import LoraSettings  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.configs.config import TrainingConfig, ValidationSettings  # noqa: E402
from effectpairs.training.fitting import loop  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.generate import DeviceSettings, load_pipeline, read_training  # noqa: E402
from effectpairs.training.generate import generate as make_video  # noqa: E402
from effectpairs.training.generate_request import GenerateRequest, read_inputs  # noqa: E402
from effectpairs.training.latents.data import CachedSamples  # noqa: E402
from effectpairs.training.latents.encode import encode_corpus  # noqa: E402
from effectpairs.training.latents.encode_plan import finalize_cache  # noqa: E402
from effectpairs.training.latents.sampler import SourceMix, TriMaskSettings, describe_unpaired  # noqa: E402
from effectpairs.training.latents.task import Task  # noqa: E402
from effectpairs.training.results import evaluate_samples, generate_samples, write_model_card  # noqa: E402
from effectpairs.training.sampling.pipeline import LoraRequest, PipelineInput  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")
LORA = LoraSettings(rank=4, alpha=8.0)
REMOVE = Task(name="remove", target="background", prompt="an empty street")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("corpus"), clips=3, size=(32, 48))


@pytest.fixture(scope="module")
def caches(corpus, tmp_path_factory):
    """A cache of a kind of model and a task, made when it is first asked for."""
    made: dict = {}

    def cache_of(kind: str, task: Task) -> SmallCache:
        if (kind, task) not in made:
            folder = tmp_path_factory.mktemp(kind)
            model = BaseModelRef(id=str(write_tiny_model(folder / "model", kind=kind)))
            list(encode_corpus(corpus, model, folder / "cache", SETTINGS, task=task))
            cache = finalize_cache(corpus, model, folder / "cache", SETTINGS, task)
            made[kind, task] = SmallCache(corpus, model, cache)
        return made[kind, task]

    return cache_of


def settings_of(small: SmallCache, output: Path, task: Task, **changes) -> TrainingConfig:
    names = {"task": task.name} | ({"remove_to": task.target, "remove_prompt": task.prompt} if task.removes else {})
    return training_settings(small, output, steps=6, cache=SETTINGS, **names, **changes)


@pytest.mark.parametrize("target", ["background", "over"])
def test_masks_of_a_removal_by_the_table(target):
    rng = np.random.default_rng(1)
    effect, subject = rng.random((2, 3, 4, 5)) < 0.4
    task = Task(name="remove", target=target)
    change, hint = task.change_mask(effect, subject), task.hint(effect.shape, subject)
    for place in np.ndindex(effect.shape):
        is_subject = bool(subject[place])
        assert change[place] == (effect[place] or (is_subject and target == "background"))
        assert hint[place] == ((1.0 if target == "background" else 0.0) if is_subject else 0.5)
    assert (Task().change_mask(effect, subject) == effect).all()
    assert (Task().hint(effect.shape, subject) == 0.5).all()


@pytest.mark.parametrize(("kind", "known"), [("tiny", True), ("tiny", False), ("tiny-vace", False)])
def test_a_removal_is_shown_the_video_and_learns_the_background(caches, kind, known):
    """The same as the family makes of layers and masks, encoded here; the effect's mask is known or not."""
    small = caches(kind, REMOVE)
    odds = {"full": 1.0, "unknown": 0.0} if known else {"full": 0.0, "unknown": 1.0}
    data = dataclasses.replace(DATA, trimask=TriMaskSettings(**odds, keyframes=0.0), caption_dropout=0.0)
    samples, family = CachedSamples(small.cache, data, seed=0), family_of_model(locate_model(small.model))
    assert {row["kind"] for row in samples.rows} == {"real", "synthetic"}  # unpaired clips teach no removal
    entry = samples.rows[0]
    clip, row = small.corpus[entry["clip_id"]], small.cache.read(entry["key"])
    vae = family.load_vae(Path(small.model.id))
    target = family.encode_video(vae, frames_to_video(clip.background)).mean[0]
    assert torch.equal(torch.from_numpy(row.target.mean), target)
    assert row.caption == REMOVE.prompt
    subject = clip.subject_mask >= 128
    mask = (clip.effect_mask | subject).astype(np.float32)
    if not known:
        mask = np.where(subject, 1, 0.5).astype(np.float32)
    pixels, visible = torch.from_numpy(mask)[None], torch.ones(4, dtype=torch.bool)
    videos = family.condition_videos(frames_to_video(clip.gt), pixels, visible)
    layers = {name: family.encode_video(vae, video).mean for name, (video, _) in videos.items()}
    expected = family.condition(layers, pixels, visible)[0]
    samples._draw_latents = lambda layer, rng: torch.from_numpy(layer.mean)[None]  # the mean, as sampling takes it
    found = samples._draw_conditioning(row, np.random.default_rng(0))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_corpus_without_the_layer_of_a_task_is_refused(corpus, tmp_path):
    for layer in ("background", "subject_mask", "gt"):
        damaged = without_layer(corpus, layer, tmp_path / layer)
        with pytest.raises(ValueError, match=rf"pairs without {layer}, which task = 'remove' needs: 2, such as clip"):
            list(encode_corpus(damaged, BaseModelRef(id="nowhere"), tmp_path, SETTINGS, task=REMOVE))
    asked = (f'corpus="{tmp_path / "background"}"', f'output="{tmp_path / "run"}"', 'task="remove"')
    with pytest.raises(ValueError, match="pairs without background"):
        training_run.open_job("tiny", asked)
    training_run.open_job("tiny", (*asked[:2], 'task="add"'))  # which needs none


def test_a_cache_of_another_task_is_refused(caches, tmp_path):
    small = caches("tiny", REMOVE)
    with pytest.raises(ValueError, match=r"was encoded for .*remove.*, not for .*add"):
        loop.train(settings_of(small, tmp_path, Task()))


def test_rendered_unpaired_clips_are_counted_and_left_out_unless_asked(caches, corpus, tmp_path, monkeypatch):
    small = caches("tiny", Task())
    for row in small.cache.rows:
        row["rendered"] = row["kind"] == "unpaired"
    try:
        with pytest.raises(ValueError, match=r"no unpaired clips.* or data.rendered_unpaired = true if they are rend"):
            CachedSamples(small.cache, DATA, seed=0)
        taken = CachedSamples(small.cache, dataclasses.replace(DATA, rendered_unpaired=True), seed=0)
        assert {row["kind"] for row in taken.rows} == {"real", "synthetic", "unpaired"}
        left = CachedSamples(small.cache, dataclasses.replace(DATA, mix=SourceMix(uniform=True)), seed=0)
        assert {row["kind"] for row in left.rows} == {"real", "synthetic"}
    finally:
        for row in small.cache.rows:
            row["rendered"] = False
    counts = {"generated": 3, "rendered": 2}
    assert "2 rendered, which are left out; data.rendered_unpaired = true takes them" in describe_unpaired(counts, DATA)
    asked = (f'corpus="{corpus.location.url}"', f'output="{tmp_path}"')
    assert training_run.open_job("tiny", asked).note == "unpaired: 1 generated, 0 rendered"
    monkeypatch.setattr(training_run, "is_rendered", lambda row: True)
    assert "left out" in training_run.open_job("tiny", asked).note


def train_with_interruptions(settings: TrainingConfig, monkeypatch, *, times: int, seed: int) -> list[int]:
    """Stop so often at a random step, whatever has been saved, and begin again; return the steps."""
    rng, take_step, stops = np.random.default_rng(seed), loop._TrainingLoop._train_step, []

    class Stopped(BaseException):
        pass

    def train_step(self, step, batches):
        if len(stops) < times and step == stops_at:
            stops.append(step)
            raise Stopped
        return take_step(self, step, batches)

    monkeypatch.setattr(loop._TrainingLoop, "_train_step", train_step)
    for _ in range(times):
        saved = checkpoint.latest_checkpoint(settings.output_path / "checkpoints")
        stops_at = int(rng.integers(1 if saved is None else int(saved.name[5:]), settings.steps))
        with pytest.raises(Stopped):
            loop.train(settings)
        AcceleratorState._reset_state(True)
    loop.train(settings)
    monkeypatch.setattr(loop._TrainingLoop, "_train_step", take_step)
    AcceleratorState._reset_state(True)
    return stops


@pytest.mark.parametrize(
    ("kind", "lora", "task"),
    [
        ("tiny", LORA, Task()),
        ("tiny", None, REMOVE),
        ("tiny-wan", LORA, REMOVE),
        ("tiny-wan", None, Task()),
        ("tiny-vace", LORA, Task()),
        ("tiny-vace", LORA, REMOVE),
        ("tiny-vace", None, Task()),
    ],
)
def test_stopped_at_random_steps_a_run_ends_bit_equal(caches, tmp_path, monkeypatch, kind, lora, task):
    small, mix = caches(kind, task), SourceMix(uniform=True)
    data = dataclasses.replace(DATA, mix=mix)
    whole, broken = (settings_of(small, tmp_path / name, task, lora=lora, data=data) for name in ("whole", "broken"))
    loop.train(whole)
    AcceleratorState._reset_state(True)
    stops = train_with_interruptions(broken, monkeypatch, times=2, seed=len(kind) + (lora is None))
    assert len(stops) == 2
    ends = [Path(settings.output) / "checkpoints" / "step-00000006" for settings in (whole, broken)]
    for name in (checkpoint.WEIGHTS, checkpoint.OPTIMISER):
        found, expected = (checkpoint.read_tensors(end, name) for end in reversed(ends))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    files = sorted(path.relative_to(whole.output) for path in Path(whole.output, "trained").rglob("*.safetensors"))
    assert [path.name for path in files] == (
        ["diffusion_pytorch_model.safetensors"] if lora is None else [COMFYUI_FILE, DIFFUSERS_FILE]
    )
    losses = [[line["loss"] for line in read_step_log(Path(settings.output))] for settings in (whole, broken)]
    assert losses[0] == losses[1]
    if lora is not None:
        tensors = checkpoint.read_tensors(ends[0], checkpoint.WEIGHTS)
        assert tensors
        assert all(".lora_" in name for name in tensors)
        assert any(tensor.any() for name, tensor in tensors.items() if ".lora_B." in name)  # it has learnt
        other = dataclasses.replace(broken, lora=dataclasses.replace(lora, rank=2), steps=8)
        with pytest.raises(ValueError, match=r"was written with lora.rank = 4, this run has 2"):
            loop.train(other)


@pytest.mark.parametrize("kind", ["tiny", "tiny-wan"])
def test_a_lora_generates_alone_merged_and_from_a_checkpoint(caches, tmp_path, kind):
    small = caches(kind, Task())
    lora = dataclasses.replace(LORA, merge=True)
    data = dataclasses.replace(DATA, mix=SourceMix(uniform=True))
    loop.train(settings_of(small, tmp_path, Task(), lora=lora, data=data))
    card = write_model_card(tmp_path).read_text()
    assert "| unpaired clips of the corpus | 1 generated by a video model, 0 rendered |" in card
    trained, clip = tmp_path / "trained", small.corpus[small.corpus.ids[0]]
    inputs = PipelineInput(prompt="a shadow", over=clip.over, effect_mask=clip.effect_mask)

    def latents(**model) -> torch.Tensor:
        pipeline = load_pipeline(DeviceSettings(device="cpu", **model))
        return pipeline.latents(inputs, SamplingSettings(steps=2, guidance=1.0))

    merged = latents(trained=trained)  # its transformer is whole
    plain = latents(base=small.model.id)
    beside = latents(lora=LoraRequest(path=trained))  # the base stands in the file
    assert not torch.equal(beside, plain)
    for request in (LoraRequest(path=trained / COMFYUI_FILE), LoraRequest(path=trained / DIFFUSERS_FILE, merge=True)):
        torch.testing.assert_close(latents(base=small.model.id, lora=request), beside, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged, beside, atol=1e-4, rtol=1e-4)
    step = latents(base=small.model.id, trained=tmp_path / "checkpoints" / "step-00000006")
    torch.testing.assert_close(step, beside, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latents(lora=LoraRequest(path=trained, factor=0.0)), plain, atol=1e-4, rtol=1e-4)
    other = write_tiny_model(tmp_path / "other", kind=kind, seed=1)
    with pytest.raises(ValueError, match=r"was trained on .*, whose weights are others than those of .*; take that"):
        latents(base=str(other), lora=LoraRequest(path=trained))


def test_a_removal_goes_from_corpus_to_card_and_takes_a_video(caches, tmp_path):
    small = caches("tiny", REMOVE)
    validation = ValidationSettings(every_steps=0, steps=2, guidance=1.0)
    settings = settings_of(small, tmp_path / "run", REMOVE, lora=LORA, validation=validation)
    loop.train(settings)
    assert list(generate_samples(settings, 1)) == [small.corpus.ids[0]]
    evaluate_samples(settings, lambda *_: None)
    card = write_model_card(settings.output_path, is_measured=True).read_text()
    assert "# Subjects and their effects, taken out of videos" in card
    assert "LoRA of rank 4, alpha 8.0, on `to_q`" in card
    assert "--video video.mp4 --subject-mask subject.mp4" in card
    assert "unpaired clips of the corpus" not in card
    assert "| input |" in card
    clip, files = small.corpus[small.corpus.ids[0]], {}
    for name in ("gt", "subject_mask", "over"):
        files[name] = tmp_path / f"{name}.mkv"
        files[name].write_bytes(clip.encoded(name))
    device = DeviceSettings(trained=tmp_path / "run" / "trained", device="cpu")
    request = GenerateRequest(video=files["gt"], subject_mask=files["subject_mask"])
    make_video(request, SamplingSettings(steps=2, guidance=1.0), device, tmp_path / "made")
    record = json.loads((tmp_path / "made" / "generate.json").read_text())
    assert record["prompt"] == REMOVE.prompt
    inputs, _ = read_inputs(request, read_training(device))
    assert (inputs.effect_mask == np.where(clip.subject_mask >= 128, 1, 0.5)).all()
    for wrong, said in (
        (GenerateRequest(over=files["over"], prompt="x"), "was trained to remove; give --video and --subject-mask"),
        (GenerateRequest(video=files["gt"]), "--video needs --subject-mask"),
        (dataclasses.replace(request, over=files["over"]), "leave out one of them"),
        (GenerateRequest(subject_mask=files["gt"], prompt="x"), "--subject-mask is of the subject in --video"),
    ):
        with pytest.raises(ValueError, match=said):
            read_inputs(wrong, read_training(device))
    base = read_training(DeviceSettings(base=small.model.id))
    with pytest.raises(ValueError, match="needs a model that was trained with task = 'remove'"):
        read_inputs(GenerateRequest(video=files["gt"], prompt="x"), base)
    with pytest.raises(ValueError, match="--prompt is empty"):
        read_inputs(GenerateRequest(over=files["over"]), base)
