"""Memory of a training step and of sampling, estimated from shapes: what is counted, and what is refused."""

import dataclasses
import importlib.util
import math
import weakref
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "peft"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[lora]'")
import diffusers  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import make_small_cache, training_settings  # noqa: E402
from effectpairs.tests.fixtures_video_models import TINY_WAN  # noqa: E402
from effectpairs.training import generate  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.lora import add_lora  # noqa: E402
from effectpairs.training.base.memory import (  # noqa: E402
    RESERVE,
    MemoryEstimate,
    TrainingPlan,
    check_memory,
    estimate_memory,
    token_count,
)
from effectpairs.training.base.models import BaseModelRef, locate_model  # noqa: E402
from effectpairs.training.base.optimiser import LoraSettings, select_trainable  # noqa: E402
from effectpairs.training.base.tiny import TRANSFORMER, write_tiny_model  # noqa: E402
from effectpairs.training.base.wan import WanFamily  # noqa: E402
from effectpairs.training.fitting import context  # noqa: E402
from effectpairs.training.generate import DeviceSettings, estimate_video, load_pipeline  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings  # noqa: E402
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_iter  # noqa: E402

PLAN = TrainingPlan(trainable="attn1", lora=None, bf16=True, gradient_checkpointing=True, batch=1)
LORA = dataclasses.replace(PLAN, lora=LoraSettings(rank=4))
PAGE = Path(__file__).parents[1] / "docs" / "training_cost.py"


@pytest.mark.parametrize("plan", [PLAN, LORA, dataclasses.replace(PLAN, bf16=False, trainable="all")])
def test_weights_are_counted_as_the_module_has_them(plan):
    transformer = diffusers.CogVideoXTransformer3DModel(**TRANSFORMER)
    shapes = {name: tuple(weight.shape) for name, weight in transformer.named_parameters()}
    estimate = estimate_memory(shapes, TRANSFORMER, (4, 4, 6), plan)
    chosen = None if plan.lora else plan.trainable
    learning = select_trainable(transformer, chosen, frozen_dtype="bfloat16" if plan.bf16 else "float32")
    if plan.lora is not None:
        learning = add_lora(transformer, plan.lora, seed=0)
    numbers = sum(weight.numel() for weight in learning.values())
    held = sum(weight.numel() * weight.element_size() for weight in transformer.parameters())
    assert estimate.learning == numbers
    assert estimate.weights == held + (2 * numbers if plan.bf16 else 0)  # autocast's copies
    assert (estimate.gradient, estimate.moments) == (4 * numbers, 8 * numbers)
    parts = estimate.weights + estimate.gradient + estimate.moments + estimate.activations
    assert estimate.total == parts + RESERVE


def test_processes_share_what_their_strategy_shares():
    shapes = {"blocks.0.attn1.to_q.weight": (1000, 1000), "proj.weight": (1000, 3000)}

    def estimate(sharing):
        return estimate_memory(shapes, TRANSFORMER, (4, 4, 6), dataclasses.replace(PLAN, processes=4, sharing=sharing))

    alone, zero2, fsdp = map(estimate, ("none", "optimiser", "all"))
    assert (zero2.weights, zero2.moments, zero2.gradient) == (alone.weights, alone.moments / 4, alone.gradient / 4)
    assert (fsdp.weights, fsdp.moments) == ((alone.weights - 2e6) / 4 + 2e6, alone.moments / 4)


def test_a_token_is_a_patch_and_cogvideox_counts_its_text():
    """As many as the first layer of the first block is given."""
    counted = []
    for config, latents in ((TRANSFORMER, (4, 4, 6)), (TINY_WAN, (3, 4, 6))):
        is_wan = "text_dim" in config
        model = (diffusers.WanTransformer3DModel if is_wan else diffusers.CogVideoXTransformer3DModel)(**config)
        block = model.blocks[0] if is_wan else model.transformer_blocks[0]
        block.attn1.to_out[0].register_forward_hook(lambda _, inputs, __: counted.append(inputs[0].shape[1]))
        frames, rows, columns = latents
        planes, step = torch.zeros(1, config["in_channels"], frames, rows, columns), torch.tensor([1])
        with torch.no_grad():
            if is_wan:
                model(planes, step, torch.zeros(1, 512, config["text_dim"]))
            else:
                model(planes.transpose(1, 2), torch.zeros(1, config["max_text_seq_length"], 32), step)
        assert counted[-1] == token_count(config, latents)


def test_without_gradient_checkpointing_more_is_kept():
    kept = [
        estimate_memory({}, TRANSFORMER, (4, 4, 6), dataclasses.replace(PLAN, gradient_checkpointing=on, batch=3))
        for on in (True, False)
    ]
    tokens, width, blocks = 2 * 2 * 3 + 32, 32, 2
    assert [each.activations for each in kept] == [3 * tokens * 2 * width * each for each in (blocks + 16, 22 * blocks)]


def test_what_does_not_fit_is_refused_with_the_remedy():
    estimate = MemoryEstimate(learning=1, weights=20e9, gradient=4e9, moments=8e9, activations=9e9)
    check_memory(estimate.total, 43 * 10**9, "cuda:0")
    with pytest.raises(ValueError, match=r"about 42\.0 GB .* as estimated .* cuda:0 has 24\.0 GB free; train a LoRA"):
        check_memory(estimate.total, 24 * 10**9, "cuda:0")


