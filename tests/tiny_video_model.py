"""A text-to-video pipeline in miniature: CogVideoX's real architecture, random weights, a folder of 1 MB.

`from effectpairs.tests.tiny_video_model import write_tiny_pipeline`.
"""

from pathlib import Path

from effectpairs.training.tiny import write_tiny_model


def write_tiny_pipeline(folder: Path) -> Path:
    """Write the pipeline into a folder, unless it is there."""
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
