"""The subject from masks of one or a few key frames, without any weights (about 60 ms a frame at 384x672).

Between two keys the mask is propagated from both and the two edges are averaged as signed distances. Each side
weighs by its nearness in time and, pixel by pixel, by how much its key's picture looks like the frame there; so a
side that lost the subject behind a tree gives way to the one that did not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from ..arrays import MatteImage, Rgb
from ..settings import CheckedSettings, InRange
from .subject import SubjectTrack
from .tracking.flow_propagation import MaskPropagator, PropagatedMask, fit_colour_model
from .tracking.mask_confidence import area_ratio, overlap, steadiness
from .tracking.prompts import PromptBox, SubjectPrompt

VERSION = 2

GRABCUT_ROUNDS = 5
GRABCUT_CONTEXT = 0.5
"""GrabCut sees this much of the box's size around it; the rest of the frame only slows it down."""
SPECK = 0.01
"""Islands with a smaller share of the subject's area are left-overs, not parts of it."""


@dataclass(frozen=True, kw_only=True)
class KeyEvidence:
    """Evidence of one key about a frame."""

    propagated: PropagatedMask
    key: MatteImage
    nearness: float
    """Share in time, 0 to 1; the sides of a frame add up to 1."""

    @property
    def likeness(self) -> float:
        """Mean likeness of the key's picture to the frame at the subject, 0 to 1."""
        subject = self.propagated.mask > 127
        if not subject.any():
            return float(not (self.key > 127).any())  # gone, though the key has it: lost
        return float(self.propagated.likeness[subject].mean()) / 255


