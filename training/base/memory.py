"""Memory that training or sampling takes of a card, estimated from shapes before any weight is loaded; needs no torch.

An estimate: no card was at hand to measure it on. Counted for training are the weights (what learns in 32 bits, the
rest in the precision of the run), 16-bit copies of what learns that autocast keeps, gradient and two moments of AdamW,
a running mean, and activations. With gradient checkpointing a block keeps its input alone and one block at a time is
computed again, at about 16 tensors of a token's width; without it a block keeps about 22, or 32 where all its weights
learn.

Sampling holds the weights of all parts, or of one at a time with offload, and what the part at work needs: the block at
work of the transformer (11 tensors of a token's width in CogVideoX, 16 in Wan, 18 in VACE, traced without computing
anything), or what a family's autoencoder holds while it decodes a run of frames (`Family.decoding_numbers`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from ...extras import require
from .optimiser import LoraSettings, Trainable, is_trainable

RECOMPUTED_TENSORS, SAVED_TENSORS, SAVED_BY_ALL = 16, 22, 32
"""Tensors of a token's width: of the block at work, and of every block without gradient checkpointing."""
RESERVE = 1.0e9
"""Bytes of the device's own context and of what lies between allocations."""
GB = 1e9
_REMEDIES = {
    "training": "train a LoRA (configs *-lora-24gb), set gradient_checkpointing = true, lower batch, cache.size or "
    "cache.frames, share by ZeRO-2, or set check_memory = false",
    "sampling": "give a smaller --size, --sequential-cfg, on a GPU --cpu-offload, or --no-memory-check to try it all "
    "the same",
}
Sharing = Literal["none", "optimiser", "all"]
"""Parts that the processes share: none (DDP), gradient and moments (ZeRO-2), everything (FSDP)."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Settings of a run that decide its memory."""

    trainable: Trainable
    lora: LoraSettings | None
    bf16: bool
    gradient_checkpointing: bool
    batch: int
    ema: bool = False
    processes: int = 1
    sharing: Sharing = "none"


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes of a process, by part."""

    learning: int
    """Count of the numbers that learn, not bytes."""
    weights: float
    gradient: float
    moments: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, with the reserve."""
        return self.weights + self.gradient + self.moments + self.activations + RESERVE


def estimate_memory(
    shapes: Mapping[str, Sequence[int]], config: Mapping[str, Any], latents: tuple[int, int, int], plan: TrainingPlan
) -> MemoryEstimate:
    """Estimate the memory of a training step.

    Args:
        shapes: shape of every weight of the transformer by its name.
        config: the transformer's own.
        latents: frames, rows and columns of a sample's latents.
        plan: the run.
    """
    counts = {name: math.prod(shape) for name, shape in shapes.items()}
    count = sum(counts.values())
    if plan.lora is None:
        learning = sum(each for name, each in counts.items() if is_trainable(name, plan.trainable))
        frozen = count - learning
    else:
        learning, frozen = lora_parameters(shapes, plan.lora), count
    item = 2 if plan.bf16 else 4
    copies = 2 * learning if plan.bf16 else 0
    shared = {"none": (1, 1), "optimiser": (1, plan.processes), "all": (plan.processes, plan.processes)}
    weight_share, state_share = shared[plan.sharing]
    return MemoryEstimate(
        learning=learning,
        weights=(frozen * item + learning * (8 if plan.ema else 4)) / weight_share + copies,
        gradient=4 * learning / state_share,
        moments=8 * learning / state_share,
        activations=float(plan.batch * token_count(config, latents) * item * _kept_width(config, plan)),
    )


def lora_parameters(shapes: Mapping[str, Sequence[int]], settings: LoraSettings) -> int:
    """Count of the numbers that an adapter learns on a transformer of these weights."""
    layers = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    return settings.rank * sum(sum(shape) for layer, shape in layers.items() if settings.changes(layer))


def token_count(config: Mapping[str, Any], latents: tuple[int, int, int]) -> int:
    """Tokens of a sample: patches of its latents, and the text where it goes through the same blocks (CogVideoX)."""
    patch = config["patch_size"]
    patch = patch if isinstance(patch, tuple | list) else (config.get("patch_size_t") or 1, patch, patch)
    patches = int(math.prod(side // size for side, size in zip(latents, patch, strict=True)))
    return patches + int(config.get("max_text_seq_length", 0))


def estimate_sampling(weights: Mapping[str, int], work: Mapping[str, int], item: int, *, offload: bool) -> float:
    """Estimate the bytes of sampling.

    Args:
        weights: count of each part's weights.
        work: count of the numbers that a part holds while it works; one works at a time.
        item: bytes of a number.
        offload: only the part at work is on the device.
    """
    if offload:
        return item * max(count + work.get(part, 0) for part, count in weights.items()) + RESERVE
    return item * (sum(weights.values()) + max(work.values())) + RESERVE


def block_numbers(config: Mapping[str, Any], latents: tuple[int, int, int]) -> int:
    """Numbers that a transformer's block holds for one sample while it works and nothing learns."""
    width: int = config["num_attention_heads"] * config["attention_head_dim"]
    return token_count(config, latents) * width * RECOMPUTED_TENSORS


def check_memory(needed_bytes: float, available: int, device: str, *, work: str = "training") -> None:
    """Refuse work ("training" or "sampling") that does not fit.

    Raises:
        ValueError: naming the estimate, the memory and what to change.
    """
    if needed_bytes > available:
        raise ValueError(
            f"{work} takes about {needed_bytes / GB:.1f} GB of memory a process, as estimated from shapes, and "
            f"{device} has {available / GB:.1f} GB free; {_REMEDIES[work]}"
        )


def free_memory_bytes(device: str) -> int:
    """Memory of a device that nothing takes yet."""
    if not device.startswith("cuda"):
        return int(psutil.virtual_memory().available)
    torch = require("torch", extra="train")
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def _kept_width(config: Mapping[str, Any], plan: TrainingPlan) -> int:
    """Numbers that a token leaves behind for the backward pass."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    blocks = config["num_layers"] + len(config.get("vace_layers") or ())
    if plan.gradient_checkpointing:
        return int(width * (blocks + RECOMPUTED_TENSORS))
    tensors = SAVED_BY_ALL if plan.lora is None and plan.trainable != "attn1" else SAVED_TENSORS
    return int(width * blocks * tensors)
