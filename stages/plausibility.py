"""How plausible a subject mask is by itself and beside another: shares in [0, 1], 1 is best."""

import numpy as np

from ..arrays import Matte, MatteImage, PerFrame


def overlap(first: MatteImage, second: MatteImage) -> float:
    """Intersection over union of two masks; two empty masks agree fully."""
    one, other = first > 127, second > 127
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def area_ratio(first: MatteImage, second: MatteImage) -> float:
    """The smaller area over the larger; 1 where both are empty."""
    areas = sorted((np.count_nonzero(first > 127), np.count_nonzero(second > 127)))
    return areas[0] / areas[1] if areas[1] else 1.0


def steadiness(mask: Matte) -> PerFrame:
    """Area of each frame against the median of itself and two frames on either side: smaller over larger.

    An empty frame between filled ones gets 0; an empty frame among empty ones 1.
    """
    areas = np.array([np.count_nonzero(frame > 127) for frame in mask], np.float32)
    padded = np.pad(areas, 2, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=-1)
    larger = np.maximum(areas, usual)
    return np.divide(np.minimum(areas, usual), larger, out=np.ones_like(areas), where=larger > 0).astype(np.float32)
