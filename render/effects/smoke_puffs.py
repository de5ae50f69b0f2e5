"""Puffs: spheres of dust, smoke or mist that are emitted, are carried along, widen and thin out."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float64

from .base import Track
from .render_data import Cloud, Colour, Scalars, Spheres

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
class PuffSettings:
    """Motion, growth and appearance of puffs in the air."""

    colour: Colour
    density: float
    """Optical density per metre of a fresh puff."""
    grain_m: float
    """Size of the wisps in them."""
    grain_drift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Velocity of the wisps through the puffs, m/s."""
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


def puff_cloud(puffs: Puffs, settings: PuffSettings, track: Track, eddies: Float64[np.ndarray, "M 8"]) -> Cloud:
    """Return the puffs alive in every frame as one cloud; eddies as of `random_eddies`."""
    states = [_puffs_at(puffs, settings, float(time_s), eddies) for time_s in track.frame_times]
    spheres, strengths, phases = zip(*states, strict=True)
    return Cloud(
        frames=spheres,
        strength=strengths,
        phase=phases,
        colour=settings.colour,
        density=settings.density,
        grain_m=settings.grain_m,
        drift=settings.grain_drift,
    )


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
    puffs: Puffs, settings: PuffSettings, time_s: float, eddies: Float64[np.ndarray, "M 8"]
) -> tuple[Spheres, Scalars, Scalars]:
    age = time_s - puffs.born_s
    alive = np.flatnonzero((age > 0) & (age < settings.lasts_s) & (puffs.strength > 0.004))[-MAX_PUFFS:]
    age, age_share = age[alive], age[alive] / settings.lasts_s
    full_m = settings.full_m * puffs.size[alive]
    radius = settings.first_m + (full_m - settings.first_m) * (1 - np.exp(-2.5 * age_share))
    radius = np.maximum(radius, 0.2 * settings.first_m)
    coasting_s = settings.drag_s * (1 - np.exp(-age / settings.drag_s))
    position = puffs.position[alive] + puffs.velocity[alive] * coasting_s[:, None]
    position = position + np.asarray(settings.lift) * age[:, None]
    angle = position @ eddies[:, :3].T + eddies[:, 3] * time_s + eddies[:, 4]
    swirl = np.sin(angle) @ eddies[:, 5:]
    position = position + settings.swirl_m * age_share[:, None] * swirl / np.sqrt(len(eddies))
    position[:, 2] = np.maximum(position[:, 2], settings.min_height * radius)
    fade_in = np.clip(age / 0.08, 0, 1)
    thinning = np.minimum(1.0, (settings.first_m / radius) ** settings.thinning)
    strength = puffs.strength[alive] * fade_in * thinning * (1 - age_share) ** 1.2
    spheres = np.concatenate([position, radius[:, None]], axis=1)
    return spheres.astype(np.float32), strength.astype(np.float32), puffs.phase[alive].astype(np.float32)
