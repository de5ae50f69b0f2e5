"""Plain solids, street furniture, and users' models."""

import numpy as np

from ..poses import Matrices, shift, turn_y
from ..scene import Body, Look
from .part import Gait, Part

SOLIDS = {
    "sphere": ("sphere", (1.0, 1.0, 1.0)),
    "ball": ("sphere", (1.0, 1.0, 1.0)),
    "cube": ("box", (1.0, 1.0, 1.0)),
    "cylinder": ("cylinder", (0.7, 0.7, 1.0)),
    "cone": ("cone", (0.8, 0.8, 1.0)),
    "torus": ("torus", (1.0, 1.0, 0.32)),
    "monkey": ("monkey", (0.87, 1.0, 0.99)),
    "rock": ("rock", (1.0, 0.82, 0.68)),
}
"""Shape to mesh and its proportions; the largest is 1."""


def solid(body: Body, gait: Gait) -> tuple[Part, ...]:
    """One mesh; what is round rolls as it goes."""
    mesh, shares = SOLIDS[body.shape]
    size = (shares[0] * body.size_m, shares[1] * body.size_m, shares[2] * body.size_m)
    middle = shift(0.0, 0.0, size[2] / 2)
    bevel = 0.04 * body.size_m if mesh in ("box", "cylinder", "cone") else 0.0
    return (
        Part(mesh=mesh, size=size, look=body.look, bevel_m=bevel, matrices=middle @ rolling(gait, size[2] / 2, body)),  # type: ignore[arg-type]
    )


def rolling(gait: Gait, radius_m: float, body: Body) -> Matrices:
    """The turn of a ball that rolls without slipping; of anything else, none."""
    if body.shape in ("sphere", "ball") and gait.kind in ("drive", "bounce", "walk"):
        return turn_y(gait.travelled / radius_m)
    return np.eye(4)[None]


def post(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A round post with a cap."""
    height = body.size_m
    width = min(0.14, 0.12 * height)
    shaft = Part(
        mesh="cylinder", size=(width, width, height * 0.96), look=body.look, matrices=shift(0, 0, height * 0.48)
    )
    cap = Part(
        mesh="sphere", size=(width * 1.5, width * 1.5, width * 1.1), look=body.look,
        matrices=shift(0, 0, height - width * 0.55),
    )  # fmt: skip
    return shaft, cap


def crate(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A box with a frame of slats."""
    side = body.size_m
    slat = side * 0.11
    frame = Look(kind=body.look.kind, colour=body.look.second, second=body.look.colour,
                 roughness=body.look.roughness, scale_m=body.look.scale_m)  # fmt: skip
    parts = [Part(mesh="box", size=(side * 0.95,) * 3, look=body.look, matrices=shift(0, 0, side / 2))]
    low, high = -side / 2 + slat / 2, side / 2 - slat / 2
    for first in (low, high):
        for second in (low, high):
            for axis in range(3):
                size = tuple(side if this == axis else slat for this in range(3))
                at = np.insert(np.array([first, second]), axis, 0.0)
                parts.append(
                    Part(mesh="box", size=size, look=frame, bevel_m=slat * 0.15,  # type: ignore[arg-type]
                         matrices=shift(at[0], at[1], at[2] + side / 2))
                )  # fmt: skip
    return tuple(parts)


def arch(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A gateway across the way: two pillars and a beam; what comes along x passes through."""
    height, width = body.size_m, body.size_m * 1.1
    pillar = height * 0.16
    parts = [
        Part(mesh="box", size=(pillar, pillar, height * 0.84), look=body.look, bevel_m=pillar * 0.08,
             matrices=shift(0, side * (width - pillar) / 2, height * 0.42))
        for side in (-1, 1)
    ]  # fmt: skip
    beam = Part(
        mesh="box", size=(pillar * 1.2, width * 1.08, height * 0.16), look=body.look, bevel_m=pillar * 0.08,
        matrices=shift(0, 0, height * 0.92),
    )  # fmt: skip
    return (*parts, beam)


def asset(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A user's model as it comes; its box is taken for a cube until Blender has opened it."""
    return (Part(mesh="asset", size=(body.size_m,) * 3, look=body.look, asset=body.asset),)
