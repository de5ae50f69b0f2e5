"""The subject from masks of one or a few key frames, without any weights (about 60 ms a frame at 384x672).

Between two keys the mask is carried from both (`carry`) and the two edges are averaged as signed distances. Each side
weighs by its nearness in time and, pixel by pixel, by how much its key's picture looks like the frame there; so a
side that lost the subject behind a tree gives way to the one that did not.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from ..arrays import Matte, MatteImage, PerFrame, Rgb
from .subject import SubjectPrompt, SubjectTrack
from .tracking.colour_model import Plane, learn
from .tracking.flow_propagation import MaskPropagator, PropagatedMask
from .tracking.mask_confidence import area_ratio, overlap, steadiness
from .tracking.mask_from_box import mask_from_box

VERSION = 2

SPECK = 0.01
"""Islands with a smaller share of the subject's area are left-overs, not parts of it."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one key says of a frame."""

    carried: PropagatedMask
    key: MatteImage
    nearness: float
    """Share in time, 0 to 1; the sides of a frame add up to 1."""


@dataclass(frozen=True, kw_only=True)
class Propagate:
    """Carry key masks through the clip, both ways, by optical flow and colour."""

    kind: Literal["propagate"] = "propagate"
    margin_px: int = 48
    """How far the subject may move from frame to frame."""
    band_px: int = 6
    """Half width of the band along the edge in which colour has a say."""
    colour_weight: float = 0.5
    """Of colour against flow in that band; 0 leaves colour out."""
    background_ring_px: int = 40
    """Colours within this distance of the subject are learnt as its surroundings."""
    distance_clip_px: float = 4.0
    """Signed distances are cut to ± this before they are averaged, so that no side can shout the other down."""
    draft_confidence: float = 0.4
    """Upper bound of the confidence where a box was all there was: low enough for a person to look at it."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("margin_px", 16, 512),
            ("band_px", 1, 64),
            ("colour_weight", 0.0, 4.0),
            ("background_ring_px", 1, 512),
            ("distance_clip_px", 0.5, 64.0),
            ("draft_confidence", 0.0, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is not in [{low}, {high}]; choose a value within it")

    def track(self, gt: Rgb, prompt: SubjectPrompt) -> SubjectTrack:
        """Follow the subject from the prompt's keys, or from its box where there are none.

        Keys stand in the result as they were given. `prompt.given` is not looked at.

        Raises:
            ValueError: without keys and box; keys outside the clip, of another size, all empty, or one full.
        """
        notes: tuple[str, ...] = ()
        keys = dict(sorted(prompt.keys.items()))
        if not keys:
            if prompt.box is None:
                raise ValueError(
                    "there is neither a key mask nor a box to start from; give --key FRAME=MASK.png or --box with --at"
                )
            frame = prompt.box[0]
            keys = {frame: mask_from_box(gt, prompt.box)}
            notes = (
                f"The subject was drafted from a box in frame {frame} alone; "
                "look at its mask, and give a key mask if it is wrong.",
            )
        _check(gt, keys)
        mask, confidence = self._follow(gt, keys)
        if notes:
            confidence = np.minimum(confidence, np.float32(self.draft_confidence))
        return SubjectTrack(mask=mask, confidence=confidence, notes=notes)

    def _follow(self, gt: Rgb, keys: dict[int, MatteImage]) -> tuple[Matte, PerFrame]:
        mask = np.zeros(gt.shape[:3], np.uint8)
        confidence = np.ones(len(gt), np.float32)
        for frame, key in keys.items():
            mask[frame] = key
        frames = list(keys)
        for left, right in zip([None, *frames], [*frames, None], strict=True):
            for frame, sides in self._between(gt, keys, left, right):
                mask[frame] = self._blended(sides)
                confidence[frame] = _trust(sides)
        return mask, confidence * steadiness(mask)

    def _between(
        self, gt: Rgb, keys: dict[int, MatteImage], left: int | None, right: int | None
    ) -> Iterator[tuple[int, list[Side]]]:
        """Each frame strictly between two keys (None: the clip's end), as carried from either."""
        walker = MaskPropagator(margin_px=self.margin_px, band_px=self.band_px, colour_weight=self.colour_weight)
        model = learn([(gt[key], keys[key]) for key in (left, right) if key is not None], self.background_ring_px)
        first = 0 if left is None else left + 1
        last = len(gt) - 1 if right is None else right - 1
        if first > last:
            return
        if right is None:
            assert left is not None  # there is at least one key
            for frame, carried in enumerate(walker.walk(gt, range(left, len(gt)), keys[left], model), start=first):
                yield frame, [Side(carried=carried, key=keys[left], nearness=1.0)]
            return
        backward = walker.walk(gt, range(right, first - 1, -1), keys[right], model)
        if left is None:
            for frame, carried in zip(range(last, -1, -1), backward, strict=True):
                yield frame, [Side(carried=carried, key=keys[right], nearness=1.0)]
            return
        later = list(backward)[::-1]
        for frame, carried in enumerate(walker.walk(gt, range(left, right), keys[left], model), start=first):
            nearness = (right - frame) / (right - left)
            yield (
                frame,
                [
                    Side(carried=carried, key=keys[left], nearness=nearness),
                    Side(carried=later[frame - first], key=keys[right], nearness=1 - nearness),
                ],
            )

    def _blended(self, sides: list[Side]) -> MatteImage:
        distance = np.zeros(sides[0].carried.mask.shape, np.float32)
        total = np.zeros_like(distance)
        for side in sides:
            weight = np.float32(side.nearness) * (np.float32(0.05) + side.carried.likeness / np.float32(255))
            distance += weight * np.clip(
                _signed_distance(side.carried.mask), -self.distance_clip_px, self.distance_clip_px
            )
            total += weight
        # One pixel of coverage on either side of the edge: a straight edge stays as hard as the key's.
        return _without_specks(np.rint(255 * np.clip(0.5 + distance / total / 2, 0, 1)).astype(np.uint8))


def _without_specks(mask: MatteImage) -> MatteImage:
    """Drop islands below SPECK of the subject's area: they lie where one side left a piece behind."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count <= 2:
        return mask
    large = np.flatnonzero(areas >= SPECK * areas.sum()) + 1
    # Grown by a pixel, so that the soft rim of what stays is kept.
    kept = cv2.dilate(np.isin(labels, large).astype(np.uint8), np.ones((3, 3), np.uint8))
    cleaned: MatteImage = mask * kept
    return cleaned


def _trust(sides: list[Side]) -> float:
    """How likely the mask is right, made to follow the J that was measured on real clips (correlation 0.85 to 0.9).

    From one key: how much of the carried picture looks like the frame, times the change of area since the key.
    From two: the geometric mean of that likeness and of the two sides' overlap.
    """
    likeness = sum(side.nearness * _likeness(side) for side in sides)
    if len(sides) == 1:
        return likeness * area_ratio(sides[0].carried.mask, sides[0].key)
    return math.sqrt(likeness * overlap(sides[0].carried.mask, sides[1].carried.mask))


def _likeness(side: Side) -> float:
    subject = side.carried.mask > 127
    if not subject.any():
        return float(not (side.key > 127).any())  # gone, though the key has it: lost
    return float(side.carried.likeness[subject].mean()) / 255


def _check(gt: Rgb, keys: Mapping[int, UInt8[np.ndarray, "_ _"]]) -> None:
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


def _signed_distance(mask: MatteImage) -> Plane:
    inside = (mask > 127).astype(np.uint8)
    distance: Plane = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return distance
