"""What a figure is made of: simple meshes, each with its look and a matrix per frame.

Figures are drawn at size 1 and grow as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Material, Vec3
from ..scene.transforms import Matrices, box_corners, transform_points, translate

Mesh = Literal[
    "sphere", "box", "capsule", "cylinder", "cone", "torus", "monkey", "rock", "hull", "prism", "asset"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One mesh of a figure; the fields are those of the plan."""

    mesh: Mesh
    size: Vec3
    look: Material
    matrices: Matrices = field(default_factory=lambda: np.eye(4)[None])
    """From the mesh to the figure: +x is its front, +y its left, z = 0 its lowest point at rest."""
    bevel_m: float = 0.0
    outline: tuple[tuple[float, float], ...] | None = None
    taper: float = 0.0
    asset: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Gait:
    """What a figure's limbs, wheels and wings go by. Lengths are counted in sizes of the body."""

    distance: Float64[np.ndarray, "T"]
    """Made since the first frame."""
    time_s: Float64[np.ndarray, "T"]
    speed: float = 0.0
    """A second."""
    turn_rad_s: float = 0.0
    phase: float = 0.0
    kind: str = "still"
    """Of the motion, in a scene's words."""

    @classmethod
    def at_rest(cls, frames: int = 1) -> "Gait":
        """Nothing stirs."""
        return cls(distance=np.zeros(frames), time_s=np.zeros(frames))


def scale_parts(parts: Sequence[Part], size_m: float) -> tuple[Part, ...]:
    """Parts drawn at size 1, at their size in metres; turns stay."""
    found = []
    for part in parts:
        matrices = part.matrices.copy()
        matrices[:, :3, 3] *= size_m
        length, width, height = (side * size_m for side in part.size)
        found.append(replace(part, matrices=matrices, size=(length, width, height), bevel_m=part.bevel_m * size_m))
    return tuple(found)


def stand_on_ground(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Parts moved up or down so that in each frame the lowest point of all is at z = 0."""
    floors = np.min(np.stack(np.broadcast_arrays(*(_floor(part) for part in parts))), axis=0)
    lift = translate(0.0, 0.0, -floors)
    return tuple(replace(part, matrices=lift @ part.matrices) for part in parts)


def parts_bounds(parts: Sequence[Part]) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of the parts' boxes in the first frame."""
    points = np.concatenate([transform_points(part.matrices[:1], part_corners(part))[0] for part in parts])
    return np.stack([points.min(axis=0), points.max(axis=0)])


def part_corners(part: Part) -> Float64[np.ndarray, "8 4"]:
    """Corners of the mesh's own box; an asset stands on z = 0."""
    box = box_corners(part.size)
    if part.mesh == "asset":
        box[:, 2] += part.size[2] / 2
    return box


def _floor(part: Part) -> Float64[np.ndarray, "n"]:
    """Lowest z of a part in each frame: of its ellipsoid or capsule if it is round, else of its box."""
    upright = part.matrices[:, 2, :3] * (np.asarray(part.size) / 2)
    if part.mesh in ("sphere", "rock"):
        return np.asarray(part.matrices[:, 2, 3] - np.linalg.norm(upright, axis=1))
    if part.mesh == "capsule":
        radius = min(part.size) / 2
        reach = np.abs(part.matrices[:, 2, 2]) * (part.size[2] / 2 - radius) + radius
        return np.asarray(part.matrices[:, 2, 3] - reach)
    return np.asarray(transform_points(part.matrices, part_corners(part))[..., 2].min(axis=1))
