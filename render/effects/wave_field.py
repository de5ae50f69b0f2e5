"""Deep water on a grid: gravity waves that a moving pressure raises, and the foam that the subject churns up.

Every wave number turns at its own pace, omega^2 = g k, which is what makes a wake a V of feathers with crests across.
Each sub-step turns all of them exactly, so no step is too long to be stable; only pressure is added step by step. Waves
that reach the rim die there. Foam drifts apart and dissolves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64
from scipy import fft

from .base import GRAVITY, Track, Trajectory, heading_axes

SUB_STEPS_HZ = 40.0
"""Lowest rate at which pressure is laid on the water."""
MAX_GRID_POINTS = 384
"""Along a side of the grid."""
FOAM_LASTS_S = 2.2
FOAM_PATCHES_PER_METRE = 24.0
Spectrum = Complex64[np.ndarray, "rows half"]
"""Real Fourier transform of a grid."""
Heights = Float32[np.ndarray, "T rows columns"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A rectangle of water: rows along y, columns along x."""

    origin: tuple[float, float]
    step_m: float
    rows: int
    columns: int
    rim_m: float
    """At every side, the strip in which waves die."""

    @property
    def x(self) -> Float64[np.ndarray, "columns"]:
        """X of the columns, metres."""
        return self.origin[0] + self.step_m * np.arange(self.columns)

    @property
    def y(self) -> Float64[np.ndarray, "rows"]:
        """Y of the rows, metres."""
        return self.origin[1] + self.step_m * np.arange(self.rows)

    def wave_numbers(self) -> tuple[Float32[np.ndarray, "rows half"], Float32[np.ndarray, "rows half"]]:
        """Wave numbers along x and y, radians a metre, in the order of a real transform."""
        along_x = 2 * np.pi * fft.rfftfreq(self.columns, self.step_m)
        along_y = 2 * np.pi * fft.fftfreq(self.rows, self.step_m)
        kx, ky = np.meshgrid(along_x, along_y)
        return kx.astype(np.float32), ky.astype(np.float32)

    def push_at(self, x: float, y: float) -> Spectrum:
        """A push on one point, transformed."""
        along_x = 2 * np.pi * fft.rfftfreq(self.columns, self.step_m) * (x - self.origin[0])
        along_y = 2 * np.pi * fft.fftfreq(self.rows, self.step_m) * (y - self.origin[1])
        column, row = np.exp(-1j * along_y).astype(np.complex64), np.exp(-1j * along_x).astype(np.complex64)
        return np.asarray(column[:, None] * row)

    def rim_weight(self) -> Float32[np.ndarray, "rows columns"]:
        """1 inside, falling smoothly to exactly 0 at the rim."""

        def side_weight(count: int) -> np.ndarray:
            rim_share = np.minimum(np.arange(count), np.arange(count)[::-1]) * self.step_m / self.rim_m
            rim_share = np.clip(rim_share, 0, 1)
            return rim_share * rim_share * (3 - 2 * rim_share)

        return np.asarray(side_weight(self.rows)[:, None] * side_weight(self.columns), np.float32)


Pressure = Callable[[float, float], Spectrum | None]
"""Push on the water from a second on, for so many seconds: transformed, or none."""


def grid_around(points: Float64[np.ndarray, "N 2"], *, margin_m: float, finest_m: float) -> Grid:
    """Lay a grid around points, x and y, as fine as asked for or as its size allows; the outer margin is its rim."""
    low, high = points.min(axis=0) - margin_m, points.max(axis=0) + margin_m
    step = max(finest_m, float((high - low).max()) / (MAX_GRID_POINTS - 1))
    columns, rows = (max(16, fft.next_fast_len(int(np.ceil(side / step)) + 1, real=True)) for side in high - low)
    x, y = (low + high) / 2 - step * (np.array([columns, rows]) - 1) / 2
    return Grid(origin=(float(x), float(y)), step_m=step, rows=rows, columns=columns, rim_m=0.55 * margin_m)


