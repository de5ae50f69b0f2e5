"""Smooth shift from place to place by which a placed layer agrees better with its clip."""

import cv2
import numpy as np
from jaxtyping import Float32

from ...arrays import Image, Matte, Rgb

FRAMES = 8
"""Frames that take part, evenly spaced; the median of their shifts holds for all, for a tool treats all alike."""
SMOOTH = 1 / 24
"""Standard deviation of the smoothing of the shift, as a share of the picture's longer side."""
MAX_SHIFT_PX = 6.0
"""Larger shifts are other content, not a layer that lies beside its clip."""
Shift = Float32[np.ndarray, "H W 2"]
"""Offset across and down, in pixels, from each pixel of the clip to its place in the layer."""


def find_local_shift(gt: Rgb, layer: Rgb, subject_mask: Matte) -> Shift:
    """Fit the shift by dense optical flow (DIS), off the subject and weighed by the detail that flow can hold on to."""
    chosen = np.unique(np.linspace(0, len(gt) - 1, FRAMES).round().astype(int))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    sigma = SMOOTH * max(gt.shape[1:3])
    shifts = []
    for index in chosen:
        clip, shown = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (gt[index], layer[index]))
        offset = flow.calc(clip, shown, None)
        weight = np.abs(cv2.Laplacian(clip, cv2.CV_32F)) + np.float32(0.1)
        weight *= (cv2.dilate(subject_mask[index], np.ones((15, 15), np.uint8)) < 32) & (
            np.abs(offset).max(axis=2) < MAX_SHIFT_PX
        )
        total = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-6)
        shifts.append(cv2.GaussianBlur(offset * weight[..., None], (0, 0), sigma) / total[..., None])
    return np.asarray(np.median(np.stack(shifts), axis=0), np.float32)


def shift_frame(frame: Image, shift: Shift) -> Image:
    """Resample a frame of the layer; beyond it its border is repeated."""
    rows, columns = np.indices(frame.shape[:2], np.float32)
    return np.asarray(
        cv2.remap(
            frame, columns + shift[..., 0], rows + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
