"""Skins of thrown-up water: sheets of points that move, with holes that open in them."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import droplet_material


@dataclass(frozen=True, kw_only=True)
class Skins:
    """All skins of an effect, as one mesh; its points are moved for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put the points where they are; False where every skin is gone."""
        cover = self.arrays["cover"][frame]
        if not cover.any():
            return False
        mesh = self.holder.data
        mesh.vertices.foreach_set("co", np.ascontiguousarray(self.arrays["places"][frame], np.float32).ravel())
        mesh.attributes["cover"].data.foreach_set("value", np.ascontiguousarray(cover, np.float32).ravel())
        mesh.update()
        return True


def build(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Skins:
    """Make the mesh, as it is in the first frame."""
    places = arrays["places"]
    _, count, rows, columns, _ = places.shape
    number = np.arange(count * rows * columns).reshape(count, rows, columns)
    corners = [number[:, :-1, :-1], number[:, :-1, 1:], number[:, 1:, 1:], number[:, 1:, :-1]]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(places[0].reshape(-1, 3), [], np.stack(corners, axis=-1).reshape(-1, 4).tolist())
    mesh.attributes.new("cover", "FLOAT", "POINT")
    skin = mesh.attributes.new("skin", "FLOAT_VECTOR", "POINT")
    skin.data.foreach_set("vector", _laid_out(places).astype(np.float32).ravel())
    mesh.shade_smooth()
    mesh.materials.append(droplet_material.material(name, entry, entry["tear_m"]))
    holder = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(holder)
    return Skins(holder=holder, arrays=arrays)


def _laid_out(places: np.ndarray) -> np.ndarray:
    """Where each point of each skin lies on it when it is widest, in metres, one skin beside the other."""
    _, count, rows, columns, _ = places.shape
    along = np.linalg.norm(np.diff(places, axis=3), axis=-1).sum(axis=3).max(axis=(0, 2))
    up = np.linalg.norm(np.diff(places, axis=2), axis=-1).sum(axis=2).max(axis=(0, 2))
    across, down = np.linspace(0, 1, columns), np.linspace(0, 1, rows)
    laid = np.zeros((count, rows, columns, 3))
    laid[..., 0] = along[:, None, None] * across
    laid[..., 1] = 0.35 * up[:, None, None] * down[:, None]  # holes are drawn out along the way of the water
    laid[..., 2] = 10.0 * np.arange(count)[:, None, None]
    return laid