def simulate_waves(grid: Grid, track: Track, lead_s: float, pressure: Pressure, calming_s: float) -> Heights:
    """Return the water's height in every frame, up to a common factor.

    It is calm `lead_s` seconds before the first frame, and a wave is down to a third after `calming_s`.
    """
    kx, ky = grid.wave_numbers()
    omega = np.sqrt(GRAVITY * np.sqrt(kx**2 + ky**2)).astype(np.float32)
    shape, rim, frame_s = (grid.rows, grid.columns), grid.rim_weight(), 1 / track.fps
    damping = np.where(rim > 0, rim ** np.float32(3 * frame_s), np.float32(0))  # near the rim, at any frame rate alike
    count = max(1, int(np.ceil(frame_s * SUB_STEPS_HZ)))
    step_s = frame_s / count
    turn = omega * np.float32(step_s)
    cos, sin = np.cos(turn), np.sin(turn)
    sinc = np.where(omega > 0, sin / np.maximum(omega, 1e-6), np.float32(step_s)).astype(np.float32)
    fading = np.float32(np.exp(-step_s / calming_s))
    waves = speeds = np.zeros(omega.shape, np.complex64)
    frames = np.empty((len(track), *shape), np.float32)
    for frame in range(1 - max(1, round(lead_s * track.fps)), len(track)):
        for number in range(count):
            push = pressure((frame - 1) / track.fps + (number + 0.5) * step_s, step_s)
            speeds = speeds if push is None else speeds + push
            waves, speeds = (cos * waves + sinc * speeds) * fading, (cos * speeds - omega * sin * waves) * fading
        waves, speeds = (
            fft.rfft2(fft.irfft2(values, s=shape) * damping).astype(np.complex64) for values in (waves, speeds)
        )
        if frame >= 0:
            frames[frame] = fft.irfft2(waves, s=shape).astype(np.float32) * rim
    return frames


@dataclass(frozen=True, kw_only=True)
class _FoamPatches:
    """Round soft patches of foam, by birth."""

    born_s: Float64[np.ndarray, "N"]
    position: Float64[np.ndarray, "N 2"]
    drift: Float64[np.ndarray, "N 2"]
    """Metres a second."""
    strength: Float64[np.ndarray, "N"]
    radius_m: Float64[np.ndarray, "N"]
    """At birth; it grows to three times that."""
    lasts_s: float


def foam_share(
    grid: Grid, track: Track, trajectory: Trajectory, turbulence: float, rng: np.random.Generator
) -> Heights:
    """Share of white water, 0 to 1: patches left behind the subject that widen and fade; none where nothing moves."""
    subject = trajectory.at(trajectory.emission_times(per_metre=FOAM_PATCHES_PER_METRE))
    groups = [foam(subject, track, rng.random((len(subject.time_s), 4))) for foam in (_stern_foam, _bow_foam)]
    frames = np.zeros((len(track), grid.rows, grid.columns), np.float32)
    for patches in groups:
        for frame in range(len(track)):
            age = frame / track.fps - patches.born_s
            for patch in np.flatnonzero((age > 0) & (age < patches.lasts_s) & (patches.strength > 0.01)):
                age_share = age[patch] / patches.lasts_s
                centre = patches.position[patch] + patches.drift[patch] * age[patch]
                radius_m = patches.radius_m[patch] * (1 + 2 * np.sqrt(age_share))
                strength = turbulence * patches.strength[patch] * (1 - age_share) ** 1.3
                _add_patch(frames[frame], grid, centre, radius_m, strength)
    return np.asarray((1 - np.exp(-1.3 * frames)) * grid.rim_weight(), np.float32)


