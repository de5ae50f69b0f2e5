"""Parts of procedural models: simple meshes, each with its material and a matrix per frame, and how to build them.

Models are built at size 1 and scaled as a whole.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Material, Vec3
from ..scene.transforms import Matrices, box_corners, transform_points, translate

Mesh = Literal["sphere", "box", "capsule", "cylinder", "cone", "torus", "monkey", "rock", "hull", "prism", "asset"]
Point = tuple[float | int, float | int, float | int]
Outline = Sequence[tuple[float | int, float | int]]
RUBBER = Material(colour=(0.06, 0.06, 0.065), roughness=0.85)
TRIM = Material(colour=(0.10, 0.10, 0.11), roughness=0.5)
LAMP = Material(colour=(0.95, 0.95, 0.92), roughness=0.1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One mesh of a model; the fields are those of the plan."""

    mesh: Mesh
    size: Vec3
    look: Material
    matrices: Matrices = field(default_factory=lambda: np.eye(4)[None])
    """From the mesh to the model: +x is its front, +y its left, z = 0 its lowest point at rest."""
    bevel_m: float = 0.0
    outline: tuple[tuple[float, float], ...] | None = None
    taper: float = 0.0
    asset: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Gait:
    """Motion of a body in every frame, from which its model poses limbs, wheels and wings; lengths in body sizes."""

    distance: Float64[np.ndarray, "T"]
    """Distance travelled since the first frame."""
    time_s: Float64[np.ndarray, "T"]
    speed: float = 0.0
    """Sizes of the body a second."""
    turn_rad_s: float = 0.0
    phase: float = 0.0
    kind: str = "still"
    """Kind of the motion, as in a scene."""

    @classmethod
    def at_rest(cls, frames: int = 1) -> "Gait":
        """Gait of a body that does not move."""
        return cls(distance=np.zeros(frames), time_s=np.zeros(frames))


def block(mesh: Mesh, size: Sequence[float], look: Material, at: Matrices | Point, bevel: float = 0.0) -> Part:
    """A mesh of that size, at a point or under matrices."""
    length, width, height = (float(side) for side in size)
    matrices = translate(*at) if isinstance(at, tuple) else at
    return Part(mesh=mesh, size=(length, width, height), look=look, matrices=matrices, bevel_m=bevel)


def profile(points: Outline, width: float, look: Material, at: Matrices | Point, taper: float = 0.0) -> Part:
    """A side view (x, z), counter-clockwise seen from -y, given a width; its edges are a little rounded."""
    outline = np.asarray(points, np.float64)
    low, high = outline.min(axis=0), outline.max(axis=0)
    middle, extent = (low + high) / 2, high - low
    matrices = translate(*at) if isinstance(at, tuple) else at
    return Part(
        mesh="prism",
        size=(float(extent[0]), width, float(extent[1])),
        look=look,
        matrices=matrices @ translate(float(middle[0]), 0.0, float(middle[1])),
        outline=tuple((float(x), float(z)) for x, z in (outline - middle) / extent),
        taper=taper,
        bevel_m=0.04 * float(min(extent[0], extent[1], width)),
    )


def limb(joint: Matrices, length: float, thickness: float, look: Material) -> tuple[Part, Matrices]:
    """A capsule that hangs from a joint, and the joint at its lower end."""
    size = (thickness, thickness, length + thickness * 0.8)
    return block("capsule", size, look, joint @ translate(0.0, 0.0, -length / 2)), joint @ translate(0.0, 0.0, -length)


def scale_colour(colour: Vec3, factor: float) -> Vec3:
    """A colour made darker or lighter by a factor."""
    red, green, blue = (min(1.0, channel * factor) for channel in colour)
    return red, green, blue


def stable_choice(body: Body, count: int, salt: str = "") -> int:
    """Choose among count by the body's own values alone, whatever happens around it: its hair, its bonnet."""
    key = f"{salt}|{body.name}|{body.size_m:.6f}|{body.look.colour}"
    return zlib.crc32(key.encode()) % count


def stand_on_ground(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Move parts up or down so that in each frame the lowest point of all is at z = 0."""
    floors = np.min(np.stack(np.broadcast_arrays(*(_lowest_z(part) for part in parts))), axis=0)
    lift = translate(0.0, 0.0, -floors)
    return tuple(replace(part, matrices=lift @ part.matrices) for part in parts)


def parts_bounds(parts: Sequence[Part]) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of the parts' boxes in the first frame."""
    points = np.concatenate([transform_points(part.matrices[:1], part_corners(part))[0] for part in parts])
    return np.stack([points.min(axis=0), points.max(axis=0)])


def part_corners(part: Part) -> Float64[np.ndarray, "8 4"]:
    """Corners of the mesh's own box; an asset stands on z = 0."""
    corners = box_corners(part.size)
    if part.mesh == "asset":
        corners[:, 2] += part.size[2] / 2
    return corners


def _lowest_z(part: Part) -> Float64[np.ndarray, "n"]:
    """Lowest z of a part in each frame: of its ellipsoid or capsule if it is round, else of its box."""
    upright = part.matrices[:, 2, :3] * (np.asarray(part.size) / 2)
    if part.mesh in ("sphere", "rock"):
        return np.asarray(part.matrices[:, 2, 3] - np.linalg.norm(upright, axis=1))
    if part.mesh == "capsule":
        radius = min(part.size) / 2
        reach = np.abs(part.matrices[:, 2, 2]) * (part.size[2] / 2 - radius) + radius
        return np.asarray(part.matrices[:, 2, 3] - reach)
    return np.asarray(transform_points(part.matrices, part_corners(part))[..., 2].min(axis=1))
