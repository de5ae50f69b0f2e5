"""Smoke that rises from the subject."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import smoke_puffs, trajectory
from .base import Track
from .colours import nearest_colour_name
from .ranges import STRICT, all_within, within
from .render_data import Cloud, Colour, Medium


@dataclass(frozen=True, kw_only=True)
class Smoke:
    """A plume that leaves the subject, rises and widens with the wind."""

    __pydantic_config__ = STRICT
    kind: Literal["smoke"] = "smoke"
    colour: Colour = (0.12, 0.12, 0.12)
    """Of the smoke."""
    density: float = 4.0
    """Optical density per metre of fresh smoke: 0.5 is thin, 10 is thick."""
    spread_m: float = 0.7
    """How wide a puff grows, as a radius."""
    rise_mps: float = 0.9
    """How fast it rises."""
    lasts_s: float = 3.0
    """How long a puff lasts."""
    wind: tuple[float, float] = (0.2, 0.0)
    """Along x and y, m/s."""
    leaves: tuple[float, float, float] = (0.0, 0.0, 0.95)
    """Where it leaves the subject: ahead of its middle as a share of its length, to the left of its width, up of its
    height. Low down, below a fifth, it comes from the whole width, as from tyres."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "density", 0.01, 100)
        within(self, "spread_m", 0.02, 20)
        within(self, "rise_mps", -2, 20)
        within(self, "lasts_s", 0.1, 30)
        all_within(self, "wind", -30, 30)
        all_within(self, "leaves", -2, 2)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "smoke"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One cloud: a puff every few moments, and closer together when the subject moves fast."""
        eddies = smoke_puffs.some_eddies(rng, 2.2 * self.spread_m)
        air = smoke_puffs.PuffDynamics(
            first_m=0.2 * self.spread_m,
            full_m=self.spread_m,
            lasts_s=self.lasts_s,
            drag_s=0.3,
            lift=(*self.wind, self.rise_mps),
            swirl_m=0.9 * self.spread_m,
            thinning=1.25,
            seat=0.3,
        )
        leaving = self._leaving(track, rng)
        states = [smoke_puffs.at(leaving, air, float(second), eddies) for second in trajectory.frame_times(track)]
        balls, strengths, phases = zip(*states, strict=True)
        cloud = Cloud(
            frames=balls,
            strength=strengths,
            phase=phases,
            colour=self.colour,
            density=self.density,
            grain_m=0.45 * self.spread_m,
            drift=(0.0, 0.0, 0.2 * self.rise_mps),
        )
        return (cloud,)

    def facts(self) -> dict[str, str | float]:
        """Its colour and how thick it is."""
        thickness = "thin" if self.density < 1.5 else "dense" if self.density > 6 else "moderate"
        return {"colour": nearest_colour_name(self.colour), "intensity": thickness, "density_per_m": self.density}

    def _leaving(self, track: Track, rng: np.random.Generator) -> smoke_puffs.Puffs:
        """From one place of the subject, or from its whole width."""
        course = trajectory.build_trajectory(track, self.lasts_s)
        spacing = 0.055 * self.spread_m
        born = trajectory.emission_times(
            course, per_metre=0.5 / spacing, per_second=0.5 * max(self.rise_mps, 0.3) / spacing
        )
        here = course.at(born)
        chance = rng.random((len(born), 6))
        forward, left = trajectory.heading_axes(here.heading)
        ahead, aside, up = (share * whole for share, whole in zip(self.leaves, track.extent, strict=True))
        mouth = 0.8 * track.extent[1] if self.leaves[2] < 0.2 else min(0.1 * track.extent[1], 0.2 * self.spread_m)
        along = ahead + (chance[:, 0] - 0.5) * min(mouth, 0.3 * self.spread_m)
        across = aside + (chance[:, 1] - 0.5) * mouth
        gust = rng.normal(size=(len(born), 3)) * (0.25, 0.25, 0.2) * max(self.rise_mps, 0.4)
        gust[:, 2] += 0.6 * self.rise_mps  # hot at first
        return smoke_puffs.Puffs(
            born_s=born,
            place=here.place + forward * along[:, None] + left * across[:, None] + (0.0, 0.0, up),
            push=here.velocity * 0.35 + gust,
            strength=0.4 + 0.4 * chance[:, 2],
            phase=rng.random(len(born)),
            size=0.5 + 0.7 * chance[:, 3],
        )
