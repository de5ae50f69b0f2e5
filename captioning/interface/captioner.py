"""Interface of captioners: describe a clip, refine the description to a caption, augment the caption.

A backend IS its settings: a small frozen value chosen by its `kind`. Each step returns replies with all that provenance
records; `pipeline` checks every reply and asks again with the objections, whatever the backend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...arrays import Mask, Matte, Rgb


@dataclass(frozen=True, kw_only=True)
class ClipContext:
    """Frames and layers of one clip, and all that is known of it before it is captioned."""

    gt: Rgb
    over: Rgb | None = None
    subject_mask: Matte | None = None
    effect_mask: Mask | None = None
    effect_masks: Mapping[str, Mask] = field(default_factory=dict)
    """Masks of single effects, where a renderer knows them; they may overlap."""
    fps: float = 16.0
    effects: tuple[str, ...] = ()
    """Effects that are there, in the corpus's words: those of a rendered scene, or those that a caption has named."""
    expected_effects: tuple[str, ...] = ()
    """Effects that a source expects of its clips: a hint, which the frames may contradict."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts of a rendered scene, as `render.scene.scene.scene_facts` gives them: subject, motion, ground, light,
    camera, and under `effects` each effect's own facts; else empty."""
    subject: str | None = None
    """The subject's name, where source or scene give it: "camel", "red car"."""
    hint: str | None = None
    """A caption or name that came with the footage; somebody's words, never instructions."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer and its origin."""

    text: str
    model: str
    """Id of the model, or the backend's own name."""
    revision: str | None = None
    prompt_sha256: str | None = None
    """Digest of the system prompt's file."""
    tokens_in: int = 0
    tokens_out: int = 0


@runtime_checkable
class Captioner(Protocol):
    """The three steps. `objections` holds the faults of earlier answers, in sentences; empty at the first attempt."""

    def describe(self, clip: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """Return a dense description: each effect's kind, strength, extent, place, course, and what it acts on."""

    def refine(
        self, description: str, clip: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """Return one concise caption of at most max_words words, in which the effect matters most."""

    def augment(
        self, caption: str, clip: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """Return captions of the same scene, subject and action with another style of the same effects."""


def even_indices(count: int, at_most: int) -> list[int]:
    """Return indices of at most at_most of count frames, evenly spaced, the first and the last among them."""
    if at_most < 1:
        raise ValueError(f"max_frames={at_most} shows nothing; give at least 1")
    if count <= at_most:
        return list(range(count))
    if at_most == 1:
        return [count // 2]
    return [int(index) for index in np.rint(np.linspace(0, count - 1, at_most))]


def sample_frames(clip: ClipContext, at_most: int) -> ClipContext:
    """Return a copy of what a chat model needs: evenly spaced frames over the same time, and no layers.

    It holds none of a longer clip's memory, so that many clips can wait for an answer. Frames are sampled here and not
    by a model's processor, which takes one frame a second: five of an 85-frame clip.
    """
    indices = even_indices(len(clip.gt), at_most)
    gt = clip.gt if len(indices) == len(clip.gt) else clip.gt[indices]  # indexing copies
    fps = clip.fps * len(indices) / len(clip.gt)
    return replace(clip, gt=gt, fps=fps, over=None, subject_mask=None, effect_mask=None)
