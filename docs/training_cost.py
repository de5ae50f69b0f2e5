"""Cost of training the real models, computed from their shapes: `python docs/training_cost.py`.

Writes docs/training_cost.md. Nothing here was measured on a GPU; the utilisations below are assumptions. Memory is
estimated by `training/base/memory.py`, as a run estimates its own before it loads anything.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from effectpairs.training.base.memory import GB, TrainingPlan, estimate_memory, lora_parameters, token_count
from effectpairs.training.base.optimiser import LoraSettings, is_trainable
from effectpairs.training.configs.config import load_training
from effectpairs.training.run import CONFIGS

FRAMES, HEIGHT, ROW = 85, 384, 672
LATENTS = ((FRAMES - 1) // 4 + 1, HEIGHT // 8, ROW // 8)
STEPS = 1000
TERA = 1e12
CARDS = {"24 GB (RTX 4090)": (24, 165, 0.35), "48 GB (RTX A6000)": (48, 155, 0.35), "80 GB (A100)": (80, 312, 0.40)}
"""Memory, dense bf16 TFLOP/s by the maker, and the share of it that is assumed to be reached."""
USABLE = 0.95
"""Share of a card's memory that a process gets."""
COUNTS = (1, 2, 4, 8)
METHODS = {"full attention": (None, 32), "LoRA, rank 64": (LoraSettings(rank=64), 8)}
"""The low-rank changes, if any, and samples in a step."""
PRESETS = {"overpp-8gpu": "cogvideox", "overpp-lora-24gb": "cogvideox", "overpp-lora-48gb": "cogvideox",
           "wan-fun-1gpu": "wan-fun", "wan-vace-1gpu": "wan-vace", "wan-fun-lora-24gb": "wan-fun",
           "wan-fun-lora-48gb": "wan-fun"}  # fmt: skip