@dataclass(frozen=True, kw_only=True)
class Propagate(CheckedSettings):
    """Carry key masks through the clip, both ways, by optical flow and colour."""

    kind: Literal["propagate"] = "propagate"
    margin_px: Annotated[int, InRange(16, 512)] = 48
    """Largest movement of the subject from frame to frame."""
    band_px: Annotated[int, InRange(1, 64)] = 6
    """Half width of the band along the edge in which colour has a say."""
    colour_weight: Annotated[float, InRange(0.0, 4.0)] = 0.5
    """Weight of colour against flow in that band; 0 leaves colour out."""
    background_ring_px: Annotated[int, InRange(1, 512)] = 40
    """Colours within this distance of the subject are learnt as its surroundings."""
    distance_clip_px: Annotated[float, InRange(0.5, 64.0)] = 4.0
    """Signed distances are cut to ± this before they are averaged, so that neither side dominates."""
    draft_confidence: Annotated[float, InRange(0.0, 1.0)] = 0.4
    """Upper bound of the confidence where a box was all there was: low enough for a person to look at it."""

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Follow the subject from the prompt's keys, or from its boxes where there are none.

        Keys stand in the result as they were given. `prompt.masks` is not looked at.

        Raises:
            ValueError: without keys and box; keys outside the clip, of another size, all empty, or one full.
        """
        notes: tuple[str, ...] = ()
        keys = dict(sorted(prompt.keys.items()))
        if not keys:
            if not prompt.boxes:
                raise ValueError(_no_start(prompt))
            keys = {frame: mask_from_box(gt, frame, box) for frame, box in sorted(prompt.boxes.items())}
            frames = ", ".join(map(str, keys))
            notes = (
                f"The subject was drafted from a box in frame {frames} alone; "
                "look at its mask, and give a key mask if it is wrong.",
            )
        _check_keys(gt, keys)
        mask = np.zeros(gt.shape[:3], np.uint8)
        confidence = np.ones(len(gt), np.float32)
        for frame, key in keys.items():
            mask[frame] = key
        for earlier, later in zip([None, *keys], [*keys, None], strict=True):
            for frame, sides in self._between_keys(gt, keys, earlier, later).items():
                mask[frame] = self._blend(sides)
                confidence[frame] = _estimate_confidence(sides)
        confidence *= steadiness(mask)
        if notes:
            confidence = np.minimum(confidence, np.float32(self.draft_confidence))
        return SubjectTrack(mask=mask, confidence=confidence, notes=notes)

    def _between_keys(
        self, gt: Rgb, keys: dict[int, MatteImage], earlier: int | None, later: int | None
    ) -> dict[int, list[KeyEvidence]]:
        """Each frame strictly between two keys (None: the clip's end), as propagated from either."""
        propagator = MaskPropagator(margin_px=self.margin_px, band_px=self.band_px, colour_weight=self.colour_weight)
        model = fit_colour_model(
            [(gt[key], keys[key]) for key in (earlier, later) if key is not None], self.background_ring_px
        )
        first, stop = 0 if earlier is None else earlier + 1, len(gt) if later is None else later
        evidence: dict[int, list[KeyEvidence]] = {frame: [] for frame in range(first, stop)}
        for key, frames in ((earlier, range(first - 1, stop)), (later, range(stop, first - 1, -1))):
            if key is None:
                continue
            for frame, propagated in zip(frames[1:], propagator.propagate(gt, frames, keys[key], model), strict=True):
                nearness = 1.0
                if earlier is not None and later is not None:
                    nearness = (later - frame) / (later - earlier)
                    nearness = nearness if key == earlier else 1 - nearness
                evidence[frame].append(KeyEvidence(propagated=propagated, key=keys[key], nearness=nearness))
        return evidence

    def _blend(self, sides: list[KeyEvidence]) -> MatteImage:
        distance = np.zeros(sides[0].propagated.mask.shape, np.float32)
        total = np.zeros_like(distance)
        limit_px = self.distance_clip_px
        for side in sides:
            inside = (side.propagated.mask > 127).astype(np.uint8)
            depth, gap = (cv2.distanceTransform(area, cv2.DIST_L2, 5) for area in (inside, 1 - inside))
            weight = np.float32(side.nearness) * (np.float32(0.05) + side.propagated.likeness / np.float32(255))
            distance += weight * np.clip(depth - gap, -limit_px, limit_px)
            total += weight
        # One pixel of coverage on either side of the edge: a straight edge stays as hard as the key's.
        return _drop_specks(np.rint(255 * np.clip(0.5 + distance / total / 2, 0, 1)).astype(np.uint8))


def _drop_specks(mask: MatteImage) -> MatteImage:
    """Drop islands below SPECK of the subject's area: they lie where one side left a piece behind."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count <= 2:
        return mask
    large = np.flatnonzero(areas >= SPECK * areas.sum()) + 1
    # Grown by a pixel, so that the soft rim of what stays is kept.
    large_rim = cv2.dilate(np.isin(labels, large).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(mask * large_rim)


def _estimate_confidence(sides: list[KeyEvidence]) -> float:
    """Estimate how likely the mask is right; follows the J measured on real clips (correlation 0.85 to 0.9).

    With one key it is the likeness of the propagated picture to the frame, times the change of area since the key; with
    two keys the geometric mean of that likeness and of the overlap of the two propagated masks.
    """
    likeness = sum(side.nearness * side.likeness for side in sides)
    if len(sides) == 1:
        return likeness * area_ratio(sides[0].propagated.mask, sides[0].key)
    return math.sqrt(likeness * overlap(sides[0].propagated.mask, sides[1].propagated.mask))


def _check_keys(gt: Rgb, keys: Mapping[int, UInt8[np.ndarray, "_ _"]]) -> None:
    for frame, key in keys.items():
        if not 0 <= frame < len(gt):
            raise ValueError(
                f"the key mask of frame {frame} lies outside the clip of {len(gt)} frames; give 0 to {len(gt) - 1}"
            )
        if key.shape != gt.shape[1:3]:
            raise ValueError(
                f"the key mask of frame {frame} is {key.shape[0]}x{key.shape[1]}, the clip "
                f"{gt.shape[1]}x{gt.shape[2]}; bring it through the clip's own scaling and cropping"
            )
        if (key > 127).all():
            raise ValueError(f"the key mask of frame {frame} covers the whole frame; mark the subject alone")
    if not any((key > 127).any() for key in keys.values()):
        raise ValueError(
            f"the key masks (frames {', '.join(map(str, keys))}) are all empty; mark the subject in at least one"
        )


def _no_start(prompt: SubjectPrompt) -> str:
    """Sentence about a prompt without key masks and boxes."""
    if prompt.points or prompt.text:
        kind, part = ("sam2", "points") if prompt.points else ("sam3", "a noun")
        return (
            f"propagate cannot start from {part}; set subject.kind={kind}, which needs weights, or give a key mask "
            "(--key FRAME=MASK.png) or a box (--box with --at)"
        )
    return "there is neither a key mask nor a box to start from; give --key FRAME=MASK.png or --box with --at"


def mask_from_box(gt: Rgb, frame: int, box: PromptBox) -> MatteImage:
    """GrabCut in the box, widened to whole pixels, which should touch the subject on all four sides.

    Where GrabCut finds no subject the ellipse in the box stands for it.

    Raises:
        ValueError: the box or its frame lies outside the clip, or the box is too small or covers the frame.
    """
    x, y = math.floor(box[0]), math.floor(box[1])
    width, height = math.ceil(box[0] + box[2]) - x, math.ceil(box[1] + box[3]) - y
    rows, columns = gt.shape[1:3]
    if not 0 <= frame < len(gt):
        raise ValueError(f"the box is in frame {frame}, outside the clip of {len(gt)} frames; give 0 to {len(gt) - 1}")
    if x < 0 or y < 0 or x + width > columns or y + height > rows or width < 4 or height < 4:
        raise ValueError(
            f"the box {x},{y},{width},{height} is smaller than 4x4 pixels or reaches beyond the frame of "
            f"{columns}x{rows}; give X,Y,W,H in pixels of the clip"
        )
    if width * height > 0.95 * rows * columns:
        raise ValueError(f"the box {x},{y},{width},{height} covers the whole frame; draw it tightly around the subject")
    around_x, around_y = int(GRABCUT_CONTEXT * width) + 8, int(GRABCUT_CONTEXT * height) + 8
    y0, x0 = max(y - around_y, 0), max(x - around_x, 0)
    crop = gt[frame, y0 : y + height + around_y, x0 : x + width + around_x]
    labels = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.setRNGSeed(0)  # its colour clusters start at random
    bgr, inner_box = np.ascontiguousarray(crop[..., ::-1]), (x - x0, y - y0, width, height)
    cv2.grabCut(bgr, labels, inner_box, np.zeros((1, 65)), np.zeros((1, 65)), GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    subject = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    if subject.mean() < 0.02 * 255 * width * height / labels.size:
        centre = (x - x0 + width // 2, y - y0 + height // 2)
        cv2.ellipse(subject, centre, (width // 2, height // 2), 0, 0, 360, 255, cv2.FILLED)
    mask = np.zeros((rows, columns), np.uint8)
    mask[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = subject
    return mask
