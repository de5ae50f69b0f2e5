"""Water that the subject disturbs: the wake behind a hull, rings around what bobs or falls in."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Complex64, Float32

from . import foam, trajectory, wave_field
from .base import Track
from .ranges import STRICT, within
from .render_data import Medium, Waves

LEAD_S = 3.0
"""A wake this long lies behind the subject in the first frame."""


@dataclass(frozen=True, kw_only=True)
class Wake:
    """A V of waves behind a subject that travels on water."""

    __pydantic_config__ = STRICT
    kind: Literal["wake"] = "wake"
    height_m: float = 0.05
    """Of the highest wave."""
    turbulence: float = 0.2
    """Churned, foaming water behind the subject: 0 none, 1 all white."""

    def __post_init__(self) -> None:
        within(self, "height_m", 0.001, 2)
        within(self, "turbulence", 0, 1)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "wake"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One field of waves, with foam where it is turbulent; none where nothing moves."""
        course = trajectory.build_trajectory(track, LEAD_S)
        length, width, _ = track.extent
        grid = wave_field.grid_around(course.place[:, :2], margin_m=1.5 * length + 2.0, finest_m=max(0.03, width / 14))
        kx, ky = grid.waves()

        def pressure(second: float, span: float) -> Complex64[np.ndarray, "rows half"] | None:
            here = course.at(np.array([second]))
            speed = float(np.linalg.norm(here.velocity[0, :2]))
            weight = span * speed * float(trajectory.ground_proximity(here.place[:, 2], 0.3 * width)[0])
            if weight < 1e-9:
                return None
            (x, y, _), heading = here.place[0], np.float32(here.heading[0])
            cos, sin = np.cos(heading), np.sin(heading)
            along, across = kx * cos + ky * sin, ky * cos - kx * sin
            blunt = np.exp(-((along * (0.028 * length)) ** 2) - (across * (0.085 * width)) ** 2, dtype=np.float32)
            bow = grid.push_at(x + 0.42 * length * float(cos), y + 0.42 * length * float(sin))
            stern = grid.push_at(x - 0.38 * length * float(cos), y - 0.38 * length * float(sin))
            return np.asarray(np.float32(-weight) * blunt * (bow - np.float32(0.85) * stern))

        heights = wave_field.simulate_waves(grid, track, LEAD_S, pressure, calming_s=2.5)
        beside = _around_hull(grid, track)
        white = foam.churned(grid, track, course, self.turbulence, rng) * beside if self.turbulence > 0 else None
        fastest = float(np.linalg.norm(track.velocity[:, :2], axis=1).max())
        scaled = _scaled(heights * beside, self.height_m * min(1.0, fastest))
        if white is not None:
            scaled = scaled + foam.chop(grid, track, white, 0.35 * self.height_m, rng)
        return (Waves(heights=scaled, origin=grid.origin, step_m=grid.step_m, foam=white),)

    def facts(self) -> dict[str, str | float]:
        """How high and how wild it is."""
        wildness = "gentle" if self.turbulence < 0.25 else "turbulent" if self.turbulence > 0.6 else "lively"
        return {"intensity": wildness, "height_m": self.height_m, "turbulence": self.turbulence}


