"""Interface of effects: from the subject's motion to the media (dust, drops, waves, light) of every frame.

An effect IS its settings: a small frozen value in a scene's description. Its media are a pure function of that value
and the subject's track, in numpy alone, so that any frame can be drawn at any time, in any process, with the same
bytes.

Effects are emitted along the subject's trajectory, before the first frame too (it was already moving when the camera
began), spaced by distance or by time, never by frame: the same motion at another frame rate gives the same trail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from ...settings import CheckedSettings
from .render_data import Medium

T = TypeVar("T")
GRAVITY = 9.81
"""Metres a second squared, along -z."""
LEAD_STEPS_HZ = 48.0
"""Sampling rate of the trajectory before the first frame."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The subject hits something: the start of dust, drops or rings."""

    frame: int
    at: tuple[float, float, float]
    """Position, in metres."""
    speed: float
    """Speed at which the two meet along the normal, in m/s."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """Motion of the subject, as effects need it. Metres and seconds; z is up, the ground or still water is z = 0."""

    foot: Float64[np.ndarray, "T 3"]
    """The point under the subject's middle at its lowest height."""
    velocity: Float64[np.ndarray, "T 3"]
    """Metres a second."""
    heading: Float64[np.ndarray, "T"]
    """Direction of the subject's front around z, radians; 0 looks along +x."""
    extent: tuple[float, float, float]
    """Length along the heading, width, height, in metres."""
    fps: float
    contacts: tuple[Contact, ...] = ()

    def __len__(self) -> int:
        return len(self.foot)

    @property
    def frame_times(self) -> Float64[np.ndarray, "T"]:
        """Time of each frame, in seconds."""
        return np.arange(len(self)) / self.fps


class Effect(CheckedSettings):
    """One effect of a scene's variant.

    Its `kind` is its name in a scene's JSON and in the corpus's vocabulary (`datasets.corpus.schema.EFFECTS`).
    """

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return the media to draw; none for effects of light rays alone."""
        return ()

    def facts(self) -> dict[str, str | float]:
        """Return facts for captions: colour and strength in words, numbers with their unit in the key."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """States of the subject at a row of times; frame 0 is second 0."""

    time_s: Float64[np.ndarray, "K"]
    position: Float64[np.ndarray, "K 3"]
    velocity: Float64[np.ndarray, "K 3"]
    heading: Float64[np.ndarray, "K"]
    """Radians, without jumps."""

    @property
    def distance_m(self) -> Float64[np.ndarray, "K"]:
        """Metres travelled over ground since the first time."""
        steps = np.linalg.norm(np.diff(self.position[:, :2], axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def speed_mps(self) -> Float64[np.ndarray, "K"]:
        """Speed over ground."""
        return np.asarray(np.linalg.norm(self.velocity[:, :2], axis=1))

    def at(self, time_s: Float64[np.ndarray, "N"]) -> "Trajectory":
        """Interpolate the states at other times."""

        def interpolate(values: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(time_s, self.time_s, column) for column in values.T], axis=-1)

        heading = np.interp(time_s, self.time_s, self.heading)
        position, velocity = interpolate(self.position), interpolate(self.velocity)
        return Trajectory(time_s=time_s, position=position, velocity=velocity, heading=heading)

    def distance_from_frame_0(self, time_s: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
        """Metres travelled since frame 0, negative before it: independent of lead and frame rate."""
        distance_m = self.distance_m
        return np.asarray(np.interp(time_s, self.time_s, distance_m) - np.interp(0.0, self.time_s, distance_m))

    def emission_times(self, *, per_metre: float = 0.0, per_second: float = 0.0) -> Float64[np.ndarray, "N"]:
        """Times at which something leaves the subject, evenly along its way and in time."""
        count = self.distance_m * per_metre + (self.time_s - self.time_s[0]) * per_second
        count = count - np.interp(0.0, self.time_s, count)  # counted from frame 0, whatever the lead
        numbers = np.arange(np.ceil(count[0] + 1e-9), np.floor(count[-1]) + 1)
        if count[-1] - count[0] < 1e-6:
            return np.zeros(0)
        rising = np.concatenate([[True], np.diff(count) > 1e-12])
        return np.asarray(np.interp(numbers, count[rising], self.time_s[rising]))

    def ground_proximity(self, reach_m: float) -> Float64[np.ndarray, "K"]:
        """Share of an emission that still meets the ground: 1 on it, 0 from `reach_m` above it."""
        return np.asarray(np.clip(1 - np.maximum(self.position[:, 2], 0.0) / reach_m, 0.0, 1.0))


def build_trajectory(track: Track, lead_s: float) -> Trajectory:
    """Extend a track by `lead_s` seconds before its first frame, at the speed and the turn it begins with."""
    heading = np.unwrap(track.heading)
    steps = min(len(track) - 1, max(1, round(track.fps / 4)))
    turn = (heading[steps] - heading[0]) * track.fps / steps if steps else 0.0
    lead_times = -np.arange(max(1, round(lead_s * LEAD_STEPS_HZ)), 0, -1) / LEAD_STEPS_HZ
    ground_velocity = track.velocity[0] * (1.0, 1.0, 0.0)
    velocity = rotate_around_z(ground_velocity, lead_times * turn)
    steps_m = rotate_around_z(ground_velocity, (lead_times + 0.5 / LEAD_STEPS_HZ) * turn) / LEAD_STEPS_HZ
    position = track.foot[0] - np.cumsum(steps_m[::-1], axis=0)[::-1]
    return Trajectory(
        time_s=np.concatenate([lead_times, track.frame_times]),
        position=np.concatenate([position, track.foot]),
        velocity=np.concatenate([velocity, track.velocity]),
        heading=np.concatenate([heading[0] + lead_times * turn, heading]),
    )


def concatenate(groups: Sequence[T]) -> T:
    """Join values of a dataclass whose fields are all arrays."""
    names = vars(groups[0])
    return type(groups[0])(**{name: np.concatenate([vars(group)[name] for group in groups]) for name in names})


def gust_strength(
    distance_m: Float64[np.ndarray, "N"], length_m: float, rng: np.random.Generator
) -> Float64[np.ndarray, "N"]:
    """Noise along a distance, 0 to 1: swells about `length_m` long and flurries down to a quarter of that."""
    frequencies = 2 * np.pi / (length_m * np.array([1.0, 0.62, 0.41, 0.25]))
    tones = np.sin(distance_m[:, None] * frequencies + rng.uniform(0, 2 * np.pi, size=4)) * (1.0, 0.8, 0.6, 0.5)
    return np.asarray(np.clip(0.5 + tones.sum(axis=1) / 2.6, 0, 1))


def heading_axes(heading: Float64[np.ndarray, "N"]) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
    """Unit vectors forward and leftward, level."""
    cos, sin, zero = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    return np.stack([cos, sin, zero], axis=-1), np.stack([-sin, cos, zero], axis=-1)


def rotate_around_z(vector: Float64[np.ndarray, "3"], angle: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N 3"]:
    """A vector rotated by each angle (radians): x goes to y."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = vector
    return np.stack([x * cos - y * sin, x * sin + y * cos, np.full_like(cos, z)], axis=-1)
