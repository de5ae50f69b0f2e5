"""Dust that the subject whirls up as it moves over dry ground."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import smoke_puffs, trajectory
from .base import Track
from .colours import nearest_colour_name
from .ranges import STRICT, all_within, within
from .render_data import Cloud, Colour, Medium

TRAIL = 26.0
"""Puffs a metre."""
BURST = 110
"""Puffs of a hard hit."""


@dataclass(frozen=True, kw_only=True)
class Dust:
    """A trail of dust behind the subject, or a burst where it hits the ground."""

    __pydantic_config__ = STRICT
    kind: Literal["dust"] = "dust"
    colour: Colour = (0.62, 0.52, 0.40)
    """Of the dust."""
    density: float = 1.5
    """Optical density per metre of a fresh puff: 0.3 is a haze, 6 hides what is behind."""
    spread_m: float = 0.6
    """How wide a puff grows, as a radius."""
    lasts_s: float = 2.0
    """How long a puff hangs."""
    amount: float = 1.0
    """Puffs for each metre travelled and for each hit, 1 is usual."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "density", 0.01, 50)
        within(self, "spread_m", 0.02, 20)
        within(self, "lasts_s", 0.1, 30)
        within(self, "amount", 0.05, 10)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "dust"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One cloud: puffs along the way, by metre, and at every hit, by its speed; none where nothing moves."""
        eddies = smoke_puffs.some_eddies(rng, 2.5 * self.spread_m)
        lots = [self._trail(track, rng), *(self._burst(track, hit, rng) for hit in range(len(track.contacts)))]
        air = smoke_puffs.PuffDynamics(
            first_m=0.35 * self.spread_m,
            full_m=self.spread_m,
            lasts_s=self.lasts_s,
            drag_s=0.35,
            lift=(0.0, 0.0, 0.12 * self.spread_m),
            swirl_m=0.7 * self.spread_m,
            thinning=0.6,
            seat=0.25,
        )
        everything = smoke_puffs.joined(*lots)
        states = [smoke_puffs.at(everything, air, float(second), eddies) for second in trajectory.frame_times(track)]
        balls, strengths, phases = zip(*states, strict=True)
        cloud = Cloud(
            frames=balls,
            strength=strengths,
            phase=phases,
            colour=self.colour,
            density=self.density,
            grain_m=0.5 * self.spread_m,
            drift=(0.0, 0.0, 0.15 * self.spread_m),
        )
        return (cloud,)

    def facts(self) -> dict[str, str | float]:
        """Its colour and how thick it is."""
        thickness = "thin" if self.density < 0.8 else "dense" if self.density > 3 else "moderate"
        return {"colour": nearest_colour_name(self.colour), "intensity": thickness, "density_per_m": self.density}

    def _trail(self, track: Track, rng: np.random.Generator) -> smoke_puffs.Puffs:
        """From where its rear meets the ground, at both sides."""
        length, width, height = track.extent
        course = trajectory.build_trajectory(track, self.lasts_s)
        born = trajectory.emission_times(course, per_metre=TRAIL * self.amount)
        here = course.at(born)
        chance = rng.random((len(born), 8))
        forward, left = trajectory.heading_axes(here.heading)
        side = np.where(chance[:, 0] < 0.5, -1.0, 1.0)
        across = side * width * 0.33 + (chance[:, 1] - 0.5) * (0.3 * width + 0.2 * self.spread_m)
        along = -0.42 * length + (chance[:, 2] - 0.5) * 0.25 * length
        speed = np.linalg.norm(here.velocity[:, :2], axis=1)
        thrown = 0.12 + 0.3 * chance[:, 3]
        out = side * (0.05 + 0.2 * chance[:, 4] ** 2) * np.sqrt(speed)
        up = (0.1 + 0.9 * chance[:, 5] ** 2) * np.sqrt(speed) * min(1.0, self.spread_m)
        push = here.velocity * thrown[:, None] + left * out[:, None]
        push[:, 2] = up
        ground = here.place * (1.0, 1.0, 0.0)
        # Measured from frame 0, so that neither the lead nor the frame rate moves the gusts.
        gone = np.interp(born, course.second, course.distance_m) - np.interp(0.0, course.second, course.distance_m)
        gust = trajectory.gust_strength(gone, 5 * self.spread_m, rng)
        push[:, 2] *= 0.5 + 1.6 * gust**2
        vigour = (
            (0.4 + 0.6 * gust)
            * np.clip(speed / 2.5, 0.0, 1.0) ** 0.7
            * trajectory.ground_proximity(here.place[:, 2], 0.25 * height + 0.05)
        )
        return smoke_puffs.Puffs(
            born_s=born,
            place=ground + forward * along[:, None] + left * across[:, None] + (0.0, 0.0, 0.1 * self.spread_m),
            push=push,
            strength=vigour * (0.4 + 0.6 * chance[:, 6]),
            phase=rng.random(len(born)),
            size=(0.45 + 0.55 * chance[:, 7]) * (0.75 + 0.6 * gust),
        )

    def _burst(self, track: Track, hit: int, rng: np.random.Generator) -> smoke_puffs.Puffs:
        """A ring that runs outward from a hit."""
        contact = track.contacts[hit]
        hardness = float(np.clip(contact.speed / 4, 0.0, 1.5))
        count = max(1, round(BURST * self.amount * hardness)) if contact.speed > 0.2 else 0
        chance = rng.random((count, 6))
        around = 2 * np.pi * chance[:, 0]
        ring = np.stack([np.cos(around), np.sin(around), np.zeros(count)], axis=-1)
        reach = 0.35 * min(track.extent[:2]) * np.sqrt(chance[:, 1])
        push = ring * (contact.speed * (0.15 + 0.5 * chance[:, 2]))[:, None]
        push[:, 2] = 0.6 * contact.speed * chance[:, 3] ** 1.5
        return smoke_puffs.Puffs(
            born_s=np.full(count, contact.frame / track.fps) - 1e-6 - 0.03 * chance[:, 4],
            place=np.asarray(contact.at) + ring * reach[:, None] + (0.0, 0.0, 0.08 * self.spread_m),
            push=push,
            strength=np.full(count, min(1.0, 0.35 + 0.65 * hardness)),
            phase=rng.random(count),
            size=0.4 + 0.7 * chance[:, 5],
        )
