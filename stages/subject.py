"""Stage 2, the subject: its mask, and the confidence of it in each frame.

The backend here, `provided`, takes the masks that came with the video and measures how far they fit it (about 12 ms a
frame at 384x672). Each frame's confidence is the worst of five checks, so that a note can name the reason. True masks
of real clips got 0.55 (a bicycle's wheels behind twigs) to 0.95 in their worst frame; masks shifted by 6 pixels or more
about 0.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ..arrays import Matte, PerFrame, Rgb
from .tracking.mask_confidence import continuity, edge_contrast, presence, steadiness, within_frame
from .tracking.prompts import SubjectPrompt

VERSION = 1


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
    model: Mapping[str, str] = field(default_factory=dict)
    """Id and revision of the network that found it, if one did."""


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
