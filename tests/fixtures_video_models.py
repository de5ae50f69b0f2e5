"""Tiny video models: the architectures of the base model, CogVideoX and Wan with random weights, folders of 1 MB."""

from pathlib import Path
from typing import Any, NamedTuple

from effectpairs.training.base import models
from effectpairs.training.base.tiny import write_tiny_model


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


def write_tiny_wan(folder: Path, tokenizer: Path) -> Path:
    """Write Wan's pipeline into a folder, with the tokenizer of another."""
    import diffusers
    import torch
    import transformers

    torch.manual_seed(0)
    words = transformers.AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    text = transformers.UMT5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=32, ffn_dim=32, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    pipeline = diffusers.WanPipeline(
        tokenizer=words,
        text_encoder=transformers.UMT5EncoderModel(text),
        vae=diffusers.AutoencoderKLWan(
            base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    pipeline.save_pretrained(folder)
    return folder


class ModelParts(NamedTuple):
    """A loaded family."""

    folder: Path
    transformer: Any
    vae: Any
    text: models.TextModel
    scheduler: Any


def tiny_parts(folder: Path) -> ModelParts:
    """Write the tiny model unless it is there, and load all of it."""
    if not (folder / "scheduler").is_dir():
        write_tiny_model(folder)
    words, transformer = models.load_text_model(folder), models.load_transformer(folder)
    return ModelParts(folder, transformer, models.load_vae(folder), words, models.load_scheduler(folder))
