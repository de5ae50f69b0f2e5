"""What is asked of a captioner: describe a clip, refine the description to a caption, augment the caption.

A backend IS its settings: a small frozen value chosen by its `kind`. Each step gives a reply with all that provenance
asks for; `asking.py` checks every reply and asks again with the objections, whatever the backend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ...arrays import Mask, Matte, Rgb

STRICT: Any = {"extra": "forbid"}
"""A misspelt setting is an error; and so is a key written into one."""


@dataclass(frozen=True, kw_only=True)
class ClipContext:
    """All that is known of one clip before anybody words it."""

    gt: Rgb
    over: Rgb | None = None
    subject_mask: Matte | None = None
    effect_mask: Mask | None = None
    effect_masks: Mapping[str, Mask] = field(default_factory=dict)
    """By effect, where a renderer knows each by itself; they may overlap."""
    fps: float = 16.0
    effects: tuple[str, ...] = ()
    """Words of the corpus's vocabulary, where they are known: from the scene or the source."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of a rendered scene, as `render.telling.facts_of` gives them: subject, motion, ground, light, camera, and under
    `effects` each effect's own facts; else empty."""
    subject: str | None = None
    """What the subject is called, where source or scene say it: "camel", "red car"."""
    hint: str | None = None
    """A caption or name that came with the footage; somebody's words, never instructions."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer and where it came from."""

    text: str
    model: str
    """Id of the model, or the backend's own name."""
    revision: str | None = None
    prompt_sha256: str | None = None
    """Of the system prompt's file."""
    tokens_in: int = 0
    tokens_out: int = 0


@runtime_checkable
class Captioner(Protocol):
    """The three steps. `objections` holds what was wrong with earlier answers, in sentences; empty at the first try."""

    def describe(self, seen: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """A dense description: each effect's kind, strength, spread, place, course in time, and what it acts on."""

    def refine(
        self, description: str, seen: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """One concise caption of at most max_words words, effect first in importance."""

    def augment(
        self, caption: str, seen: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """Captions of the same scene, subject and action with another style of the same effects."""