WAN = {
    "patch_size": (1, 2, 2), "num_attention_heads": 12, "attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256,
    "ffn_dim": 8960, "num_layers": 30, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Family:
    """A published transformer, with the cost of its autoencoder and text encoder in TFLOP a clip."""

    title: str
    model: str
    config: Mapping[str, Any]
    encode: float | None = None
    decode: float | None = None
    text: float | None = None


FAMILIES = {
    # The autoencoder's by PyTorch's counter, decoded as `training/base/encoders.py` does.
    "cogvideox": Family(
        title="CogVideoX-Fun V1.5 5B InP", model="CogVideoXTransformer3DModel", encode=192.0, decode=427.0, text=2.1,
        config={"num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 33, "out_channels": 16,
                "time_embed_dim": 512, "text_embed_dim": 4096, "num_layers": 42, "sample_width": 300,
                "sample_height": 300, "sample_frames": 81, "patch_size": 2, "patch_size_t": 2,
                "max_text_seq_length": 226, "use_rotary_positional_embeddings": True},
    ),
    "wan-fun": Family(
        title="Wan 2.1 Fun 1.3B InP", model="WanTransformer3DModel",
        config=WAN | {"in_channels": 36, "out_channels": 16, "image_dim": 1280, "added_kv_proj_dim": 1536},
    ),
    "wan-vace": Family(
        title="Wan 2.1 VACE 1.3B", model="WanVACETransformer3DModel",
        config=WAN | {"in_channels": 16, "out_channels": 16, "vace_in_channels": 96,
                      "vace_layers": list(range(0, 30, 2))},
    ),
}  # fmt: skip


def weight_shapes(family: Family) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights, by name; none is allocated."""
    with torch.device("meta"):
        transformer = getattr(diffusers, family.model)(**family.config)
    return {name: tuple(weight.shape) for name, weight in transformer.named_parameters()}


def step_tflop(family: Family, shapes: Mapping[str, tuple[int, ...]], lora: LoraSettings | None) -> dict[str, float]:
    """Operations for one sample; multiply-adds count twice. Blocks are computed again in the backward pass."""
    tokens = token_count(family.config, LATENTS)
    rows = {name: _rows(name, tokens) for name, shape in shapes.items() if "blocks." in name and len(shape) == 2}
    work = {name: 2 * count * math.prod(shapes[name]) for name, count in rows.items()}
    blocks = len({name.split(".attn1.")[0] for name in rows if ".attn1." in name})
    width = family.config["num_attention_heads"] * family.config["attention_head_dim"]
    read = tokens + (512 if any(".attn2." in name for name in rows) else 0)
    read += 257 if any(".add_k_proj." in name for name in rows) else 0
    scores = 4 * tokens * read * width * blocks
    if lora is None:
        extra, learning = 0, sum(count for name, count in work.items() if is_trainable(name, "attn1"))
    else:
        extra = learning = 2 * tokens * lora_parameters(shapes, lora)
    forward = sum(work.values()) + scores + extra
    backward = sum(work.values()) + 2 * scores + extra + learning
    return {"forward": forward / TERA, "backward": backward / TERA, "step": (2 * forward + backward) / TERA}


def learning_count(shapes: Mapping[str, tuple[int, ...]], lora: LoraSettings | None) -> int:
    """Count of the numbers that learn."""
    if lora is not None:
        return lora_parameters(shapes, lora)
    return sum(math.prod(shape) for name, shape in shapes.items() if is_trainable(name, "attn1"))


def memory_gb(family: Family, shapes: Mapping[str, tuple[int, ...]], lora: LoraSettings | None, cards: int) -> float:
    """Memory of each card under ZeRO-2, or of one."""
    plan = TrainingPlan(trainable="attn1", lora=lora, bf16=True, gradient_checkpointing=True, batch=1,
                        processes=cards, sharing="optimiser")  # fmt: skip
    return estimate_memory(shapes, family.config, LATENTS, plan).total / GB


def _rows(name: str, tokens: int) -> int:
    """Rows that a linear layer of a block is applied to."""
    if ".norm" in name or "scale_shift_table" in name:
        return 1
    if ".add_" in name:
        return 257
    return 512 if ".attn2.to_k." in name or ".attn2.to_v." in name else tokens


def cost_rows(family: Family) -> list[str]:
    """Rows of a family: each method on each card."""
    shapes, lines = weight_shapes(family), []
    for method, (lora, samples) in METHODS.items():
        learning = learning_count(shapes, lora)
        step = step_tflop(family, shapes, lora)["step"]
        for card, (size, peak, share) in CARDS.items():
            needs = {count: memory_gb(family, shapes, lora, count) for count in COUNTS}
            fitting = next((count for count, need in needs.items() if need <= USABLE * size), None)
            start = f"| {family.title} | {method} | {learning / 1e6:,.0f} M | {card} | {needs[1]:.0f} | "
            if fitting is None:
                lines.append(f"{start}none of {', '.join(map(str, COUNTS))} | {needs[COUNTS[-1]]:.0f} | - | - |")
                continue
            seconds = step / (peak * share) * samples / fitting
            hours = seconds * STEPS / 3600
            lines.append(f"{start}{fitting} | {needs[fitting]:.0f} | {samples}: {seconds:,.0f} | {hours:,.0f} |")
    return lines


def preset_rows() -> list[str]:
    """Memory of the configs of training/configs, each on one card, or on eight under ZeRO-2."""
    lines = []
    for name, family_name in PRESETS.items():
        settings, family = load_training(CONFIGS / f"{name}.toml"), FAMILIES[family_name]
        plan = settings.memory_plan(8 if "8gpu" in name else 1, "optimiser")
        estimate = estimate_memory(weight_shapes(family), family.config, LATENTS, plan)
        parts = (estimate.weights, estimate.gradient + estimate.moments, estimate.activations, estimate.total)
        lines.append(f"| `{name}` | {plan.processes} | " + " | ".join(f"{part / GB:.1f}" for part in parts) + " |")
    return lines


def family_lines(family: Family) -> list[str]:
    """A family's size and work."""
    shapes = weight_shapes(family)
    full, low = (step_tflop(family, shapes, lora) for lora, _ in METHODS.values())
    learning = {method: learning_count(shapes, lora) for method, (lora, _) in METHODS.items()}
    lines = [
        f"- **{family.title}**: {sum(map(math.prod, shapes.values())):,} weights, "
        f"{token_count(family.config, LATENTS):,} tokens a clip. Forward pass {full['forward']:.0f} TFLOP; a training "
        f"sample {full['step']:.0f} where attention learns, {low['step']:.0f} with LoRA. 50 guided steps of sampling "
        f"take {full['forward'] / 10:.1f} PFLOP. A checkpoint has {12 * learning['full attention'] / GB:.1f} GB, with "
        f"LoRA {12 * learning['LoRA, rank 64'] / GB:.1f}: 12 bytes for each number that learns."
    ]
    if family.encode is not None and family.text is not None:
        lines[0] += (
            f" Encoding a pair and its caption on the fly would add {2 * family.encode + family.text:.0f}, decoding a "
            f"clip takes {family.decode:.0f}."
        )
    return lines


def page() -> list[str]:
    """The page."""
    assumed = ", ".join(f"{share:.0%} of {peak} TFLOP/s on {card}" for card, (_, peak, share) in CARDS.items())
    return [
        "# What training should cost: an estimate",
        "",
        "Computed from the models' shapes by `docs/training_cost.py`; **nothing on this page was measured**.",
        f"A clip has {FRAMES}x{HEIGHT}x{ROW}; its latents are cached, the batch of a card is 1, blocks are computed",
        "again in the backward pass. What learns is kept in 32 bits, the rest in 16.",
        "",
        *(line for family in FAMILIES.values() for line in family_lines(family)),
        "",
        "\"Cards\" is the least number of 1, 2, 4 and 8 on which it fits, which share gradient and moments (ZeRO-2); "
        f"{USABLE:.0%} of a card counts as usable. Hours are of {STEPS:,} steps.",
        "",
        "| family | method | learns | card | GB on one | cards | GB on each | samples: s a step | hours |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line for family in FAMILIES.values() for line in cost_rows(family)),
        "",
        f"Assumed to be reached: {assumed}.",
        "Communication between cards, loading and validation are not counted.",
        "",
        "| config | cards | GB of weights | of gradient and moments | of activations | in all, with 1 GB in reserve |",
        "|---|---|---|---|---|---|",
        *preset_rows(),
        "",
        "A run makes the same estimate of itself before it loads weights, and is refused where it does not fit",
        "(`check_memory = false` takes it all the same).",
    ]  # fmt: skip


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text("\n".join(page()) + "\n")