@dataclass(frozen=True, kw_only=True)
class Ripple:
    """Rings that run out from where the subject touches the water."""

    __pydantic_config__ = STRICT
    kind: Literal["ripple"] = "ripple"
    height_m: float = 0.02
    """Of the highest ring."""
    length_m: float = 0.25
    """From crest to crest."""

    def __post_init__(self) -> None:
        within(self, "height_m", 0.001, 1)
        within(self, "length_m", 0.02, 10)

    @property
    def word(self) -> str:
        """Of the corpus's vocabulary."""
        return "ripple"

    def media(self, track: Track, rng: np.random.Generator) -> tuple[Medium, ...]:
        """One field of waves: pulses at the waterline while the subject moves, and from every hit."""
        course = trajectory.build_trajectory(track, LEAD_S)
        size = max(track.extent[:2])
        grid = wave_field.grid_around(
            course.place[:, :2], margin_m=size + 10 * self.length_m, finest_m=self.length_m / 6
        )
        length = max(self.length_m, 5 * grid.step_m)
        kx, ky = grid.waves()
        number = 2 * np.pi / length
        beat = np.sqrt(wave_field.GRAVITY * number)
        # Only waves about as long as asked for, and a ring as wide as the subject's waterline.
        band = np.exp(-(((np.hypot(kx, ky) - number) / (0.3 * number)) ** 2)).astype(np.float32)
        start = rng.uniform(0, 2 * np.pi)
        touching = [(contact.frame / track.fps, contact.at, contact.speed) for contact in track.contacts]

        def pressure(second: float, span: float) -> Complex64[np.ndarray, "rows half"] | None:
            here = course.at(np.array([second]))
            bobbing = float(
                np.linalg.norm(here.velocity[0]) * trajectory.ground_proximity(here.place[:, 2], 0.3 * size)[0]
            )
            pushes = [(here.place[0], min(1.0, 2 * bobbing) * np.sin(beat * second + start))]
            for moment, at, speed in touching:
                since = (second - moment) * beat / (2 * np.pi)  # in beats
                if 0 <= since < 3:
                    pushes.append(
                        (np.asarray(at), 2 * min(1.0, speed / 2) * np.sin(2 * np.pi * since) * (1 - since / 3))
                    )
            total = np.zeros(kx.shape, np.complex64)
            for at, weight in pushes:
                total += np.float32(span * weight) * grid.push_at(float(at[0]), float(at[1]))
            return total * band if total.any() else None

        heights = wave_field.simulate_waves(grid, track, LEAD_S, pressure, calming_s=2.0)
        liveliest = max(
            [min(1.0, 2 * float(np.linalg.norm(track.velocity, axis=1).max()))]
            + [min(1.0, speed / 2) for _, _, speed in touching]
        )
        scaled = _scaled(heights * _around_hull(grid, track), self.height_m * liveliest)
        return (Waves(heights=scaled, origin=grid.origin, step_m=grid.step_m),)

    def facts(self) -> dict[str, str | float]:
        """How high the rings are and how far apart."""
        height = "faint" if self.height_m < 0.01 else "strong" if self.height_m > 0.04 else "gentle"
        return {"intensity": height, "height_m": self.height_m, "length_m": self.length_m}


def _around_hull(grid: wave_field.Grid, track: Track) -> Float32[np.ndarray, "T rows columns"]:
    """0 where the subject lies in the water, 1 beside it: no wave and no foam stands inside a hull."""
    outside = np.ones((len(track), grid.rows, grid.columns), np.float32)
    length, width, height = track.extent
    for frame, (foot, heading) in enumerate(zip(track.foot, track.heading, strict=True)):
        if foot[2] > 0.3 * height:
            continue
        x, y = grid.x - foot[0], grid.y[:, None] - foot[1]
        cos, sin = np.cos(heading), np.sin(heading)
        rings = np.hypot((x * cos + y * sin) / (0.5 * length), (y * cos - x * sin) / (0.5 * width))
        outside[frame] = np.clip((rings - 0.75) / 0.3, 0, 1)
    return outside


def _scaled(heights: Float32[np.ndarray, "T rows columns"], highest_m: float) -> Float32[np.ndarray, "T rows columns"]:
    """Heights about so high at the highest.

    Half of the top counts as the height: lone peaks at the bow are held back, else the long arms would hardly show.
    """
    top = float(np.abs(heights).max())
    if top < 1e-12:
        return np.zeros_like(heights)
    return np.asarray(np.float32(1.2 * highest_m) * np.tanh(heights / np.float32(0.6 * top)), np.float32)
