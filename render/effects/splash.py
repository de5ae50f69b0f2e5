"""Drops that the subject throws up."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ..ranges import STRICT, all_within, within
from . import flights, puffs, way
from .colours import word_of
from .effect import Contact, Track
from .media import Cloud, Colour, Drops, Medium

CROWN = 3000
"""Drops of a hard hit."""
SHEET = 6500.0
"""Drops a metre of fast way."""
LEAD_S = 1.5


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
        """One lot of drops: crowns by the hits' speed, sheets by metre travelled; none where nothing moves."""
        lots = [self._sheets(track, rng), *(self._crown(track, contact, rng) for contact in track.contacts)]
        drops = flights.joined(*lots)
        frames = tuple(flights.at(drops, float(second)) for second in way.frame_seconds(track))
        return (Drops(frames=frames, colour=self.colour, clear=self.clear),)

    def facts(self) -> dict[str, str | float]:
        """What flies, and how much."""
        size = (
            "gentle"
            if self.amount * self.speed_mps < 1.5
            else "violent"
            if self.amount * self.speed_mps > 5
            else "lively"
        )
        what = "water" if self.clear > 0.5 else word_of(self.colour)
        return {"colour": what, "intensity": size, "speed_mps": self.speed_mps}

    def _crown(self, track: Track, contact: Contact, rng: np.random.Generator) -> flights.Flights:
        hardness = float(np.clip(contact.speed / 3, 0.0, 1.5)) if contact.speed > 0.15 else 0.0
        chance = rng.random((round(CROWN * self.amount * hardness), 6))
        size = rng.random(len(chance))
        ring = 0.42 * min(track.extent[:2])
        speed = self.speed_mps * np.sqrt(hardness)
        born, place, velocity = flights.crown(contact.at, contact.frame / track.fps, ring, speed, chance)
        radius = self._radii(size) * (1.15 - 0.75 * chance[:, 3])  # the fastest are the finest
        return flights.Flights(born_s=born, place=place, velocity=velocity, radius_m=radius)

    def _sheets(self, track: Track, rng: np.random.Generator) -> flights.Flights:
        """From where its bow or its wheels cut the water, to both sides."""
        length, width, height = track.extent
        course = way.way_of(track, LEAD_S)
        born = way.births(course, per_metre=SHEET * self.amount)
        here = course.at(born)
        speed = np.linalg.norm(here.velocity[:, :2], axis=1)
        chance = rng.random((len(born), 8))
        share = np.clip(speed / 3, 0, 1) ** 1.5 * way.nearness(here.place[:, 2], 0.2 * height + 0.02)
        kept = chance[:, 7] < share
        forward, left = way.axes(here.heading)
        side = np.where(chance[:, 0] < 0.5, -1.0, 1.0)[:, None]
        back = np.sqrt(chance[:, 1])[:, None]  # from the bow, 0, along the side
        place = here.place * (1.0, 1.0, 0.0) + forward * length * (0.46 - 0.5 * back)
        place = place + left * side * width * (0.25 + 0.3 * np.sqrt(back)) + (0.0, 0.0, 0.01)
        pulse = 0.75 + 0.25 * np.sin(5 * born + 6 * side[:, 0])  # sheets come in beats, each side in its own
        swift = (1.3 * self.speed_mps * np.sqrt(share) * pulse * (0.2 + 0.8 * chance[:, 2]))[:, None]
        up = np.radians(38 + 36 * chance[:, 3])[:, None]
        velocity = left * side * swift * np.cos(up) + here.velocity * (0.35 * chance[:, 4])[:, None]
        velocity = velocity + np.array([0.0, 0.0, 1.0]) * swift * np.sin(up)
        lot = flights.Flights(born_s=born, place=place, velocity=velocity, radius_m=self._radii(chance[:, 5]) * 0.42)
        return flights.Flights(
            born_s=lot.born_s[kept], place=lot.place[kept], velocity=lot.velocity[kept], radius_m=lot.radius_m[kept]
        )

    def _radii(self, chance: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
        """Few large drops, many small ones."""
        return self.drop_m * (0.3 + 0.7 * chance**4)


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
        """Mist, as a white cloud low behind the subject, and single drops in it; none where nothing moves."""
        _, width, _ = track.extent
        mist = self._mist(track, rng)
        full = 0.22 * width + 0.1 * self.speed_mps
        air = puffs.Air(first_m=0.3 * full, full_m=full, lasts_s=0.8, drag_s=0.2, thinning=1.1, seat=0.2)
        eddies = puffs.some_eddies(rng, 2 * full)
        states = [puffs.at(mist, air, float(second), eddies) for second in way.frame_seconds(track)]
        balls, strengths, phases = zip(*states, strict=True)
        cloud = Cloud(
            frames=balls,
            strength=strengths,
            phase=phases,
            colour=(0.93, 0.95, 0.97),
            density=min(6.0, 1.3 * self.amount),
            grain_m=0.35 * full,
        )
        fine = Splash(amount=min(10.0, 0.6 * self.amount), speed_mps=self.speed_mps, drop_m=0.008)
        return (cloud, *fine.media(track, rng))

    def facts(self) -> dict[str, str | float]:
        """How dense it is."""
        thickness = "thin" if self.amount < 0.6 else "dense" if self.amount > 2 else "moderate"
        return {"colour": "white", "intensity": thickness, "speed_mps": self.speed_mps}

    def _mist(self, track: Track, rng: np.random.Generator) -> puffs.Puffs:
        """Born along both sides and behind, by metre."""
        length, width, height = track.extent
        course = way.way_of(track, LEAD_S)
        born = way.births(course, per_metre=70.0)
        here = course.at(born)
        chance = rng.random((len(born), 8))
        speed = np.linalg.norm(here.velocity[:, :2], axis=1)
        forward, left = way.axes(here.heading)
        side = np.where(chance[:, 0] < 0.5, -1.0, 1.0)[:, None]
        along = (length * (0.35 - 0.85 * chance[:, 1]))[:, None]
        across = (width * (0.35 + 0.2 * chance[:, 2]))[:, None]
        vigour = np.clip(speed / 4, 0, 1) ** 1.5 * way.nearness(here.place[:, 2], 0.2 * height + 0.02)
        swift = (self.speed_mps * (0.3 + 0.7 * chance[:, 3]) * np.sqrt(vigour))[:, None]
        push = left * side * 0.6 * swift + here.velocity * 0.25 + np.array([0.0, 0.0, 0.8]) * swift
        return puffs.Puffs(
            born_s=born,
            place=here.place * (1.0, 1.0, 0.0) + forward * along + left * side * across + (0.0, 0.0, 0.03),
            push=push,
            strength=0.7 * vigour * (0.3 + 0.7 * chance[:, 5]),
            phase=rng.random(len(born)),
            size=0.4 + 0.7 * chance[:, 6],
        )
