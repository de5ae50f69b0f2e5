"""Camera matrices, frame by frame: still, panning, held by hand, or following the subject."""

import numpy as np
from jaxtyping import Float64

from ..effects.base import rotate_around_z
from ..scene.scene import Scene
from ..scene.transforms import Matrices

SENSOR_MM = 36.0
HAND_HZ = (0.35, 0.6, 0.95, 1.5, 2.3, 3.4)
"""A hand sways slowly and trembles fast; the amplitude falls with the frequency."""


def camera_matrices(scene: Scene, subject: Float64[np.ndarray, "T 3"]) -> Matrices:
    """Camera to world for every frame, or one matrix if the camera stays; it looks along its -z, y is up.

    A pan passes `look_at` in the middle of the clip, a hand's sway comes from the scene's seed, and a following camera
    keeps its distance to the subject, whose position in each frame is given.
    """
    camera = scene.camera
    at, aim = np.array([camera.at]), np.array([camera.look_at])
    time_s = np.arange(scene.frames) / scene.fps
    if camera.kind == "pan":
        aim = at + rotate_around_z((aim - at)[0], np.radians(camera.amount) * (time_s - time_s[-1] / 2))
    elif camera.kind == "handheld":
        rng = np.random.default_rng([scene.seed, 0x5A4D])
        sway = np.zeros((scene.frames, 6))  # of position and aim: smooth noise, about 1 in size
        for hertz in HAND_HZ:
            phase, gain = rng.uniform(0, 2 * np.pi, 6), rng.uniform(0.5, 1.0, 6) / (1 + hertz)
            sway += gain * np.sin(2 * np.pi * hertz * time_s[:, None] + phase)
        reach = np.linalg.norm(aim - at)
        at = at + camera.amount * np.array([0.012, 0.012, 0.008]) * sway[:, :3]
        aim = aim + camera.amount * np.array([0.009, 0.009, 0.007]) * reach * sway[:, 3:]
    elif camera.kind == "follow":
        path, time = subject - subject[0], np.linspace(-1, 1, scene.frames)
        fit = np.polynomial.polynomial.polyfit(time, path, deg=min(4, scene.frames - 1))
        trend = np.polynomial.polynomial.polyval(time, fit).T  # a heavy camera follows it, not each step
        travel = camera.amount * (trend - path[0])
        travel[:, 2] = 0.0
        at, aim = at + travel, aim + travel
    return look_at_matrices(at, aim)


def look_at_matrices(at: Float64[np.ndarray, "#n 3"], aim: Float64[np.ndarray, "#n 3"]) -> Matrices:
    """Matrices of upright cameras at `at` that look towards `aim`."""
    at, aim = np.broadcast_arrays(at, aim)
    back = (at - aim) / np.linalg.norm(at - aim, axis=1, keepdims=True)
    up = np.where(np.abs(back[:, 2:]) > 0.9999, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])  # straight down has no upright
    right = np.cross(up, back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    matrices = np.tile(np.eye(4), (len(at), 1, 1))
    matrices[:, :3, :3] = np.stack([right, np.cross(back, right), back], axis=-1)
    matrices[:, :3, 3] = at
    return matrices


def project_points(
    points: Float64[np.ndarray, "n k 3"],
    cameras: Matrices | Float64[np.ndarray, "1 4 4"],
    focal_mm: float,
    size: tuple[int, int],
) -> Float64[np.ndarray, "n k 3"]:
    """Return column and row of points in pixels (from the picture's corner, not a pixel's middle), and depth in metres.

    The sensor spans the picture's width, also where that is the shorter side.
    """
    height, width = size
    homogeneous = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=-1)
    in_camera = np.einsum("nij,nkj->nki", np.linalg.inv(np.broadcast_to(cameras, (len(points), 4, 4))), homogeneous)
    depth = -in_camera[..., 2]
    scale = focal_mm / SENSOR_MM * width / np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return np.stack([width / 2 + in_camera[..., 0] * scale, height / 2 - in_camera[..., 1] * scale, depth], axis=-1)
