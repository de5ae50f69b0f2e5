"""Puffs: balls of dust, smoke or mist that are born, are carried along, widen and thin out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from .render_data import Points, Scalars

MOST_ALIVE = 1500
"""Balls in one frame: more cost seconds and show no more."""


@dataclass(frozen=True, kw_only=True)
class Puffs:
    """Every puff of a clip, by birth."""

    born_s: Float64[np.ndarray, "N"]
    place: Float64[np.ndarray, "N 3"]
    push: Float64[np.ndarray, "N 3"]
    """What it was thrown with, m/s; the air takes that away within `drag_s`."""
    strength: Float64[np.ndarray, "N"]
    """When fresh, 0 to 1."""
    phase: Float64[np.ndarray, "N"]
    """A random number of its own, 0 to 1."""
    size: Float64[np.ndarray, "N"]
    """Its full radius, as a share of the usual."""


@dataclass(frozen=True, kw_only=True)
class PuffDynamics:
    """What the air makes of puffs."""

    first_m: float
    """Radius of a fresh puff."""
    full_m: float
    """Radius of an old one."""
    lasts_s: float
    drag_s: float
    lift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How it travels of itself: wind and warmth, m/s."""
    swirl_m: float = 0.0
    """How far eddies have carried an old puff."""
    thinning: float = 1.2
    """How fast it thins while it widens: 0 not at all, 3 as a ball of gas would."""
    seat: float = 0.0
    """How high above the ground a puff lies at least, as a share of its radius."""


def joined(*parts: Puffs) -> Puffs:
    """Several lots of puffs as one, by birth."""
    born = np.concatenate([part.born_s for part in parts])
    order = np.argsort(born, kind="stable")
    return Puffs(
        born_s=born[order],
        place=np.concatenate([part.place for part in parts])[order],
        push=np.concatenate([part.push for part in parts])[order],
        strength=np.concatenate([part.strength for part in parts])[order],
        phase=np.concatenate([part.phase for part in parts])[order],
        size=np.concatenate([part.size for part in parts])[order],
    )


def at(
    puffs: Puffs, air: PuffDynamics, second: float, eddies: Float64[np.ndarray, "M 8"]
) -> tuple[Points, Scalars, Scalars]:
    """The puffs alive at a moment: balls, strengths, phases.

    Args:
        puffs: All puffs of the clip.
        air: What becomes of them.
        second: The moment.
        eddies: Of each eddy its wave vector (rad/m), its turning (rad/s), its phase, its push along x, y, z (-1 to 1).
    """
    age = second - puffs.born_s
    alive = np.flatnonzero((age > 0) & (age < air.lasts_s) & (puffs.strength > 0.004))[-MOST_ALIVE:]
    age, share = age[alive], age[alive] / air.lasts_s
    radius = air.first_m + (air.full_m * puffs.size[alive] - air.first_m) * (1 - np.exp(-2.5 * share))
    radius = np.maximum(radius, 0.2 * air.first_m)
    carried = air.drag_s * (1 - np.exp(-age / air.drag_s))
    place = puffs.place[alive] + puffs.push[alive] * carried[:, None] + np.asarray(air.lift) * age[:, None]
    turning = place @ eddies[:, :3].T + eddies[:, 3] * second + eddies[:, 4]
    place = place + air.swirl_m * share[:, None] * (np.sin(turning) @ eddies[:, 5:]) / np.sqrt(len(eddies))
    place[:, 2] = np.maximum(place[:, 2], air.seat * radius)
    rises = np.clip(age / 0.08, 0, 1)
    thin = np.minimum(1.0, (air.first_m / radius) ** air.thinning)
    strength = puffs.strength[alive] * rises * thin * (1 - share) ** 1.2
    ball = np.concatenate([place, radius[:, None]], axis=1)
    return ball.astype(np.float32), strength.astype(np.float32), puffs.phase[alive].astype(np.float32)


def some_eddies(rng: np.random.Generator, size_m: float, count: int = 6) -> Float64[np.ndarray, "M 8"]:
    """Eddies about `size_m` across, for `at`."""
    waves = rng.normal(size=(count, 3)) * (2.0 / size_m)
    turning = rng.normal(size=(count, 1)) * 1.2
    phase = rng.uniform(0, 2 * np.pi, size=(count, 1))
    return np.concatenate([waves, turning, phase, rng.uniform(-1, 1, size=(count, 3))], axis=1)
