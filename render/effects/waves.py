"""Water that the subject disturbs: the wake behind a hull, rings around what bobs or falls in."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32

from ...settings import InRange
from .base import GRAVITY, Effect, Track, Trajectory, build_trajectory
from .render_data import Medium, Waves
from .wave_field import Grid, Pressure, Spectrum, chop_heights, foam_share, grid_around, simulate_waves

LEAD_S = 3.0
"""Length of the wake that lies behind the subject in the first frame."""


@dataclass(frozen=True, kw_only=True)
class Wake(Effect):
    """A V of waves behind a subject that travels on water."""

    kind: Literal["wake"] = "wake"
    height_m: Annotated[float, InRange(0.001, 2)] = 0.05
    """Height of the highest wave."""
    turbulence: Annotated[float, InRange(0, 1)] = 0.2
    """Churned, foaming water behind the subject: 0 none, 1 all white."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one field of waves, with foam where it is turbulent; flat where nothing moves."""
        trajectory = build_trajectory(track, LEAD_S)
        length, width, _ = track.extent
        grid = grid_around(trajectory.position[:, :2], margin_m=1.5 * length + 2.0, finest_m=max(0.03, width / 14))
        heights = simulate_waves(grid, track, LEAD_S, _hull_pressure(grid, track, trajectory), calming_s=2.5)
        outside = _outside_hull(grid, track)
        foam = foam_share(grid, track, trajectory, self.turbulence, rng) * outside if self.turbulence > 0 else None
        top_speed = float(np.linalg.norm(track.velocity[:, :2], axis=1).max())
        heights = _scaled_heights(heights * outside, self.height_m * min(1.0, top_speed))
        if foam is not None:
            heights = heights + chop_heights(grid, track, foam, 0.35 * self.height_m, rng)
        return (Waves(heights=heights, origin=grid.origin, step_m=grid.step_m, foam=foam),)

    def facts(self) -> dict[str, str | float]:
        """Return its height and turbulence."""
        wildness = "gentle" if self.turbulence < 0.25 else "turbulent" if self.turbulence > 0.6 else "lively"
        return {"intensity": wildness, "height_m": self.height_m, "turbulence": self.turbulence}


@dataclass(frozen=True, kw_only=True)
class Ripple(Effect):
    """Rings that run out from where the subject touches the water."""

    kind: Literal["ripple"] = "ripple"
    height_m: Annotated[float, InRange(0.001, 1)] = 0.02
    """Height of the highest ring."""
    length_m: Annotated[float, InRange(0.02, 10)] = 0.25
    """Distance from crest to crest."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one field of waves: pulses at the waterline while the subject moves, and from every hit."""
        trajectory = build_trajectory(track, LEAD_S)
        margin_m = max(track.extent[:2]) + 10 * self.length_m
        grid = grid_around(trajectory.position[:, :2], margin_m=margin_m, finest_m=self.length_m / 6)
        heights = simulate_waves(grid, track, LEAD_S, self._pressure(grid, track, trajectory, rng), calming_s=2.0)
        top_speed = float(np.linalg.norm(track.velocity, axis=1).max())
        liveliness = max([min(1.0, 2 * top_speed)] + [min(1.0, contact.speed / 2) for contact in track.contacts])
        heights = _scaled_heights(heights * _outside_hull(grid, track), self.height_m * liveliness)
        return (Waves(heights=heights, origin=grid.origin, step_m=grid.step_m),)

    def facts(self) -> dict[str, str | float]:
        """Return the height and the distance of the rings."""
        height = "faint" if self.height_m < 0.01 else "strong" if self.height_m > 0.04 else "gentle"
        return {"intensity": height, "height_m": self.height_m, "length_m": self.length_m}

    def _pressure(self, grid: Grid, track: Track, trajectory: Trajectory, rng: np.random.Generator) -> Pressure:
        """Beats of waves about as long as asked for: at the subject as it moves, and three after every hit."""
        kx, ky = grid.wave_numbers()
        number = 2 * np.pi / max(self.length_m, 5 * grid.step_m)
        omega = np.sqrt(GRAVITY * number)
        # Only waves about as long as asked for, and a ring as wide as the subject's waterline.
        band = np.exp(-(((np.hypot(kx, ky) - number) / (0.3 * number)) ** 2)).astype(np.float32)
        phase = rng.uniform(0, 2 * np.pi)
        reach_m = 0.3 * max(track.extent[:2])

        def pressure(time_s: float, duration_s: float) -> Spectrum | None:
            subject = trajectory.at(np.array([time_s]))
            proximity = subject.ground_proximity(reach_m)[0]
            bobbing = float(np.linalg.norm(subject.velocity[0]) * proximity)
            pushes = [(subject.position[0], min(1.0, 2 * bobbing) * np.sin(omega * time_s + phase))]
            for contact in track.contacts:
                beats = (time_s - contact.frame / track.fps) * omega / (2 * np.pi)
                if 0 <= beats < 3:
                    weight = 2 * min(1.0, contact.speed / 2) * np.sin(2 * np.pi * beats) * (1 - beats / 3)
                    pushes.append((np.asarray(contact.at), weight))
            spectrum = np.zeros(kx.shape, np.complex64)
            for point, weight in pushes:
                spectrum += np.float32(duration_s * weight) * grid.push_at(float(point[0]), float(point[1]))
            return spectrum * band if spectrum.any() else None

        return pressure


