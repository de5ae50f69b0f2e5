"""A contact sheet: pictures in labelled rows, to be looked at."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import Image, MatteImage

SMALLEST_PX = 320
"""Narrower pictures are enlarged to about this."""
STRIP_PX = 22
GAP_PX = 6
PAPER = 24
INK = (225, 225, 225)

Picture = Image | MatteImage
Laid = UInt8[np.ndarray, "_ _ 3"]
"""Larger than the pictures in it."""


def sheet(rows: Sequence[Mapping[str, Picture]]) -> Laid:
    """Lay rows of pictures out, each under its label; all pictures have one size."""
    first = next(iter(rows[0].values()))
    scale = max(1, round(SMALLEST_PX / first.shape[1]))
    strips = [_row({label: _shown(picture, scale) for label, picture in row.items()}) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    parts = [
        np.pad(strip, ((0, GAP_PX), (0, width - strip.shape[1]), (0, 0)), constant_values=PAPER) for strip in strips
    ]
    laid: Laid = np.pad(np.concatenate(parts), ((GAP_PX, 0), (GAP_PX, GAP_PX), (0, 0)), constant_values=PAPER)
    return laid


def difference(gt: Image, over: Image, times: int = 3) -> Image:
    """What the effects change, made plain: its absolute value times so much."""
    shown: Image = np.minimum(cv2.absdiff(gt, over).astype(np.uint16) * times, 255).astype(np.uint8)
    return shown


def _row(pictures: Mapping[str, Laid]) -> Laid:
    cells = []
    for label, picture in pictures.items():
        strip = np.full((STRIP_PX, picture.shape[1], 3), PAPER, np.uint8)
        cv2.putText(strip, label, (2, STRIP_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
        cells += [np.concatenate([strip, picture]), np.full((STRIP_PX + len(picture), GAP_PX, 3), PAPER, np.uint8)]
    row: Laid = np.concatenate(cells[:-1], axis=1)
    return row


def _shown(picture: Picture, scale: int) -> Laid:
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    shown: Laid = colour.repeat(scale, axis=0).repeat(scale, axis=1)
    return shown
