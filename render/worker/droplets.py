"""Drops of water, mud or sand: each a thread along its way, as an exposure sees it, thick in the middle."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import droplet_material

ALONG = np.array([-1.0, -0.6, 0.0, 0.6, 1.0])
"""Points of a thread, from its middle to its ends."""
THICK = np.array([0.1, 0.8, 1.0, 0.8, 0.1])
"""Of the drop's radius, there."""
FAINTEST = 0.3
"""Cover of a drop that goes many times its width during the exposure."""


@dataclass(frozen=True, kw_only=True)
class Drops:
    """One lot of threads, made anew for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put the drops where they are; False where there are none."""
        first = int(self.arrays["ends"][frame - 1]) if frame else 0
        chosen = slice(first, int(self.arrays["ends"][frame]))
        points, moves = (self.arrays[name][chosen].astype(np.float64) for name in ("points", "moves"))
        curves = self.holder.data
        if len(curves.curves):
            curves.remove_curves()
        if not len(points):
            return False
        curves.add_curves([len(ALONG)] * len(points))
        places, radius, cover = threads(points, moves)
        _fill(curves, "position", "FLOAT_VECTOR", "vector", places)
        _fill(curves, "radius", "FLOAT", "value", radius)
        _fill(curves, "cover", "FLOAT", "value", cover)
        curves.update_tag()
        return True


def threads(points: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places [N, 5, 3], radii [N, 5] and cover [N, 5] of threads for drops (x y z radius) and how far they go."""
    way = np.linalg.norm(moves, axis=1)
    ahead = np.where(way[:, None] > 1e-9, moves / np.maximum(way, 1e-9)[:, None], (0.0, 0.0, 1.0))
    radius = points[:, 3]
    half = 0.5 * way + radius
    places = points[:, None, :3] + (half[:, None] * ALONG)[..., None] * ahead[:, None]
    cover = np.clip(1.4 * 2 * radius / (way + 2 * radius), FAINTEST, 1)
    return places, radius[:, None] * THICK, np.repeat(cover[:, None], len(ALONG), axis=1)


def build(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Drops:
    """Make the object, still empty."""
    bpy.context.scene.cycles_curves.shape = "THICK"
    bpy.context.scene.cycles_curves.subdivisions = 2
    holder = bpy.data.objects.new(name, bpy.data.hair_curves.new(name))
    bpy.context.scene.collection.objects.link(holder)
    holder.data.materials.append(droplet_material.material(name, entry, None))
    return Drops(holder=holder, arrays=arrays)


def _fill(curves: Any, name: str, kind: str, field: str, values: np.ndarray) -> None:
    found = curves.attributes.get(name) or curves.attributes.new(name, kind, "POINT")
    found.data.foreach_set(field, np.ascontiguousarray(values, np.float32).ravel())
