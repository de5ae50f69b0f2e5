"""Smoke that rises from the subject."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ...settings import CheckedSettings, InRange
from .base import Track
from .render_data import Colour, Medium, nearest_colour_name
from .smoke_puffs import Puffs, PuffSettings, puff_cloud, random_eddies
from .trajectory import build_trajectory, emission_times, heading_axes


@dataclass(frozen=True, kw_only=True)
class Smoke(CheckedSettings):
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
        born_s = emission_times(trajectory, per_metre=0.5 / spacing_m, per_second=per_second)
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
