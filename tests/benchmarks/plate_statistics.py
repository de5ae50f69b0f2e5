"""Statistics of a plate's samples against plain numpy, on one thread: `python tests/benchmarks/plate_statistics.py`.

Median, spread, range and lit level of twelve samples of 192x336, of which one in five is not valid: what each frame of
a survey asks for. The plain side sorts with numpy and looks the ranks up by index. Both take turns, so that a busy
machine slows both; the results must be the same, bit for bit.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
from effectpairs.stages.plates.masked_median import envelope, lit_mode, masked_median, masked_spread

TARGET = 8.0
REACH = 100


def samples(count: int = 12, height: int = 192, width: int = 336) -> tuple[np.ndarray, np.ndarray]:
    """Noisy views of one picture, a shadow in three of four, and the rank of each pixel."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)), (0, 0), 3)
    picture = 125 + 50 * picture / picture.std()
    views = picture + rng.normal(0, 2, (count, height, width, 3))
    views[: 3 * count // 4, 80:120, 100:200] *= 0.6
    ranks = rng.integers(1, 256, (count, height, width)) * (rng.random((count, height, width)) > 0.2)
    return np.clip(np.rint(views), 0, 255).astype(np.uint8), ranks.astype(np.uint8)


def plain(views: np.ndarray, ranks: np.ndarray) -> list[np.ndarray]:
    """The same from numpy's sort, index by index."""
    valid = ranks > 0
    rising, count = np.sort(np.where(valid[..., None], views, 255), axis=0), valid.sum(axis=0)
    low, high = (pick(rising, index) for index in ((count - 1) // 2, count // 2))
    middle = np.where(count[..., None] > 0, (low.astype(int) + high + 1) // 2, 0).astype(np.uint8)
    away = np.where(valid[..., None], np.abs(views.astype(int) - middle), 255)
    spread = pick(np.sort(away, axis=0), np.ceil(0.6 * count).astype(int) - 1)
    spread = np.where(count[..., None] < 3, 0, spread).astype(np.uint8)
    far = ranks >= REACH
    number = far.sum(axis=0)[..., None]
    distant = np.sort(np.where(far[..., None], views, 255), axis=0)
    lowest = np.where(number < 3, 255, pick(distant, np.ones_like(number[..., 0])))
    highest = np.where(number < 3, 0, pick(distant, number[..., 0] - 2))
    best, second, median = (
        image.astype(np.float32).mean(axis=2) for image in (pick(rising, count - 1), pick(rising, count - 2), middle)
    )
    gap, grey = second - median, rising.astype(np.float32).mean(axis=3)
    between = (grey > median + 0.25 * gap) & (grey < second - 0.25 * gap)
    between &= np.arange(len(views))[:, None, None] < count
    lit = (count >= 5) & (gap > 12) & (best - second < 0.25 * gap) & (between.sum(axis=0) <= 0.2 * count)
    lit &= ~((ranks >= REACH) & (views.astype(np.float32).mean(axis=3) < second - 0.5 * gap)).any(axis=0)
    return [middle, spread, lowest.astype(np.uint8), highest.astype(np.uint8), lit]


def pick(rising: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The value at each pixel's own index."""
    return np.take_along_axis(rising, np.maximum(index, 0)[None, ..., None], axis=0)[0]


def fast(views: np.ndarray, ranks: np.ndarray) -> list[np.ndarray]:
    """The package's own."""
    middle, _ = masked_median(views, ranks > 0)
    spread = masked_spread(views, ranks > 0, middle, 0.6)
    return [middle, spread, *envelope(views, ranks >= REACH), lit_mode(views, ranks, middle, REACH)[1]]


def main() -> None:
    """Print seconds and ratio; fail where results differ or the ratio misses the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    views, ranks = samples()
    seconds: dict[str, list[float]] = {"plain": [], "fast": []}
    for _ in range(rounds):
        results = []
        for name, side in (("plain", plain), ("fast", fast)):
            start = time.process_time()
            results.append(side(views, ranks))
            seconds[name].append(time.process_time() - start)
        if any(not np.array_equal(*pair) for pair in zip(*results, strict=True)):
            raise SystemExit("the results differ: the fast side and its reference have come apart")
    slow, quick = (statistics.median(seconds[name]) for name in ("plain", "fast"))
    print(
        f"statistics of 12 samples of 192x336, one thread: plain {1000 * slow:.0f} ms, fast {1000 * quick:.0f} ms, "
        f"{slow / quick:.1f} times faster (target {TARGET:.0f}); the same bytes"
    )
    if slow / quick < TARGET:
        raise SystemExit(f"{slow / quick:.1f} is below {TARGET:.0f}")


if __name__ == "__main__":
    main()
