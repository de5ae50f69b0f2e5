"""Water (or mud) that is thrown up: drops in flight, and the sheets of water that they come from.

A sheet's points leave one after the other, the fastest first, and fly as drops do; it reaches from its foot on the
water, where the slowest are still leaving, to its rim. Points that have fallen back, or have not left yet, lie below
the water.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from .base import GRAVITY, Track, Trajectory, heading_axes
from .render_data import Displacements, Spheres

MAX_DROPS = 12000
"""Drops in one frame."""
SHUTTER_S = 1 / 40
"""Exposure time: a drop is drawn as the streak of its path in that time."""
FINGERS = 17
"""Fingers of a crown's rim."""
SUNK_M = 0.05
"""Depth of hidden points: a sheet in the very plane of the water would make a hole in it."""
MIN_BOW_STRENGTH = 0.02
"""Strength from which a bow turns water over."""
ROWS, COLUMNS = 14, 85
"""Points of a sheet, from foot to rim and along it."""
SheetPositions = Float32[np.ndarray, "T rows columns 3"]
SheetCover = Float32[np.ndarray, "T rows columns"]
Times = Float64[np.ndarray, "T"]


@dataclass(frozen=True, kw_only=True)
class Droplets:
    """Every drop of a clip, at its start."""

    born_s: Float64[np.ndarray, "N"]
    position: Float64[np.ndarray, "N 3"]
    velocity: Float64[np.ndarray, "N 3"]
    radius_m: Float64[np.ndarray, "N"]


@dataclass(frozen=True, kw_only=True)
class CrownImpact:
    """A hit that throws up a crown."""

    at: tuple[float, float, float]
    time_s: float
    ring_m: float
    """Radius of the crown at its foot."""
    hardness: float
    """0 to 1.5."""
    speed_mps: float
    """Speed at which the rim leaves."""


def droplets_at(droplets: Droplets, time_s: float) -> tuple[Spheres, Displacements]:
    """Return the drops in the air, and the distance that each goes in an exposure; below z = 0 they vanish."""
    age = np.maximum(time_s - droplets.born_s, 0.0)[:, None]
    down = np.array([0.0, 0.0, GRAVITY])
    position = droplets.position + droplets.velocity * age - 0.5 * down * age**2
    moves = (droplets.velocity - down * age) * SHUTTER_S
    flying = np.flatnonzero((time_s > droplets.born_s) & (position[:, 2] > 0) & (age[:, 0] < 4))[-MAX_DROPS:]
    spheres = np.concatenate([position, droplets.radius_m[:, None]], axis=1)[flying]
    return spheres.astype(np.float32), moves[flying].astype(np.float32)


def crown_droplets(
    impact: CrownImpact, uniform: Float64[np.ndarray, "N 6"], radius_m: Float64[np.ndarray, "N"]
) -> Droplets:
    """A crown of drops around a hit: a wall that leans outward and ends in fingers.

    Each drop takes six random numbers in [0, 1); the fastest are made the finest.
    """
    finger = np.floor(uniform[:, 0] * FINGERS)
    aim = finger + 0.5 + 0.3 * np.sin(2.4 * finger + 9 * impact.at[0]) + 4 * (uniform[:, 1] - 0.5) ** 3
    in_wall = uniform[:, 5] < 0.4  # the wall that the fingers rise from closes the gaps
    angle = 2 * np.pi * np.where(in_wall, uniform[:, 0], aim / FINGERS)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))], axis=-1)
    lean = np.radians(48 + 32 * uniform[:, 2] ** 0.7)
    unevenness = 0.75 + 0.5 * np.abs(np.sin(angle * 2.5 + impact.at[0] * 7))  # no finger is like its neighbour
    speed = impact.speed_mps * unevenness * (0.2 + 0.8 * uniform[:, 3])
    velocity = outward * (speed * np.cos(lean))[:, None] + np.array([0, 0, 1.0]) * (speed * np.sin(lean))[:, None]
    delay_s = 0.06 * uniform[:, 4] ** 2
    foot = np.array([impact.at[0], impact.at[1], 0.0])
    return Droplets(
        born_s=impact.time_s + delay_s - 1e-6,
        position=foot + outward * (impact.ring_m * (0.85 + 0.3 * uniform[:, 5]))[:, None],
        velocity=velocity,
        radius_m=radius_m * (1.15 - 0.75 * uniform[:, 3]),
    )


