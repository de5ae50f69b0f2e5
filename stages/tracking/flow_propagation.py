"""Propagate a mask from a key frame through its neighbours, one way, by optical flow and colour.

Each step warps the soft mask with dense flow (DIS) and, in a band along its edge, adds half the log-odds of the colour
model: flow says roughly where the edge is, colour says where exactly. The key frame's own picture is carried along in
the same way; where it no longer looks like the frame, the mask has drifted or something stands before the subject.
Only a window around the subject is worked on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Int32

from ...arrays import Image, MatteImage, Rgb

COLOUR_BINS = 16
"""Per channel; 16 levels are coarse enough for a few thousand subject pixels to fill."""
MIN_DENSITY = 1e-4
"""Added to both densities: a colour that neither side has says nothing (one half)."""

Plane = Float32[np.ndarray, "H W"]
ColourModel = Float32[np.ndarray, "cells"]


def fit_colour_model(keys: Iterable[tuple[Image, MatteImage]], ring_px: int) -> ColourModel:
    """P(subject | colour) by `colour_cells`, out of frames whose mask is known.

    Pixels within ring_px around the subject count as surroundings, and beforehand as likely as the subject. Every key
    weighs the same, however large the subject is in it. Where no key shows a subject the answer is one half.
    """
    inside = np.zeros(COLOUR_BINS**3, np.float32)
    surroundings = np.zeros(COLOUR_BINS**3, np.float32)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * ring_px + 1, 2 * ring_px + 1))
    for frame, mask in keys:
        subject = mask > 127
        if not subject.any():
            continue
        ring = cv2.dilate(subject.astype(np.uint8), brush).astype(bool) & ~subject
        cells = colour_cells(frame)
        inside += _density(cells[subject])
        surroundings += _density(cells[ring])
    inside /= max(inside.sum(), 1)
    surroundings /= max(surroundings.sum(), 1)
    return ((inside + MIN_DENSITY) / (inside + surroundings + 2 * MIN_DENSITY)).astype(np.float32)


def colour_cells(frame: Image) -> Int32[np.ndarray, "H W"]:
    """Number of each pixel's colour among COLOUR_BINS³."""
    red, green, blue = np.moveaxis(frame.astype(np.int32) * COLOUR_BINS >> 8, -1, 0)
    return np.asarray((red * COLOUR_BINS + green) * COLOUR_BINS + blue)


def _density(cells: Int32[np.ndarray, "pixels"]) -> ColourModel:
    counts = np.bincount(cells, minlength=COLOUR_BINS**3).astype(np.float32)
    return counts / np.float32(max(counts.sum(), 1))


Field = Float32[np.ndarray, "H W 2"]
Window = tuple[slice, slice]

NEUTRAL = 128
"""The likeness outside the window: neither like nor unlike."""
LEAST_SIDE_PX = 32
"""DIS needs a few patches: the margin is never so small that the window has shorter sides."""


@dataclass(frozen=True, kw_only=True)
class PropagatedMask:
    """The mask in one frame, as it came from one key."""

    mask: MatteImage
    likeness: MatteImage
    """Per pixel, 0 to 255: how far the key's picture, carried here, looks like the frame."""


@dataclass(frozen=True, kw_only=True)
class MaskPropagator:
    """Propagates a mask away from its key frame; lengths in pixels of the clip."""

    margin_px: int = 48
    """The window reaches this far around the subject; faster motion from frame to frame is lost."""
    band_px: int = 6
    """Half width of the band along the edge in which colour has a say."""
    colour_weight: float = 0.5
    """Weight of the colour's log-odds against those of the warped mask."""
    unlike: float = 30.0
    """Mean colour difference (8-bit levels) at which the likeness has fallen to 1/e."""

    def propagate(self, gt: Rgb, frames: range, mask: MatteImage, model: ColourModel) -> Iterator[PropagatedMask]:
        """Propagate mask, which belongs to frames[0], to each further frame in turn."""
        if not len(frames):
            return
        key = gt[frames[0]]
        origin = _grid(*mask.shape)
        # One finder for each walk: its buffers are not safe to share between threads.
        flow_finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow_finder.setFinestScale(0)  # twice the time of the preset; J + 0.01 on people of 80 pixels
        for previous, frame in pairwise(frames):
            window = _window_around(mask, self.margin_px)
            if window is None:  # nothing left to carry
                yield PropagatedMask(mask=np.zeros_like(mask), likeness=np.full_like(mask, NEUTRAL))
                continue
            crop, previous_crop = gt[frame][window], gt[previous][window]
            greys = [np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in (crop, previous_crop)]
            sources = flow_finder.calc(*greys, None) + _grid(*crop.shape[:2])
            origin = _paste(origin, window, _sample_at(origin[window], sources))
            sharp = self._sharpen(_sample_at(mask[window], sources), model[colour_cells(crop)])
            mask = _paste(np.zeros_like(mask), window, sharp)
            pictures = (cv2.GaussianBlur(image, (0, 0), 1.5) for image in (_sample_at(key, origin[window]), crop))
            difference = cv2.absdiff(*pictures).mean(axis=-1, dtype=np.float32)
            likeness = (255 * np.exp(-np.square(difference / np.float32(self.unlike)))).astype(np.uint8)
            yield PropagatedMask(mask=mask, likeness=_paste(np.full_like(mask, NEUTRAL), window, likeness))

    def _sharpen(self, moved: MatteImage, posterior: Plane) -> MatteImage:
        hard = (moved > 127).astype(np.uint8)
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self.band_px + 1, 2 * self.band_px + 1))
        band = cv2.dilate(hard, brush) > cv2.erode(hard, brush)
        odds = _log_odds(moved / np.float32(255)) + np.float32(self.colour_weight) * _log_odds(posterior)
        return np.where(band, 255 / (1 + np.exp(-odds)), moved).astype(np.uint8)


def _window_around(mask: MatteImage, margin_px: int) -> Window | None:
    """The rectangle margin_px larger than the subject, within the frame; None where there is no subject."""
    rows, columns = np.flatnonzero((mask > 127).any(axis=1)), np.flatnonzero((mask > 127).any(axis=0))
    if not len(rows):
        return None
    margin_px = max(margin_px, LEAST_SIDE_PX // 2)
    return (
        slice(max(int(rows[0]) - margin_px, 0), int(rows[-1]) + margin_px + 1),
        slice(max(int(columns[0]) - margin_px, 0), int(columns[-1]) + margin_px + 1),
    )


def _grid(height: int, width: int) -> Field:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _sample_at(image: Any, sources: Field) -> Any:
    return cv2.remap(image, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _paste(image: Any, window: Window, patch: Any) -> Any:
    pasted = image.copy()
    pasted[window] = patch
    return pasted


def _log_odds(probability: Plane) -> Plane:
    p = np.clip(probability, 0.02, 0.98)
    return np.asarray(np.log(p / (1 - p)))
