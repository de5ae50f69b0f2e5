"""Skins of water that are thrown up whole: the wall of a crown, and what a bow turns over to its sides.

A skin's points leave one after the other, the fastest first, and fly as drops do; it reaches from its foot on the
water, where the slowest are still leaving, to its rim. What has fallen back, or is not there yet, lies below the water.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from .droplets import FINGERS, GRAVITY
from .trajectory import Trajectory, ground_proximity, heading_axes

SUNK_M = 0.05
"""How deep: a skin in the very plane of the water would make a hole in it."""
LEAST = 0.02
"""Vigour from which a bow turns water over."""
ROWS, COLUMNS = 14, 85
"""Points of a skin, from foot to rim and along it."""
Places = Float32[np.ndarray, "T rows columns 3"]
Cover = Float32[np.ndarray, "T rows columns"]
Seconds = Float64[np.ndarray, "T"]


@dataclass(frozen=True, kw_only=True)
class CrownImpact:
    """A hit, as its crown needs it."""

    at: tuple[float, float, float]
    second: float
    ring_m: float
    speed_mps: float
    """How fast the rim leaves."""


def crown(hit: CrownImpact, seconds: Seconds) -> tuple[Places, Cover]:
    """The wall round a hit: it leans outward, its rim is drawn out into fingers, it thins as it grows."""
    around = np.linspace(0, 2 * np.pi, COLUMNS)
    out = np.stack([np.cos(around), np.sin(around), np.zeros(COLUMNS)], axis=-1)
    share = np.linspace(0, 1, ROWS)[:, None]  # of the rim's speed
    lobes = 0.5 + 0.5 * np.cos(FINGERS * around + 3 * hit.at[0])
    uneven = 1 + 0.16 * np.sin(2 * around + 7 * hit.at[0]) + 0.09 * np.sin(5 * around + 3 * hit.at[1])
    swift = 0.8 * hit.speed_mps * uneven * (0.1 + 0.9 * share) * (1 - 0.4 * share**3 * (1 - lobes**2))
    lean = np.radians(76 - 16 * share)
    lasts = max(1.3 * hit.speed_mps / GRAVITY, 1e-3)
    born = hit.second + lasts * (1 - share) ** 1.5
    ring = hit.ring_m * (0.85 + 0.5 * (1 - share))
    age = seconds[:, None, None] - born
    flown = np.maximum(age, 0.0)
    reach = ring + swift * np.cos(lean) * flown
    height = swift * np.sin(lean) * flown - 0.5 * GRAVITY * flown**2
    places = reach[..., None] * out + np.array([hit.at[0], hit.at[1], 0.0])
    there = (seconds[:, None, None] >= hit.second - 1e-6) & (height > -SUNK_M)
    places[..., 2] = np.where(there, height - 1e-3, -SUNK_M)
    old = np.clip((seconds - hit.second) / (1.7 * lasts), 0, 1)[:, None, None]
    cover = (0.95 - 0.45 * share) * (1 - old) ** 0.8
    return places.astype(np.float32), np.where(
        there & (height.max(axis=(1, 2), keepdims=True) > 1e-3), cover, 0.0
    ).astype(np.float32)


def bow(
    course: Trajectory, seconds: Seconds, extent: tuple[float, float, float], side_mps: float
) -> tuple[Places, Cover]:
    """What the bow turns over to one side, left where `side_mps` is positive; nothing where the subject rests."""
    length, width, height = extent
    side, speed = np.sign(side_mps), abs(side_mps)
    most_s = 2.0 * speed / GRAVITY
    age = np.linspace(0.0, most_s, COLUMNS)
    share = np.linspace(0, 1, ROWS)[:, None]
    places = np.empty((len(seconds), ROWS, COLUMNS, 3), np.float32)
    cover = np.empty((len(seconds), ROWS, COLUMNS), np.float32)
    for frame, second in enumerate(seconds):
        here = course.at(second - age)
        forward, left = heading_axes(here.heading)
        gone = np.linalg.norm(here.velocity[:, :2], axis=1)
        vigour = np.clip(gone / 3, 0, 1) ** 1.5 * ground_proximity(here.place[:, 2], 0.2 * height + 0.02)
        beat = 0.8 + 0.2 * np.sin(5 * here.second + 6 * side) + 0.08 * np.sin(31 * here.second + side)
        swift = speed * np.sqrt(vigour) * beat * (0.12 + 0.88 * share)
        up = np.radians(52 - 14 * share)
        risen = swift * np.sin(up) * age - 0.5 * GRAVITY * age**2
        aside = side * (width * 0.22 + 0.5 * width * np.minimum(age * gone / length, 0.5) + swift * np.cos(up) * age)
        foot = here.place * (1.0, 1.0, 0.0) + forward * (0.44 * length) + here.velocity * (0.15 * age)[:, None]
        places[frame] = foot + left * aside[..., None]
        there = (risen > -SUNK_M) & (vigour > LEAST)
        places[frame, ..., 2] = np.where(there, risen - 1e-3, -SUNK_M)
        whole = np.sqrt(vigour) * (1.1 - 0.4 * share) * (1 - age / most_s) ** 0.8
        cover[frame] = np.where(there, whole, 0.0)
    return places, cover