def _hull_pressure(grid: Grid, track: Track, trajectory: Trajectory) -> Pressure:
    """Pressure of a moving hull: down at its bow, up at its stern, smoothed over its shape."""
    length, width, _ = track.extent
    kx, ky = grid.wave_numbers()

    def pressure(time_s: float, duration_s: float) -> Spectrum | None:
        subject = trajectory.at(np.array([time_s]))
        proximity = float(subject.ground_proximity(0.3 * width)[0])
        weight = duration_s * float(np.linalg.norm(subject.velocity[0, :2])) * proximity
        if weight < 1e-9:
            return None
        (x, y, _), heading = subject.position[0], np.float32(subject.heading[0])
        cos, sin = np.cos(heading), np.sin(heading)
        along, across = kx * cos + ky * sin, ky * cos - kx * sin
        hull = np.exp(-((along * (0.028 * length)) ** 2) - (across * (0.085 * width)) ** 2, dtype=np.float32)
        bow = grid.push_at(x + 0.42 * length * float(cos), y + 0.42 * length * float(sin))
        stern = grid.push_at(x - 0.38 * length * float(cos), y - 0.38 * length * float(sin))
        return np.asarray(np.float32(-weight) * hull * (bow - np.float32(0.85) * stern))

    return pressure


def _outside_hull(grid: Grid, track: Track) -> Float32[np.ndarray, "T rows columns"]:
    """0 where the subject lies in the water, 1 beside it: no wave and no foam stands inside a hull."""
    outside = np.ones((len(track), grid.rows, grid.columns), np.float32)
    length, width, height = track.extent
    for frame, (foot, heading) in enumerate(zip(track.foot, track.heading, strict=True)):
        if foot[2] > 0.3 * height:
            continue
        x, y = grid.x - foot[0], grid.y[:, None] - foot[1]
        cos, sin = np.cos(heading), np.sin(heading)
        distance = np.hypot((x * cos + y * sin) / (0.5 * length), (y * cos - x * sin) / (0.5 * width))
        outside[frame] = np.clip((distance - 0.75) / 0.3, 0, 1)
    return outside


def _scaled_heights(
    heights: Float32[np.ndarray, "T rows columns"], highest_m: float
) -> Float32[np.ndarray, "T rows columns"]:
    """Scale waves to about that height at their highest.

    Half of the top counts as the height: lone peaks at the bow are held back, else the long arms would hardly show.
    """
    top = float(np.abs(heights).max())
    if top < 1e-12:
        return np.zeros_like(heights)
    return np.asarray(np.float32(1.2 * highest_m) * np.tanh(heights / np.float32(0.6 * top)), np.float32)
