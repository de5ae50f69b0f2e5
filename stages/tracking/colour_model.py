"""Subject against surroundings by colour alone: two histograms and Bayes' rule."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int32

from ...arrays import Image, MatteImage

BINS = 16
"""Per channel; 16 levels are coarse enough for a few thousand subject pixels to fill."""
FLOOR = 1e-4
"""Added to both densities: a colour that neither side has says nothing (one half)."""

Plane = Float32[np.ndarray, "H W"]


@dataclass(frozen=True, kw_only=True)
class ColourModel:
    """P(subject | colour), with the subject and a ring around it taken as equally likely beforehand."""

    table: Float32[np.ndarray, "cells"]

    def posterior(self, frame: Image) -> Plane:
        """P(subject) of each pixel by its colour, 0 to 1."""
        looked_up: Plane = self.table[_cells(frame)]
        return looked_up


def learn(keys: Iterable[tuple[Image, MatteImage]], ring_px: int) -> ColourModel:
    """Learn from frames whose mask is known; what lies within ring_px around the subject counts as surroundings.

    Every key weighs the same, however large the subject is in it. Where no key shows a subject the answer is one half.
    """
    inside = np.zeros(BINS**3, np.float32)
    around = np.zeros(BINS**3, np.float32)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * ring_px + 1, 2 * ring_px + 1))
    for frame, mask in keys:
        subject = mask > 127
        if not subject.any():
            continue
        ring = cv2.dilate(subject.astype(np.uint8), brush).astype(bool) & ~subject
        cells = _cells(frame)
        inside += _density(cells[subject])
        around += _density(cells[ring])
    inside /= max(inside.sum(), 1)
    around /= max(around.sum(), 1)
    return ColourModel(table=((inside + FLOOR) / (inside + around + 2 * FLOOR)).astype(np.float32))


def _cells(frame: Image) -> Int32[np.ndarray, "H W"]:
    level = frame.astype(np.int32) * BINS >> 8
    cells: Int32[np.ndarray, "H W"] = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]
    return cells


def _density(cells: Int32[np.ndarray, "pixels"]) -> Float32[np.ndarray, "cells"]:
    counts = np.bincount(cells, minlength=BINS**3).astype(np.float32)
    return counts / np.float32(max(counts.sum(), 1))
