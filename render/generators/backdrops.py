"""What closes the view far away: hills, a wood, houses; paler the further off they are."""

import numpy as np

from ..effects.render_data import Colour
from ..procedural_models.registry import body_extent
from ..scene.environment import Sky, Wall
from ..scene.objects import Body, Material, Still
from .placement import View

Rng = np.random.Generator
WOODS: tuple[Colour, ...] = ((0.20, 0.28, 0.14), (0.26, 0.33, 0.16), (0.30, 0.29, 0.15))
HILLS: tuple[Colour, ...] = ((0.30, 0.36, 0.22), (0.42, 0.38, 0.28), (0.36, 0.36, 0.36))
HOUSES: tuple[Colour, ...] = ((0.70, 0.64, 0.54), (0.56, 0.36, 0.28), (0.66, 0.66, 0.64), (0.78, 0.72, 0.58))
HAZE_M = 350.0
"""Over this distance two thirds of a colour are lost to the air."""


def backdrop(rng: Rng, around: str, view: View, sky: Sky) -> tuple[tuple[Body, ...], tuple[Wall, ...]]:
    """Bodies and walls at the horizon; none where a panorama shows one, indoors, or at night."""
    if sky.kind == "hdri" or around not in ("street", "nature", "water") or rng.random() < 0.25:
        return (), ()
    if around == "street":
        return (), _houses(rng, view, sky)
    hills = _hills(rng, view, sky) if rng.random() < 0.6 else ()
    woods = (_wood(rng, view, sky),) if not hills or rng.random() < 0.6 else ()
    return hills, woods


def hazed(colour: Colour, sky: Sky, away_m: float) -> Colour:
    """A colour seen through that much air."""
    share = 1 - np.exp(-away_m / HAZE_M)
    red, green, blue = (
        round(float(own + share * (far * 0.9 - own)), 4) for own, far in zip(colour, sky.colour, strict=True)
    )
    return red, green, blue


def _hills(rng: Rng, view: View, sky: Sky) -> tuple[Body, ...]:
    colour, hills = HILLS[int(rng.integers(len(HILLS)))], []
    for _ in range(int(rng.integers(3, 7))):
        away = float(rng.uniform(220, 600))
        size = round(float(rng.uniform(0.25, 0.6)) * min(away, 330.0), 1)
        first, second = hazed(colour, sky, away), hazed((colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8), sky, away)
        look = Material(kind="noise", colour=first, second=second, roughness=1.0, scale_m=round(size / 8, 2))
        body = Body(name="hill", shape="rock", size_m=size, look=look)
        x, y = view.at(float(rng.uniform(-0.7, 0.7)) * view.width_m(away), away)
        sunk = body_extent(body)[2] * float(rng.uniform(0.55, 0.8))
        still = Still(at=(x, y, round(-sunk, 2)), heading_deg=round(float(rng.uniform(0, 360)), 1))
        hills.append(Body(name="hill", shape="rock", size_m=size, look=look, motion=still))
    return tuple(hills)


def _wood(rng: Rng, view: View, sky: Sky) -> Wall:
    """The edge of a wood, or the far shore of a lake."""
    away = float(rng.uniform(70, 200))
    colour = WOODS[int(rng.integers(len(WOODS)))]
    dark = (colour[0] * 0.55, colour[1] * 0.55, colour[2] * 0.55)
    look = Material(
        kind="noise", colour=hazed(colour, sky, away), second=hazed(dark, sky, away), roughness=1.0,
        scale_m=round(float(rng.uniform(1.2, 2.5)), 2),
    )  # fmt: skip
    return Wall(
        at=view.at(0.0, away), width_m=round(min(3.5 * view.width_m(away), 500.0), 1), look=look,
        height_m=round(float(rng.uniform(0.03, 0.07)) * away, 2),
        heading_deg=round((view.away_deg + 180 + float(rng.uniform(-8, 8))) % 360, 2),
    )  # fmt: skip


def _houses(rng: Rng, view: View, sky: Sky) -> tuple[Wall, ...]:
    """A row of fronts of several heights."""
    away = float(rng.uniform(22, 60)) + view.distance_m
    walls: list[Wall] = []
    right = -0.75 * view.width_m(away)
    while right < 0.75 * view.width_m(away) and len(walls) < 14:
        wide = float(rng.uniform(0.12, 0.3)) * away
        colour = hazed(HOUSES[int(rng.integers(len(HOUSES)))], sky, away)
        kind = ("bricks", "noise", "noise", "tiles")[int(rng.integers(4))]
        look = Material(
            kind=kind, colour=colour, second=(colour[0] * 0.75, colour[1] * 0.75, colour[2] * 0.75),  # type: ignore[arg-type]
            roughness=0.9, scale_m={"bricks": 0.5, "noise": 1.5, "tiles": 1.8}[kind],
        )  # fmt: skip
        place = view.at(right + wide / 2, away + float(rng.uniform(0, 0.1)) * away)
        high = round(float(rng.uniform(0.12, 0.32)) * away, 2)
        heading = round((view.away_deg + 180) % 360, 2)
        walls.append(Wall(at=place, width_m=round(wide, 2), height_m=high, heading_deg=heading, look=look))
        right += wide
    return tuple(walls)
