"""The grey difference of two clips, and Otsu's threshold between its small and its large values."""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Int64, UInt8
from skimage.filters import threshold_otsu

from ..arrays import Image, Matte, MatteImage, Rgb
from . import morphology

Grey = UInt8[np.ndarray, "H W"]
GreyClip = UInt8[np.ndarray, "T H W"]
Histograms = Int64[np.ndarray, "T 256"]  # of the grey difference, per frame
Steps = Int64[np.ndarray, "T"]  # a grey level per frame

SUBJECT = 128  # coverage from which a pixel belongs to the subject


def grey(image: Image) -> Grey:
    """Luma of 8-bit RGB: (9798 R + 19235 G + 3735 B + 16384) // 32768, the weights of BT.601."""
    luma: Grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def subject_near(coverage: MatteImage, margin_px: int) -> Bool[np.ndarray, "H W"]:
    """The subject, and what lies within margin_px of it."""
    near: Bool[np.ndarray, "H W"] = morphology.dilated((coverage >= SUBJECT).view(np.uint8), margin_px).view(bool)
    return near


def differences(gt: Rgb, over: Rgb, subject_mask: Matte, margin_px: int) -> tuple[GreyClip, Histograms]:
    """The grey difference of each frame, 0 at the subject, and how often each value is there."""
    values = np.empty(subject_mask.shape, np.uint8)
    histograms = np.empty((len(gt), 256), np.int64)
    for index, (with_effect, without, coverage) in enumerate(zip(gt, over, subject_mask, strict=True)):
        difference = grey(cv2.absdiff(with_effect, without))
        difference[subject_near(coverage, margin_px)] = 0
        values[index] = difference
        histograms[index] = _histogram(difference)
    return values, histograms


def _histogram(difference: Grey) -> Int64[np.ndarray, "256"]:
    # Most of a picture is 0: counting only the rectangle that holds the rest is several times quicker.
    left, top, width, height = cv2.boundingRect(difference)
    counts = np.zeros(256, np.int64)
    if width:
        inside = difference[top : top + height, left : left + width]
        counts[:] = cv2.calcHist([inside], [0], None, [256], [0, 256]).ravel()
    counts[0] += difference.size - width * height
    return counts


def otsus(histograms: Histograms, scope: Literal["clip", "frame"]) -> Steps:
    """Otsu's threshold for each frame; of a histogram with a single value, that value."""
    if scope == "clip":
        return np.full(len(histograms), _otsu(histograms.sum(axis=0)))
    return np.array([_otsu(counts) for counts in histograms])


def _otsu(counts: Int64[np.ndarray, "256"]) -> int:
    values = np.flatnonzero(counts)
    return int(values[0]) if len(values) == 1 else int(threshold_otsu(hist=counts))
