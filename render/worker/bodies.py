"""Subject and props as Blender objects, their pose in each frame, and the boxes they cover in the picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import materials, meshes

Box = list[int]
"""x0, y0, x1, y1 in pixels from the top left; x1 and y1 are the first outside."""
MARGIN_PX = 4
"""Room for the pixel filter, whose reach is under two pixels."""
MIN_DEPTH_M = 0.01


@dataclass(frozen=True, kw_only=True)
class Body:
    """One thing of the scene, made of one or more objects that move rigidly."""

    role: str
    objects: tuple[Any, ...]
    poses: tuple[tuple[Any, ...], ...]
    """Matrices of each object, one a frame, or one for all frames."""

    def set_frame(self, frame: int) -> None:
        """Put every object into its pose of that frame."""
        for piece, poses in zip(self.objects, self.poses, strict=True):
            piece.matrix_world = poses[min(frame, len(poses) - 1)]


def build(entry: dict[str, Any]) -> Body:
    """Make the objects of a body of the plan."""
    objects, poses = [], []
    for part in entry["parts"]:
        matrices = tuple(matrix(values) for values in part["matrices"])
        for mesh in _meshes(part):
            piece = bpy.data.objects.new(entry["name"], mesh)
            piece["role"] = entry["role"]
            piece.rotation_mode = "QUATERNION"
            bpy.context.scene.collection.objects.link(piece)
            objects.append(piece)
            poses.append(matrices)
    return Body(role=entry["role"], objects=tuple(objects), poses=tuple(poses))


def _meshes(part: dict[str, Any]) -> list[Any]:
    if part["mesh"] == "asset":
        return meshes.load_asset(Path(part["asset"]), max(part["size"]), part["look"])
    mesh = meshes.build_shape(part)
    mesh.materials.append(materials.surface(part["look"]))
    return [mesh]


def matrix(values: list[float]) -> Any:
    """Sixteen numbers, row by row, as Blender's matrix."""
    return Matrix([values[row : row + 4] for row in (0, 4, 8, 12)])


def subject_boxes(plan: dict[str, Any], subject: list[Body]) -> list[Box]:
    """Box of the subject's vertices in every frame; all zero when it is out of view."""
    pieces = [
        (_vertices(piece), [np.array(pose) for pose in poses])
        for body in subject
        for piece, poses in zip(body.objects, body.poses, strict=True)
    ]
    cameras = [np.linalg.inv(np.reshape(values, (4, 4))) for values in plan["camera"]["matrices"]]
    boxes = []
    for frame in range(plan["frames"]):
        view = cameras[min(frame, len(cameras) - 1)]
        points = [_to_camera(vertices, view @ poses[min(frame, len(poses) - 1)]) for vertices, poses in pieces]
        boxes.append(_box(np.concatenate(points), plan) if points else [0, 0, 0, 0])
    return boxes


def box_around(points: "np.ndarray[Any, Any]", frame: int, plan: dict[str, Any]) -> Box:
    """Box of world positions [N, 3] in one frame."""
    cameras = plan["camera"]["matrices"]
    view = np.linalg.inv(np.reshape(cameras[min(frame, len(cameras) - 1)], (4, 4)))
    return _box(_to_camera(points, view), plan)


def scale_box(box: Box, full: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box in a picture of another size (height, width), rounded outwards."""
    down, across = size[0] / full[0], size[1] / full[1]
    return (
        math.floor(box[0] * across),
        math.floor(box[1] * down),
        min(math.ceil(box[2] * across), size[1]),
        min(math.ceil(box[3] * down), size[0]),
    )


def _vertices(piece: Any, max_count: int = 200_000) -> "np.ndarray[Any, Any]":
    """Vertices [N, 3] of an object before its matrix; for a large mesh the corners of its bounding box."""
    count = len(piece.data.vertices)
    if count > max_count:
        return np.array([tuple(corner) for corner in piece.bound_box])
    positions = np.empty(count * 3, np.float32)
    piece.data.vertices.foreach_get("co", positions)
    return positions.reshape(-1, 3).astype(np.float64)


def _to_camera(points: "np.ndarray[Any, Any]", to_camera: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Points [N, 3] in the camera's coordinates: right, up, depth."""
    transformed = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    return np.asarray(transformed * (1, 1, -1))


def _box(points: "np.ndarray[Any, Any]", plan: dict[str, Any]) -> Box:
    height, width = plan["size"]
    if (points[:, 2] < MIN_DEPTH_M).all():
        return [0, 0, 0, 0]
    if (points[:, 2] < MIN_DEPTH_M).any():  # it passes through the camera's plane: its outline has no end
        return [0, 0, width, height]
    zoom = plan["camera"]["focal_mm"] / plan["camera"].get("sensor_mm", 36) * width  # the sensor spans the width
    across = width / 2 + zoom * points[:, 0] / points[:, 2]
    down = height / 2 - zoom * points[:, 1] / points[:, 2]
    x0, x1 = (_clip_edge(edge, width) for edge in (across.min() - MARGIN_PX, across.max() + MARGIN_PX + 1))
    y0, y1 = (_clip_edge(edge, height) for edge in (down.min() - MARGIN_PX, down.max() + MARGIN_PX + 1))
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else [0, 0, 0, 0]


def _clip_edge(edge: float, size: int) -> int:
    return int(min(max(math.floor(edge), 0), size))
