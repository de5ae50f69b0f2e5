"""Drops that the subject throws up."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from . import droplets, smoke_puffs, trajectory, water_sheets
from .base import Contact, Track
from .colours import nearest_colour_name
from .ranges import STRICT, all_within, within
from .render_data import Cloud, Colour, Drops, Medium, Sheets

CROWN = 2200
"""Drops of a hard hit."""
SHEET = 4500.0
"""Drops a metre of fast way."""
LEAD_S = 1.5
PLUME = 70.0
"""Puffs of spray a metre."""
RING = 0.42
"""Radius of a crown at its foot, as a share of the subject's length or width."""
SOFTEST_MPS = 0.15
"""Slower hits throw nothing up."""


@dataclass(frozen=True, kw_only=True)
class Splash:
    """Crowns of drops where the subject hits, and sheets at its sides where it ploughs through."""

    __pydantic_config__ = STRICT
    kind: Literal["splash"] = "splash"
    amount: float = 1.0
    """How many drops, 1 is usual."""
    speed_mps: float = 2.5
    """How fast the fastest leave."""
    drop_m: float = 0.02
    """Radius of the largest drops."""
    colour: Colour = (0.85, 0.92, 0.95)
    """Of the drops: water, mud, slush."""
    clear: float = 1.0
    """1 for water, 0 for mud and sand."""

    def __post_init__(self) -> None:
        within(self, "amount", 0.05, 10)
        within(self, "speed_mps", 0.1, 30)
        within(self, "drop_m", 0.002, 0.3)
        all_within(self, "colour", 0, 1)
        within(self, "clear", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "splash"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Skins of water and drops: crowns by the hits' speed, at its sides by metre travelled; none where it rests."""
        return (self.drops(track, rng), self._skins(track))

    def drops(self, track: Track, rng: np.random.Generator) -> Drops:
        """The drops alone."""
        lots = [self._sheets(track, rng), *(self._crown(track, contact, rng) for contact in track.contacts)]
        flying = droplets.joined(*lots)
        frames, moves = zip(
            *(droplets.at(flying, float(second)) for second in trajectory.frame_times(track)), strict=True
        )
        return Drops(frames=frames, moves=moves, colour=self.colour, clear=self.clear)

    def facts(self) -> dict[str, str | float]:
        """What flies, and how much."""
        size = (
            "gentle"
            if self.amount * self.speed_mps < 1.5
            else "violent"
            if self.amount * self.speed_mps > 5
            else "lively"
        )
        what = "water" if self.clear > 0.5 else nearest_colour_name(self.colour)
        return {"colour": what, "intensity": size, "speed_mps": self.speed_mps}

    def _crown(self, track: Track, contact: Contact, rng: np.random.Generator) -> droplets.Droplets:
        hardness = float(np.clip(contact.speed / 3, 0.0, 1.5)) if contact.speed > SOFTEST_MPS else 0.0
        chance = rng.random((round(CROWN * self.amount * hardness), 6))
        size = rng.random(len(chance))
        ring = RING * min(track.extent[:2])
        speed = self.speed_mps * np.sqrt(hardness)
        born, place, velocity = droplets.crown(contact.at, contact.frame / track.fps, ring, speed, chance)
        radius = self._radii(size) * (1.15 - 0.75 * chance[:, 3])  # the fastest are the finest
        return droplets.Droplets(born_s=born, place=place, velocity=velocity, radius_m=radius)

    def _sheets(self, track: Track, rng: np.random.Generator) -> droplets.Droplets:
        """From where its bow or its wheels cut the water, to both sides."""
        length, width, height = track.extent
        course = trajectory.build_trajectory(track, LEAD_S)
        born = trajectory.emission_times(course, per_metre=SHEET * self.amount)
        here = course.at(born)
        speed = np.linalg.norm(here.velocity[:, :2], axis=1)
        chance = rng.random((len(born), 8))
        share = np.clip(speed / 3, 0, 1) ** 1.5 * trajectory.ground_proximity(here.place[:, 2], 0.2 * height + 0.02)
        kept = chance[:, 7] < share
        forward, left = trajectory.heading_axes(here.heading)
        side = np.where(chance[:, 0] < 0.5, -1.0, 1.0)[:, None]
        back = chance[:, 1][:, None] ** 1.5  # from the bow, 0, along the side
        place = here.place * (1.0, 1.0, 0.0) + forward * length * (0.44 - 0.6 * back)
        place = place + left * side * width * (0.22 + 0.35 * np.sqrt(back)) + (0.0, 0.0, 0.01)
        pulse = 0.75 + 0.25 * np.sin(5 * born + 6 * side[:, 0])  # sheets come in beats, each side in its own
        swift = (1.3 * self.speed_mps * np.sqrt(share) * pulse * (0.2 + 0.8 * chance[:, 2]))[:, None]
        up = np.radians(28 + 34 * chance[:, 3])[:, None]
        velocity = left * side * swift * np.cos(up) + here.velocity * (0.35 * chance[:, 4])[:, None]
        velocity = velocity + np.array([0.0, 0.0, 1.0]) * swift * np.sin(up)
        lot = droplets.Droplets(born_s=born, place=place, velocity=velocity, radius_m=self._radii(chance[:, 5]) * 0.6)
        return droplets.Droplets(
            born_s=lot.born_s[kept], place=lot.place[kept], velocity=lot.velocity[kept], radius_m=lot.radius_m[kept]
        )

    def _skins(self, track: Track) -> Sheets:
        """The walls of the crowns, and what the bow turns over at both sides."""
        _, width, _ = track.extent
        crowns = [
            water_sheets.CrownImpact(
                at=contact.at,
                second=contact.frame / track.fps,
                ring_m=RING * min(track.extent[:2]),
                speed_mps=self.speed_mps * np.sqrt(min(contact.speed / 3, 1.5)),
            )
            for contact in track.contacts
            if contact.speed > SOFTEST_MPS
        ]
        course, seconds = trajectory.build_trajectory(track, LEAD_S), trajectory.frame_times(track)
        shapes = [water_sheets.crown(one, seconds) for one in crowns]
        shapes += [water_sheets.bow(course, seconds, track.extent, side * self.speed_mps) for side in (-1, 1)]
        strength = min(1.0, 0.75 * self.amount**0.5)
        return Sheets(
            places=np.stack([places for places, _ in shapes], axis=1),
            cover=np.stack([cover for _, cover in shapes], axis=1) * np.float32(strength),
            colour=self.colour,
            clear=self.clear,
            tear_m=3 * self.drop_m + 0.03 * width,
        )

    def _radii(self, chance: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
        """Few large drops, many small ones, very many fine ones."""
        return self.drop_m * (0.16 + 0.24 * chance + 0.75 * chance**8)


@dataclass(frozen=True, kw_only=True)
class Spray:
    """A haze of fine drops around a fast subject."""

    __pydantic_config__ = STRICT
    kind: Literal["spray"] = "spray"
    amount: float = 1.0
    """How dense, 1 is usual."""
    speed_mps: float = 1.5
    """How fast it leaves."""

    def __post_init__(self) -> None:
        within(self, "amount", 0.05, 10)
        within(self, "speed_mps", 0.1, 30)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "spray"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Mist, as a white cloud behind the wheels, and single drops in it; none where nothing moves."""
        _, width, _ = track.extent
        mist = self._mist(track, rng)
        full = 0.26 * width + 0.12 * self.speed_mps
        air = smoke_puffs.PuffDynamics(
            first_m=0.2 * full, full_m=full, lasts_s=0.9, drag_s=0.3, swirl_m=0.5 * full, thinning=1.1, seat=0.15
        )
        eddies = smoke_puffs.some_eddies(rng, 1.5 * full)
        states = [smoke_puffs.at(mist, air, float(second), eddies) for second in trajectory.frame_times(track)]
        balls, strengths, phases = zip(*states, strict=True)
        cloud = Cloud(
            frames=balls,
            strength=strengths,
            phase=phases,
            colour=(0.93, 0.95, 0.97),
            density=min(12.0, 3.2 * self.amount),
            grain_m=0.6 * full,
        )
        fine = Splash(amount=min(10.0, 0.6 * self.amount), speed_mps=self.speed_mps, drop_m=0.008)
        return (cloud, fine.drops(track, rng))

    def facts(self) -> dict[str, str | float]:
        """How dense it is."""
        thickness = "thin" if self.amount < 0.6 else "dense" if self.amount > 2 else "moderate"
        return {"colour": "white", "intensity": thickness, "speed_mps": self.speed_mps}

    def _mist(self, track: Track, rng: np.random.Generator) -> smoke_puffs.Puffs:
        """Thrown back and up by the wheels (or where the hull cuts the water), now more, now less of it."""
        length, width, height = track.extent
        course = trajectory.build_trajectory(track, LEAD_S)
        born = trajectory.emission_times(course, per_metre=PLUME)
        here = course.at(born)
        chance = rng.random((len(born), 8))
        speed = np.linalg.norm(here.velocity[:, :2], axis=1)
        forward, left = trajectory.heading_axes(here.heading)
        side, rear = np.where(chance[:, 0] < 0.5, -1.0, 1.0), chance[:, 1] < 0.72
        along = length * np.where(rear, -0.36, 0.26) - 0.08 * length * chance[:, 2]
        across = width * (0.36 + 0.1 * (chance[:, 4] - 0.5))
        # Measured from frame 0, so that neither the lead nor the frame rate moves the gusts; each side has its own.
        gone = np.interp(born, course.second, course.distance_m) - np.interp(0.0, course.second, course.distance_m)
        gust = np.where(
            side > 0, trajectory.gust_strength(gone, 1.6 * width, rng), trajectory.gust_strength(gone, 1.6 * width, rng)
        )
        vigour = np.clip(speed / 4, 0, 1) ** 1.5 * trajectory.ground_proximity(here.place[:, 2], 0.2 * height + 0.02)
        swift = (self.speed_mps * (0.15 + 0.45 * chance[:, 3] + 0.7 * gust**2) * np.sqrt(vigour))[:, None]
        sideways = left * (side * (0.1 + 0.5 * chance[:, 7] ** 2))[:, None]
        push = sideways * swift + here.velocity * (0.1 + 0.3 * chance[:, [5]]) + np.array([0.0, 0.0, 1.0]) * swift
        return smoke_puffs.Puffs(
            born_s=born,
            place=here.place * (1.0, 1.0, 0.0) + forward * along[:, None] + left * (side * across)[:, None],
            push=push,
            strength=vigour * np.where(rear, 1.0, 0.5) * (0.05 + 0.95 * gust**1.5) * (0.3 + 0.7 * chance[:, 5]),
            phase=rng.random(len(born)),
            size=(0.3 + 0.5 * chance[:, 6]) * (0.6 + 0.8 * gust),
        )
