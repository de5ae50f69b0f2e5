"""Stage 2, the subject: its mask and the confidence of it in each frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..arrays import Matte, MatteImage, PerFrame, Rgb


@dataclass(frozen=True, kw_only=True)
class SubjectPrompt:
    """Prompt for one subject: masks, key masks or a box; at least one of the three."""

    masks: Matte | None = None
    """A mask for every frame."""
    keys: Mapping[int, MatteImage] = field(default_factory=dict)
    """Masks of key frames, by frame index within the clip."""
    box: tuple[int, int, int, int, int] | None = None
    """Frame index, then x, y, width, height in pixels of the clip."""


@dataclass(frozen=True, kw_only=True)
class SubjectTrack:
    """The subject through the clip."""

    mask: Matte
    confidence: PerFrame
    """0 to 1 per frame: how far the mask can be trusted."""
    notes: tuple[str, ...] = ()
    """What a person who reviews the clip should know, in sentences."""


@runtime_checkable
class SubjectSegmenter(Protocol):
    """Finds the subject in every frame of a clip."""

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Find the subject in every frame of gt.

        Raises:
            ValueError: when the prompt says nothing that this backend can use.
        """
        ...
