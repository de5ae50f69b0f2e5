"""Contact sheet: pictures in labelled rows, to be looked at."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import Image, MatteImage

MIN_WIDTH_PX = 320
"""Narrower pictures are enlarged to about this."""
STRIP_PX = 22
GAP_PX = 6
PAPER = 24
INK = (225, 225, 225)

Picture = Image | MatteImage
Sheet = UInt8[np.ndarray, "_ _ 3"]
"""Larger than the pictures in it."""


def contact_sheet(rows: Sequence[Mapping[str, Picture]]) -> Sheet:
    """Lay out rows of pictures, each under its label; all pictures have one size."""
    first = next(iter(rows[0].values()))
    scale = max(1, round(MIN_WIDTH_PX / first.shape[1]))
    strips = [_row(row, scale) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    parts = [
        np.pad(strip, ((0, GAP_PX), (0, width - strip.shape[1]), (0, 0)), constant_values=PAPER) for strip in strips
    ]
    return np.asarray(np.pad(np.concatenate(parts), ((GAP_PX, 0), (GAP_PX, GAP_PX), (0, 0)), constant_values=PAPER))


def difference(gt: Image, over: Image, times: int = 3) -> Image:
    """Absolute difference of gt and over, `times` as bright."""
    return np.asarray(np.minimum(cv2.absdiff(gt, over).astype(np.uint16) * times, 255).astype(np.uint8))


def _row(pictures: Mapping[str, Picture], scale: int) -> Sheet:
    cells = []
    for label, picture in pictures.items():
        colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        enlarged = colour.repeat(scale, axis=0).repeat(scale, axis=1)
        strip = np.full((STRIP_PX, enlarged.shape[1], 3), PAPER, np.uint8)
        cv2.putText(strip, label, (2, STRIP_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
        cells += [np.concatenate([strip, enlarged]), np.full((STRIP_PX + len(enlarged), GAP_PX, 3), PAPER, np.uint8)]
    return np.asarray(np.concatenate(cells[:-1], axis=1))
