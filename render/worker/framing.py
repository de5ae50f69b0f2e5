"""Where the subject is in the picture: a box of pixels per frame, from its vertices."""

import math
from typing import Any

import numpy as np

from .bodies import Body, corners

MARGIN_PX = 4
"""Room for the pixel filter, whose reach is under two pixels."""


def boxes(plan: dict[str, Any], subject: list[Body]) -> list[list[int]]:
    """Of every frame x0, y0, x1, y1 from the top left, x1 and y1 outside; all zero when the subject is out of view."""
    clouds = [
        (corners(piece), [np.array(place) for place in places])
        for body in subject
        for piece, places in zip(body.objects, body.places, strict=True)
    ]
    cameras = [np.linalg.inv(np.reshape(values, (4, 4))) for values in plan["camera"]["matrices"]]
    found = []
    for frame in range(plan["frames"]):
        view = cameras[min(frame, len(cameras) - 1)]
        seen = [_seen(points, view @ places[min(frame, len(places) - 1)]) for points, places in clouds]
        found.append(_box(np.concatenate(seen), plan) if seen else [0, 0, 0, 0])
    return found


def around(points: "np.ndarray[Any, Any]", frame: int, plan: dict[str, Any]) -> list[int]:
    """The same for places [N, 3] in the world, in one frame."""
    cameras = plan["camera"]["matrices"]
    view = np.linalg.inv(np.reshape(cameras[min(frame, len(cameras) - 1)], (4, 4)))
    return _box(_seen(points, view), plan)


def _seen(points: "np.ndarray[Any, Any]", to_camera: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Places [N, 3] before the camera: right, up, depth."""
    placed = points @ to_camera[:3, :3].T + to_camera[:3, 3]
    return np.asarray(placed * (1, 1, -1))


def _box(seen: "np.ndarray[Any, Any]", plan: dict[str, Any]) -> list[int]:
    height, width = plan["size"]
    near = 0.01
    if (seen[:, 2] < near).all():
        return [0, 0, 0, 0]
    if (seen[:, 2] < near).any():  # it passes through the camera's plane: its outline has no end
        return [0, 0, width, height]
    zoom = plan["camera"]["focal_mm"] / plan["camera"].get("sensor_mm", 36) * width  # the sensor spans the width
    across = width / 2 + zoom * seen[:, 0] / seen[:, 2]
    down = height / 2 - zoom * seen[:, 1] / seen[:, 2]
    x0, x1 = (_within(edge, width) for edge in (across.min() - MARGIN_PX, across.max() + MARGIN_PX + 1))
    y0, y1 = (_within(edge, height) for edge in (down.min() - MARGIN_PX, down.max() + MARGIN_PX + 1))
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else [0, 0, 0, 0]


def _within(edge: float, size: int) -> int:
    return int(min(max(math.floor(edge), 0), size))


def scaled(box: list[int], full: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in a picture of another size: rounded outwards."""
    down, across = size[0] / full[0], size[1] / full[1]
    return (
        math.floor(box[0] * across),
        math.floor(box[1] * down),
        min(math.ceil(box[2] * across), size[1]),
        min(math.ceil(box[3] * down), size[0]),
    )
