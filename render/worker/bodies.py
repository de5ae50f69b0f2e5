"""The subject and the props as Blender objects, and where they stand in each frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import asset_import, materials, shapes


@dataclass(frozen=True, kw_only=True)
class Body:
    """One thing of the scene, made of one or more objects that move rigidly."""

    role: str
    objects: tuple[Any, ...]
    places: tuple[tuple[Any, ...], ...]
    """Of each object, its matrix in every frame, or one for all."""

    def set_frame(self, frame: int) -> None:
        """Put every object where it is in that frame."""
        for piece, places in zip(self.objects, self.places, strict=True):
            piece.matrix_world = places[min(frame, len(places) - 1)]


def build(given: dict[str, Any]) -> Body:
    """Make the objects of a body of the plan."""
    objects, places = [], []
    for part in given["parts"]:
        matrices = tuple(matrix(values) for values in part["matrices"])
        for mesh in _meshes(part):
            piece = bpy.data.objects.new(given["name"], mesh)
            piece["role"] = given["role"]
            piece.rotation_mode = "QUATERNION"
            bpy.context.scene.collection.objects.link(piece)
            objects.append(piece)
            places.append(matrices)
    return Body(role=given["role"], objects=tuple(objects), places=tuple(places))


def _meshes(part: dict[str, Any]) -> list[Any]:
    if part["mesh"] == "asset":
        return asset_import.load(Path(part["asset"]), max(part["size"]), part["look"])
    mesh = shapes.build(part)
    mesh.materials.append(materials.surface(part["look"]))
    return [mesh]


def matrix(values: list[float]) -> Any:
    """Sixteen numbers, row by row, as Blender's matrix."""
    return Matrix([values[row : row + 4] for row in (0, 4, 8, 12)])


def corners(piece: Any, most: int = 200_000) -> "np.ndarray[Any, Any]":
    """Vertices [N, 3] of an object before its matrix; of a large mesh its bounding box alone."""
    count = len(piece.data.vertices)
    if count > most:
        return np.array([tuple(corner) for corner in piece.bound_box])
    places = np.empty(count * 3, np.float32)
    piece.data.vertices.foreach_get("co", places)
    return places.reshape(-1, 3).astype(np.float64)
