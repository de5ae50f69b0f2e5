"""LoRA files: what diffusers and ComfyUI make of them, merging, and what is refused."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "peft"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[lora]'")
import diffusers  # noqa: E402
from effectpairs.tests.fixtures_video_models import TINY_WAN, original_wan_names, tiny_wan_inpainter  # noqa: E402
from effectpairs.training.base.cogvideox import rotary_embedding  # noqa: E402
from effectpairs.training.base.lora import (  # noqa: E402
    COMFYUI_FILE,
    DIFFUSERS_FILE,
    add_lora,
    attach_lora,
    layers_of,
    linear_shapes,
    merge_lora,
    read_lora,
    write_lora,
)
from effectpairs.training.base.memory import lora_parameters  # noqa: E402
from effectpairs.training.base.optimiser import LoraSettings, select_trainable  # noqa: E402
from effectpairs.training.base.tiny import TRANSFORMER  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

torch.set_num_threads(1)
SETTINGS = LoraSettings(rank=4, alpha=16.0)
FEED_FORWARD = {"cogvideox": "ff.net.2", "wan": "ffn.net.2", "vace": "ffn.net.2"}


def transformer_of(family: str):
    torch.manual_seed(1)
    if family == "cogvideox":
        return diffusers.CogVideoXTransformer3DModel(**TRANSFORMER)
    if family == "wan":
        return tiny_wan_inpainter()
    return diffusers.WanVACETransformer3DModel(**TINY_WAN | {"vace_layers": [0, 1], "vace_in_channels": 96})


def outputs(transformer) -> torch.Tensor:
    """Velocity of one small sample by a transformer of any family."""
    draw, config = torch.Generator().manual_seed(2), transformer.config
    with torch.no_grad():
        if "Cog" in type(transformer).__name__:
            latents, text = torch.randn(1, 4, 33, 4, 6, generator=draw), torch.randn(1, 32, 32, generator=draw)
            rotary = rotary_embedding(config, 4, 4, 6, "cpu")
            return transformer(latents, text, torch.tensor([500]), image_rotary_emb=rotary, return_dict=False)[0]
        latents = torch.randn(1, config.in_channels, 2, 4, 6, generator=draw)
        text, more = torch.randn(1, 512, config.text_dim, generator=draw), {}
        if "VACE" in type(transformer).__name__:
            more = {"control_hidden_states": torch.randn(1, 96, 2, 4, 6, generator=draw)}
        elif config.image_dim:
            more = {"encoder_hidden_states_image": torch.zeros(1, 257, config.image_dim)}
        return transformer(latents, torch.tensor([500]), text, return_dict=False, **more)[0]


def trained_lora(family: str, folder: Path, settings: LoraSettings = SETTINGS):
    """An adapter with weights as if it had learnt, and its files."""
    transformer = transformer_of(family)
    select_trainable(transformer, None)
    weights = add_lora(transformer, settings, seed=0)
    torch.manual_seed(3)
    for weight in weights.values():
        torch.nn.init.normal_(weight, std=0.2)
    write_lora(folder, weights, settings, {"base": {"id": "tiny"}}, original=family != "cogvideox")
    return transformer, weights


@pytest.mark.parametrize("family", FEED_FORWARD)
def test_an_adapter_changes_nothing_at_first_and_all_that_learns_is_its_own(family):
    transformer, settings = transformer_of(family), LoraSettings(rank=4, targets=("to_q", FEED_FORWARD[family]))
    before, shapes = outputs(transformer), {name: weight.shape for name, weight in transformer.state_dict().items()}
    select_trainable(transformer, None, frozen_dtype="bfloat16")
    weights = add_lora(transformer.float(), settings, seed=0)
    learning = {name for name, weight in transformer.named_parameters() if weight.requires_grad}
    assert learning == set(weights)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert sum(weight.numel() for weight in weights.values()) == lora_parameters(shapes, settings)
    torch.testing.assert_close(outputs(transformer), before, atol=0.05, rtol=0.05)  # the base was rounded
    again = add_lora(transformer_of(family).requires_grad_(False), settings, seed=0)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.parametrize("family", FEED_FORWARD)
def test_diffusers_loads_the_file_with_its_alpha(family, tmp_path):
    trained, _ = trained_lora(family, tmp_path)
    pipeline = diffusers.CogVideoXPipeline if family == "cogvideox" else diffusers.WanPipeline
    files = (DIFFUSERS_FILE, COMFYUI_FILE) if family == "wan" else (DIFFUSERS_FILE,)  # it knows no original vace_blocks
    for name in files:
        state, metadata = pipeline.lora_state_dict(str(tmp_path), weight_name=name, return_lora_metadata=True)
        plain = transformer_of(family)
        plain.load_lora_adapter(state, prefix="transformer", metadata=metadata)
        assert not torch.equal(outputs(plain), outputs(transformer_of(family)))
        torch.testing.assert_close(outputs(plain), outputs(trained))


@pytest.mark.parametrize("family", ["wan", "vace"])
def test_comfyui_finds_every_layer_by_its_original_name(family, tmp_path):
    """ComfyUI looks for the names of its own weights, and adds alpha / rank of the product."""
    _, weights = trained_lora(family, tmp_path)
    changed = transformer_of(family)
    merge_lora(changed, layers_of(weights, SETTINGS))
    own, expected = (original_wan_names(each.state_dict()) for each in (transformer_of(family), changed))
    file = load_file(tmp_path / COMFYUI_FILE)
    for name in own:
        layer = f"diffusion_model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_B.weight" in file:
            down, up, alpha = (file.pop(f"{layer}.{end}") for end in ("lora_A.weight", "lora_B.weight", "alpha"))
            own[name] = own[name] + alpha.item() / len(down) * (up @ down)
    assert not file
    assert all(torch.allclose(own[name], expected[name], atol=1e-6) for name in own)


@pytest.mark.parametrize("family", FEED_FORWARD)
@pytest.mark.parametrize("name", [DIFFUSERS_FILE, COMFYUI_FILE])
def test_attached_and_merged_it_does_the_same(family, name, tmp_path):
    trained, _ = trained_lora(family, tmp_path)
    attached, merged = transformer_of(family), transformer_of(family)
    file = read_lora(tmp_path / name, linear_shapes(merged), base="tiny")
    assert file.origin == {"base": {"id": "tiny"}}
    attach_lora(attached, file.layers)
    merge_lora(merged, file.layers)
    assert not any(".lora_" in key for key in merged.state_dict())
    torch.testing.assert_close(outputs(attached), outputs(trained))
    torch.testing.assert_close(outputs(merged), outputs(trained))


def test_half_of_it_may_be_asked_for_and_layers_may_differ_in_rank(tmp_path):
    _, weights = trained_lora("wan", tmp_path)
    layers = layers_of(weights, SETTINGS)
    name = next(iter(layers))
    layers[name] = layers[name]._replace(down=layers[name].down[:2], up=layers[name].up[:, :2], alpha=3.0)
    attached, merged = transformer_of("wan"), transformer_of("wan")
    attach_lora(attached, layers, 0.5)
    merge_lora(merged, layers, 0.5)
    torch.testing.assert_close(outputs(attached), outputs(merged))


def test_a_lora_of_another_base_is_refused(tmp_path):
    trained_lora("wan", tmp_path)
    for family in ("cogvideox", "vace"):
        shapes = linear_shapes(transformer_of(family))
        if family == "vace":
            shapes = {layer: (rows, columns + 2) for layer, (rows, columns) in shapes.items()}
        with pytest.raises(ValueError, match=r"changes a layer blocks\.\S+ that other does not have in this size"):
            read_lora(tmp_path, shapes, base="other")


def test_halves_of_two_ranks_and_files_of_other_things_are_refused(tmp_path):
    trained_lora("wan", tmp_path)
    shapes, tensors = linear_shapes(transformer_of("wan")), load_file(tmp_path / DIFFUSERS_FILE)
    name = next(name for name in tensors if "lora_A" in name)
    other = tmp_path / "other.safetensors"
    save_file({**tensors, name: tensors[name][:3]}, other)
    with pytest.raises(ValueError, match="has rank 3, its other half 4"):
        read_lora(other, shapes, base="tiny")
    save_file({"blocks.0.attn1.to_q.weight": torch.zeros(2, 2)}, other)
    with pytest.raises(ValueError, match="holds no LoRA"):
        read_lora(other, shapes, base="tiny")
    other.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no LoRA that can be read"):
        read_lora(other, shapes, base="tiny")


def test_a_target_that_is_no_layer_is_refused():
    transformer = transformer_of("cogvideox").requires_grad_(False)
    with pytest.raises(ValueError, match=r"lora\.targets names 'ffn\.0', which is no linear layer .* it has .*to_q"):
        add_lora(transformer, LoraSettings(targets=("to_q", "ffn.0")), seed=0)
