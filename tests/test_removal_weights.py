"""Published files of removal models: recognised by their shapes, merged, and refused in one sentence."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
import psutil  # noqa: E402
from effectpairs.requirements import list_lacks  # noqa: E402
from effectpairs.tests.fixtures_scene import sliding_square  # noqa: E402
from effectpairs.tests.fixtures_video_models import (  # noqa: E402
    original_wan_names,
    tiny_wan_inpainter,
    write_cogvideox_removal,
    write_wan_removal,
)
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.published import UnusableWeights, open_weights  # noqa: E402
from effectpairs.training.removal import casper as casper_module  # noqa: E402
from effectpairs.training.removal import remover  # noqa: E402
from effectpairs.training.removal.casper import Casper  # noqa: E402
from effectpairs.training.removal.remover import load_removal_transformer  # noqa: E402
from effectpairs.weights import WeightsNotFound  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cog(tmp_path_factory):
    return write_cogvideox_removal(tmp_path_factory.mktemp("cog"))


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return write_wan_removal(tmp_path_factory.mktemp("wan"))


def load(path, base, **options):
    return load_removal_transformer(open_weights(path), base, **options)[1]


def save(path, weights):
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    return path


def test_a_whole_cogvideox_transformer_loads_under_its_own_names(cog):
    state = load(cog.weights, cog.base).state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in load_file(cog.weights).items())
    assert not any(weight.requires_grad for weight in load(cog.weights, cog.base).parameters())


def test_a_whole_wan_transformer_loads_under_its_original_names(wan):
    state, truth = load(wan.weights, wan.base).state_dict(), tiny_wan_inpainter().state_dict()
    assert state.keys() == truth.keys()
    assert all(torch.equal(state[name], weight) for name, weight in truth.items())


def test_weights_that_wan_wants_exact_stay_32_bit(wan):
    model = load(wan.weights, wan.base, dtype="bfloat16")
    types = {name: weight.dtype for name, weight in model.named_parameters()}
    assert types["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert types["scale_shift_table"] == types["condition_embedder.time_embedder.linear_1.weight"] == torch.float32


def test_a_torch_file_with_a_state_dict_inside_loads(cog, tmp_path):
    torch.save({"state_dict": load_file(cog.weights)}, tmp_path / "casper.pt")
    state = load(tmp_path / "casper.pt", cog.base).state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in load_file(cog.weights).items())


def lora_of(layers, rank=2, alpha=4.0):
    """A LoRA as VideoX-Fun writes it: original names, joined by underscores."""
    generator, weights = torch.Generator().manual_seed(5), {}
    for layer, (rows, columns) in layers.items():
        name = f"lora_unet__{layer.replace('.', '_')}"
        weights[f"{name}.lora_down.weight"] = torch.randn(rank, columns, generator=generator)
        weights[f"{name}.lora_up.weight"] = torch.randn(rows, rank, generator=generator)
        weights[f"{name}.alpha"] = torch.tensor(alpha)
    return weights


def test_a_lora_is_added_to_the_transformer_that_it_was_trained_on(wan, tmp_path):
    layers = {"blocks.0.self_attn.q": (24, 24), "blocks.1.cross_attn.v": (24, 24), "blocks.1.ffn.2": (24, 32)}
    weights = lora_of(layers)
    lora = save(tmp_path / "lora.safetensors", weights)
    changed = load(lora, wan.base, lora_base=wan.weights, lora_weight=0.5).state_dict()
    truth = tiny_wan_inpainter().state_dict()
    own = {
        "blocks.0.attn1.to_q": "blocks_0_self_attn_q",
        "blocks.1.attn2.to_v": "blocks_1_cross_attn_v",
        "blocks.1.ffn.net.2": "blocks_1_ffn_2",
    }
    for name, layer in own.items():
        up, down = weights[f"lora_unet__{layer}.lora_up.weight"], weights[f"lora_unet__{layer}.lora_down.weight"]
        truth[f"{name}.weight"] = truth[f"{name}.weight"] + 0.5 * 4 / 2 * up @ down
    for name, weight in truth.items():
        torch.testing.assert_close(changed[name], weight)


def test_a_lora_of_another_model_is_refused(wan, tmp_path):
    for layers in ({"blocks.7.self_attn.q": (24, 24)}, {"blocks.0.self_attn.q": (48, 48)}):
        weights = lora_of(layers | {"blocks.0.self_attn.k": (24, 24)})
        lora = save(tmp_path / "lora.safetensors", weights)
        with pytest.raises(UnusableWeights, match=r"lora\.safetensors: changes a layer blocks_\d_self_attn_q"):
            load(lora, wan.base, lora_base=wan.weights)


def test_a_file_that_is_cut_short_is_refused_before_anything_is_read(cog, tmp_path):
    whole = cog.weights.read_bytes()
    for name, content in (("half.safetensors", whole[: len(whole) // 2]), ("page.pt", b"<html>Quota exceeded</html>")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnusableWeights, match=r"is damaged or cut short .*; download it again"):
            open_weights(tmp_path / name)


def test_weights_that_lack_some_are_refused(cog, tmp_path):
    weights = load_file(cog.weights)
    weights.pop("proj_out.bias")
    with pytest.raises(UnusableWeights, match=r"lacks 1 of \d+ weights \(first proj_out.bias\)"):
        load(save(tmp_path / "part.safetensors", weights), cog.base)


def test_weights_of_another_size_are_refused(cog, wan, tmp_path):
    wide = torch.nn.functional.pad(load_file(cog.weights)["proj_out.weight"], (0, 8))
    other = load_file(cog.weights) | {"proj_out.weight": wide}
    with pytest.raises(UnusableWeights, match=r"is of another size than its base .*name the base"):
        load(save(tmp_path / "wide.safetensors", other), cog.base)
    deeper = load_file(wan.weights)
    deeper |= {name.replace("blocks.1.", "blocks.2."): weight.clone() for name, weight in deeper.items()}
    with pytest.raises(UnusableWeights, match=r"is of another size than its base .*blocks\.2\..*there absent"):
        load(save(tmp_path / "deeper.safetensors", deeper), wan.base)


def test_weights_with_another_mask_encoding_or_of_the_other_family_are_refused(cog, wan, tmp_path):
    weights = load_file(cog.weights)
    narrow = weights | {"patch_embed.proj.weight": weights["patch_embed.proj.weight"][:, : 16 * 8]}
    with pytest.raises(UnusableWeights, match=r"in_channels=16 are not those of a CogVideoX 1.5 model"):
        load(save(tmp_path / "narrow.safetensors", narrow), cog.base)
    with pytest.raises(
        UnusableWeights, match=r"is of WanTransformer3DModel and the base .* of CogVideoXTransformer3DMod"
    ):
        load(wan.weights, cog.base)
    with pytest.raises(UnusableWeights, match=r"is no transformer of CogVideoX or Wan \(first weights: encoder"):
        load(save(tmp_path / "vae.safetensors", {"encoder.weight": torch.zeros(2)}), cog.base)


def casper(files, **changes):
    values = {"weights": str(files.weights), "base": str(files.base), "steps": 1, "window_frames": 5, "device": "cpu"}
    return Casper(**values | {"overlap_frames": 0} | changes)


def test_windows_that_the_family_does_not_take_are_refused_before_a_clip_is(cog):
    scene = sliding_square(5, 32, 32)
    with pytest.raises(UnusableWeights, match=r"cannot take decompose\.window_frames=9 at once; it takes 8k.5"):
        casper(cog, window_frames=9).decompose(scene.gt, scene.subject_mask, None, None)


def test_missing_weights_are_named_before_a_run(cog, tmp_path):
    assert [lack for lack in list_lacks(casper(cog)) if lack.kind == "weights"] == []
    lacks = list_lacks(casper(cog, weights=str(tmp_path / "nothing.safetensors"), base="nobody/nothing"))
    sentences = [str(lack) for lack in lacks if lack.kind == "weights"]
    assert len(sentences) == 2
    assert "nothing.safetensors" in sentences[0]
    assert "download one of Casper's files" in sentences[0]
    assert "hf download nobody/nothing" in sentences[1]
    scene = sliding_square(5, 32, 32)
    with pytest.raises(WeightsNotFound, match=r"nothing\.safetensors"):
        casper(cog, weights=str(tmp_path / "nothing.safetensors")).decompose(scene.gt, scene.subject_mask, None, None)


def test_a_model_that_does_not_fit_the_memory_is_refused_before_it_is_read(cog, monkeypatch):
    available = psutil.virtual_memory()._replace(available=100_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    scene = sliding_square(5, 32, 32)
    with pytest.raises(remover.TooLittleMemory, match=r"GB of memory as float32, and cpu has 0\.0 GB free"):
        casper(cog, seed=7).decompose(scene.gt, scene.subject_mask, None, None)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", "cuda"])
def test_a_clip_that_does_not_fit_beside_the_model_is_one_sentence(cog, monkeypatch, words):
    error = torch.OutOfMemoryError("CUDA out of memory") if words == "cuda" else RuntimeError(words)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(remover, "denoise", fail)
    scene = sliding_square(5, 32, 32)
    with pytest.raises(remover.TooLittleMemory, match=r"a clip of 5x32x32 does not fit the memory of cpu"):
        casper(cog).decompose(scene.gt, scene.subject_mask, None, None)


def test_an_optimisation_that_does_not_fit_is_one_sentence_too(cog, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(casper_module, "optimise", fail)
    scene = sliding_square(5, 32, 32)
    with pytest.raises(remover.TooLittleMemory, match="a clip of 5x32x32 does not fit"):
        casper(cog).decompose(scene.gt, scene.subject_mask, None, None)


def test_a_damaged_base_is_no_fault_of_the_clip(cog, tmp_path):
    base = shutil.copytree(cog.base, tmp_path / "base")
    (base / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    scene = sliding_square(5, 32, 32)
    with pytest.raises(UnusableWeights, match=r"vae/diffusion_pytorch_model\.safetensors: is damaged"):
        casper(cog, base=str(base)).decompose(scene.gt, scene.subject_mask, None, None)


def test_other_errors_of_the_model_stay_what_they_are(cog, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(remover, "denoise", fail)
    scene = sliding_square(5, 32, 32)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        casper(cog).decompose(scene.gt, scene.subject_mask, None, None)


def test_original_names_are_those_of_the_library_own_converter():
    files = pytest.importorskip("diffusers.loaders.single_file_utils")
    truth = tiny_wan_inpainter().state_dict()
    back = files.convert_wan_transformer_to_diffusers(original_wan_names(truth))
    assert back.keys() == truth.keys()


def test_the_trained_model_of_this_project_is_a_removal_model_too(cog, tmp_path):
    """A folder of safetensors, as `train` exports them, does as well as one file."""
    CogVideoXFamily().load_transformer(cog.base).save_pretrained(tmp_path / "trained")
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert config["in_channels"] == 33
    assert load(tmp_path / "trained", cog.base).config.in_channels == 33
