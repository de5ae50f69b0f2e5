"""Smoke that rises from the subject, and the puffs that smoke, dust and mist are made of.

Puffs are spheres that are emitted, are carried along, widen and thin out.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64

from ...settings import InRange
from .base import Effect, Track, build_trajectory, heading_axes
from .render_data import Cloud, Colour, Medium, Scalars, Spheres, nearest_colour_name

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


def puff_cloud(puffs: Puffs, settings: PuffSettings, track: Track, eddies: Float64[np.ndarray, "M 8"]) -> Cloud:
    """Return the puffs alive in every frame as one cloud; eddies as of `random_eddies`."""
    order = np.argsort(puffs.born_s, kind="stable")
    puffs = Puffs(**{name: values[order] for name, values in vars(puffs).items()})
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
    """Draw eddies about `size_m` across: wave vector (rad/m), angular velocity (rad/s), phase, push along x, y, z."""
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


@dataclass(frozen=True, kw_only=True)
class Smoke(Effect):
    """A plume that leaves the subject, rises and widens with the wind."""

    kind: Literal["smoke"] = "smoke"
    colour: Colour = (0.12, 0.12, 0.12)
    density: Annotated[float, InRange(0.01, 100)] = 4.0
    """Optical density per metre of fresh smoke: 0.5 is thin, 10 is thick."""
    spread_m: Annotated[float, InRange(0.02, 20)] = 0.7
    """Radius that a puff grows to."""
    rise_mps: Annotated[float, InRange(-2, 20)] = 0.9
    lasts_s: Annotated[float, InRange(0.1, 30)] = 3.0
    """Lifetime of a puff."""
    wind: Annotated[tuple[float, float], InRange(-30, 30)] = (0.2, 0.0)
    """Along x and y, m/s."""
    leaves: Annotated[tuple[float, float, float], InRange(-2, 2)] = (0.0, 0.0, 0.95)
    """Point at which it leaves the subject: ahead of its middle as a share of its length, to the left of its width, up
    of its height. Low down, below a fifth, it comes from the full width, as from tyres."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one cloud: a puff every few moments, and closer together when the subject moves fast."""
        eddies = random_eddies(rng, 2.2 * self.spread_m)
        settings = PuffSettings(
            colour=self.colour,
            density=self.density,
            grain_m=0.45 * self.spread_m,
            grain_drift=(0.0, 0.0, 0.2 * self.rise_mps),
            first_m=0.2 * self.spread_m,
            full_m=self.spread_m,
            lasts_s=self.lasts_s,
            drag_s=0.3,
            lift=(*self.wind, self.rise_mps),
            swirl_m=0.9 * self.spread_m,
            thinning=1.25,
            min_height=0.3,
        )
        return (puff_cloud(self._emit_puffs(track, rng), settings, track, eddies),)

    def facts(self) -> dict[str, str | float]:
        """Return its colour and thickness."""
        thickness = "thin" if self.density < 1.5 else "dense" if self.density > 6 else "moderate"
        return {"colour": nearest_colour_name(self.colour), "intensity": thickness, "density_per_m": self.density}

    def _emit_puffs(self, track: Track, rng: np.random.Generator) -> Puffs:
        """Puffs from one point of the subject, or from its full width."""
        trajectory = build_trajectory(track, self.lasts_s)
        spacing_m = 0.055 * self.spread_m
        per_second = 0.5 * max(self.rise_mps, 0.3) / spacing_m
        born_s = trajectory.emission_times(per_metre=0.5 / spacing_m, per_second=per_second)
        subject = trajectory.at(born_s)
        uniform = rng.random((len(born_s), 6))
        forward, leftward = heading_axes(subject.heading)
        ahead, aside, up = (share * size for share, size in zip(self.leaves, track.extent, strict=True))
        mouth_m = 0.8 * track.extent[1] if self.leaves[2] < 0.2 else min(0.1 * track.extent[1], 0.2 * self.spread_m)
        along = ahead + (uniform[:, 0] - 0.5) * min(mouth_m, 0.3 * self.spread_m)
        across = aside + (uniform[:, 1] - 0.5) * mouth_m
        gust = rng.normal(size=(len(born_s), 3)) * (0.25, 0.25, 0.2) * max(self.rise_mps, 0.4)
        gust[:, 2] += 0.6 * self.rise_mps  # hot at first
        return Puffs(
            born_s=born_s,
            position=subject.position + forward * along[:, None] + leftward * across[:, None] + (0.0, 0.0, up),
            velocity=subject.velocity * 0.35 + gust,
            strength=0.4 + 0.4 * uniform[:, 2],
            phase=rng.random(len(born_s)),
            size=0.5 + 0.7 * uniform[:, 3],
        )
