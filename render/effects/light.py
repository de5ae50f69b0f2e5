"""Effects of light: the shadow that the subject casts, its mirror image, and the light that it sheds around itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ...settings import InRange
from .base import Effect, Track, heading_axes
from .render_data import Cloud, Colour, Lamp, Medium, nearest_colour_name


@dataclass(frozen=True, kw_only=True)
class Shadow(Effect):
    """The subject blocks light, contact shadow and ambient occlusion included; without this effect light passes it."""

    kind: Literal["shadow"] = "shadow"
    softness_deg: Annotated[float | None, InRange(0.1, 60)] = None
    """Width of the sun for this variant: 0.5 is hard, 15 a veiled sun; None keeps the scene's own."""

    def facts(self) -> dict[str, str | float]:
        """Return the hardness of its edge."""
        if self.softness_deg is None:
            return {}
        edge = "crisp" if self.softness_deg < 1.5 else "soft" if self.softness_deg > 6 else "slightly soft"
        return {"edge": edge, "softness_deg": self.softness_deg}


@dataclass(frozen=True, kw_only=True)
class Reflection(Effect):
    """The subject's mirror image on wet or glossy ground, water, walls; these decide how clear it is."""

    kind: Literal["reflection"] = "reflection"


@dataclass(frozen=True, kw_only=True)
class Glow(Effect):
    """A halo around a subject that shines."""

    kind: Literal["glow"] = "glow"
    colour: Colour = (1.0, 0.75, 0.4)
    strength: Annotated[float, InRange(0.01, 100)] = 1.0
    """1 is usual in dusk."""
    radius_m: Annotated[float, InRange(0.05, 20)] = 0.8
    """Distance that the halo reaches from the surface."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one smooth cloud: a string of spheres along the subject, so that the halo follows its shape."""
        length, width, height = track.extent
        thickness_m = min(width, height) / 2
        count = max(1, round(length / max(0.4 * length, 2 * thickness_m)))
        span_m = length - 2 * thickness_m if count > 1 else 0.0
        along = (np.arange(count) - (count - 1) / 2) * span_m / max(1, count - 1)
        radii = np.full((count, 1), thickness_m + self.radius_m)
        forward, _ = heading_axes(track.heading)
        centres = track.foot + np.array([0.0, 0.0, height / 2])
        frames = tuple(
            np.concatenate([centre + along[:, None] * ahead, radii], axis=1).astype(np.float32)
            for ahead, centre in zip(forward, centres, strict=True)
        )
        return (
            Cloud(
                frames=frames,
                strength=(np.full(count, 1 / count, np.float32),) * len(track),
                phase=(np.zeros(count, np.float32),) * len(track),
                colour=self.colour,
                density=0.02,
                grain_m=0.0,
                glow=60.0 * self.strength / self.radius_m,
            ),
        )

    def facts(self) -> dict[str, str | float]:
        """Return its colour and strength."""
        colour = nearest_colour_name(self.colour)
        return {"colour": colour, "intensity": _intensity(self.strength), "radius_m": self.radius_m}


@dataclass(frozen=True, kw_only=True)
class CastLight(Effect):
    """Light that falls from the subject on its surroundings."""

    kind: Literal["light"] = "light"
    colour: Colour = (1.0, 0.75, 0.4)
    power_w: Annotated[float, InRange(0.1, 100000)] = 60.0
    """Blender watts: 60 lights a room in dusk."""
    flicker: Annotated[float, InRange(0, 1)] = 0.0
    """Share of its power that wavers."""

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """Return one lamp in the subject's middle."""
        length, width, height = track.extent
        frequencies_hz = rng.uniform(1, 9, size=7)  # the wavering of a flame, the same at any frame rate
        phases = rng.uniform(0, 2 * np.pi, size=7)
        noise = np.sin(2 * np.pi * track.frame_times[:, None] * frequencies_hz + phases).mean(axis=1)
        dimming = self.flicker * np.clip(0.5 + noise, 0, 1)
        return (
            Lamp(
                at=(track.foot + np.array([0.0, 0.0, height / 2])).astype(np.float32),
                colour=self.colour,
                power_w=(self.power_w * (1 - dimming)).astype(np.float32),
                radius_m=0.3 * min(length, width, height),
            ),
        )

    def facts(self) -> dict[str, str | float]:
        """Return its colour, strength, and whether it flickers."""
        return {
            "colour": nearest_colour_name(self.colour),
            "intensity": _intensity(self.power_w / 60),
            "manner": "steady" if self.flicker < 0.1 else "flickering",
            "power_w": self.power_w,
        }


def _intensity(strength: float) -> str:
    return "faint" if strength < 0.5 else "strong" if strength > 2.5 else "moderate"
