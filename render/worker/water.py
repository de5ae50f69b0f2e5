"""Water in motion: the disturbed lake, drops as threads along their way, and sheets with holes that open in them.

The lake is one sheet to the horizon in the calm water's material, moved by the waves of visible effects.
"""

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from .materials import linear, new_material
from .meshes import add_mesh, add_object, vertex_positions

HORIZON_M = 4000.0
"""Distance to which the sheet goes on beyond the waves, flat."""
THREAD_POSITION = np.array([-1.0, -0.6, 0.0, 0.6, 1.0])
"""Points of a thread, as an exposure sees a drop, from its middle to its ends."""
THREAD_RADIUS = np.array([0.1, 0.8, 1.0, 0.8, 0.1])
"""Share of the drop's radius, at those points."""
MIN_COVER = 0.3
"""Cover of a drop that moves many times its width during the exposure."""


class Lake:
    """One sheet of water to the horizon; its points' heights are set for each frame."""

    def __init__(self, name: str, fields: list[tuple[dict[str, Any], dict[str, Any]]], calm: Any) -> None:
        """Make the sheet over all fields together, with the step of the finest.

        Args:
            name: Name of the object.
            fields: Waves of each effect: the plan's entry, and its arrays.
            calm: The flat water that it stands in for.
        """
        self._fields, self.calm = fields, calm
        step = min(entry["step_m"] for entry, _ in fields)
        low = np.min([entry["origin"] for entry, _ in fields], axis=0)
        ends = [
            entry["origin"] + entry["step_m"] * (np.array(arrays["heights"].shape[:0:-1]) - 1)  # columns, rows
            for entry, arrays in fields
        ]
        spans = zip(low, np.max(ends, axis=0), strict=True)
        self._x, self._y = (np.linspace(a, b, max(2, round((b - a) / step) + 1)) for a, b in spans)
        self.holder = add_mesh(name, *_sheet(self._x, self._y), calm.data.materials[0])
        self.holder.data.attributes.new("foam", "FLOAT", "POINT")
        self.holder.data.shade_smooth()

    def set_frame(self, frame: int, kinds: Collection[str]) -> bool:
        """Move the water by these effects; False if none of them moves it."""
        active = [(entry, arrays) for entry, arrays in self._fields if entry["effect"] in kinds]
        if not active:
            return False
        heights = np.asarray(sum(self._sample(entry, arrays["heights"][frame]) for entry, arrays in active))
        foam = sum(self._sample(entry, arrays["foam"][frame]) for entry, arrays in active if "foam" in arrays)
        mesh = self.holder.data
        positions = vertex_positions(mesh)
        positions[: heights.size, 2] = heights.ravel()  # the last four points lie at the horizon
        white = np.zeros(len(positions), np.float32)
        white[: heights.size] = np.clip(foam, 0, 1).ravel()
        mesh.vertices.foreach_set("co", positions.astype(np.float32).ravel())
        mesh.attributes["foam"].data.foreach_set("value", white)
        mesh.update()
        return True

    def _sample(self, entry: dict[str, Any], values: np.ndarray) -> np.ndarray:
        """A field's values at the sheet's points, linear between its own, 0 outside."""
        x0, y0 = entry["origin"]
        across = _interpolate(values, (self._x - x0) / entry["step_m"])
        return _interpolate(across.T, (self._y - y0) / entry["step_m"]).T


