"""Framing: the subject's share of the picture in every frame, by projection alone; nothing is rendered."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from ..animation.camera import camera_matrices, project_points
from ..animation.motion import compute_poses
from ..procedural_models.registry import body_bounds
from ..scene.objects import Body
from ..scene.scene import Scene
from ..scene.transforms import Matrices, transform_points


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
    box = _outline(scene, scene.subject, cameras)
    low, high, ahead = box.low, box.high, box.ahead
    limit = np.array([scene.size[1], scene.size[0]], np.float64)
    inside = ahead & (low >= 0).all(axis=1) & (high <= limit).all(axis=1)
    cut = np.clip(np.minimum(high, limit) - np.maximum(low, 0), 0, None)
    area = np.where(ahead, np.prod(cut, axis=1) / np.prod(limit), 0.0)
    shade = project_points(_shadow(scene)[:, None], cameras, scene.camera.focal_mm, scene.size)[:, 0]
    shadow = (shade[:, 2] > 0.05) & (shade[:, :2] >= 0).all(axis=1) & (shade[:, :2] <= limit).all(axis=1)
    props = [_outline(scene, prop, cameras) for prop in scene.props]
    hidden = np.max([np.zeros(scene.frames), *(_covered_share(box, prop) for prop in props)], axis=0)
    return Framing(inside=inside, area=area, hidden=hidden, shadow=shadow)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outline:
    """A body's box in the picture, in every frame."""

    low: Float64[np.ndarray, "T 2"]
    high: Float64[np.ndarray, "T 2"]
    depth: Float64[np.ndarray, "T"]
    ahead: Bool[np.ndarray, "T"]


def _outline(scene: Scene, body: Body, cameras: Matrices) -> _Outline:
    box = project_points(box_along(scene, body), cameras, scene.camera.focal_mm, scene.size)
    return _Outline(
        low=box[..., :2].min(axis=1),
        high=box[..., :2].max(axis=1),
        depth=box[..., 2].mean(axis=1),
        ahead=np.asarray((box[..., 2] > 0.05).all(axis=1)),
    )


def _covered_share(box: _Outline, prop: _Outline) -> Float64[np.ndarray, "T"]:
    """Share of the box that a nearer prop covers."""
    shared = np.clip(np.minimum(box.high, prop.high) - np.maximum(box.low, prop.low), 0, None)
    share = np.prod(shared, axis=1) / np.maximum(np.prod(box.high - box.low, axis=1), 1e-9)
    return np.where(prop.ahead & (prop.depth < box.depth), share, 0.0)


def box_along(scene: Scene, body: Body) -> Float64[np.ndarray, "T 8 3"]:
    """Corners of a body's box at rest, moved along its way."""
    low, high = body_bounds(body)
    corners = np.array(
        [[x, y, z, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    return transform_points(np.broadcast_to(compute_poses(scene, body).matrices, (scene.frames, 4, 4)), corners)


def _shadow(scene: Scene) -> Float64[np.ndarray, "T 3"]:
    """Position on the ground of the shadow of the subject's middle."""
    middle = box_along(scene, scene.subject).mean(axis=1)
    azimuth, elevation = np.radians(scene.sun.azimuth_deg), np.radians(scene.sun.elevation_deg)
    reach = middle[:, 2:] / np.tan(elevation)
    return np.concatenate(
        [middle[:, :2] - reach * [np.cos(azimuth), np.sin(azimuth)], np.zeros((len(middle), 1))], axis=1
    )
