"""Puffs: spheres of dust, smoke or mist that are emitted, are carried along, widen and thin out."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

from .base import Track
from .render_data import Scalars, Spheres

MAX_PUFFS = 1500
"""Puffs in one frame: more cost seconds and show no more."""


@dataclass(frozen=True, kw_only=True)
class Puffs:
    """All puffs of a clip, by birth."""

    born_s: Float64[np.ndarray, "N"]
    position: Float64[np.ndarray, "N 3"]
    velocity: Float64[np.ndarray, "N 3"]
    """At birth, m/s; the air takes it away within `drag_s`."""
    strength: Float64[np.ndarray, "N"]
    """At birth, 0 to 1."""
    phase: Float64[np.ndarray, "N"]
    """A random number of its own, 0 to 1."""
    size: Float64[np.ndarray, "N"]
    """Its full radius, as a share of the usual."""


@dataclass(frozen=True, kw_only=True)
class PuffDynamics:
    """Motion and growth of puffs in the air."""

    first_m: float
    """Radius of a fresh puff."""
    full_m: float
    """Radius of an old one."""
    lasts_s: float
    drag_s: float
    lift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Drift by wind and warmth, m/s."""
    swirl_m: float = 0.0
    """Distance that eddies carry a puff in its life."""
    thinning: float = 1.2
    """Exponent by which it thins while it widens: 0 not at all, 3 as a ball of gas would."""
    min_height: float = 0.0
    """Lowest height of a puff above the ground, as a share of its radius."""


def concatenate_puffs(*groups: Puffs) -> Puffs:
    """Join several groups of puffs, ordered by birth."""
    order = np.argsort(np.concatenate([group.born_s for group in groups]), kind="stable")
    names = [field.name for field in fields(Puffs)]
    return Puffs(**{name: np.concatenate([getattr(group, name) for group in groups])[order] for name in names})


def puff_frames(
    puffs: Puffs, dynamics: PuffDynamics, track: Track, eddies: Float64[np.ndarray, "M 8"]
) -> tuple[tuple[Spheres, ...], tuple[Scalars, ...], tuple[Scalars, ...]]:
    """Return the spheres, strengths and phases of the puffs alive in every frame; eddies as of `random_eddies`."""
    states = [_puffs_at(puffs, dynamics, float(time_s), eddies) for time_s in track.frame_times]
    spheres, strengths, phases = zip(*states, strict=True)
    return spheres, strengths, phases


def random_eddies(rng: np.random.Generator, size_m: float, count: int = 6) -> Float64[np.ndarray, "M 8"]:
    """Draw eddies about `size_m` across.

    Returns:
        For each its wave vector (rad/m), angular velocity (rad/s), phase, and push along x, y, z (-1 to 1).
    """
    waves = rng.normal(size=(count, 3)) * (2.0 / size_m)
    angular_velocity = rng.normal(size=(count, 1)) * 1.2
    phase = rng.uniform(0, 2 * np.pi, size=(count, 1))
    return np.concatenate([waves, angular_velocity, phase, rng.uniform(-1, 1, size=(count, 3))], axis=1)


def _puffs_at(
    puffs: Puffs, dynamics: PuffDynamics, time_s: float, eddies: Float64[np.ndarray, "M 8"]
) -> tuple[Spheres, Scalars, Scalars]:
    age = time_s - puffs.born_s
    alive = np.flatnonzero((age > 0) & (age < dynamics.lasts_s) & (puffs.strength > 0.004))[-MAX_PUFFS:]
    age, age_share = age[alive], age[alive] / dynamics.lasts_s
    full_m = dynamics.full_m * puffs.size[alive]
    radius = dynamics.first_m + (full_m - dynamics.first_m) * (1 - np.exp(-2.5 * age_share))
    radius = np.maximum(radius, 0.2 * dynamics.first_m)
    coasting_s = dynamics.drag_s * (1 - np.exp(-age / dynamics.drag_s))
    position = puffs.position[alive] + puffs.velocity[alive] * coasting_s[:, None]
    position = position + np.asarray(dynamics.lift) * age[:, None]
    angle = position @ eddies[:, :3].T + eddies[:, 3] * time_s + eddies[:, 4]
    swirl = np.sin(angle) @ eddies[:, 5:]
    position = position + dynamics.swirl_m * age_share[:, None] * swirl / np.sqrt(len(eddies))
    position[:, 2] = np.maximum(position[:, 2], dynamics.min_height * radius)
    fade_in = np.clip(age / 0.08, 0, 1)
    thinning = np.minimum(1.0, (dynamics.first_m / radius) ** dynamics.thinning)
    strength = puffs.strength[alive] * fade_in * thinning * (1 - age_share) ** 1.2
    spheres = np.concatenate([position, radius[:, None]], axis=1)
    return spheres.astype(np.float32), strength.astype(np.float32), puffs.phase[alive].astype(np.float32)
