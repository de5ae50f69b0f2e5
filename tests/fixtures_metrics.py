"""Networks of the real architectures with weights made here, and other inputs of metrics that need weights."""

import sys
from pathlib import Path

import numpy as np
import torch
from effectpairs.training.evaluation.metric import Sample
from effectpairs.training.evaluation.video_metrics import VBench

CONVOLUTIONS = ((0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3))
WORDS = ("<|startoftext|>", "<|endoftext|>", "a", "square", "drags", "its", "shadow", "over", "the", "floor")


def write_clip(folder: Path, *, trained: bool = True, seed: int = 0) -> Path:
    """A small CLIP; a trained one has moved its temperature."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 1, "bos_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16)
    torch.manual_seed(seed)
    model = CLIPModel(config)
    if trained:
        model.logit_scale.data.fill_(4.6)
    model.save_pretrained(folder)
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 0), ("<|endoftext|>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    return folder


def alexnet(seed: int = 0) -> dict[str, torch.Tensor]:
    """The convolutions of AlexNet, named as torchvision names them."""
    made = torch.Generator().manual_seed(seed)
    state = {}
    for number, inward, outward, side in CONVOLUTIONS:
        scale = (2 / (inward * side * side)) ** 0.5
        state[f"features.{number}.weight"] = torch.randn(outward, inward, side, side, generator=made) * scale
        state[f"features.{number}.bias"] = torch.randn(outward, generator=made) * 0.1
    return state


def heads(seed: int = 0) -> dict[str, torch.Tensor]:
    """The layers' weights, named as lpips names them."""
    made = torch.Generator().manual_seed(seed)
    widths = (64, 192, 384, 256, 256)
    return {
        f"lin{number}.model.1.weight": torch.rand(1, width, 1, 1, generator=made) for number, width in enumerate(widths)
    }


def sample(gt, result, over=None, caption="a square drags its shadow over the floor"):
    over = gt if over is None else over
    return Sample(clip_id="one", gt=gt, over=over, result=result, caption=caption, fps=16.0)


def noise(seed, shape=(3, 40, 56, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def length_bench(folder: Path) -> VBench:
    """An environment whose VBench scores a caption by its length."""
    python, weights = folder / "python", folder / "viclip.pth"
    weights.write_bytes(b"weights")
    python.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "captions = json.load(open(sys.argv[3]))\n"
        "assert all(os.path.dirname(path) == sys.argv[4] for path in captions)\n"
        "found = [{'video_path': path, 'video_results': len(text) / 100} for path, text in captions.items()]\n"
        "json.dump({'overall_consistency': [0, found]}, open(f'{sys.argv[5]}/{sys.argv[6]}_eval_results.json', 'w'))\n"
    )
    python.chmod(0o755)
    return VBench(python=str(python), weights=weights)


def value_of(lines, method, name, level="all", key=""):
    found = [line.value for line in lines if (line.method, line.level, line.key) == (method, level, key)]
    return next(value for value in found if value.name == name)
