"""Which captioner settings choose, which model does each of its steps, and what of its settings decides the words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from .interface.captioner import STRICT, Captioner, Reply, Seen
from .llm.llm_captioner import Prompted, prompt
from .llm.openai_compatible import OpenAi
from .llm.transformers_local import Transformers
from .llm.vllm_server import Vllm
from .per_step import ByStep, preset
from .rule_based.captioner import MODEL, Measured

Step = Literal["describe", "refine", "augment"]
STEPS: tuple[Step, ...] = ("describe", "refine", "augment")
OPERATIONAL = frozenset(
    {"base_url", "key_variable", "at_once", "tries", "answer_deadline_s", "first_wait_s", "longest_wait_s"}
    | {"budget_tokens", "python", "memory_share", "enforce_eager", "start_s", "device"}
)
"""Settings of where and how patiently a model is asked; the words do not hang on them."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The captioner of a file in `presets/`."""

    __pydantic_config__ = STRICT
    kind: Literal["paper", "default"]
    """paper: as the paper had it; default: open weights alone."""

    def describe(self, seen: Seen, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """As the preset's captioner does it."""
        return preset(self.kind).describe(seen, seed=seed, objections=objections)

    def refine(
        self, description: str, seen: Seen, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """As the preset's captioner does it."""
        return preset(self.kind).refine(description, seen, max_words=max_words, seed=seed, objections=objections)

    def augment(
        self, caption: str, seen: Seen, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """As the preset's captioner does it."""
        return preset(self.kind).augment(caption, seen, count=count, seed=seed, objections=objections)


ChosenCaptioner = Annotated[Measured | OpenAi | Vllm | Transformers | ByStep | Preset, Field(discriminator="kind")]
"""The table `caption` of a source; its `kind` chooses."""


def captioner_of(chosen: ChosenCaptioner, step: Step) -> Captioner:
    """Who does one step."""
    if isinstance(chosen, Preset):
        return captioner_of(preset(chosen.kind), step)
    if isinstance(chosen, ByStep):
        doing: Captioner = getattr(chosen, f"{step}_by")
        return doing
    return chosen


def decisive(chosen: ChosenCaptioner, step: Step) -> dict[str, Any]:
    """What of the settings decides a step's words, its prompt among it: plain values for keys and provenance."""
    doing = captioner_of(chosen, step)
    if not isinstance(doing, Prompted):
        return {"kind": "measured", "words": MODEL}
    other = "temperature" if step == "augment" else "augment_temperature"
    left_out = OPERATIONAL | {other} | ({"max_frames", "frames_as"} if step != "describe" else set())
    settings = {name: value for name, value in asdict(doing).items() if name not in left_out}
    return {**settings, "prompt": prompt(step).sha256}


def at_once(chosen: ChosenCaptioner, step: Step) -> int:
    """How many clips keep a step's model busy; one for the captioner without weights."""
    return int(getattr(captioner_of(chosen, step), "at_once", 1))


def is_asked(chosen: ChosenCaptioner) -> bool:
    """Does any step ask a model?"""
    return any(isinstance(captioner_of(chosen, step), Prompted) for step in STEPS)
