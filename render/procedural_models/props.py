"""Plain solids and street furniture."""

from dataclasses import replace
from itertools import product

import numpy as np

from ..scene.objects import Body, Vec3
from ..scene.transforms import rotate_y, translate
from .parts import Gait, Mesh, Part, block

SOLIDS: dict[str, tuple[Mesh, Vec3]] = {
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
    """One mesh; balls roll without slipping."""
    mesh, size = SOLIDS[body.shape]
    rolls = body.shape in ("sphere", "ball") and gait.kind in ("drive", "drift", "bounce", "walk")
    rotation = rotate_y(gait.distance / 0.5) if rolls else np.eye(4)[None]
    bevel = 0.04 if mesh in ("box", "cylinder") else 0.015 if mesh == "cone" else 0.0
    return (block(mesh, size, body.look, translate(0.0, 0.0, size[2] / 2) @ rotation, bevel),)


def post(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A round post with a cap."""
    wide = 0.055
    cap = block("sphere", (wide * 1.25, wide * 1.25, wide * 0.9), body.look, (0, 0, 1 - wide * 0.45))
    return block("cylinder", (wide, wide, 0.96), body.look, (0, 0, 0.48)), cap


def crate(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A box in a frame of slats."""
    slat, look = 0.11, body.look
    frame = replace(look, colour=look.second, second=look.colour, emission=0.0)
    parts = [block("box", (0.95, 0.95, 0.95), look, (0, 0, 0.5))]
    ends = (slat / 2 - 0.5, 0.5 - slat / 2)
    for first, second, axis in product(ends, ends, range(3)):
        size = [1.0 if side == axis else slat for side in range(3)]
        x, y, z = np.insert(np.array([first, second]), axis, 0.0)
        parts.append(block("box", size, frame, translate(x, y, z + 0.5), slat * 0.15))
    return tuple(parts)


def arch(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A gateway: two pillars and a beam; bodies that come along x pass through."""
    pillars = [block("box", (0.16, 0.16, 0.84), body.look, (0, side * 0.47, 0.42), 0.012) for side in (-1, 1)]
    return (*pillars, block("box", (0.19, 1.19, 0.16), body.look, (0, 0, 0.92), 0.012))
