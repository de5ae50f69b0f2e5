"""Tiny networks to track with: the classes of SAM 2, EdgeTAM and SAM 3 with random weights, folders of 4 to 25 MB."""

import json
import shutil
from pathlib import Path
from typing import Any

SIDE_PX = 128
"""Side of the picture that the networks see."""
HIDDEN = 128
DECODER = {
    "hidden_size": HIDDEN,
    "mlp_dim": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}
MEMORY = {
    "memory_attention_hidden_size": HIDDEN,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": HIDDEN,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": HIDDEN,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": HIDDEN,
    "memory_fuser_intermediate_dim": 32,
}


def hiera_config(side: int) -> dict[str, Any]:
    """Image encoder of five blocks."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [side, side],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 1, 1],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    return {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
        "fpn_hidden_size": HIDDEN,
    }


def write_sam2(folder: Path, *, side: int = SIDE_PX, seed: int = 0) -> Path:
    """Write SAM 2 for videos: 885,000 weights."""
    import torch
    import transformers

    torch.manual_seed(seed)
    grid = [side // 16] * 2
    config = transformers.Sam2VideoConfig(
        vision_config=hiera_config(side),
        prompt_encoder_config={"hidden_size": HIDDEN, "image_size": side, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
        image_size=side,
        memory_attention_rope_feat_sizes=grid,
        memory_attention_feed_forward_hidden_size=32,
        **MEMORY,
    )
    return _write(folder, transformers.Sam2VideoModel(config), _processor(side))


def write_edgetam(folder: Path) -> Path:
    """Write EdgeTAM for videos, on the same image encoder: its own needs the package timm."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.EdgeTamVideoConfig(
        vision_config=hiera_config(SIDE_PX),
        prompt_encoder_config={"hidden_size": HIDDEN, "image_size": SIDE_PX, "mask_input_channels": 4},
        mask_decoder_config=DECODER,
        image_size=SIDE_PX,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_attention_rope_k_sizes=[4, 4],
        memory_attention_mlp_hidden_size=32,
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_mlp_intermediate_size=32,
        perceiver_resampler_num_layers=1,
        **MEMORY,
    )
    return _write(folder, transformers.EdgeTamVideoModel(config), _processor(SIDE_PX))


def write_sam3(folder: Path) -> Path:
    """Write SAM 3 for videos, its thresholds so low that random weights find something for every noun."""
    import torch
    import transformers

    torch.manual_seed(0)
    side, patch = 112, 14
    grid = side // patch
    small = {"hidden_size": HIDDEN, "num_attention_heads": 2, "intermediate_size": 32}
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": side,
            "patch_size": patch,
            "window_size": 4,
            "global_attn_indexes": [1],
            "pretrain_image_size": 56,
        },
        "fpn_hidden_size": HIDDEN,
        "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
    }
    text = {"model_type": "clip_text_model", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32}
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32, "projection_dim": 32}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": text,
        "geometry_encoder_config": small | {"num_layers": 1},
        "detr_encoder_config": small | {"num_layers": 1},
        "detr_decoder_config": small | {"num_layers": 1, "num_queries": 4},
        "mask_decoder_config": {"hidden_size": HIDDEN, "num_attention_heads": 2},
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": HIDDEN, "image_size": side, "patch_size": patch, "mask_input_channels": 4,
        },
        "mask_decoder_config": DECODER,
        "image_size": side,
        "memory_attention_rope_feat_sizes": [grid, grid],
        "memory_attention_feed_forward_hidden_size": 32,
        **MEMORY,
    }  # fmt: skip
    finds_all = {"score_threshold_detection": 0.0, "new_det_thresh": 0.0, "det_nms_thresh": 1.0}
    finds_all |= {"hotstart_delay": 0, "hotstart_unmatch_thresh": 0, "hotstart_dup_thresh": 0, "fill_hole_area": 0}
    config = transformers.Sam3VideoConfig(
        detector_config=detector, tracker_config=tracker, low_res_mask_size=4 * grid, **finds_all
    )
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    square = {"size": {"height": side, "width": side}}
    processor = transformers.Sam3VideoProcessor(
        transformers.Sam3ImageProcessor(mask_size={"height": 4 * grid, "width": 4 * grid}, **square),
        transformers.Sam2VideoVideoProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3, **square),
        transformers.CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[]),
    )
    return _write(folder, transformers.Sam3VideoModel(config), processor)


def write_package_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of the `sam2` package with its settings beside it: its tiny size, smaller still."""
    import sam2
    import torch
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    config = OmegaConf.load(Path(sam2.__path__[0], "configs", "sam2.1", "sam2.1_hiera_t.yaml"))
    model = config.model
    model.image_size = SIDE_PX
    trunk = model.image_encoder.trunk
    trunk.embed_dim, trunk.stages, trunk.global_att_blocks = 8, [1, 1, 2, 1], [3]
    model.image_encoder.neck.backbone_channel_list = [64, 32, 16, 8]
    model.memory_attention.num_layers = 1
    model.memory_attention.layer.dim_feedforward = 32
    for attention in ("self_attention", "cross_attention"):
        model.memory_attention.layer[attention].feat_sizes = [SIDE_PX // 16] * 2
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    torch.save({"model": instantiate(model, _recursive_=True).state_dict()}, folder / "small.pt")
    OmegaConf.save(config, folder / "small.yaml")
    return folder


def _processor(side: int) -> Any:
    import transformers

    square = {"size": {"height": side, "width": side}}
    return transformers.Sam2VideoProcessor(
        image_processor=transformers.Sam2ImageProcessor(mask_size={"height": side // 4, "width": side // 4}, **square),
        video_processor=transformers.Sam2VideoVideoProcessor(**square),
    )


def _write(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def copy_model(folder: Path, to: Path) -> Path:
    """Copy a model's folder."""
    return Path(shutil.copytree(folder, to))


def change_config(folder: Path, **values: Any) -> None:
    """Change values of a model's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
