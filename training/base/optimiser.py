"""Trainable weights of the transformer, their optimiser, and their exponential moving average."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...extras import require
from ...settings import STRICT, CheckedSettings, InRange

Trainable = Literal["attn1", "transformer_blocks", "vace_blocks", "all"]
"""attn1: the self-attention of every block (1.6 of 5.6 billion weights); transformer_blocks: the blocks whole, whatever
their list is called; vace_blocks: those of VACE's branch alone."""
_BLOCKS = ("transformer_blocks", "blocks", "vace_blocks")
"""Names of lists of blocks in the transformers that are trained here."""


@dataclass(frozen=True, kw_only=True)
class LoraSettings(CheckedSettings):
    """Low-rank changes of linear layers, which learn in place of the weights themselves: a card of 24 GB does."""

    table: ClassVar[str] = "lora"
    rank: Annotated[int, InRange(1, 1024)] = 64
    alpha: Annotated[float, InRange(0.001, 4096)] | None = None
    """Factor of the changes, over the rank; None takes the rank, so that a reader that loses it does no harm."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of the names of the layers that change. These are all attention; the feed-forward layers are ff.net.0.proj
    and ff.net.2 in CogVideoX, ffn.net.0.proj and ffn.net.2 in Wan."""
    required_packages: ClassVar[Mapping[str, str]] = {"peft": "lora"}
    merge: bool = False
    """Also write the whole transformer with the changes in its weights, for programs that load no LoRA."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise ValueError("lora.targets is empty, so nothing would learn; name layers, such as to_q")

    @property
    def effective_alpha(self) -> float:
        """Alpha as a number."""
        return float(self.rank if self.alpha is None else self.alpha)

    def changes(self, layer: str) -> bool:
        """Whether a layer of this name is among the targets, as peft takes them."""
        return any(layer == target or layer.endswith(f".{target}") for target in self.targets)


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """AdamW on 32-bit weights; a constant learning rate after a warm-up."""

    __pydantic_config__ = STRICT
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 3e-2
    epsilon: float = 1e-10
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    max_grad_norm: Annotated[float, Field(gt=0)] = 0.05
    """Largest norm of the gradient; the norm before clipping is what is logged."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running mean of the weights, such as 0.999; None keeps none."""

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(self.warmup_steps, 1))


def is_trainable(name: str, trainable: Trainable) -> bool:
    """Whether a weight of this name learns."""
    words = _BLOCKS if trainable == "transformer_blocks" else (trainable,)
    return trainable == "all" or any(f".{word}." in f".{name}" for word in words)


def select_trainable(transformer: Any, trainable: Trainable | None, *, frozen_dtype: str = "float32") -> dict[str, Any]:
    """Freeze all but the selected weights, which become 32-bit masters; return those by name. None freezes all.

    Rounded to 16 bits, two thirds of all updates at this rate would be lost. The frozen ones may be 16-bit.

    Raises:
        ValueError: the transformer has no such weights.
    """
    torch = require("torch", extra="train")
    weights: dict[str, Any] = {}
    exact = set(getattr(transformer, "_keep_in_fp32_modules", None) or ())  # which its class computes in 32 bits
    for name, weight in transformer.named_parameters():
        learns = trainable is not None and is_trainable(name, trainable)
        weight.requires_grad_(learns)
        is_exact = learns or not exact.isdisjoint(name.split("."))
        weight.data = weight.data.to(torch.float32 if is_exact else getattr(torch, frozen_dtype))
        weights |= {name: weight} if learns else {}
    if trainable is not None and not weights:
        raise ValueError(f"trainable='{trainable}' names no weights of {type(transformer).__name__}; take attn1 or all")
    return weights


def build_optimiser(settings: OptimiserSettings, weights: list[Any]) -> Any:
    """AdamW over these weights, at the learning rate of step 0."""
    return require("torch", extra="train").optim.AdamW(
        weights,
        lr=settings.learning_rate_at(0),
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
    )


class Ema:
    """Exponential moving average of some weights."""

    def __init__(self, decay: float, weights: dict[str, Any]) -> None:
        self.decay = decay
        self.averages = {name: weight.detach().clone() for name, weight in weights.items()}

    def update(self, weights: dict[str, Any]) -> None:
        """Add the weights after a step to the average."""
        for name, weight in weights.items():
            self.averages[name].lerp_(weight.detach(), 1 - self.decay)
