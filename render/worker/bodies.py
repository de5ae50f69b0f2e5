"""Subject and props as Blender objects, their pose in each frame, and the boxes they cover in the picture."""

import math
from typing import Any

import numpy as np
from mathutils import Matrix

from . import meshes

Array = np.ndarray[Any, Any]
Box = list[int]
"""x0, y0, x1, y1 in pixels from the top left; x1 and y1 are the first outside."""
MARGIN_PX = 4
"""Room for the pixel filter, whose reach is under two pixels."""
MIN_DEPTH_M = 0.01
MAX_VERTICES = 200_000


class Body:
    """One thing of the scene, made of one or more objects that move rigidly."""

    def __init__(self, entry: dict[str, Any]) -> None:
        """Make the objects of a body of the plan."""
        self.role = entry["role"]
        self.objects: list[Any] = []
        self.poses: list[list[Any]] = []
        """Matrices of each object, one a frame, or one for all frames."""
        for part in entry["parts"]:
            matrices = [Matrix(np.reshape(values, (4, 4))) for values in part["matrices"]]
            for mesh in meshes.load_asset(part) if part["mesh"] == "asset" else [meshes.build_shape(part)]:
                piece = meshes.add_object(entry["name"], mesh)
                piece["role"] = entry["role"]
                piece.rotation_mode = "QUATERNION"
                self.objects.append(piece)
                self.poses.append(matrices)

    def set_frame(self, frame: int) -> None:
        """Put every object into its pose of that frame."""
        for piece, poses in zip(self.objects, self.poses, strict=True):
            piece.matrix_world = poses[min(frame, len(poses) - 1)]


def subject_boxes(plan: dict[str, Any], subject: list[Body]) -> list[Box]:
    """Box of the subject's vertices in every frame; of a large mesh the corners of its bounding box stand for them."""
    pieces = []
    for body in subject:
        for piece, poses in zip(body.objects, body.poses, strict=True):
            is_large = len(piece.data.vertices) > MAX_VERTICES
            corners = np.array(piece.bound_box) if is_large else meshes.vertex_positions(piece.data)
            pieces.append((corners, [np.array(pose) for pose in poses]))
    return [
        box_around([(corners, poses[min(frame, len(poses) - 1)]) for corners, poses in pieces], frame, plan)
        for frame in range(plan["frames"])
    ]


def box_around(pieces: list[tuple[Array, Array]], frame: int, plan: dict[str, Any]) -> Box:
    """Box of points [N, 3] in one frame, each piece with its matrix to the world; all zero when it is out of view."""
    height, width = plan["size"]
    camera = plan["camera"]
    view = np.linalg.inv(np.reshape(camera["matrices"][min(frame, len(camera["matrices"]) - 1)], (4, 4)))
    to_camera = [(points, view @ pose) for points, pose in pieces]
    points = np.concatenate([np.empty((0, 3)), *(points @ pose[:3, :3].T + pose[:3, 3] for points, pose in to_camera)])
    depth = -points[:, 2]
    if (depth < MIN_DEPTH_M).all():
        return [0, 0, 0, 0]
    if (depth < MIN_DEPTH_M).any():  # it passes through the camera's plane: its outline has no end
        return [0, 0, width, height]
    zoom = camera["focal_mm"] / camera.get("sensor_mm", 36) * width  # the sensor spans the width
    pixels = np.stack([width / 2 + zoom * points[:, 0] / depth, height / 2 - zoom * points[:, 1] / depth], axis=-1)
    edges = np.floor([pixels.min(axis=0) - MARGIN_PX, pixels.max(axis=0) + MARGIN_PX + 1])
    x0, y0, x1, y1 = (int(edge) for edge in np.clip(edges, 0, (width, height)).ravel())
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else [0, 0, 0, 0]


def scale_box(box: Box, full: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box in a picture of another size (height, width), rounded outwards."""
    down, across = size[0] / full[0], size[1] / full[1]
    return (
        math.floor(box[0] * across),
        math.floor(box[1] * down),
        min(math.ceil(box[2] * across), size[1]),
        min(math.ceil(box[3] * down), size[0]),
    )
