"""Smooth noise that repeats seamlessly, from which wisps of a cloud are cut; needs numpy alone."""

import numpy as np

SIDE = 64
"""Grid points along each axis before the noise repeats."""


def periodic_noise(seed: int, grain: float) -> np.ndarray:
    """Noise over SIDE^3 points, 0 to 1, a half on average, whose largest wisps are about `grain` points across."""
    rng = np.random.default_rng([seed, 11])
    waves = np.fft.rfftn(rng.standard_normal((SIDE, SIDE, SIDE)))
    turns = np.fft.fftfreq(SIDE)
    frequency = np.sqrt(turns[:, None, None] ** 2 + turns[:, None] ** 2 + np.fft.rfftfreq(SIDE) ** 2)
    lowest = 1 / min(grain, SIDE / 3)
    weight = np.where(frequency > 0.5 * lowest, 1 / np.maximum(frequency, lowest) ** 2.6, 0.0)
    smooth = np.fft.irfftn(waves * weight, s=(SIDE, SIDE, SIDE), axes=(0, 1, 2))
    return np.asarray(np.clip(0.5 + 0.22 * smooth / smooth.std(), 0, 1), np.float32)


def noise_block(noise: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Block of the noise from a position between its points on, linear between them."""
    corner = np.floor(start).astype(int)
    fraction = (start - corner).astype(np.float32)
    block = noise[np.ix_(*(np.arange(a, a + count + 1) % SIDE for a, count in zip(corner, shape, strict=True)))]
    for axis, share in enumerate(fraction):
        count = shape[axis]
        low, high = (np.take(block, range(first, first + count), axis=axis) for first in (0, 1))
        block = low + share * (high - low)
    return np.asarray(block)
