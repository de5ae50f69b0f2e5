"""Splash and spray: drops, sheets of water and mist that the subject throws up."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64

from ...settings import InRange
from .base import Effect, Track, build_trajectory, concatenate, gust_strength, heading_axes
from .droplets import CrownImpact, Droplets, bow_sheet, crown_droplets, crown_sheet, droplets_at
from .render_data import Colour, Drops, Medium, Sheets, nearest_colour_name
from .smoke import Puffs, PuffSettings, puff_cloud, random_eddies

CROWN_DROPS = 2200
"""Drops of a hard hit."""
BOW_DROPS_PER_METRE = 4500.0
"""At full speed."""
MIST_PUFFS_PER_METRE = 70.0
LEAD_S = 1.5
CROWN_RADIUS = 0.42
"""Radius of a crown at its foot, as a share of the subject's length or width."""
MIN_HIT_MPS = 0.15
"""Slower hits throw nothing up."""


@dataclass(frozen=True, kw_only=True)
class Splash(Effect):
    """Crowns of drops where the subject hits, and sheets at its sides where it ploughs through."""

    kind: Literal["splash"] = "splash"
    amount: Annotated[float, InRange(0.05, 10)] = 1.0
    """Number of drops, 1 is usual."""
    speed_mps: Annotated[float, InRange(0.1, 30)] = 2.5
    """Speed at which the fastest leave."""
    drop_m: Annotated[float, InRange(0.002, 0.3)] = 0.02
    """Radius of the largest drops."""
    colour: Colour = (0.85, 0.92, 0.95)
    """Colour of the drops: water, mud, slush."""
    clear: Annotated[float, InRange(0, 1)] = 1.0
    """1 for water, 0 for mud and sand."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return drops and sheets: crowns by the hits' speed, at its sides by metre travelled; none where it rests."""
        return (self.drops(track, rng), self._sheets(track))

    def drops(self, track: Track, rng: np.random.Generator) -> Drops:
        """Return the drops alone."""
        groups = [self._bow_drops(track, rng)]
        for impact in self._impacts(track):
            uniform = rng.random((round(CROWN_DROPS * self.amount * impact.hardness), 6))
            groups.append(crown_droplets(impact, uniform, self._radii(rng.random(len(uniform)))))
        droplets = concatenate(groups)
        frames, moves = zip(*(droplets_at(droplets, float(time_s)) for time_s in track.frame_times), strict=True)
        return Drops(frames=frames, moves=moves, colour=self.colour, clear=self.clear)

    def facts(self) -> dict[str, str | float]:
        """Return what flies, and its strength."""
        force = self.amount * self.speed_mps
        intensity = "gentle" if force < 1.5 else "violent" if force > 5 else "lively"
        colour = "water" if self.clear > 0.5 else nearest_colour_name(self.colour)
        return {"colour": colour, "intensity": intensity, "speed_mps": self.speed_mps}

    def _impacts(self, track: Track) -> list[CrownImpact]:
        hits = [(contact, min(contact.speed / 3, 1.5)) for contact in track.contacts if contact.speed > MIN_HIT_MPS]
        return [
            CrownImpact(
                at=hit.at,
                time_s=hit.frame / track.fps,
                ring_m=CROWN_RADIUS * min(track.extent[:2]),
                hardness=hardness,
                speed_mps=self.speed_mps * float(np.sqrt(hardness)),
            )
            for hit, hardness in hits
        ]

    def _bow_drops(self, track: Track, rng: np.random.Generator) -> Droplets:
        """Drops from where its bow or its wheels cut the water, to both sides."""
        length, width, height = track.extent
        trajectory = build_trajectory(track, LEAD_S)
        born_s = trajectory.emission_times(per_metre=BOW_DROPS_PER_METRE * self.amount)
        subject = trajectory.at(born_s)
        uniform = rng.random((len(born_s), 8))
        proximity = subject.ground_proximity(0.2 * height + 0.02)
        share = np.clip(subject.speed_mps / 3, 0, 1) ** 1.5 * proximity
        emitted = uniform[:, 7] < share
        forward, leftward = heading_axes(subject.heading)
        side = np.where(uniform[:, 0] < 0.5, -1.0, 1.0)[:, None]
        back = uniform[:, 1][:, None] ** 1.5  # from the bow, 0, along the side
        position = subject.position * (1.0, 1.0, 0.0) + forward * length * (0.44 - 0.6 * back)
        position = position + leftward * side * width * (0.22 + 0.35 * np.sqrt(back)) + (0.0, 0.0, 0.01)
        beat = 0.75 + 0.25 * np.sin(5 * born_s + 6 * side[:, 0])  # sheets come in beats, each side in its own
        speed = (1.3 * self.speed_mps * np.sqrt(share) * beat * (0.2 + 0.8 * uniform[:, 2]))[:, None]
        lean = np.radians(28 + 34 * uniform[:, 3])[:, None]
        velocity = leftward * side * speed * np.cos(lean) + subject.velocity * (0.35 * uniform[:, 4])[:, None]
        velocity = velocity + np.array([0.0, 0.0, 1.0]) * speed * np.sin(lean)
        return Droplets(
            born_s=born_s[emitted],
            position=position[emitted],
            velocity=velocity[emitted],
            radius_m=(self._radii(uniform[:, 5]) * 0.6)[emitted],
        )

    def _sheets(self, track: Track) -> Sheets:
        """The walls of the crowns, and the water that the bow turns over at both sides."""
        trajectory = build_trajectory(track, LEAD_S)
        sheets = [crown_sheet(impact, track.frame_times) for impact in self._impacts(track)]
        sheets += [bow_sheet(trajectory, track, side * self.speed_mps) for side in (-1, 1)]
        strength = min(1.0, 0.75 * self.amount**0.5)
        return Sheets(
            positions=np.stack([positions for positions, _ in sheets], axis=1),
            cover=np.stack([cover for _, cover in sheets], axis=1) * np.float32(strength),
            colour=self.colour,
            clear=self.clear,
            tear_m=3 * self.drop_m + 0.03 * track.extent[1],
        )

    def _radii(self, uniform: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
        """Few large drops, many small ones, very many fine ones."""
        return self.drop_m * (0.16 + 0.24 * uniform + 0.75 * uniform**8)


@dataclass(frozen=True, kw_only=True)
class Spray(Effect):
    """A haze of fine drops around a fast subject."""

    kind: Literal["spray"] = "spray"
    amount: Annotated[float, InRange(0.05, 10)] = 1.0
    """Density, 1 is usual."""
    speed_mps: Annotated[float, InRange(0.1, 30)] = 1.5
    """Speed at which it leaves."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return mist, as a white cloud behind the wheels, and single drops in it; none where nothing moves."""
        full_m = 0.26 * track.extent[1] + 0.12 * self.speed_mps
        mist = self._mist(track, rng)
        settings = PuffSettings(
            colour=(0.93, 0.95, 0.97),
            density=min(12.0, 3.2 * self.amount),
            grain_m=0.6 * full_m,
            first_m=0.2 * full_m,
            full_m=full_m,
            lasts_s=0.9,
            drag_s=0.3,
            swirl_m=0.5 * full_m,
            thinning=1.1,
            min_height=0.15,
        )
        cloud = puff_cloud(mist, settings, track, random_eddies(rng, 1.5 * full_m))
        fine_drops = Splash(amount=min(10.0, 0.6 * self.amount), speed_mps=self.speed_mps, drop_m=0.008)
        return (cloud, fine_drops.drops(track, rng))

    def facts(self) -> dict[str, str | float]:
        """Return its density."""
        thickness = "thin" if self.amount < 0.6 else "dense" if self.amount > 2 else "moderate"
        return {"colour": "white", "intensity": thickness, "speed_mps": self.speed_mps}

    def _mist(self, track: Track, rng: np.random.Generator) -> Puffs:
        """Puffs thrown back and up by the wheels (or where the hull cuts the water), in gusts."""
        length, width, height = track.extent
        trajectory = build_trajectory(track, LEAD_S)
        born_s = trajectory.emission_times(per_metre=MIST_PUFFS_PER_METRE)
        subject = trajectory.at(born_s)
        uniform = rng.random((len(born_s), 8))
        forward, leftward = heading_axes(subject.heading)
        side, rear = np.where(uniform[:, 0] < 0.5, -1.0, 1.0), uniform[:, 1] < 0.72
        along = length * np.where(rear, -0.36, 0.26) - 0.08 * length * uniform[:, 2]
        across = width * (0.36 + 0.1 * (uniform[:, 4] - 0.5))
        distance_m = trajectory.distance_from_frame_0(born_s)
        left_gust, right_gust = (gust_strength(distance_m, 1.6 * width, rng) for _ in range(2))
        gust = np.where(side > 0, left_gust, right_gust)
        proximity = subject.ground_proximity(0.2 * height + 0.02)
        strength = np.clip(subject.speed_mps / 4, 0, 1) ** 1.5 * proximity
        speed = (self.speed_mps * (0.15 + 0.45 * uniform[:, 3] + 0.7 * gust**2) * np.sqrt(strength))[:, None]
        sideways = leftward * (side * (0.1 + 0.5 * uniform[:, 7] ** 2))[:, None]
        dragged = subject.velocity * (0.1 + 0.3 * uniform[:, [5]])
        return Puffs(
            born_s=born_s,
            position=subject.position * (1.0, 1.0, 0.0)
            + forward * along[:, None]
            + leftward * (side * across)[:, None],
            velocity=sideways * speed + dragged + np.array([0.0, 0.0, 1.0]) * speed,
            strength=strength * np.where(rear, 1.0, 0.5) * (0.05 + 0.95 * gust**1.5) * (0.3 + 0.7 * uniform[:, 5]),
            phase=rng.random(len(born_s)),
            size=(0.3 + 0.5 * uniform[:, 6]) * (0.6 + 0.8 * gust),
        )
