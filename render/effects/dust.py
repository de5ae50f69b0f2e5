"""Dust that the subject whirls up as it moves over dry ground."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ...settings import InRange
from .base import Contact, Effect, Track, build_trajectory, concatenate, gust_strength, heading_axes
from .render_data import Colour, Medium, nearest_colour_name
from .smoke import Puffs, PuffSettings, puff_cloud, random_eddies

PUFFS_PER_METRE = 26.0
BURST_PUFFS = 110
"""Puffs of a hard hit."""


@dataclass(frozen=True, kw_only=True)
class Dust(Effect):
    """A trail of dust behind the subject, or a burst where it hits the ground."""

    kind: Literal["dust"] = "dust"
    colour: Colour = (0.62, 0.52, 0.40)
    density: Annotated[float, InRange(0.01, 50)] = 1.5
    """Optical density per metre of a fresh puff: 0.3 is a haze, 6 hides what is behind."""
    spread_m: Annotated[float, InRange(0.02, 20)] = 0.6
    """Radius that a puff grows to."""
    lasts_s: Annotated[float, InRange(0.1, 30)] = 2.0
    """Lifetime of a puff."""
    amount: Annotated[float, InRange(0.05, 10)] = 1.0
    """Puffs for each metre travelled and for each hit, 1 is usual."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one cloud: puffs by metre travelled, and at every hit by its speed; none where nothing moves."""
        eddies = random_eddies(rng, 2.5 * self.spread_m)
        groups = [self._trail(track, rng), *(self._burst(track, contact, rng) for contact in track.contacts)]
        settings = PuffSettings(
            colour=self.colour,
            density=self.density,
            grain_m=0.5 * self.spread_m,
            grain_drift=(0.0, 0.0, 0.15 * self.spread_m),
            first_m=0.35 * self.spread_m,
            full_m=self.spread_m,
            lasts_s=self.lasts_s,
            drag_s=0.35,
            lift=(0.0, 0.0, 0.12 * self.spread_m),
            swirl_m=0.7 * self.spread_m,
            thinning=0.6,
            min_height=0.25,
        )
        return (puff_cloud(concatenate(groups), settings, track, eddies),)

    def facts(self) -> dict[str, str | float]:
        """Return its colour and thickness."""
        thickness = "thin" if self.density < 0.8 else "dense" if self.density > 3 else "moderate"
        return {"colour": nearest_colour_name(self.colour), "intensity": thickness, "density_per_m": self.density}

    def _trail(self, track: Track, rng: np.random.Generator) -> Puffs:
        """Puffs from where its rear meets the ground, at both sides."""
        length, width, height = track.extent
        trajectory = build_trajectory(track, self.lasts_s)
        born_s = trajectory.emission_times(per_metre=PUFFS_PER_METRE * self.amount)
        subject = trajectory.at(born_s)
        uniform = rng.random((len(born_s), 8))
        forward, leftward = heading_axes(subject.heading)
        side = np.where(uniform[:, 0] < 0.5, -1.0, 1.0)
        across = side * width * 0.33 + (uniform[:, 1] - 0.5) * (0.3 * width + 0.2 * self.spread_m)
        along = -0.42 * length + (uniform[:, 2] - 0.5) * 0.25 * length
        speed = subject.speed_mps
        dragged_share = 0.12 + 0.3 * uniform[:, 3]
        outward = side * (0.05 + 0.2 * uniform[:, 4] ** 2) * np.sqrt(speed)
        upward = (0.1 + 0.9 * uniform[:, 5] ** 2) * np.sqrt(speed) * min(1.0, self.spread_m)
        velocity = subject.velocity * dragged_share[:, None] + leftward * outward[:, None]
        velocity[:, 2] = upward
        ground = subject.position * (1.0, 1.0, 0.0)
        gust = gust_strength(trajectory.distance_from_frame_0(born_s), 5 * self.spread_m, rng)
        velocity[:, 2] *= 0.5 + 1.6 * gust**2
        strength = (
            (0.4 + 0.6 * gust) * np.clip(speed / 2.5, 0.0, 1.0) ** 0.7 * subject.ground_proximity(0.25 * height + 0.05)
        )
        return Puffs(
            born_s=born_s,
            position=ground + forward * along[:, None] + leftward * across[:, None] + (0.0, 0.0, 0.1 * self.spread_m),
            velocity=velocity,
            strength=strength * (0.4 + 0.6 * uniform[:, 6]),
            phase=rng.random(len(born_s)),
            size=(0.45 + 0.55 * uniform[:, 7]) * (0.75 + 0.6 * gust),
        )

    def _burst(self, track: Track, contact: Contact, rng: np.random.Generator) -> Puffs:
        """A ring of puffs that runs outward from a hit."""
        hardness = float(np.clip(contact.speed / 4, 0.0, 1.5))
        count = max(1, round(BURST_PUFFS * self.amount * hardness)) if contact.speed > 0.2 else 0
        uniform = rng.random((count, 6))
        angle = 2 * np.pi * uniform[:, 0]
        outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=-1)
        distance = 0.35 * min(track.extent[:2]) * np.sqrt(uniform[:, 1])
        velocity = outward * (contact.speed * (0.15 + 0.5 * uniform[:, 2]))[:, None]
        velocity[:, 2] = 0.6 * contact.speed * uniform[:, 3] ** 1.5
        return Puffs(
            born_s=np.full(count, contact.frame / track.fps) - 1e-6 - 0.03 * uniform[:, 4],
            position=np.asarray(contact.at) + outward * distance[:, None] + (0.0, 0.0, 0.08 * self.spread_m),
            velocity=velocity,
            strength=np.full(count, min(1.0, 0.35 + 0.65 * hardness)),
            phase=rng.random(count),
            size=0.4 + 0.7 * uniform[:, 5],
        )
