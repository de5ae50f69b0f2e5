"""Deep water on a grid: gravity waves that a moving pressure raises.

Every wave number turns at its own pace, omega^2 = g k, which is what makes a wake a V of feathers with crests across.
Each sub-step turns all of them exactly, so no step is too long to be stable; only pressure is added step by step. Waves
that reach the rim die there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64
from scipy import fft

from .base import Track

GRAVITY = 9.81
SUB_STEPS_HZ = 40.0
"""How often pressure is laid on the water, at least."""
MOST_POINTS = 384
"""Along a side of the grid."""


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
        """Of the columns, metres."""
        return self.origin[0] + self.step_m * np.arange(self.columns)

    @property
    def y(self) -> Float64[np.ndarray, "rows"]:
        """Of the rows, metres."""
        return self.origin[1] + self.step_m * np.arange(self.rows)

    def waves(self) -> tuple[Float32[np.ndarray, "rows half"], Float32[np.ndarray, "rows half"]]:
        """The wave numbers along x and y, radians a metre, in the order of a real transform."""
        along = 2 * np.pi * fft.rfftfreq(self.columns, self.step_m)
        up = 2 * np.pi * fft.fftfreq(self.rows, self.step_m)
        kx, ky = np.meshgrid(along, up)
        return kx.astype(np.float32), ky.astype(np.float32)

    def push_at(self, x: float, y: float) -> Complex64[np.ndarray, "rows half"]:
        """A push on one point, transformed."""
        along = 2 * np.pi * fft.rfftfreq(self.columns, self.step_m) * (x - self.origin[0])
        up = 2 * np.pi * fft.fftfreq(self.rows, self.step_m) * (y - self.origin[1])
        return np.asarray(np.exp(-1j * up).astype(np.complex64)[:, None] * np.exp(-1j * along).astype(np.complex64))

    def rim(self) -> Float32[np.ndarray, "rows columns"]:
        """1 inside, falling smoothly to exactly 0 at the rim."""

        def side(count: int) -> np.ndarray:
            inward = np.minimum(np.arange(count), np.arange(count)[::-1]) * self.step_m / self.rim_m
            share = np.clip(inward, 0, 1)
            return share * share * (3 - 2 * share)

        return np.asarray(side(self.rows)[:, None] * side(self.columns), np.float32)


Pressure = Callable[[float, float], Complex64[np.ndarray, "rows half"] | None]
"""What pushes on the water from a second on, for so many seconds: transformed, or nothing."""


def grid_around(places: Float64[np.ndarray, "N 2"], *, margin_m: float, finest_m: float) -> Grid:
    """A grid around places, x and y, as fine as asked for or as its size allows; the outer margin is its rim."""
    low, high = places.min(axis=0) - margin_m, places.max(axis=0) + margin_m
    step = max(finest_m, float((high - low).max()) / (MOST_POINTS - 1))
    columns, rows = (max(16, fft.next_fast_len(int(np.ceil(side / step)) + 1, real=True)) for side in high - low)
    x, y = (low + high) / 2 - step * (np.array([columns, rows]) - 1) / 2
    return Grid(origin=(float(x), float(y)), step_m=step, rows=rows, columns=columns, rim_m=0.55 * margin_m)


def simulate_waves(
    grid: Grid, track: Track, lead_s: float, pressure: Pressure, calming_s: float
) -> Float32[np.ndarray, "T rows columns"]:
    """The water's height in every frame, up to a common factor.

    Args:
        grid: Where.
        track: Its frames.
        lead_s: How long before the first frame the water was calm.
        pressure: What pushes.
        calming_s: After this time a wave is down to a third.
    """
    state = _State.calm(grid, calming_s)
    rim = grid.rim()
    frames = np.empty((len(track), grid.rows, grid.columns), np.float32)
    count = max(1, round(lead_s * track.fps))
    for frame in range(-count, len(track)):
        if frame >= 0:
            frames[frame] = state.height() * rim
        if frame == len(track) - 1:
            break
        state.advance(frame / track.fps, 1 / track.fps, pressure)
        state.die_at(rim, 1 / track.fps)
    return frames


@dataclass(kw_only=True)
class _State:
    """Heights and their speeds, by wave number."""

    shape: tuple[int, int]
    omega: np.ndarray
    calming_s: float
    heights: np.ndarray
    speeds: np.ndarray

    @classmethod
    def calm(cls, grid: Grid, calming_s: float) -> "_State":
        kx, ky = grid.waves()
        omega = np.sqrt(GRAVITY * np.sqrt(kx**2 + ky**2)).astype(np.float32)
        none = np.zeros(omega.shape, np.complex64)
        shape = (grid.rows, grid.columns)
        return cls(shape=shape, omega=omega, calming_s=calming_s, heights=none, speeds=none.copy())

    def advance(self, second: float, span: float, pressure: Pressure) -> None:
        """Let `span` seconds go by, in equal sub-steps."""
        count = max(1, int(np.ceil(span * SUB_STEPS_HZ)))
        part = span / count
        turn = self.omega * np.float32(part)
        cos, sin = np.cos(turn), np.sin(turn)
        per = np.where(self.omega > 0, sin / np.maximum(self.omega, 1e-6), np.float32(part)).astype(np.float32)
        fading = np.float32(np.exp(-part / self.calming_s))
        for number in range(count):
            push = pressure(second + (number + 0.5) * part, part)
            if push is not None:
                self.speeds = self.speeds + push
            heights = (cos * self.heights + per * self.speeds) * fading
            self.speeds = (cos * self.speeds - self.omega * sin * self.heights) * fading
            self.heights = heights

    def height(self) -> Float32[np.ndarray, "rows columns"]:
        return np.asarray(fft.irfft2(self.heights, s=self.shape), np.float32)

    def die_at(self, rim: Float32[np.ndarray, "rows columns"], span: float) -> None:
        """Take from the waves near the rim, in a time that does not depend on the frame rate."""
        keep = rim ** np.float32(3 * span)
        keep = np.where(rim > 0, keep, np.float32(0))
        self.heights = fft.rfft2(fft.irfft2(self.heights, s=self.shape) * keep).astype(np.complex64)
        self.speeds = fft.rfft2(fft.irfft2(self.speeds, s=self.shape) * keep).astype(np.complex64)
