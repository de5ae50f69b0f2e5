"""What stands beside the action: walls behind it, things around it, now and then a post before it."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from ..procedural_models.registry import body_extent
from ..scene.environment import Wall
from ..scene.objects import Body, Material, Still
from .palettes import PAINTS, shaded
from .placement import View

Rng = np.random.Generator
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
Piece = Callable[[Rng, float], Body]
"""Draws a thing beside a subject of that length in metres."""


def _post(rng: Rng, long_m: float) -> Body:
    look = WOOD if rng.random() < 0.5 else Material(colour=PAINTS["grey"], roughness=0.5)
    return Body(name="post", shape="post", size_m=round(float(rng.uniform(0.9, 1.6)), 2), look=look)


def _crate(rng: Rng, long_m: float) -> Body:
    return Body(name="crate", shape="crate", size_m=round(float(rng.uniform(0.4, 1.0)), 2), look=WOOD)


def _rock(rng: Rng, long_m: float) -> Body:
    size = float(rng.uniform(0.15, 0.5)) * min(max(long_m, 0.6), 4.0)
    look = Material(
        kind="noise",
        colour=shaded(STONE.colour, float(rng.uniform(0.8, 1.25))),
        second=STONE.second,
        roughness=0.95,
        scale_m=0.12,
    )
    return Body(name="rock", shape="rock", size_m=round(size, 2), look=look)  # fmt: skip


def _parked(rng: Rng, long_m: float) -> Body:
    name = list(PAINTS)[int(rng.integers(len(PAINTS)))]
    look = Material(colour=PAINTS[name], second=PAINTS["white"], roughness=0.25)
    return Body(name=f"parked {name} car", shape="car", size_m=round(float(rng.uniform(3.9, 4.7)), 2), look=look)


def _arch(rng: Rng, long_m: float) -> Body:
    return Body(name="arch", shape="arch", size_m=round(float(rng.uniform(2.4, 3.4)), 2), look=STONE)


def _solid(rng: Rng, long_m: float) -> Body:
    shape = ("cylinder", "cube", "cone", "sphere", "torus")[int(rng.integers(5))]
    name = list(PAINTS)[int(rng.integers(len(PAINTS)))]
    size = round(float(rng.uniform(0.6, 1.5)) * min(long_m, 1.0), 2)
    look = Material(
        colour=PAINTS[name], second=shaded(PAINTS[name], 0.5), roughness=round(float(rng.uniform(0.2, 0.7)), 2)
    )
    return Body(name=f"{name} {shape}", shape=shape, size_m=size, look=look)  # type: ignore[arg-type]


def _moored(rng: Rng, long_m: float) -> Body:
    look = Material(colour=PAINTS["white"], second=PAINTS["blue"], roughness=0.3)
    return Body(name="moored boat", shape="boat", size_m=round(float(rng.uniform(3.0, 6.0)), 2), look=look)


def _buoy(rng: Rng, long_m: float) -> Body:
    size = round(float(rng.uniform(0.25, 0.45)) * min(max(long_m, 0.8), 2.0), 2)
    return Body(name="buoy", shape="sphere", size_m=size, look=Material(colour=PAINTS["orange"], roughness=0.4))


AROUND: dict[str, tuple[Piece, ...]] = {
    "street": (_post, _post, _crate, _parked, _arch),
    "nature": (_rock, _rock, _rock, _post),
    "water": (_rock, _buoy, _moored),
    "hall": (_solid, _solid, _crate),
    "dark": (_post, _crate, _rock, _solid),
}
SUNK = {"moored boat": 0.22, "buoy": 0.4, "rock": 0.35}
WALLED = {"street": 0.5, "nature": 0.06, "water": 0.0, "hall": 0.7, "dark": 0.35}
"""How often there is a wall."""


def wall(rng: Rng, around: str, view: View, long_m: float) -> tuple[Wall, ...]:
    """A wall behind the action, roughly facing the camera, or none."""
    if rng.random() >= WALLED[around]:
        return ()
    looks = HALLS if around == "hall" else WALLS
    away = float(rng.uniform(1.0, 2.5)) * max(long_m, 0.8) + 0.25 * view.distance_m
    wide = view.width_m(away) * float(rng.uniform(1.3, 2.5))
    high = max(2.4, view.width_m(away) * float(rng.uniform(0.25, 0.7)))
    return (
        Wall(
            at=view.at(float(rng.uniform(-0.15, 0.15)) * wide, away), width_m=round(wide, 2), height_m=round(high, 2),
            heading_deg=round((view.away_deg + 180 + float(rng.uniform(-14, 14))) % 360, 2),
            look=looks[int(rng.integers(len(looks)))],
        ),
    )  # fmt: skip


def things(rng: Rng, around: str, view: View, way: Float64[np.ndarray, "T 3"], subject: Body) -> tuple[Body, ...]:
    """Up to five things, clear of the way and of each other, behind it and at its sides."""
    long, wide, _ = body_extent(subject)
    placed: list[Body] = []
    pieces = AROUND[around]
    for _ in range(int(rng.integers(0, 6))):
        piece = pieces[int(rng.integers(len(pieces)))](rng, long)
        away = float(rng.uniform(-0.25, 1.2)) * view.distance_m
        if away > 0.9 * view.distance_m:
            away *= 1.5
        right = float(rng.uniform(-0.6, 0.6)) * view.width_m(away)
        body = standing_at(piece, view.at(right, away), float(rng.uniform(0, 360)), around)
        high = body_extent(body)[2]
        too_big = high > 0.35 * view.width_m(away)
        if not too_big and clear(body, way, max(long, wide) * 0.6) and all(apart(body, other) for other in placed):
            placed.append(body)
    return tuple(placed)


def occluder(rng: Rng, around: str, view: View) -> Body:
    """A post between the camera and the middle of the way."""
    away = -float(rng.uniform(0.3, 0.6)) * view.distance_m
    lift = view.distance_m * np.sin(np.radians(view.lift_deg)) * (-away / view.distance_m)
    size = round(max(0.3, lift + 0.35 * view.width_m(away)), 2)
    body = Body(name="post", shape="post", size_m=size, look=WOOD if around in ("nature", "water") else STONE)
    return standing_at(body, view.at(float(rng.uniform(-0.25, 0.25)) * view.width_m(away), away), 0.0, around)


def standing_at(body: Body, at: tuple[float, float], heading_deg: float, around: str) -> Body:
    """A body put down; on water it sinks in."""
    sunk = SUNK.get(body.name, 0.0) * body_extent(body)[2] if around == "water" else 0.0
    still = Still(at=(at[0], at[1], round(-sunk, 4)), heading_deg=round(heading_deg, 2))
    return Body(name=body.name, shape=body.shape, size_m=body.size_m, look=body.look, motion=still)


def clear(body: Body, way: Float64[np.ndarray, "T 3"], room_m: float) -> bool:
    """Does the body leave room for what goes along the way?"""
    assert isinstance(body.motion, Still)
    long, wide, _ = body_extent(body)
    gaps = np.hypot(way[:, 0] - body.motion.at[0], way[:, 1] - body.motion.at[1])
    return bool(gaps.min() > room_m + 0.6 * max(long, wide))


def apart(first: Body, second: Body) -> bool:
    """Do two still bodies not touch?"""
    assert isinstance(first.motion, Still)
    assert isinstance(second.motion, Still)
    gap = np.hypot(first.motion.at[0] - second.motion.at[0], first.motion.at[1] - second.motion.at[1])
    return bool(gap > 0.6 * (max(body_extent(first)[:2]) + max(body_extent(second)[:2])))


def before_walls(walls: tuple[Wall, ...], bodies: tuple[Body, ...], view: View) -> tuple[Body, ...]:
    """Those bodies that stand before the walls, as the camera sees it."""
    away = np.radians(view.away_deg)
    ahead = np.array([np.cos(away), np.sin(away)])
    limits = [np.dot(wall.at, ahead) - 0.3 * wall.width_m * np.sin(np.radians(14)) for wall in walls]
    limit = min(limits, default=np.inf)
    kept = []
    for body in bodies:
        assert isinstance(body.motion, Still)
        if np.dot(body.motion.at[:2], ahead) + 0.6 * max(body_extent(body)[:2]) < limit:
            kept.append(body)
    return tuple(kept)
