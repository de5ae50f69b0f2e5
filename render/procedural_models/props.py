"""Plain solids, street furniture, and users' models."""

from pathlib import Path

import numpy as np

from ..scene.objects import Body, Material, Vec3
from ..scene.transforms import Matrices, rotate_y, translate
from .part import Gait, Mesh, Part
from .primitives import block
from .user_models import proportions

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
    """One mesh; what is round rolls as it goes."""
    mesh, size = SOLIDS[body.shape]
    bevel = 0.04 if mesh in ("box", "cylinder") else 0.015 if mesh == "cone" else 0.0
    return (block(mesh, size, body.look, translate(0.0, 0.0, size[2] / 2) @ _rolling(body, gait), bevel),)


def _rolling(body: Body, gait: Gait) -> Matrices:
    """The turn of a ball that rolls without slipping; of anything else, none."""
    if body.shape in ("sphere", "ball") and gait.kind in ("drive", "drift", "bounce", "walk"):
        return rotate_y(gait.distance / 0.5)
    return np.eye(4)[None]


def post(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A round post with a cap."""
    wide = 0.055
    cap = block("sphere", (wide * 1.25, wide * 1.25, wide * 0.9), body.look, (0, 0, 1 - wide * 0.45))
    return block("cylinder", (wide, wide, 0.96), body.look, (0, 0, 0.48)), cap


def crate(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A box with a frame of slats."""
    slat, look = 0.11, body.look
    frame = Material(
        kind=look.kind, colour=look.second, second=look.colour, roughness=look.roughness, scale_m=look.scale_m
    )
    parts = [block("box", (0.95, 0.95, 0.95), look, (0, 0, 0.5))]
    ends = (slat / 2 - 0.5, 0.5 - slat / 2)
    for first in ends:
        for second in ends:
            for axis in range(3):
                size = [1.0 if this == axis else slat for this in range(3)]
                x, y, z = np.insert(np.array([first, second]), axis, 0.0)
                parts.append(block("box", size, frame, translate(x, y, z + 0.5), slat * 0.15))
    return tuple(parts)


def arch(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A gateway across the way: two pillars and a beam; what comes along x passes through."""
    pillars = [block("box", (0.16, 0.16, 0.84), body.look, (0, side * 0.47, 0.42), 0.012) for side in (-1, 1)]
    return (*pillars, block("box", (0.19, 1.19, 0.16), body.look, (0, 0, 0.92), 0.012))


def asset(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A user's model as it comes, +x taken for its front."""
    assert body.asset is not None
    size = proportions(Path(body.asset).expanduser())
    return (Part(mesh="asset", size=size, look=body.look, asset=body.asset),)
