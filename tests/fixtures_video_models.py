"""Tiny video models: the architectures of the base model, CogVideoX and Wan with random weights, folders of 1 MB."""

from pathlib import Path
from typing import Any, NamedTuple

from effectpairs.training.base import models
from effectpairs.training.base.families import open_family
from effectpairs.training.base.tiny import WAN_TRANSFORMER, WAN_VAE, write_tiny_model


def write_tiny_pipeline(folder: Path) -> Path:
    """Write CogVideoX's pipeline into a folder, unless it is there."""
    import diffusers
    import torch
    import transformers

    if (folder / "model_index.json").is_file():
        return folder
    parts = write_tiny_model(folder.with_name(f"{folder.name}-parts"))
    torch.manual_seed(0)
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16, time_embed_dim=8,
        text_embed_dim=32, num_layers=1, sample_width=6, sample_height=4, sample_frames=13, patch_size=2,
        max_text_seq_length=32, use_rotary_positional_embeddings=True,
    )  # fmt: skip
    pipeline = diffusers.CogVideoXPipeline(
        tokenizer=transformers.AutoTokenizer.from_pretrained(parts / "tokenizer", local_files_only=True),
        text_encoder=transformers.T5EncoderModel.from_pretrained(parts / "text_encoder", local_files_only=True),
        vae=diffusers.AutoencoderKLCogVideoX.from_pretrained(parts / "vae", local_files_only=True),
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    )
    pipeline.save_pretrained(folder)
    return folder


class RemovalFiles(NamedTuple):
    """A base model and the weights of a removal model on it, as they are published."""

    base: Path
    weights: Path


def write_cogvideox_removal(folder: Path) -> RemovalFiles:
    """Write a tiny CogVideoX base, and a whole transformer of other weights."""
    from safetensors.torch import save_file

    base = write_tiny_model(folder / "base")
    other = tiny_parts(write_tiny_model(folder / "other", seed=1)).transformer
    save_file(dict(other.state_dict()), folder / "casper.safetensors")
    return RemovalFiles(base, folder / "casper.safetensors")


def write_wan_removal(folder: Path) -> RemovalFiles:
    """Write a tiny Wan base without conditioning, and a whole transformer with it, under the original names."""
    from safetensors.torch import save_file

    base = write_tiny_wan(folder / "wan", write_tiny_model(folder / "parts") / "tokenizer")
    save_file(original_wan_names(tiny_wan_inpainter().state_dict()), folder / "casper.safetensors")
    return RemovalFiles(base, folder / "casper.safetensors")


def tiny_wan_inpainter(seed: int = 1) -> Any:
    """Wan's transformer with 36 input channels that looks at a picture too."""
    import diffusers
    import torch

    torch.manual_seed(seed)
    return diffusers.WanTransformer3DModel(**TINY_WAN | {"in_channels": 36, "image_dim": 20, "added_kv_proj_dim": 24})


def original_wan_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Wan's weights under the names in which they were first published, which VideoX-Fun keeps."""
    pairs = {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
        "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
        "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
        "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
        ".attn1.": ".self_attn.", ".attn2.": ".cross_attn.", ".to_out.0.": ".o.", ".to_q.": ".q.", ".to_k.": ".k.",
        ".to_v.": ".v.", ".add_k_proj.": ".k_img.", ".add_v_proj.": ".v_img.", ".norm_added_k.": ".norm_k_img.",
        ".norm2.": ".norm3.", ".ffn.net.0.proj.": ".ffn.0.", ".ffn.net.2.": ".ffn.2.", "proj_out": "head.head",
    }  # fmt: skip
    original = {}
    for name, weight in weights.items():
        for ours, theirs in pairs.items():
            name = name.replace(ours, theirs)
        name = "head.modulation" if name == "scale_shift_table" else name.replace("scale_shift_table", "modulation")
        original[name] = weight.contiguous()
    return original


TINY_WAN = WAN_TRANSFORMER | {"in_channels": 16}
"""Wan's architecture without conditioning."""


def write_tiny_wan(folder: Path, tokenizer: Path) -> Path:
    """Write Wan's pipeline into a folder, with the tokenizer of another."""
    import diffusers
    import torch
    import transformers

    torch.manual_seed(0)
    words = transformers.AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    text = transformers.UMT5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    transformer = diffusers.WanTransformer3DModel(**TINY_WAN)
    pipeline = diffusers.WanPipeline(
        tokenizer=words,
        text_encoder=transformers.UMT5EncoderModel(text),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    pipeline.save_pretrained(folder)
    return folder


class ModelParts(NamedTuple):
    """A loaded family."""

    folder: Path
    family: Any
    transformer: Any
    vae: Any
    text: models.TextModel
    scheduler: Any


def tiny_parts(folder: Path) -> ModelParts:
    """Write the tiny model unless it is there, and load all of it."""
    if not (folder / "scheduler").is_dir():
        write_tiny_model(folder)
    family, words = open_family(folder), models.load_text_model(folder)
    loaded = family.load_transformer(folder), family.load_vae(folder)
    return ModelParts(folder, family, *loaded, words, family.load_scheduler(folder))
