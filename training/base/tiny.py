"""Tiny base models: random weights, the real architectures, 0.15 million parameters, folders of 1 MB.

For tests, the demo and continuous integration. They have the layout of a real model's folder (transformer, vae,
text_encoder, tokenizer, scheduler), so everything that loads the real one loads them.
"""

import json
import shutil
import string
from pathlib import Path
from typing import Any, Literal

from ...extras import require

TEXT_LENGTH = 32
"""Tokens of a caption; the real one has 226."""
_WORDS = ("a", "the", "of", "and", "in", "on", "shadow", "splash", "dust", "smoke", "reflection", "water", "square")

VAE = {
    "block_out_channels": (8, 8, 8, 8),
    "norm_num_groups": 2,
    "layers_per_block": 1,
    "latent_channels": 16,
    "scaling_factor": 0.7,
    "sample_height": 64,
    "sample_width": 96,
}
TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 33,
    "out_channels": 16,
    "time_embed_dim": 8,
    "text_embed_dim": 32,
    "num_layers": 2,
    "sample_width": 300,
    "sample_height": 300,
    "sample_frames": 81,
    "patch_size": 2,
    "patch_size_t": 2,
    "max_text_seq_length": TEXT_LENGTH,
    "use_rotary_positional_embeddings": True,
    "patch_bias": False,
}
SMALL = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": 100,
    "out_channels": 48,
    "time_embed_dim": 64,
    "num_layers": 3,
    "patch_size_t": 1,
}
"""Changes of the tiny transformer in the one that a CPU trains, on pixels (see `pixel_shuffle`)."""
TEXT_ENCODER = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}
WAN_TRANSFORMER = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 32,
}
WAN_VAE = {
    "base_dim": 4,
    "z_dim": 16,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
VACE = {"in_channels": 16, "vace_layers": [0], "vace_in_channels": 96}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
    "set_alpha_to_one": True,
    "clip_sample": False,
}


Kind = Literal["tiny", "tiny-wan", "tiny-vace", "small"]
"""CogVideoX-Fun InP, Wan 2.1 Fun InP without its encoder of pictures, Wan 2.1 VACE; CogVideoX on pixels, which has
3 million weights."""


def tiny_config(kind: Kind) -> dict[str, Any]:
    """Config of a kind's transformer as far as it tells the family."""
    wan = {"tiny-wan": "WanTransformer3DModel", "tiny-vace": "WanVACETransformer3DModel"}
    config = WAN_TRANSFORMER if kind in wan else TRANSFORMER | (SMALL if kind == "small" else {})
    channels = {name: config[name] for name in ("in_channels", "out_channels")}
    return {"_class_name": wan.get(kind, "CogVideoXTransformer3DModel"), **channels}


def write_tiny_model(folder: Path, *, kind: Kind = "tiny", seed: int = 0, **transformer: Any) -> Path:
    """Write a model into a folder, the same for the same seed; transformer settings may be changed by name."""
    torch, diffusers = require("torch", extra="train"), require("diffusers", extra="train")
    transformers = require("transformers", extra="train")
    transformers.utils.logging.disable_progress_bar()
    # Longer pieces score higher, so words that the tokenizer knows stay whole.
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    letters = [(letter, -8.0) for letter in ("▁", *string.ascii_letters, *string.digits, *string.punctuation)]
    vocabulary = [*special, *letters, *((f"▁{word}", -4.0) for word in _WORDS)]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=TEXT_LENGTH)
    text = {"vocab_size": len(tokenizer), "dropout_rate": 0.0, **TEXT_ENCODER}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind in ("tiny", "small"):
            changes = (SMALL if kind == "small" else {}) | transformer
            parts = {
                "transformer": diffusers.CogVideoXTransformer3DModel(**TRANSFORMER | changes),
                "vae": diffusers.AutoencoderKLCogVideoX(**VAE),
                "text_encoder": transformers.T5EncoderModel(transformers.T5Config(**text)),
                "scheduler": diffusers.DDIMScheduler(**SCHEDULER),
            }
        else:
            model = getattr(diffusers, tiny_config(kind)["_class_name"])
            parts = {
                "transformer": model(**WAN_TRANSFORMER | (VACE if kind == "tiny-vace" else {}) | transformer),
                "vae": diffusers.AutoencoderKLWan(**WAN_VAE),
                "text_encoder": transformers.UMT5EncoderModel(transformers.UMT5Config(**text)),
                "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            }
        parts["tokenizer"] = tokenizer
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    if kind == "small":
        shutil.rmtree(folder / "vae")
        (folder / "vae").mkdir()
        (folder / "vae" / "config.json").write_text(json.dumps({"_class_name": "PixelShuffle"}))
    return folder
