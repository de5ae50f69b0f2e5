"""Tone of a layer made equal to the clip's: a smooth gain and bias per channel, fitted off subject and effect."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from ...arrays import Mask, Rgb

CELL_PX = 8
"""Side of the cells in which levels are averaged."""
WINDOW = 1 / 6
"""Standard deviation of the window of the fit, as a share of the picture's longer side."""
LEVEL_NOISE = 10.0
"""A place whose levels vary by less says little about the gain; it takes that of the whole picture."""
ROUNDS = 4

Cells = Float32[np.ndarray, "T rows columns channels"]
Field = Float32[np.ndarray, "rows columns 3"]
ColourCells = Float32[np.ndarray, "T rows columns 3"]
Moment = Float32[np.ndarray, "_ _ _"]


@dataclass(frozen=True, kw_only=True)
class Tone:
    """gain · layer + bias, per place and channel."""

    gain: Field
    bias: Field

    @property
    def largest_change(self) -> float:
        """Levels by which the tone moves dark grey (48) or light grey (208) at most."""
        return float(max(np.abs((self.gain - 1) * level + self.bias).max() for level in (48, 208)))


def fit_tone(gt: Rgb, layer: Rgb, clear: Mask) -> Tone:
    """Fit the tone in which the layer equals the clip.

    Args:
        gt: the clip.
        layer: placed and matched, of the clip's T, H, W.
        clear: pixels that show the same in both: no subject, and within the layer. Effects need not be known: what
            departs from the fit loses its weight (Tukey).
    """
    clip_cells, layer_cells, weight = _cells(gt), _cells(layer), _cells(clear)
    base = (weight > 0.99).astype(np.float32)
    sigma = WINDOW * max(base.shape[1:3])
    gain, bias = np.ones_like(clip_cells[0]), np.zeros_like(clip_cells[0])
    weight = base
    for _ in range(ROUNDS):
        gain, bias = _local_fit(clip_cells, layer_cells, weight, sigma)
        error = np.abs(clip_cells - gain * layer_cells - bias).max(axis=3, keepdims=True)
        spread = 1.4826 * float(np.median(error[base > 0])) + 0.25 if base.any() else 1.0
        weight = base * (1 - np.minimum((error / (4.685 * spread)) ** 2, 1)) ** 2
    return Tone(gain=gain, bias=bias)


def apply_tone(layer: Rgb, tone: Tone) -> Rgb:
    """The layer in the clip's tone, rounded to 8 bits."""
    size = layer.shape[2], layer.shape[1]
    gain, bias = (cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in (tone.gain, tone.bias))
    toned = np.empty_like(layer)
    for index, frame in enumerate(layer):
        toned[index] = np.clip(np.rint(gain * frame + bias), 0, 255)
    return toned


def _cells(clip: Rgb | Mask) -> Cells:
    rows, columns = (max(side // CELL_PX, 1) for side in clip.shape[1:3])
    small = [cv2.resize(np.asarray(frame, np.float32), (columns, rows), interpolation=cv2.INTER_AREA) for frame in clip]
    return np.stack(small).reshape(len(clip), rows, columns, -1)


def _local_fit(
    clip: ColourCells, layer: ColourCells, weight: Float32[np.ndarray, "T rows columns 1"], sigma: float
) -> tuple[Field, Field]:
    """Weighted regression of clip on layer in a window around each cell, over all frames, drawn to the whole's."""
    moments = [(weight * values).sum(axis=0) for values in (1.0, layer, clip, layer * layer, layer * clip)]
    whole = [moment.sum(axis=(0, 1), keepdims=True) for moment in moments]
    whole_gain = _slope(np.ones((1, 1, 3), np.float32), *whole)
    local = [cv2.GaussianBlur(moment, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for moment in moments]
    local = [moment.reshape((*weight.shape[1:3], -1)) for moment in local]
    gain = _slope(whole_gain, *local).clip(0.5, 2)
    total = np.maximum(local[0], 1e-6)
    return gain, local[2] / total - gain * local[1] / total


def _slope(prior: Moment, total: Moment, layer: Moment, clip: Moment, squares: Moment, products: Moment) -> Moment:
    total = np.maximum(total, 1e-6)
    variance = squares / total - (layer / total) ** 2
    covariance = products / total - layer * clip / total**2
    return np.asarray((covariance + LEVEL_NOISE**2 * prior) / (variance + LEVEL_NOISE**2))