def _interpolate(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Columns of values at fractional columns, linear between them, 0 outside."""
    last = values.shape[1] - 1
    lower = np.clip(np.floor(column).astype(int), 0, max(0, last - 1))
    share = np.clip(column - lower, 0, 1)
    inside = (column >= -1e-6) & (column <= last + 1e-6)
    return np.asarray((values[:, lower] * (1 - share) + values[:, np.minimum(lower + 1, last)] * share) * inside)


def _sheet(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Points and faces of a grid and of a flat collar to the horizon that shares its rim's points: no gap shows."""
    rows, columns = len(y), len(x)
    grid = np.stack([*np.meshgrid(x, y), np.zeros((rows, columns))], axis=-1).reshape(-1, 3)
    number = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    middle = np.array([(x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2, 0.0])
    horizon = HORIZON_M * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    rims = [number[0, ::-1], number[:, -1][::-1], number[-1], number[:, 0]]  # seen from above, against the clock
    faces: list[list[int]] = quads.tolist()
    for side, rim in enumerate(rims):  # each runs from the corner `end` of the horizon to `start`
        start, end, half = len(grid) + side, len(grid) + (side + 1) % 4, len(rim) // 2
        faces += [[a, b, end] for a, b in pairwise(rim[: half + 1].tolist())]
        faces.append([int(rim[half]), start, end])
        faces += [[a, b, start] for a, b in pairwise(rim[half:].tolist())]
    return np.concatenate([grid, middle + horizon]), faces


class Drops:
    """All drops of an effect, as curves; made anew for each frame."""

    def __init__(self, name: str, entry: dict[str, Any], arrays: dict[str, Any], plan: dict[str, Any]) -> None:
        """Make the object, still empty."""
        self._arrays = arrays
        bpy.context.scene.cycles_curves.shape = "THICK"
        bpy.context.scene.cycles_curves.subdivisions = 2
        self.holder = add_object(name, bpy.data.hair_curves.new(name))
        self.holder.data.materials.append(_material(name, entry, None))

    def points(self, frame: int) -> np.ndarray:
        """Both ends of each drop's streak [N, 3]."""
        positions, moves = self._arrays["points"][frame][:, :3], self._arrays["moves"][frame]
        return np.concatenate([positions - moves / 2, positions + moves / 2])

    def set_frame(self, frame: int) -> bool:
        """Put the drops into their positions; False if there are none."""
        points, moves = (self._arrays[name][frame].astype(np.float64) for name in ("points", "moves"))
        curves = self.holder.data
        if len(curves.curves):
            curves.remove_curves()
        if not len(points):
            return False
        curves.add_curves([len(THREAD_POSITION)] * len(points))
        positions, radius, cover = threads(points, moves)
        for name, kind, field, values in (
            ("position", "FLOAT_VECTOR", "vector", positions),
            ("radius", "FLOAT", "value", radius),
            ("cover", "FLOAT", "value", cover),
        ):
            attribute = curves.attributes.get(name) or curves.attributes.new(name, kind, "POINT")
            attribute.data.foreach_set(field, np.ascontiguousarray(values, np.float32).ravel())
        curves.update_tag()
        return True


def threads(points: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [N, 5, 3], radii [N, 5] and cover [N, 5] of threads for drops (x y z radius) and their motion."""
    way = np.linalg.norm(moves, axis=1)
    ahead = np.where(way[:, None] > 1e-9, moves / np.maximum(way, 1e-9)[:, None], (0.0, 0.0, 1.0))
    radius = points[:, 3]
    half = 0.5 * way + radius
    positions = points[:, None, :3] + (half[:, None] * THREAD_POSITION)[..., None] * ahead[:, None]
    cover = np.clip(1.4 * 2 * radius / (way + 2 * radius), MIN_COVER, 1)
    return positions, radius[:, None] * THREAD_RADIUS, np.repeat(cover[:, None], len(THREAD_POSITION), axis=1)


class Sheets:
    """All water sheets of an effect, as one mesh; its points are moved for each frame."""

    def __init__(self, name: str, entry: dict[str, Any], arrays: dict[str, Any], plan: dict[str, Any]) -> None:
        """Make the mesh, as it is in the first frame."""
        self._arrays, positions = arrays, arrays["positions"]
        _, count, rows, columns, _ = positions.shape
        number = np.arange(count * rows * columns).reshape(count, rows, columns)
        corners = [number[:, :-1, :-1], number[:, :-1, 1:], number[:, 1:, 1:], number[:, 1:, :-1]]
        faces = np.stack(corners, axis=-1).reshape(-1, 4).tolist()
        self.holder = add_mesh(name, positions[0].reshape(-1, 3), faces, _material(name, entry, entry["tear_m"]))
        mesh = self.holder.data
        mesh.attributes.new("cover", "FLOAT", "POINT")
        # Coordinates of each point on its sheet when that is widest, in metres, one sheet beside the next.
        along = np.linalg.norm(np.diff(positions, axis=3), axis=-1).sum(axis=3).max(axis=(0, 2))
        up = np.linalg.norm(np.diff(positions, axis=2), axis=-1).sum(axis=2).max(axis=(0, 2))
        coordinates = np.zeros((count, rows, columns, 3))
        coordinates[..., 0] = along[:, None, None] * np.linspace(0, 1, columns)
        # Holes are drawn out along the way of the water.
        coordinates[..., 1] = 0.35 * up[:, None, None] * np.linspace(0, 1, rows)[:, None]
        coordinates[..., 2] = 10.0 * np.arange(count)[:, None, None]
        sheet = mesh.attributes.new("sheet", "FLOAT_VECTOR", "POINT")
        sheet.data.foreach_set("vector", coordinates.astype(np.float32).ravel())
        mesh.shade_smooth()

    def points(self, frame: int) -> np.ndarray:
        """Points [N, 3] of the sheets that have not vanished."""
        return np.asarray(self._arrays["positions"][frame][self._arrays["cover"][frame] > 0])

    def set_frame(self, frame: int) -> bool:
        """Put the points into their positions; False if every sheet has vanished."""
        cover = self._arrays["cover"][frame]
        if not cover.any():
            return False
        mesh = self.holder.data
        mesh.vertices.foreach_set("co", np.ascontiguousarray(self._arrays["positions"][frame], np.float32).ravel())
        mesh.attributes["cover"].data.foreach_set("value", np.ascontiguousarray(cover, np.float32).ravel())
        mesh.update()
        return True


def _material(name: str, entry: dict[str, Any], tear_m: float | None) -> Any:
    """Make the material: clear water lets light through and mirrors the sky at its rim, mud is dull; rays stay unbent.

    Args:
        name: Name of the material.
        entry: Its `colour` and its clarity `clear`.
        tear_m: Size of the holes that open as the attribute "cover" falls; None: all of it thins out evenly.
    """
    material, nodes = new_material(name)
    clear = entry["clear"]
    body = {
        "Base Color": linear(entry["colour"]),
        "Roughness": 0.05 + 0.6 * (1 - clear),
        "Specular IOR Level": 1.0 if clear > 0.5 else 0.4,
    }
    cover = nodes.add("ShaderNodeAttribute", attribute_name="cover").outputs["Fac"]
    facing = nodes.add("ShaderNodeLayerWeight", {"Blend": 0.35}).outputs["Facing"]
    opacity = nodes.between(facing, 1 - 0.5 * clear, 1.0)  # the rim is opaque, the middle less
    if tear_m is not None:
        # Closed at 1, streaked and full of holes as it falls; the holes move with the water.
        position = nodes.add("ShaderNodeAttribute", attribute_name="sheet").outputs["Vector"]
        holes = nodes.noise(position, tear_m, detail=4.0, rough=0.65)
        edge = nodes.between(cover, 0.85, 0.18)
        torn = nodes.math("MULTIPLY", nodes.math("SUBTRACT", holes, edge), 7.0, clamp=True)
        cover = nodes.math("MULTIPLY", torn, nodes.math("MULTIPLY", cover, 1.3, clamp=True))
    share = nodes.math("MULTIPLY", opacity, cover)
    through = nodes.add("ShaderNodeBsdfTransparent").outputs[0]
    mixed = nodes.add("ShaderNodeMixShader", {0: share, 1: through, 2: nodes.principled(body)}).outputs[0]
    nodes.add("ShaderNodeOutputMaterial", {"Surface": mixed})
    return material
