"""Trainable weights of the transformer, their optimiser, and their exponential moving average."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ...extras import require
from ...settings import STRICT

Trainable = Literal["attn1", "transformer_blocks", "all"]
"""attn1: the attention of every block (1.6 of 5.6 billion weights); transformer_blocks: those whole."""


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


def select_trainable(transformer: Any, trainable: Trainable, *, frozen_dtype: str = "float32") -> dict[str, Any]:
    """Freeze all but the selected weights, which become 32-bit masters; return those by name.

    Rounded to 16 bits, two thirds of all updates at this rate would be lost. The frozen ones may be 16-bit.
    """
    torch = require("torch", extra="train")
    weights: dict[str, Any] = {}
    for name, weight in transformer.named_parameters():
        learns = trainable == "all" or f".{trainable}." in f".{name}"
        weight.requires_grad_(learns)
        weight.data = weight.data.to(torch.float32 if learns else getattr(torch, frozen_dtype))
        weights |= {name: weight} if learns else {}
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