def crown_sheet(impact: CrownImpact, times: Times) -> tuple[SheetPositions, SheetCover]:
    """The wall round a hit: it leans outward, its rim is drawn out into fingers, it thins as it grows."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(COLUMNS)], axis=-1)
    share = np.linspace(0, 1, ROWS)[:, None]  # of the rim's speed
    lobes = 0.5 + 0.5 * np.cos(FINGERS * angle + 3 * impact.at[0])
    unevenness = 1 + 0.16 * np.sin(2 * angle + 7 * impact.at[0]) + 0.09 * np.sin(5 * angle + 3 * impact.at[1])
    speed = 0.8 * impact.speed_mps * unevenness * (0.1 + 0.9 * share) * (1 - 0.4 * share**3 * (1 - lobes**2))
    lean = np.radians(76 - 16 * share)
    lasts_s = max(1.3 * impact.speed_mps / GRAVITY, 1e-3)
    born_s = impact.time_s + lasts_s * (1 - share) ** 1.5
    foot_m = impact.ring_m * (0.85 + 0.5 * (1 - share))
    flight_s = np.maximum(times[:, None, None] - born_s, 0.0)
    radius_m = foot_m + speed * np.cos(lean) * flight_s
    height = speed * np.sin(lean) * flight_s - 0.5 * GRAVITY * flight_s**2
    positions = radius_m[..., None] * outward + np.array([impact.at[0], impact.at[1], 0.0])
    visible = (times[:, None, None] >= impact.time_s - 1e-6) & (height > -SUNK_M)
    positions[..., 2] = np.where(visible, height - 1e-3, -SUNK_M)
    age_share = np.clip((times - impact.time_s) / (1.7 * lasts_s), 0, 1)[:, None, None]
    cover = (0.95 - 0.45 * share) * (1 - age_share) ** 0.8
    rises = height.max(axis=(1, 2), keepdims=True) > 1e-3
    return positions.astype(np.float32), np.where(visible & rises, cover, 0.0).astype(np.float32)


def bow_sheet(trajectory: Trajectory, track: Track, side_mps: float) -> tuple[SheetPositions, SheetCover]:
    """The water that the bow turns over to one side, left where `side_mps` is positive; none where it rests."""
    length, width, height = track.extent
    side, side_speed = np.sign(side_mps), abs(side_mps)
    lasts_s = 2.0 * side_speed / GRAVITY
    age = np.linspace(0.0, lasts_s, COLUMNS)
    share = np.linspace(0, 1, ROWS)[:, None]
    positions = np.empty((len(track), ROWS, COLUMNS, 3), np.float32)
    cover = np.empty((len(track), ROWS, COLUMNS), np.float32)
    for frame, time_s in enumerate(track.frame_times):
        subject = trajectory.at(time_s - age)
        forward, leftward = heading_axes(subject.heading)
        travel_mps = subject.speed_mps
        proximity = subject.ground_proximity(0.2 * height + 0.02)
        strength = np.clip(travel_mps / 3, 0, 1) ** 1.5 * proximity
        beat = 0.8 + 0.2 * np.sin(5 * subject.time_s + 6 * side) + 0.08 * np.sin(31 * subject.time_s + side)
        speed = side_speed * np.sqrt(strength) * beat * (0.12 + 0.88 * share)
        lean = np.radians(52 - 14 * share)
        rise = speed * np.sin(lean) * age - 0.5 * GRAVITY * age**2
        hull = width * 0.22 + 0.5 * width * np.minimum(age * travel_mps / length, 0.5)
        aside = side * (hull + speed * np.cos(lean) * age)
        ground = subject.position * (1.0, 1.0, 0.0)
        foot = ground + forward * (0.44 * length) + subject.velocity * (0.15 * age)[:, None]
        positions[frame] = foot + leftward * aside[..., None]
        visible = (rise > -SUNK_M) & (strength > MIN_BOW_STRENGTH)
        positions[frame, ..., 2] = np.where(visible, rise - 1e-3, -SUNK_M)
        thickness = np.sqrt(strength) * (1.1 - 0.4 * share) * (1 - age / lasts_s) ** 0.8
        cover[frame] = np.where(visible, thickness, 0.0)
    return positions, cover
