"""Framing: the camera's view, and the subject's share of the picture by projection alone; nothing is rendered."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64

from ..animation.camera import SENSOR_MM, camera_matrices, project_points
from ..animation.motion import compute_poses
from ..procedural_models.registry import body_bounds
from ..scene.objects import Body
from ..scene.scene import Scene
from ..scene.transforms import Matrices, transform_points


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """Direction, distance and height of the camera, and its lens."""

    away_deg: float
    """Direction in which the camera looks, on the ground."""
    distance_m: float
    elevation_deg: float
    focal_mm: float

    def at(self, right_m: float, away_m: float) -> tuple[float, float]:
        """World x and y of a position on the ground, relative to the camera's direction."""
        away = np.radians(self.away_deg)
        x = right_m * np.sin(away) + away_m * np.cos(away)
        y = -right_m * np.cos(away) + away_m * np.sin(away)
        return round(float(x), 4), round(float(y), 4)

    def width_m(self, away_m: float = 0.0) -> float:
        """Width of the world that the picture shows at that depth."""
        return SENSOR_MM / self.focal_mm * (self.distance_m + away_m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Framing:
    """Framing of the subject in every frame."""

    inside: Bool[np.ndarray, "T"]
    """Is all of the subject's box in the picture?"""
    area: Float64[np.ndarray, "T"]
    """Share of the picture that the box's outline covers, less its part outside the picture."""
    hidden: Float64[np.ndarray, "T"]
    """Share of the subject's box that the box of a nearer prop covers."""
    shadow: Bool[np.ndarray, "T"]
    """Does the middle of the shadow on the ground fall into the picture?"""

    @property
    def fits(self) -> bool:
        """Is the subject in view, neither tiny nor huge, nor behind something, in seven frames of ten?"""
        shows = self.inside & (self.area >= 0.01) & (self.area <= 0.30) & (self.hidden < 0.5)
        return bool(np.mean(shows) >= 0.7)

    @property
    def shadow_fits(self) -> bool:
        """Is the shadow in view, in six frames of ten?"""
        return bool(np.mean(self.shadow) >= 0.6)


def measure_framing(scene: Scene) -> Framing:
    """Project the subject of a scene into its frames."""
    way = compute_poses(scene, scene.subject)
    cameras = np.broadcast_to(camera_matrices(scene, way.foot), (scene.frames, 4, 4))
    low, high, depth, ahead = _outline(scene, scene.subject, cameras)
    limit = np.array([scene.size[1], scene.size[0]], np.float64)
    inside = ahead & (low >= 0).all(axis=1) & (high <= limit).all(axis=1)
    cut = np.clip(np.minimum(high, limit) - np.maximum(low, 0), 0, None)
    area = np.where(ahead, np.prod(cut, axis=1) / np.prod(limit), 0.0)
    middle = box_along(scene, scene.subject).mean(axis=1)
    azimuth, elevation = np.radians(scene.sun.azimuth_deg), np.radians(scene.sun.elevation_deg)
    middle[:, :2] -= middle[:, 2:] / np.tan(elevation) * [np.cos(azimuth), np.sin(azimuth)]  # to its shadow's
    middle[:, 2] = 0.0
    shade = project_points(middle[:, None], cameras, scene.camera.focal_mm, scene.size)[:, 0]
    shadow = (shade[:, 2] > 0.05) & (shade[:, :2] >= 0).all(axis=1) & (shade[:, :2] <= limit).all(axis=1)
    hidden = np.zeros(scene.frames)
    for prop in scene.props:
        prop_low, prop_high, prop_depth, prop_ahead = _outline(scene, prop, cameras)
        shared = np.clip(np.minimum(high, prop_high) - np.maximum(low, prop_low), 0, None)
        share = np.prod(shared, axis=1) / np.maximum(np.prod(high - low, axis=1), 1e-9)
        hidden = np.maximum(hidden, np.where(prop_ahead & (prop_depth < depth), share, 0.0))
    return Framing(inside=inside, area=area, hidden=hidden, shadow=shadow)


def _outline(scene: Scene, body: Body, cameras: Matrices) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lowest and highest pixel, depth, and whether all is ahead of the camera, of a body's box in every frame."""
    box = project_points(box_along(scene, body), cameras, scene.camera.focal_mm, scene.size)
    pixels, depths = box[..., :2], box[..., 2]
    return pixels.min(axis=1), pixels.max(axis=1), depths.mean(axis=1), np.all(depths > 0.05, axis=1)


def box_along(scene: Scene, body: Body) -> Float64[np.ndarray, "T 8 3"]:
    """Corners of a body's box at rest, moved along its way."""
    corners = np.array([(*corner, 1.0) for corner in product(*body_bounds(body).T)])
    return transform_points(np.broadcast_to(compute_poses(scene, body).matrices, (scene.frames, 4, 4)), corners)
