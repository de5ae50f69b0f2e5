"""Another model for each step, and the presets: `paper`, as the paper had it, and `default`, open weights alone."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from .interface.captioner import STRICT, ClipContext, Reply
from .llm.openai_compatible import OpenAiCaptioner
from .llm.transformers_local import TransformersCaptioner
from .llm.vllm_server import VllmCaptioner
from .rule_based.captioner import RuleBasedCaptioner

SingleCaptioner = Annotated[
    RuleBasedCaptioner | OpenAiCaptioner | VllmCaptioner | TransformersCaptioner, Field(discriminator="kind")
]
PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class PerStepCaptioner:
    """A captioner whose steps are done by several."""

    __pydantic_config__ = STRICT

    describe_by: SingleCaptioner
    refine_by: SingleCaptioner
    augment_by: SingleCaptioner
    kind: Literal["by-step"] = "by-step"

    def describe(self, seen: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """As describe_by does it."""
        return self.describe_by.describe(seen, seed=seed, objections=objections)

    def refine(
        self, description: str, seen: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """As refine_by does it."""
        return self.refine_by.refine(description, seen, max_words=max_words, seed=seed, objections=objections)

    def augment(
        self, caption: str, seen: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """As augment_by does it."""
        return self.augment_by.augment(caption, seen, count=count, seed=seed, objections=objections)


def load_preset(name: str) -> PerStepCaptioner:
    """The captioner of a preset.

    Raises:
        ValueError: there is none of that name.
    """
    names = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in names:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(names)}")
    return TypeAdapter(PerStepCaptioner).validate_python(tomllib.loads((PRESETS / f"{name}.toml").read_text()))
