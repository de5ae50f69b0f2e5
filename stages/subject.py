"""Stage 2, the subject: its mask, and the confidence of it in each frame.

The backend here, `provided`, takes the masks that came with the video and measures how far they fit it (about 12 ms a
frame at 384x672). Each frame's confidence is the worst of five checks, so that a note can name the reason. True masks
of real clips got 0.55 (a bicycle's wheels behind twigs) to 0.95 in their worst frame; masks shifted by 6 pixels or more
about 0.4.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from ..arrays import Matte, MatteImage, PerFrame, Rgb
from .tracking.mask_confidence import continuity, edge_contrast, presence, steadiness, within_frame

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PromptPoint:
    """A point on the subject, or beside it."""

    x: float | int
    """Pixels of the clip; the centre of the first pixel is 0."""
    y: float | int
    is_subject: bool = True


PromptBox = tuple[float | int, float | int, float | int, float | int]
"""x and y of the top left corner, width and height in pixels of the clip."""


@dataclass(frozen=True, kw_only=True)
class SubjectPrompt:
    """Prompt for one subject; a backend takes the parts that it understands."""

    masks: Matte | None = None
    """A mask for every frame."""
    keys: Mapping[int, MatteImage] = field(default_factory=dict)
    """Masks of key frames, by frame index within the clip."""
    points: Mapping[int, tuple[PromptPoint, ...]] = field(default_factory=dict)
    """Points by frame."""
    boxes: Mapping[int, PromptBox] = field(default_factory=dict)
    """Boxes by frame."""
    text: str = ""
    """Noun for it."""
    others: tuple["SubjectPrompt", ...] = ()
    """Prompts of the clip's other subjects, which a backend may track beside this one."""

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames with a key mask, points or a box, rising."""
        return tuple(sorted({*self.keys, *self.points, *self.boxes}))

    def to_json(self) -> dict[str, Any]:
        """Everything but the masks as JSON values; `from_json` takes them back."""
        return {
            "keys": list(self.keys),
            "points": {str(frame): [[p.x, p.y, p.is_subject] for p in points] for frame, points in self.points.items()},
            "boxes": {str(frame): list(box) for frame, box in self.boxes.items()},
            "text": self.text,
            "others": [other.to_json() for other in self.others],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], keys: Iterable[MatteImage], **more: Any) -> "SubjectPrompt":
        """Build a prompt from JSON values and the key masks: its own in order, then those of the other subjects."""
        masks = iter(keys)
        return cls(
            keys={frame: next(masks) for frame in values.get("keys") or ()},
            points={
                int(frame): tuple(PromptPoint(x=x, y=y, is_subject=on_subject) for x, y, on_subject in points)
                for frame, points in values.get("points", {}).items()
            },
            boxes={int(frame): tuple(box) for frame, box in values.get("boxes", {}).items()},
            text=values.get("text", ""),
            others=tuple(cls.from_json(other, masks) for other in values.get("others", ())),
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class SubjectTrack:
    """The subject through the clip."""

    mask: Matte
    confidence: PerFrame
    """0 to 1 per frame: how far the mask can be trusted."""
    notes: tuple[str, ...] = ()
    """Sentences for the person who reviews the clip."""
    others: Matte | None = None
    """The clip's other subjects, where the backend tracked them too."""


@runtime_checkable
class SubjectSegmenter(Protocol):
    """Finds the subject in every frame of a clip."""

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Find the subject in every frame of gt.

        Raises:
            ValueError: when the prompt says nothing that this backend can use.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Provided:
    """Take the prompt's masks as they are; measure only how plausible they look."""

    kind: Literal["provided"] = "provided"
    doubt_below: float = 0.5
    """Frames with a lower confidence are named in the notes, with what is wrong."""

    def __post_init__(self) -> None:
        if not 0 <= self.doubt_below <= 1:
            raise ValueError(f"doubt_below={self.doubt_below} is not in [0, 1]; 0.5 suits most clips")

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Return prompt.masks unchanged, with a confidence per frame.

        Raises:
            ValueError: without masks; masks of another length or size; all empty or all full.
        """
        mask = prompt.masks
        if mask is None:
            raise ValueError("no masks came with the clip; give one for every frame, or key masks to propagate")
        if mask.shape != gt.shape[:3]:
            sizes = [f"{len(clip)} frames of {clip.shape[1]}x{clip.shape[2]}" for clip in (mask, gt)]
            raise ValueError(
                f"the masks are {sizes[0]}, the clip {sizes[1]}; give one mask per frame, of the clip's size"
            )
        hard = mask > 127
        if not hard.any():
            raise ValueError("the masks are empty in every frame; mark the subject, white on black")
        if hard.all():
            raise ValueError("the masks are full in every frame; mark the subject alone, white on black")
        return weigh_checks(mask.copy(), plausibility(gt, mask), self.doubt_below)


def plausibility(gt: Rgb, mask: Matte) -> dict[str, PerFrame]:
    """Fit of a mask to its video, 0 to 1 per frame, by the sentence that says what is wrong where it is low."""
    return {
        "the subject is missing between frames that show it": presence(mask),
        "its area jumps": steadiness(mask),
        "it covers most of the frame or of its border, as an inverted mask would": within_frame(mask),
        "it does not move as the picture does": continuity(gt, mask),
        "its outline does not follow edges of the picture": edge_contrast(gt, mask),
    }


def weigh_checks(
    mask: Matte, checks: Mapping[str, PerFrame], doubt_below: float, notes: tuple[str, ...] = ()
) -> SubjectTrack:
    """Make a track of a mask and its checks: the worst of them is a frame's confidence, and notes name the doubts."""
    doubtful = {reason: np.flatnonzero(share < doubt_below) for reason, share in checks.items()}
    notes += tuple(
        f"In {len(frames)} of {len(mask)} frames the subject mask is doubtful: {reason} (first in frame {frames[0]})."
        for reason, frames in doubtful.items()
        if len(frames)
    )
    confidence: PerFrame = np.min(list(checks.values()), axis=0)
    return SubjectTrack(mask=mask, confidence=confidence, notes=notes)
