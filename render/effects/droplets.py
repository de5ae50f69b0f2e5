"""Drops in flight: thrown, pulled down, gone when they fall back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from .render_data import Displacements, Points

GRAVITY = 9.81
MOST_ALIVE = 12000
"""Drops in one frame."""
FINGERS = 17
"""Of a crown."""
SHUTTER_S = 1 / 40
"""How long the shutter is open: a drop is seen as the streak of its way in that time."""


@dataclass(frozen=True, kw_only=True)
class Droplets:
    """Every drop of a clip."""

    born_s: Float64[np.ndarray, "N"]
    place: Float64[np.ndarray, "N 3"]
    velocity: Float64[np.ndarray, "N 3"]
    radius_m: Float64[np.ndarray, "N"]


def joined(*parts: Droplets) -> Droplets:
    """Several lots of drops as one."""
    return Droplets(
        born_s=np.concatenate([part.born_s for part in parts]),
        place=np.concatenate([part.place for part in parts]),
        velocity=np.concatenate([part.velocity for part in parts]),
        radius_m=np.concatenate([part.radius_m for part in parts]),
    )


def at(droplets: Droplets, second: float) -> tuple[Points, Displacements]:
    """The drops in the air at a moment, and how far each goes in an exposure. Fallen below z = 0 they are gone.

    Args:
        droplets: All drops of the clip.
        second: The moment.
    """
    age = np.maximum(second - droplets.born_s, 0.0)[:, None]
    down = np.array([0.0, 0.0, GRAVITY])
    place = droplets.place + droplets.velocity * age - 0.5 * down * age**2
    moves = (droplets.velocity - down * age) * SHUTTER_S
    flying = np.flatnonzero((second > droplets.born_s) & (place[:, 2] > 0) & (age[:, 0] < 4))[-MOST_ALIVE:]
    drops = np.concatenate([place, droplets.radius_m[:, None]], axis=1)[flying]
    return drops.astype(np.float32), moves[flying].astype(np.float32)


def crown(
    at: tuple[float, float, float], second: float, ring_m: float, speed_mps: float, chance: Float64[np.ndarray, "N 6"]
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
    """A crown of drops around a hit: a wall that leans outward and ends in fingers.

    Returns:
        When, from where, and how fast each drop leaves.
    """
    finger = np.floor(chance[:, 0] * FINGERS)
    aim = finger + 0.5 + 0.3 * np.sin(2.4 * finger + 9 * at[0]) + 4 * (chance[:, 1] - 0.5) ** 3
    between = chance[:, 5] < 0.4  # the wall that the fingers rise from closes the gaps
    around = 2 * np.pi * np.where(between, chance[:, 0], aim / FINGERS)
    out = np.stack([np.cos(around), np.sin(around), np.zeros(len(around))], axis=-1)
    lean = np.radians(48 + 32 * chance[:, 2] ** 0.7)
    taller = 0.75 + 0.5 * np.abs(np.sin(around * 2.5 + at[0] * 7))  # no finger is like its neighbour
    swift = speed_mps * taller * (0.2 + 0.8 * chance[:, 3])
    velocity = out * (swift * np.cos(lean))[:, None] + np.array([0, 0, 1.0]) * (swift * np.sin(lean))[:, None]
    late = 0.06 * chance[:, 4] ** 2
    place = np.array([at[0], at[1], 0.0]) + out * (ring_m * (0.85 + 0.3 * chance[:, 5]))[:, None]
    return second + late - 1e-6, place, velocity
