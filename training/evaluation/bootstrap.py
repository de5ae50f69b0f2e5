"""95 % intervals of a method's measures by the bootstrap: clips are drawn anew, with replacement, again and again.

A mean weighs each clip by its frames, as the tables do. FVD of a draw comes from the products between the features of
all windows, so a draw costs the singular values of one small matrix. Repeated windows raise it, so its draws are
shifted until their mean is the value; a distance is never below 0. Equal seeds give equal intervals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from .metric import MetricValue
from .video_metrics import Features

DRAWS, FVD_DRAWS = 10_000, 300
MAX_FVD_WINDOWS = 600
"""Windows above which FVD gets no interval: each draw would take a second and more."""
SEED = 0
ENDS = (0.025, 0.975)


def with_mean_interval(mean: MetricValue, clips: Sequence[MetricValue]) -> MetricValue:
    """Return a mean with its interval, given the value of each clip; with none where under two clips have a number."""
    numbers = np.array([clip.value if clip.value is not None else 0.0 for clip in clips])
    weights = np.array([clip.n if clip.value is not None else 0 for clip in clips], np.float64)
    if mean.value is None or np.count_nonzero(weights) < 2:
        return mean
    means = []
    for counts in _draw_clips(len(clips), DRAWS):
        totals = counts @ weights
        means.append(((counts @ (weights * numbers))[totals > 0]) / totals[totals > 0])
    low, high = np.quantile(np.concatenate(means), ENDS)
    return replace(mean, low=float(low), high=float(high))


def with_fvd_interval(distance: MetricValue, truth: Sequence[Features], results: Sequence[Features]) -> MetricValue:
    """Return an FVD with its interval, given the features of each clip's truth and result."""
    owners = np.repeat(np.arange(len(truth)), [len(rows) for rows in truth])
    if distance.value is None or len(truth) < 2 or not 2 < len(owners) <= MAX_FVD_WINDOWS:
        return distance
    first, second = (np.concatenate([rows for rows in clips if len(rows)]) for clips in (truth, results))
    products = first @ first.T, second @ second.T, first @ second.T
    draws = np.array(
        [
            frechet_of_products(*products, counts[owners])
            for block in _draw_clips(len(truth), FVD_DRAWS)
            for counts in block
            if counts[owners].sum() > 1
        ]
    )
    low, high = np.quantile(draws - draws.mean() + distance.value, ENDS)
    return replace(distance, low=max(0.0, float(low)), high=float(high))


def frechet_of_products(
    first: Float64[np.ndarray, "n n"],
    second: Float64[np.ndarray, "n n"],
    mixed: Float64[np.ndarray, "n n"],
    counts: Int64[np.ndarray, " n"],
) -> float:
    """Frechet distance between two sets of rows A and B, row k taken `counts[k]` times, by A A^T, B B^T and A B^T.

    The trace of the root of the covariances' product is the sum of the singular values of the centred A B^T.
    """
    share, total = counts / counts.sum(), counts.sum()
    gap = share @ (first + second - 2 * mixed) @ share
    spread = sum(share @ np.diag(products) - share @ products @ share for products in (first, second))
    centred = mixed - share @ mixed - (mixed @ share)[:, None] + share @ mixed @ share
    root = np.sqrt(share)
    overlap = np.linalg.svd(root[:, None] * centred * root, compute_uv=False).sum()
    return max(0.0, float(gap + (spread - 2 * overlap) * total / (total - 1)))


def _draw_clips(clips: int, draws: int) -> Iterator[Int64[np.ndarray, "_ _"]]:
    """Blocks of draws, each the number of times that every clip comes; few are in memory at once."""
    rng, block = np.random.default_rng(SEED), max(1, 2_000_000 // clips)
    for start in range(0, draws, block):
        yield rng.multinomial(clips, np.full(clips, 1 / clips), size=min(block, draws - start)).astype(np.int64)
