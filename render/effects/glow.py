"""Light that the subject sheds: a halo in the air around it, and light on what is near."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from . import trajectory
from .base import Track
from .colours import nearest_colour_name
from .ranges import STRICT, all_within, within
from .render_data import Cloud, Colour, Lamp, Medium


@dataclass(frozen=True, kw_only=True)
class Glow:
    """A halo around a subject that shines."""

    __pydantic_config__ = STRICT
    kind: Literal["glow"] = "glow"
    colour: Colour = (1.0, 0.75, 0.4)
    """Of the halo."""
    strength: float = 1.0
    """1 is usual in dusk."""
    radius_m: float = 0.8
    """How far the halo reaches from the surface."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "strength", 0.01, 100)
        within(self, "radius_m", 0.05, 20)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "glow"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One smooth cloud: a string of balls along the subject, so that the halo follows its shape."""
        length, width, height = track.extent
        round_m = min(width, height) / 2
        count = max(1, round(length / max(0.4 * length, 2 * round_m)))
        along = (np.arange(count) - (count - 1) / 2) * (length - 2 * round_m if count > 1 else 0.0) / max(1, count - 1)
        forward, _ = trajectory.heading_axes(track.heading)
        middle = track.foot + np.array([0.0, 0.0, height / 2])
        frames, reach = [], round_m + self.radius_m
        for ahead, centre in zip(forward, middle, strict=True):
            places = centre + along[:, None] * ahead
            frames.append(np.concatenate([places, np.full((count, 1), reach)], axis=1).astype(np.float32))
        even = np.full(count, 1 / count, np.float32)
        return (
            Cloud(
                frames=tuple(frames),
                strength=(even,) * len(track),
                phase=(np.zeros(count, np.float32),) * len(track),
                colour=self.colour,
                density=0.02,
                grain_m=0.0,
                glow=60.0 * self.strength / self.radius_m,
            ),
        )

    def facts(self) -> dict[str, str | float]:
        """Its colour and how strong it is."""
        return {
            "colour": nearest_colour_name(self.colour),
            "intensity": _force(self.strength),
            "radius_m": self.radius_m,
        }


@dataclass(frozen=True, kw_only=True)
class CastLight:
    """Light that falls from the subject on its surroundings."""

    __pydantic_config__ = STRICT
    kind: Literal["light"] = "light"
    colour: Colour = (1.0, 0.75, 0.4)
    """Of the light."""
    power_w: float = 60.0
    """Blender watts: 60 lights a room in dusk."""
    flicker: float = 0.0
    """How much it wavers, 0 to 1."""

    def __post_init__(self) -> None:
        all_within(self, "colour", 0, 1)
        within(self, "power_w", 0.1, 100000)
        within(self, "flicker", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "light"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One lamp in the subject's middle."""
        length, width, height = track.extent
        wavering = _wavering(trajectory.frame_times(track), rng)
        return (
            Lamp(
                at=(track.foot + np.array([0.0, 0.0, height / 2])).astype(np.float32),
                colour=self.colour,
                power_w=(self.power_w * (1 - self.flicker * wavering)).astype(np.float32),
                radius_m=0.3 * min(length, width, height),
            ),
        )

    def facts(self) -> dict[str, str | float]:
        """Its colour, how strong it is, whether it flickers."""
        steady = "steady" if self.flicker < 0.1 else "flickering"
        return {
            "colour": nearest_colour_name(self.colour),
            "intensity": _force(self.power_w / 60),
            "manner": steady,
            "power_w": self.power_w,
        }


def _force(usual: float) -> str:
    return "faint" if usual < 0.5 else "strong" if usual > 2.5 else "moderate"


def _wavering(second: Float64[np.ndarray, "T"], rng: np.random.Generator) -> Float64[np.ndarray, "T"]:
    """A flame's unrest, 0 to 1: tones of 1 to 9 Hz, the same at any frame rate."""
    tones = rng.uniform(1, 9, size=7)
    phases = rng.uniform(0, 2 * np.pi, size=7)
    together = np.sin(2 * np.pi * second[:, None] * tones + phases).mean(axis=1)
    return np.asarray(np.clip(0.5 + together, 0, 1))
