"""Frames of a layer that belong to the frames of a clip: an offset, dropped frames and a missing end are found.

Small pictures are compared by what changes in them over time, the subject apart: a moving camera, waves, leaves. Where
nothing changes every offset looks alike, and then frame k belongs to frame k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from ...arrays import Matte, Rgb
from .scale_and_shift import find_placement, warp_layer

THUMBNAIL = (27, 48)
"""Height and width of the pictures that are compared."""
JUMP_COST = 1.0
"""Least gain of a jump over a clip, in standard deviations of the sum of as many correlations of other frames."""
MIN_GAIN = 0.02
"""Gain in correlation, mean over the clip, without which frame k belongs to frame k: on calm water any path is as good
as another to 0.002, a single frame lost amid moving ones costs 0.1."""

LayerImage = UInt8[np.ndarray, "h w 3"]
AnyImage = UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"]
Thumbnails = Float32[np.ndarray, "_ P"]


@dataclass(frozen=True, kw_only=True)
class FrameMatch:
    """For each frame of a clip, the frame of the layer that shows the same moment."""

    indices: Int64[np.ndarray, "T"]
    missing: Bool[np.ndarray, "T"]
    """Frames of the clip that the layer lacks; their index is that of the frame before (at the start: the first)."""
    correlation: float
    """Correlation of the changes in matching frames, mean over the clip; near 0 for a still scene."""


def match_frames(gt: Rgb, layer: Sequence[LayerImage], subject_mask: Matte) -> FrameMatch:
    """Find the frames of a layer that may lie elsewhere in the picture: it is placed, matched, and placed again.

    Two beginnings are tried, frame k to frame k and the match of the unplaced pictures; the one after which the detail
    of clip and layer agrees better is taken.

    Args:
        gt: the clip; small pictures do (64 rows).
        layer: any number of frames, of any one size.
        subject_mask: the subject, which the layer need not show; all 0 where it is not known.
    """
    common = np.arange(min(len(gt), len(layer)))
    candidates = [common, match_placed(gt, layer, subject_mask).indices]
    matches = []
    for indices in candidates:
        own = np.arange(len(indices))
        placement = find_placement(gt[own], [layer[index] for index in indices], subject_mask[own])
        placed = [warp_layer(frame, placement, gt.shape[1:3]) for frame in layer]
        match = match_placed(gt, placed, subject_mask)
        refined = find_placement(gt, [layer[index] for index in match.indices], subject_mask)
        matches.append((refined.correlation, match))
    return max(matches, key=lambda scored: scored[0])[1]


def match_placed(gt: Rgb, layer: Sequence[LayerImage], subject_mask: Matte) -> FrameMatch:
    """Find the most probable sequence of the frames of a layer that lies where the clip does."""
    similarity = _similarity(
        np.stack([_thumbnail(frame) for frame in gt]),
        np.stack([_thumbnail(frame) for frame in layer]),
        np.stack([(_small(coverage) < 1).astype(np.float32).ravel() for coverage in subject_mask]),
    )
    own = np.arange(len(gt))
    paths = [np.minimum(own, len(layer) - 1), _best_path(similarity)]
    gaps = [path <= np.append(-1, np.maximum.accumulate(path)[:-1]) for path in paths]
    scores = [float(similarity[own, path][~gap].sum()) for path, gap in zip(paths, gaps, strict=True)]
    indices, missing = (part[scores[1] - scores[0] > MIN_GAIN * len(gt)] for part in (paths, gaps))
    correlation = float(similarity[own, indices][~missing].mean())
    return FrameMatch(indices=indices, missing=missing, correlation=correlation)


def _small(image: AnyImage) -> Float32[np.ndarray, "rows columns"]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small = cv2.resize(grey, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _thumbnail(image: LayerImage) -> Float32[np.ndarray, "P"]:
    small = _small(image)
    return np.asarray((small - cv2.GaussianBlur(small, (0, 0), 3.0)).ravel())


def _similarity(clip: Thumbnails, layer: Thumbnails, weight: Thumbnails) -> Float32[np.ndarray, "T U"]:
    """Correlation of each frame of the clip with each of the layer, over the pixels without the subject."""
    clip = clip - _weighted_mean(clip, weight)
    layer = layer - layer.mean(axis=0)
    covariance = (weight * clip) @ layer.T
    energy = (weight * clip**2).sum(axis=1)[:, None] * (weight @ (layer**2).T)
    # A level of change that codecs make on their own counts as none.
    floor = 0.5**2 * weight.sum(axis=1)[:, None]
    return np.asarray(covariance / np.sqrt(energy + floor**2), np.float32)


def _weighted_mean(clip: Thumbnails, weight: Thumbnails) -> Float32[np.ndarray, "P"]:
    return np.asarray((weight * clip).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-6))


def _best_path(similarity: Float32[np.ndarray, "T U"]) -> Int64[np.ndarray, "T"]:
    """Dynamic programming: the next frame is free, waiting at either end gains nothing, any other step costs a jump."""
    frames, layer_frames = similarity.shape
    own = np.arange(layer_frames)
    jump_cost = max(1.0, JUMP_COST * float(similarity.std()) * np.sqrt(frames))
    score = similarity[0] - jump_cost * (own > 0)
    origins = np.zeros((frames, layer_frames), np.int64)
    for frame in range(1, frames):
        following = np.append(-np.inf, score[:-1])
        jumping = float(score.max()) - jump_cost
        best = np.maximum(following, jumping)
        origin = np.where(following >= jumping, own - 1, int(score.argmax()))
        best = best + similarity[frame]
        for end in (0, layer_frames - 1):
            if score[end] > best[end]:  # a frame that waits matches nothing, so it gains nothing
                best[end], origin[end] = score[end], end
        origins[frame], score = origin, best
    path = [int(score.argmax())]
    for frame in range(frames - 1, 0, -1):
        path.append(int(origins[frame, path[-1]]))
    return np.array(path[::-1], np.int64)
