"""Stage 2: which pixels are the subject, and how sure we are of it in each frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..arrays import Matte, MatteImage, PerFrame, Rgb


@dataclass(frozen=True, kw_only=True)
class SubjectPrompt:
    """What is known of the subject beforehand; at least one of the three."""

    given: Matte | None = None
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
    """Says where the subject is."""

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Find the subject in every frame of gt.

        Raises:
            ValueError: when the prompt says nothing that this backend can use.
        """
        ...
