"""Translations and rotations as matrices: 4 by 4, row-major, acting on columns; one per frame, or one for all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

Matrices = Float64[np.ndarray, "n 4 4"]
Number = float | int | Float64[np.ndarray, "_"] | np.floating


def rotate_x(angle: Number) -> Matrices:
    """Rotation around x by angle (radians): y goes to z."""
    return _rotate(angle, 1, 2)


def rotate_y(angle: Number) -> Matrices:
    """Rotation around y by angle (radians): z goes to x, so a body that looks along +x dips its nose."""
    return _rotate(angle, 2, 0)


def rotate_z(angle: Number) -> Matrices:
    """Rotation around z by angle (radians): x goes to y."""
    return _rotate(angle, 0, 1)


def translate(x: Number, y: Number, z: Number) -> Matrices:
    """Translation; each coordinate one number, or one for each frame."""
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(value, np.float64)) for value in (x, y, z)))
    matrices = np.tile(np.eye(4), (len(columns[0]), 1, 1))
    matrices[:, :3, 3] = np.stack(columns, axis=-1)
    return matrices


def from_quaternions(wxyz: Float64[np.ndarray, "n 4"]) -> Matrices:
    """Rotations from unit quaternions, w first."""
    w, x, y, z = np.moveaxis(wxyz, 1, 0)
    rows = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrices = np.tile(np.eye(4), (len(wxyz), 1, 1))
    matrices[:, :3, :3] = np.moveaxis(rows, 2, 0)
    return matrices


def box_corners(size: Sequence[float]) -> Float64[np.ndarray, "8 4"]:
    """Corners of a box of that size around the origin, as homogeneous points."""
    signs = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, 8).T
    return np.hstack([signs * np.asarray(size, np.float64), np.ones((8, 1))])


def transform_points(matrices: Matrices, points: Float64[np.ndarray, "k 4"]) -> Float64[np.ndarray, "n k 3"]:
    """Points under every matrix."""
    return np.asarray(np.einsum("nij,kj->nki", matrices, points)[..., :3])


def _rotate(angle: Number, first: int, second: int) -> Matrices:
    angles = np.atleast_1d(np.asarray(angle, np.float64))
    matrices = np.tile(np.eye(4), (len(angles), 1, 1))
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -np.sin(angles)
    return matrices
