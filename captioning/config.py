"""Choice of the captioner by settings: one backend for all steps, one for each step, or a preset."""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..requirements import Lack
from ..settings import STRICT, read_settings
from ..weights import WeightsRef
from .interface.captioner import Captioner
from .llm.llm_captioner import LlmCaptioner, load_prompt
from .llm.openai_compatible import OpenAiCaptioner
from .llm.transformers_local import TransformersCaptioner
from .llm.vllm_server import VllmCaptioner
from .rule_based.captioner import MODEL, RuleBasedCaptioner

CaptionStep = Literal["describe", "refine", "augment"]
CAPTION_STEPS: tuple[CaptionStep, ...] = ("describe", "refine", "augment")
SingleCaptioner = Annotated[
    RuleBasedCaptioner | OpenAiCaptioner | VllmCaptioner | TransformersCaptioner, Field(discriminator="kind")
]
OPERATIONAL = frozenset(
    {"base_url", "api_key_env", "max_concurrency", "max_attempts", "timeout_s", "backoff_initial_s", "backoff_max_s"}
    | {"token_budget", "python_path", "gpu_memory_utilization", "enforce_eager", "startup_timeout_s", "device"}
)
"""Settings of where and how patiently a model is asked, which do not change its answers."""
PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, kw_only=True)
class PerStepCaptioner:
    """Another backend for each step."""

    __pydantic_config__ = STRICT

    describe_by: SingleCaptioner
    refine_by: SingleCaptioner
    augment_by: SingleCaptioner
    kind: Literal["by-step"] = "by-step"


@dataclass(frozen=True, kw_only=True)
class PresetCaptioner:
    """Captioner of a file in `presets/`."""

    __pydantic_config__ = STRICT
    kind: Literal["paper", "default"]
    """paper: the paper's models; default: open weights alone."""

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """The weights of all its steps."""
        return tuple(ref for step in self._steps for ref in getattr(step, "required_weights", ()))

    @property
    def required_packages(self) -> dict[str, str]:
        """The packages of all its steps."""
        return {name: extra for step in self._steps for name, extra in getattr(step, "required_packages", {}).items()}

    def missing_programs(self) -> tuple[Lack, ...]:
        """Programs, keys and servers that its steps lack."""
        return tuple(
            lack for step in self._steps if hasattr(step, "missing_programs") for lack in step.missing_programs()
        )

    @property
    def _steps(self) -> tuple[Any, ...]:
        preset = load_preset(self.kind)
        return (preset.describe_by, preset.refine_by, preset.augment_by)


AnyCaptioner = Annotated[
    RuleBasedCaptioner | OpenAiCaptioner | VllmCaptioner | TransformersCaptioner | PerStepCaptioner | PresetCaptioner,
    Field(discriminator="kind"),
]
"""The table `caption` of a source; its `kind` chooses the backend."""


@cache
def load_preset(name: str) -> PerStepCaptioner:
    """Read the captioner of a preset.

    Raises:
        ValueError: there is none of that name.
    """
    names = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in names:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(names)}")
    return read_settings(PerStepCaptioner, PRESETS / f"{name}.toml")


def captioner_for_step(settings: AnyCaptioner, step: CaptionStep) -> Captioner:
    """Return the captioner that does one step."""
    if isinstance(settings, PresetCaptioner):
        settings = load_preset(settings.kind)
    if isinstance(settings, PerStepCaptioner):
        captioner: Captioner = getattr(settings, f"{step}_by")
        return captioner
    return settings


def cache_key_settings(settings: AnyCaptioner, step: CaptionStep) -> dict[str, Any]:
    """Return the plain settings that decide a step's words, with its prompt's digest, for keys and provenance."""
    captioner = captioner_for_step(settings, step)
    if not isinstance(captioner, LlmCaptioner):
        return {"kind": "measured", "words": MODEL}
    unused = {"temperature" if step == "augment" else "augment_temperature"}
    if step != "describe":
        unused |= {"max_frames", "frame_encoding"}
    values = {name: value for name, value in asdict(captioner).items() if name not in OPERATIONAL | unused}
    return {**values, "prompt": load_prompt(step).sha256}