@pytest.mark.usefixtures("fresh_accelerator")
def test_a_run_that_does_not_fit_is_refused_before_weights_are_loaded(tmp_path, monkeypatch):
    small = make_small_cache(tmp_path, clips=3)

    def load(*_, **__):
        raise InterruptedError("weights are loaded")

    monkeypatch.setattr(context, "load_transformer", load)
    monkeypatch.setattr(context, "free_memory_bytes", lambda device: 10**8)
    settings = training_settings(small, tmp_path / "run")
    with pytest.raises(ValueError, match=r"about 1\.0 GB of memory a process, .* and cpu has 0\.1 GB free"):
        context.build_context(settings)
    with pytest.raises(InterruptedError):
        context.build_context(dataclasses.replace(settings, check_memory=False))


class LiveNumbers(TorchDispatchMode):
    """Counts the numbers of all tensors that operations have made and that are still in use, and their most."""

    def __init__(self):
        super().__init__()
        self.live, self.peak, self.storages = 0, 0, set()

    def __torch_dispatch__(self, operation, types, args=(), options=None):
        result = operation(*args, **(options or {}))
        for tensor in tree_iter(result):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.storages:
                self.count(storage._cdata, storage.nbytes() // tensor.element_size())
                weakref.finalize(storage, self.count, storage._cdata, -storage.nbytes() // tensor.element_size())
        return result

    def count(self, storage, numbers):
        (self.storages.add if numbers > 0 else self.storages.discard)(storage)
        self.live += numbers
        self.peak = max(self.peak, self.live)


@pytest.mark.parametrize("family", [CogVideoXFamily(), WanFamily()], ids=lambda family: family.name)
def test_decoding_holds_what_the_published_autoencoder_does(family):
    """Traced with tensors that have a shape and no memory; a pixel's share is the same at every size."""
    blocks = {f"{way}_block_types": (f"CogVideoX{way.title()}Block3D",) * 4 for way in ("down", "up")}
    published = blocks | {"block_out_channels": (128, 256, 256, 512), "latent_channels": 16, "layers_per_block": 3}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        is_wan = family.name == "wan"
        vae = diffusers.AutoencoderKLWan() if is_wan else diffusers.AutoencoderKLCogVideoX(**published)
        with LiveNumbers() as numbers:
            frames = sum(run.shape[2] for run in family.decode_in_runs(vae, torch.zeros(1, 5, 16, 8, 12)))
    assert frames == 17
    assert numbers.peak / (64 * 96) == pytest.approx(family.decoding_numbers(vae.config), rel=0.02)


@pytest.mark.parametrize("kind", ["tiny", "tiny-wan", "tiny-vace", "small"])
def test_sampling_is_estimated_from_shapes_and_refused_before_weights_are_loaded(kind, tmp_path, monkeypatch):
    settings = DeviceSettings(base=str(write_tiny_model(tmp_path, kind=kind)), device="cpu")
    model, shape = locate_model(BaseModelRef(id=settings.base)), (13, 32, 48)
    pipeline = load_pipeline(settings)
    modules = [part for part in (pipeline.transformer, pipeline.text_encoder, pipeline.vae) if part is not None]
    weights = sum(weight.numel() for module in modules for weight in module.parameters())

    def estimate(settings=settings, shape=shape, **sampling):
        return estimate_video(settings, model, None, shape, SamplingSettings(**sampling)) - RESERVE

    assert estimate() > 4 * weights
    assert estimate() >= estimate(guidance=1.0) == estimate(sequential_cfg=True)
    assert estimate(shape=(13, 64, 96)) > 2 * estimate() - 4 * weights * 2
    assert estimate(dataclasses.replace(settings, cpu_offload=True)) < estimate()
    long = [estimate(shape=(frames, 32, 48)) for frames in (85, 850)]
    assert long[0] == long[1], "windows do not grow with the clip"

    def load(*_, **__):
        raise InterruptedError("weights are loaded")

    monkeypatch.setattr(generate.EffectPipeline, "load", load)
    monkeypatch.setattr(generate, "free_memory_bytes", lambda device: 10**8)
    with pytest.raises(
        ValueError, match=r"sampling takes about 1\.0 GB .* as estimated .*, and cpu has 0\.1 GB free; give"
    ):
        load_pipeline(settings, shape)
    with pytest.raises(InterruptedError):
        load_pipeline(dataclasses.replace(settings, check_memory=False), shape)


def test_the_page_of_costs_is_what_its_script_computes():
    spec = importlib.util.spec_from_file_location("training_cost", PAGE)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert PAGE.with_suffix(".md").read_text() == "\n".join(script.page()) + "\n"
    shapes = script.weight_shapes(script.FAMILIES["cogvideox"])
    assert sum(map(math.prod, shapes.values())) == 5_571_094_144
    lines = PAGE.with_suffix(".md").read_text().splitlines()
    for family in script.FAMILIES.values():
        rows = [line for line in lines if line.startswith(f"| {family.title} |")]
        assert len(rows) == len(script.METHODS) * len(script.CARDS)
