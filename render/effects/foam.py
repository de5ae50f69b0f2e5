"""White water: churned by the subject, drifting apart, dissolving."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy import fft

from .base import Track
from .trajectory import Trajectory, emission_times, ground_proximity, heading_axes
from .wave_field import Grid

LASTS_S = 2.2
PATCHES = 24.0
"""Of foam, a metre."""


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """Round soft patches of foam, by birth."""

    born_s: Float64[np.ndarray, "N"]
    place: Float64[np.ndarray, "N 2"]
    drift: Float64[np.ndarray, "N 2"]
    """Metres a second."""
    strength: Float64[np.ndarray, "N"]
    radius_m: Float64[np.ndarray, "N"]
    """At birth; it grows to three times that."""
    lasts_s: float


def churned(
    grid: Grid, track: Track, course: Trajectory, turbulence: float, rng: np.random.Generator
) -> Float32[np.ndarray, "T rows columns"]:
    """Share of white water, 0 to 1: patches left behind the subject that widen and fade; none where nothing moves."""
    lots = (_trail(track, course, rng), _bow(track, course, rng))
    frames = np.zeros((len(track), grid.rows, grid.columns), np.float32)
    for lot in lots:
        for frame in range(len(track)):
            age = frame / track.fps - lot.born_s
            for patch in np.flatnonzero((age > 0) & (age < lot.lasts_s) & (lot.strength > 0.01)):
                share = age[patch] / lot.lasts_s
                at = lot.place[patch] + lot.drift[patch] * age[patch]
                strength = turbulence * lot.strength[patch] * (1 - share) ** 1.3
                _lay(frames[frame], grid, at, lot.radius_m[patch] * (1 + 2 * np.sqrt(share)), strength)
    return np.asarray((1 - np.exp(-1.3 * frames)) * grid.rim(), np.float32)


def _trail(track: Track, course: Trajectory, rng: np.random.Generator) -> _Patches:
    """What the stern leaves."""
    length, width, _ = track.extent
    born = emission_times(course, per_metre=PATCHES)
    here = course.at(born)
    chance = rng.random((len(born), 4))
    forward, left = (part[:, :2] for part in heading_axes(here.heading))
    place = (
        here.place[:, :2] + forward * (length * (0.1 * chance[:, :1] - 0.45)) + left * width * (chance[:, 1:2] - 0.5)
    )
    return _Patches(
        born_s=born,
        place=place,
        drift=left * 0.25 * width * (chance[:, 1:2] - 0.5),
        strength=_vigour(here, width) * (0.3 + 0.7 * chance[:, 2]),
        radius_m=width * (0.07 + 0.13 * chance[:, 3] ** 2),
        lasts_s=LASTS_S,
    )


def _bow(track: Track, course: Trajectory, rng: np.random.Generator) -> _Patches:
    """What the bow throws to both sides, like a moustache."""
    length, width, _ = track.extent
    born = emission_times(course, per_metre=PATCHES)
    here = course.at(born)
    chance = rng.random((len(born), 4))
    forward, left = (part[:, :2] for part in heading_axes(here.heading))
    side = np.where(chance[:, :1] < 0.5, -1.0, 1.0)
    speed = np.linalg.norm(here.velocity[:, :2], axis=1)[:, None]
    return _Patches(
        born_s=born,
        place=here.place[:, :2] + forward * length * (0.4 - 0.15 * chance[:, 1:2]) + left * side * 0.3 * width,
        drift=left * side * speed * (0.16 + 0.1 * chance[:, 2:3]),
        strength=_vigour(here, width) * (0.2 + 0.5 * chance[:, 3]),
        radius_m=width * (0.03 + 0.06 * chance[:, 2]),
        lasts_s=0.5 * LASTS_S,
    )


def _vigour(here: Trajectory, width: float) -> Float64[np.ndarray, "N"]:
    """How hard the water is churned: by speed, while the subject is in it."""
    speed = np.linalg.norm(here.velocity[:, :2], axis=1)
    return np.asarray(np.clip(speed / 2, 0, 1) * ground_proximity(here.place[:, 2], 0.3 * width))


def chop(
    grid: Grid, track: Track, white: Float32[np.ndarray, "T rows columns"], height_m: float, rng: np.random.Generator
) -> Float32[np.ndarray, "T rows columns"]:
    """Small steep waves in white water."""
    kx, ky = grid.waves()
    number = np.hypot(kx, ky)
    longest = 2 * np.pi / (14 * grid.step_m)
    shape = (grid.rows, grid.columns)
    drawn = fft.rfft2(rng.normal(size=shape)) * np.exp(-(((number - longest) / (0.6 * longest)) ** 2))
    still = fft.irfft2(drawn, s=shape)
    size = float(still.std()) or 1.0
    turn = np.sqrt(9.81 * number)
    frames = np.empty_like(white)
    for frame in range(len(track)):
        rough = fft.irfft2(drawn * np.cos(turn * frame / track.fps), s=shape) / size
        frames[frame] = height_m * 0.6 * rough * white[frame]
    return frames


def _lay(
    frame: Float32[np.ndarray, "rows columns"], grid: Grid, at: Float64[np.ndarray, "2"], radius: float, strength: float
) -> None:
    """Add a round soft patch."""
    column, row = ((at[axis] - grid.origin[axis]) / grid.step_m for axis in (0, 1))
    reach = int(np.ceil(radius / grid.step_m)) + 1
    c0, r0 = max(0, int(column) - reach), max(0, int(row) - reach)
    c1, r1 = min(grid.columns, int(column) + reach + 2), min(grid.rows, int(row) + reach + 2)
    if c0 >= c1 or r0 >= r1:
        return
    x, y = np.arange(c0, c1) - column, np.arange(r0, r1) - row
    near = 1 - (x**2 + y[:, None] ** 2) * (grid.step_m / radius) ** 2
    frame[r0:r1, c0:c1] += strength * np.clip(near, 0, 1)
