"""Surroundings of the action: walls behind it, props around it, a post before it, and a backdrop far away."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from ..effects.render_data import Colour
from ..procedural_models import parts
from ..procedural_models.registry import body_extent
from ..scene.objects import Body, Material, Sky, Still, Wall
from .framing import CameraView
from .palettes import PAINTS, draw_between, scale_colour
from .subjects import Rng, choose

Walls = tuple[Wall, ...]
WOOD = Material(kind="wood", colour=(0.58, 0.42, 0.26), second=(0.42, 0.28, 0.16), roughness=0.7, scale_m=0.2)
STONE = Material(kind="noise", colour=(0.46, 0.44, 0.41), second=(0.36, 0.35, 0.33), roughness=0.95, scale_m=0.12)
WALLS = (
    Material(kind="bricks", colour=(0.50, 0.27, 0.21), second=(0.58, 0.55, 0.51), roughness=0.85, scale_m=0.25),
    Material(kind="bricks", colour=(0.62, 0.56, 0.46), second=(0.48, 0.45, 0.40), roughness=0.85, scale_m=0.4),
    Material(kind="noise", colour=(0.80, 0.77, 0.70), second=(0.74, 0.70, 0.62), roughness=0.9, scale_m=0.8),
    Material(kind="noise", colour=(0.60, 0.60, 0.59), second=(0.54, 0.54, 0.53), roughness=0.9, scale_m=0.7),
    Material(kind="wood", colour=(0.48, 0.35, 0.24), second=(0.36, 0.25, 0.16), roughness=0.75, scale_m=0.3),
)
HALLS = (
    Material(colour=(0.82, 0.80, 0.76), roughness=0.7),
    Material(colour=(0.55, 0.60, 0.62), roughness=0.6),
    Material(kind="tiles", colour=(0.72, 0.74, 0.72), second=(0.5, 0.5, 0.48), roughness=0.25, scale_m=0.5),
    Material(kind="wood", colour=(0.50, 0.36, 0.24), second=(0.38, 0.26, 0.16), roughness=0.4, scale_m=0.4),
)
WOODS: tuple[Colour, ...] = ((0.20, 0.28, 0.14), (0.26, 0.33, 0.16), (0.30, 0.29, 0.15))
HILLS: tuple[Colour, ...] = ((0.30, 0.36, 0.22), (0.42, 0.38, 0.28), (0.36, 0.36, 0.36))
HOUSES: tuple[Colour, ...] = ((0.70, 0.64, 0.54), (0.56, 0.36, 0.28), (0.66, 0.66, 0.64), (0.78, 0.72, 0.58))
HAZE_M = 350.0
"""Over this distance two thirds of a colour are lost to the air."""
PROPS = {
    "street": ("post", "post", "crate", "car", "arch"),
    "nature": ("rock", "rock", "rock", "post"),
    "water": ("rock", "buoy", "boat"),
    "hall": ("solid", "solid", "crate"),
    "dark": ("post", "crate", "rock", "solid"),
}
"""Kinds of props in each kind of surroundings, as often as they are named."""
SUNK_SHARE = {"moored boat": 0.22, "buoy": 0.4, "rock": 0.35}
WALL_PROBABILITY = {"street": 0.5, "nature": 0.06, "water": 0.0, "hall": 0.7, "dark": 0.35}


def draw_walls(rng: Rng, surroundings: str, view: CameraView, long_m: float) -> Walls:
    """Draw a wall behind the action, roughly facing the camera, or none."""
    if rng.random() >= WALL_PROBABILITY[surroundings]:
        return ()
    looks = HALLS if surroundings == "hall" else WALLS
    away = float(rng.uniform(1.0, 2.5)) * max(long_m, 0.8) + 0.25 * view.distance_m
    wide = view.width_m(away) * float(rng.uniform(1.3, 2.5))
    high = max(2.4, view.width_m(away) * float(rng.uniform(0.25, 0.7)))
    return (
        Wall(
            at=view.at(float(rng.uniform(-0.15, 0.15)) * wide, away), width_m=round(wide, 2), height_m=round(high, 2),
            heading_deg=round((view.away_deg + 180 + float(rng.uniform(-14, 14))) % 360, 2),
            look=choose(rng, looks),
        ),
    )  # fmt: skip


def scatter_props(
    rng: Rng, surroundings: str, view: CameraView, path: Float64[np.ndarray, "T 3"], subject: Body, walls: Walls
) -> tuple[Body, ...]:
    """Draw up to five props behind the subject and at its sides, clear of its path and of each other, before walls."""
    long, wide, _ = body_extent(subject)
    placed: list[tuple[Body, np.ndarray, float]] = []
    kinds = PROPS[surroundings]
    for _ in range(int(rng.integers(0, 6))):
        prop = _draw_prop(rng, choose(rng, kinds), long)
        away = float(rng.uniform(-0.25, 1.2)) * view.distance_m
        if away > 0.9 * view.distance_m:
            away *= 1.5
        right = float(rng.uniform(-0.6, 0.6)) * view.width_m(away)
        at = np.array(view.at(right, away))
        body = _stand_at(prop, view.at(right, away), float(rng.uniform(0, 360)), surroundings)
        *sides, high = body_extent(body)
        reach = max(sides)
        fits = high <= 0.35 * view.width_m(away)
        clear = np.hypot(*(path[:, :2] - at).T).min() > max(long, wide) * 0.6 + 0.6 * reach
        if fits and clear and all(np.hypot(*(at - other)) > 0.6 * (reach + extent) for _, other, extent in placed):
            placed.append((body, at, reach))
    ahead = np.array([np.cos(np.radians(view.away_deg)), np.sin(np.radians(view.away_deg))])
    limits = [np.dot(wall.at, ahead) - 0.3 * wall.width_m * np.sin(np.radians(14)) for wall in walls]
    limit = min(limits, default=np.inf)
    return tuple(body for body, at, reach in placed if np.dot(at, ahead) + 0.6 * reach < limit)


def _draw_prop(rng: Rng, kind: str, long_m: float) -> Body:
    """Draw a prop to stand beside a subject of that length in metres."""
    name, shape, look = kind, kind, WOOD
    match kind:
        case "post":
            look = WOOD if rng.random() < 0.5 else Material(colour=PAINTS["grey"], roughness=0.5)
            size = float(rng.uniform(0.9, 1.6))
        case "crate":
            size = float(rng.uniform(0.4, 1.0))
        case "rock":
            size = float(rng.uniform(0.15, 0.5)) * min(max(long_m, 0.6), 4.0)
            look = replace(STONE, colour=scale_colour(STONE.colour, float(rng.uniform(0.8, 1.25))))
        case "arch":
            size, look = float(rng.uniform(2.4, 3.4)), STONE
        case "car":
            paint = choose(rng, list(PAINTS))
            name, look = f"parked {paint} car", Material(colour=PAINTS[paint], second=PAINTS["white"], roughness=0.25)
            size = float(rng.uniform(3.9, 4.7))
        case "boat":
            name, look = "moored boat", Material(colour=PAINTS["white"], second=PAINTS["blue"], roughness=0.3)
            size = float(rng.uniform(3.0, 6.0))
        case "buoy":
            shape, look = "sphere", Material(colour=PAINTS["orange"], roughness=0.4)
            size = float(rng.uniform(0.25, 0.45)) * min(max(long_m, 0.8), 2.0)
        case _:
            shape, paint = choose(rng, ("cylinder", "cube", "cone", "sphere", "torus")), choose(rng, list(PAINTS))
            size, roughness = float(rng.uniform(0.6, 1.5)) * min(long_m, 1.0), draw_between(rng, 0.2, 0.7, 2)
            look = Material(colour=PAINTS[paint], second=scale_colour(PAINTS[paint], 0.5), roughness=roughness)
            name = f"{paint} {shape}"
    return Body(name=name, shape=shape, size_m=round(size, 2), look=look)  # type: ignore[arg-type]


def draw_occluder(rng: Rng, surroundings: str, view: CameraView) -> Body:
    """Draw a post between the camera and the middle of the way."""
    away = -float(rng.uniform(0.3, 0.6)) * view.distance_m
    lift = view.distance_m * np.sin(np.radians(view.elevation_deg)) * (-away / view.distance_m)
    size = round(max(0.3, lift + 0.35 * view.width_m(away)), 2)
    body = Body(name="post", shape="post", size_m=size, look=WOOD if surroundings in ("nature", "water") else STONE)
    return _stand_at(body, view.at(float(rng.uniform(-0.25, 0.25)) * view.width_m(away), away), 0.0, surroundings)


def _stand_at(body: Body, at: tuple[float, float], heading_deg: float, surroundings: str) -> Body:
    """Put a body down; on water it sinks in."""
    sunk = SUNK_SHARE.get(body.name, 0.0) * body_extent(body)[2] if surroundings == "water" else 0.0
    return replace(body, motion=Still(at=(*at, round(-sunk, 4)), heading_deg=round(heading_deg, 2)))


def draw_backdrop(rng: Rng, surroundings: str, view: CameraView, sky: Sky) -> tuple[tuple[Body, ...], Walls]:
    """Draw bodies and walls at the horizon; none if a panorama shows one, indoors, or at night."""
    if sky.kind == "hdri" or surroundings not in ("street", "nature", "water") or rng.random() < 0.25:
        return (), ()
    if surroundings == "street":
        return (), _houses(rng, view, sky)
    hills = _hills(rng, view, sky) if rng.random() < 0.6 else ()
    woods = (_wood(rng, view, sky),) if not hills or rng.random() < 0.6 else ()
    return hills, woods


def _add_haze(colour: Colour, sky: Sky, away_m: float) -> Colour:
    """Fade a colour into the sky's, as that much air does."""
    share = 1 - np.exp(-away_m / HAZE_M)
    pairs = zip(colour, sky.colour, strict=True)
    red, green, blue = (round(float(channel + share * (haze * 0.9 - channel)), 4) for channel, haze in pairs)
    return red, green, blue