def chop_heights(grid: Grid, track: Track, foam: Heights, height_m: float, rng: np.random.Generator) -> Heights:
    """Heights of small steep waves in white water."""
    kx, ky = grid.wave_numbers()
    number = np.hypot(kx, ky)
    longest = 2 * np.pi / (14 * grid.step_m)
    shape = (grid.rows, grid.columns)
    noise = fft.rfft2(rng.normal(size=shape)) * np.exp(-(((number - longest) / (0.6 * longest)) ** 2))
    deviation = float(fft.irfft2(noise, s=shape).std()) or 1.0
    omega = np.sqrt(GRAVITY * number)
    frames = np.empty_like(foam)
    for frame in range(len(track)):
        chop = fft.irfft2(noise * np.cos(omega * frame / track.fps), s=shape) / deviation
        frames[frame] = height_m * 0.6 * chop * foam[frame]
    return frames


def _stern_foam(subject: Trajectory, track: Track, uniform: Float64[np.ndarray, "N 4"]) -> _FoamPatches:
    """Foam behind the stern: a patch for each state of the subject, of four random numbers from 0 to 1."""
    length, width, _ = track.extent
    forward, leftward = (axis[:, :2] for axis in heading_axes(subject.heading))
    stern = subject.position[:, :2] + forward * (length * (0.1 * uniform[:, :1] - 0.45))
    return _FoamPatches(
        born_s=subject.time_s,
        position=stern + leftward * width * (uniform[:, 1:2] - 0.5),
        drift=leftward * 0.25 * width * (uniform[:, 1:2] - 0.5),
        strength=_churning(subject, width) * (0.3 + 0.7 * uniform[:, 2]),
        radius_m=width * (0.07 + 0.13 * uniform[:, 3] ** 2),
        lasts_s=FOAM_LASTS_S,
    )


def _bow_foam(subject: Trajectory, track: Track, uniform: Float64[np.ndarray, "N 4"]) -> _FoamPatches:
    """Foam that the bow throws to both sides, like a moustache."""
    length, width, _ = track.extent
    forward, leftward = (axis[:, :2] for axis in heading_axes(subject.heading))
    side = np.where(uniform[:, :1] < 0.5, -1.0, 1.0)
    bow = subject.position[:, :2] + forward * length * (0.4 - 0.15 * uniform[:, 1:2])
    return _FoamPatches(
        born_s=subject.time_s,
        position=bow + leftward * side * 0.3 * width,
        drift=leftward * side * subject.speed_mps[:, None] * (0.16 + 0.1 * uniform[:, 2:3]),
        strength=_churning(subject, width) * (0.2 + 0.5 * uniform[:, 3]),
        radius_m=width * (0.03 + 0.06 * uniform[:, 2]),
        lasts_s=0.5 * FOAM_LASTS_S,
    )


def _churning(subject: Trajectory, width: float) -> Float64[np.ndarray, "N"]:
    """Strength of the foam, 0 to 1: by speed, while the subject is in the water."""
    return np.asarray(np.clip(subject.speed_mps / 2, 0, 1) * subject.ground_proximity(0.3 * width))


def _add_patch(
    frame: Float32[np.ndarray, "rows columns"],
    grid: Grid,
    centre: Float64[np.ndarray, "2"],
    radius_m: float,
    strength: float,
) -> None:
    column, row = ((centre[axis] - grid.origin[axis]) / grid.step_m for axis in (0, 1))
    reach = int(np.ceil(radius_m / grid.step_m)) + 1
    c0, r0 = max(0, int(column) - reach), max(0, int(row) - reach)
    c1, r1 = min(grid.columns, int(column) + reach + 2), min(grid.rows, int(row) + reach + 2)
    if c0 >= c1 or r0 >= r1:
        return
    x, y = np.arange(c0, c1) - column, np.arange(r0, r1) - row
    falloff = 1 - (x**2 + y[:, None] ** 2) * (grid.step_m / radius_m) ** 2
    frame[r0:r1, c0:c1] += strength * np.clip(falloff, 0, 1)
