"""The subject's way through time, before the first frame too: it was already moving when the camera began.

Whatever leaves the subject is born on this way, spaced by distance or by time, never by frame: the same motion at
another frame rate gives the same trail.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from .base import Track

LEAD_STEPS_HZ = 48.0
"""How finely the way before the first frame is laid out."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Where the subject was at a row of moments; frame 0 is second 0."""

    second: Float64[np.ndarray, "K"]
    place: Float64[np.ndarray, "K 3"]
    velocity: Float64[np.ndarray, "K 3"]
    heading: Float64[np.ndarray, "K"]
    """Radians, without jumps."""

    @property
    def distance_m(self) -> Float64[np.ndarray, "K"]:
        """Metres travelled over ground since the first moment."""
        steps = np.linalg.norm(np.diff(self.place[:, :2], axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def at(self, second: Float64[np.ndarray, "N"]) -> "Trajectory":
        """The same way at other moments."""

        def between(values: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(second, self.second, column) for column in values.T], axis=-1)

        heading = np.interp(second, self.second, self.heading)
        return Trajectory(second=second, place=between(self.place), velocity=between(self.velocity), heading=heading)


def build_trajectory(track: Track, lead_s: float) -> Trajectory:
    """The way of a track, with `lead_s` seconds before its first frame at the speed and the turn it begins with."""
    heading = np.unwrap(track.heading)
    seconds = np.arange(len(track)) / track.fps
    few = min(len(track) - 1, max(1, round(track.fps / 4)))
    turn = (heading[few] - heading[0]) * track.fps / few if few else 0.0
    before = -np.arange(max(1, round(lead_s * LEAD_STEPS_HZ)), 0, -1) / LEAD_STEPS_HZ
    level = track.velocity[0] * (1.0, 1.0, 0.0)
    velocity = _turned(level, before * turn)
    halfway = _turned(level, (before + 0.5 / LEAD_STEPS_HZ) * turn) / LEAD_STEPS_HZ
    place = track.foot[0] - np.cumsum(halfway[::-1], axis=0)[::-1]
    return Trajectory(
        second=np.concatenate([before, seconds]),
        place=np.concatenate([place, track.foot]),
        velocity=np.concatenate([velocity, track.velocity]),
        heading=np.concatenate([heading[0] + before * turn, heading]),
    )


def emission_times(way: Trajectory, *, per_metre: float = 0.0, per_second: float = 0.0) -> Float64[np.ndarray, "N"]:
    """The moments at which something leaves the subject, evenly along the way and in time."""
    clock = way.distance_m * per_metre + (way.second - way.second[0]) * per_second
    clock = clock - np.interp(0.0, way.second, clock)  # counted from frame 0, whatever the lead
    counted = np.arange(np.ceil(clock[0] + 1e-9), np.floor(clock[-1]) + 1)
    if clock[-1] - clock[0] < 1e-6:
        return np.zeros(0)
    rising = np.concatenate([[True], np.diff(clock) > 1e-12])
    return np.asarray(np.interp(counted, clock[rising], way.second[rising]))


def gust_strength(
    distance_m: Float64[np.ndarray, "N"], length_m: float, rng: np.random.Generator
) -> Float64[np.ndarray, "N"]:
    """Now more, now less along a way: 0 to 1, from swells about `length_m` long to flurries a quarter of that."""
    turns = 2 * np.pi / (length_m * np.array([1.0, 0.62, 0.41, 0.25]))
    tones = np.sin(distance_m[:, None] * turns + rng.uniform(0, 2 * np.pi, size=4)) * (1.0, 0.8, 0.6, 0.5)
    return np.asarray(np.clip(0.5 + tones.sum(axis=1) / 2.6, 0, 1))


def frame_times(track: Track) -> Float64[np.ndarray, "T"]:
    """The moment of each frame."""
    return np.arange(len(track)) / track.fps


def ground_proximity(height_m: Float64[np.ndarray, "N"], reach_m: float) -> Float64[np.ndarray, "N"]:
    """How much of what leaves the subject still meets the ground: 1 on it, 0 from `reach_m` above it."""
    return np.asarray(np.clip(1 - np.maximum(height_m, 0.0) / reach_m, 0.0, 1.0))


def heading_axes(heading: Float64[np.ndarray, "N"]) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
    """Forward and leftward, level, of length 1."""
    cos, sin, none = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    return np.stack([cos, sin, none], axis=-1), np.stack([-sin, cos, none], axis=-1)


def _turned(vector: Float64[np.ndarray, "3"], angle: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N 3"]:
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = vector
    return np.stack([x * cos - y * sin, x * sin + y * cos, np.full_like(cos, z)], axis=-1)