def _hills(rng: Rng, view: CameraView, sky: Sky) -> tuple[Body, ...]:
    colour, hills = choose(rng, HILLS), []
    for _ in range(int(rng.integers(3, 7))):
        away = float(rng.uniform(220, 600))
        size = round(float(rng.uniform(0.25, 0.6)) * min(away, 330.0), 1)
        first, second = _add_haze(colour, sky, away), _add_haze(parts.scale_colour(colour, 0.8), sky, away)
        look = Material(kind="noise", colour=first, second=second, roughness=1.0, scale_m=round(size / 8, 2))
        body = Body(name="hill", shape="rock", size_m=size, look=look)
        x, y = view.at(float(rng.uniform(-0.7, 0.7)) * view.width_m(away), away)
        sunk = body_extent(body)[2] * float(rng.uniform(0.55, 0.8))
        still = Still(at=(x, y, round(-sunk, 2)), heading_deg=draw_between(rng, 0.0, 360.0, 1))
        hills.append(replace(body, motion=still))
    return tuple(hills)


def _wood(rng: Rng, view: CameraView, sky: Sky) -> Wall:
    """Draw the edge of a wood, or the opposite shore of a lake."""
    away = float(rng.uniform(70, 200))
    colour = choose(rng, WOODS)
    dark = parts.scale_colour(colour, 0.55)
    look = Material(
        kind="noise", colour=_add_haze(colour, sky, away), second=_add_haze(dark, sky, away), roughness=1.0,
        scale_m=draw_between(rng, 1.2, 2.5, 2),
    )  # fmt: skip
    return Wall(
        at=view.at(0.0, away), width_m=round(min(3.5 * view.width_m(away), 500.0), 1), look=look,
        height_m=round(float(rng.uniform(0.03, 0.07)) * away, 2),
        heading_deg=round((view.away_deg + 180 + float(rng.uniform(-8, 8))) % 360, 2),
    )  # fmt: skip


def _houses(rng: Rng, view: CameraView, sky: Sky) -> Walls:
    """Draw a row of house fronts of several heights."""
    away = float(rng.uniform(22, 60)) + view.distance_m
    walls: list[Wall] = []
    right = -0.75 * view.width_m(away)
    while right < 0.75 * view.width_m(away) and len(walls) < 14:
        wide = float(rng.uniform(0.12, 0.3)) * away
        colour = _add_haze(choose(rng, HOUSES), sky, away)
        kind = ("bricks", "noise", "noise", "tiles")[int(rng.integers(4))]
        look = Material(
            kind=kind, colour=colour, second=parts.scale_colour(colour, 0.75),  # type: ignore[arg-type]
            roughness=0.9, scale_m={"bricks": 0.5, "noise": 1.5, "tiles": 1.8}[kind],
        )  # fmt: skip
        position = view.at(right + wide / 2, away + float(rng.uniform(0, 0.1)) * away)
        high = round(float(rng.uniform(0.12, 0.32)) * away, 2)
        heading = round((view.away_deg + 180) % 360, 2)
        walls.append(Wall(at=position, width_m=round(wide, 2), height_m=high, heading_deg=heading, look=look))
        right += wide
    return tuple(walls)
