"""Which captioner settings choose, which model does each of its steps, and what of its settings decides the words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from .interface.captioner import STRICT, Captioner, ClipContext, Reply
from .llm.llm_captioner import LlmCaptioner, load_prompt
from .llm.openai_compatible import OpenAiCaptioner
from .llm.transformers_local import TransformersCaptioner
from .llm.vllm_server import VllmCaptioner
from .per_step import PerStepCaptioner, load_preset
from .rule_based.captioner import MODEL, RuleBasedCaptioner

CaptionStep = Literal["describe", "refine", "augment"]
CAPTION_STEPS: tuple[CaptionStep, ...] = ("describe", "refine", "augment")
OPERATIONAL = frozenset(
    {"base_url", "api_key_env", "max_concurrency", "max_attempts", "timeout_s", "backoff_initial_s", "backoff_max_s"}
    | {"token_budget", "python_path", "gpu_memory_utilization", "enforce_eager", "startup_timeout_s", "device"}
)
"""Settings of where and how patiently a model is asked; the words do not hang on them."""


@dataclass(frozen=True, kw_only=True)
class PresetCaptioner:
    """The captioner of a file in `presets/`."""

    __pydantic_config__ = STRICT
    kind: Literal["paper", "default"]
    """paper: as the paper had it; default: open weights alone."""

    def describe(self, seen: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """As the preset's captioner does it."""
        return load_preset(self.kind).describe(seen, seed=seed, objections=objections)

    def refine(
        self, description: str, seen: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """As the preset's captioner does it."""
        return load_preset(self.kind).refine(description, seen, max_words=max_words, seed=seed, objections=objections)

    def augment(
        self, caption: str, seen: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """As the preset's captioner does it."""
        return load_preset(self.kind).augment(caption, seen, count=count, seed=seed, objections=objections)


AnyCaptioner = Annotated[
    RuleBasedCaptioner | OpenAiCaptioner | VllmCaptioner | TransformersCaptioner | PerStepCaptioner | PresetCaptioner,
    Field(discriminator="kind"),
]
"""The table `caption` of a source; its `kind` chooses."""


def captioner_for_step(chosen: AnyCaptioner, step: CaptionStep) -> Captioner:
    """Who does one step."""
    if isinstance(chosen, PresetCaptioner):
        return captioner_for_step(load_preset(chosen.kind), step)
    if isinstance(chosen, PerStepCaptioner):
        doing: Captioner = getattr(chosen, f"{step}_by")
        return doing
    return chosen


def cache_key_settings(chosen: AnyCaptioner, step: CaptionStep) -> dict[str, Any]:
    """What of the settings decides a step's words, its prompt among it: plain values for keys and provenance."""
    doing = captioner_for_step(chosen, step)
    if not isinstance(doing, LlmCaptioner):
        return {"kind": "measured", "words": MODEL}
    other = "temperature" if step == "augment" else "augment_temperature"
    left_out = OPERATIONAL | {other} | ({"max_frames", "frame_encoding"} if step != "describe" else set())
    settings = {name: value for name, value in asdict(doing).items() if name not in left_out}
    return {**settings, "prompt": load_prompt(step).sha256}


def step_concurrency(chosen: AnyCaptioner, step: CaptionStep) -> int:
    """How many clips keep a step's model busy; one for the captioner without weights."""
    return int(getattr(captioner_for_step(chosen, step), "max_concurrency", 1))


def uses_model(chosen: AnyCaptioner) -> bool:
    """Does any step ask a model?"""
    return any(isinstance(captioner_for_step(chosen, step), LlmCaptioner) for step in CAPTION_STEPS)
