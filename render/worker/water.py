"""Water in motion: the disturbed lake, drops as threads along their way, and sheets with holes that open in them.

The lake is one sheet to the horizon in the calm water's material, moved by the waves of visible effects.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from .materials import Nodes, linear

HORIZON_M = 4000.0
"""Distance to which the sheet goes on beyond the waves, flat."""
THREAD_POSITION = np.array([-1.0, -0.6, 0.0, 0.6, 1.0])
"""Points of a thread, as an exposure sees a drop, from its middle to its ends."""
THREAD_RADIUS = np.array([0.1, 0.8, 1.0, 0.8, 0.1])
"""Share of the drop's radius, at those points."""
MIN_COVER = 0.3
"""Cover of a drop that moves many times its width during the exposure."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """The waves of one effect, from the plan."""

    effect: str
    entry: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def far_corner(self) -> np.ndarray:
        """Corner opposite its origin, x and y."""
        rows, columns = self.arrays["heights"].shape[1:]
        return np.asarray(self.entry["origin"] + self.entry["step_m"] * (np.array([columns, rows]) - 1))


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The sheet; its points' heights are set for each frame."""

    holder: Any
    calm: Any
    """The flat water that it stands in for."""
    fields: tuple[Field, ...]
    x: np.ndarray
    y: np.ndarray

    def set_frame(self, frame: int, kinds: Collection[str]) -> bool:
        """Move the water by these effects; False if none of them moves it."""
        active = [field for field in self.fields if field.effect in kinds]
        if not active:
            return False
        heights = sum(self._sample(field, field.arrays["heights"][frame]) for field in active)
        foams = [self._sample(field, field.arrays["foam"][frame]) for field in active if "foam" in field.arrays]
        _move(self.holder.data, np.asarray(heights), np.clip(sum(foams), 0, 1) if foams else None)
        return True

    def _sample(self, field: Field, values: np.ndarray) -> np.ndarray:
        """A field's values at the sheet's points, linear between its own, 0 outside."""
        step, (x0, y0) = field.entry["step_m"], field.entry["origin"]
        column, row = (self.x - x0) / step, (self.y - y0) / step
        across = _interpolate(values, column)
        return _interpolate(across.T, row).T


def build_lake(name: str, fields: tuple[Field, ...], ground: Any) -> Lake:
    """Make the sheet over all fields together, with the step of the finest."""
    step = min(field.entry["step_m"] for field in fields)
    low = np.min([field.entry["origin"] for field in fields], axis=0)
    high = np.max([field.far_corner() for field in fields], axis=0)
    x, y = (np.linspace(a, b, max(2, round((b - a) / step) + 1)) for a, b in zip(low, high, strict=True))
    mesh = bpy.data.meshes.new(name)
    points, faces = _sheet(x, y)
    mesh.from_pydata(points, [], faces)
    mesh.attributes.new("foam", "FLOAT", "POINT")
    mesh.shade_smooth()
    holder = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(holder)
    mesh.materials.append(ground.material)
    return Lake(holder=holder, calm=ground.object, fields=fields, x=x, y=y)


def _move(mesh: Any, heights: np.ndarray, foam: np.ndarray | None) -> None:
    """Set heights (and foam) over rows and columns in the mesh; its last four points lie at the horizon."""
    flat = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", flat)
    positions = flat.reshape(-1, 3)
    positions[: heights.size, 2] = heights.ravel()
    mesh.vertices.foreach_set("co", positions.ravel())
    white = np.zeros(len(positions), np.float32)
    if foam is not None:
        white[: foam.size] = foam.ravel()
    mesh.attributes["foam"].data.foreach_set("value", white)
    mesh.update()


def _interpolate(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Columns of values at fractional columns, linear between them, 0 outside."""
    last = values.shape[1] - 1
    lower = np.clip(np.floor(column).astype(int), 0, max(0, last - 1))
    share = np.clip(column - lower, 0, 1)
    inside = (column >= -1e-6) & (column <= last + 1e-6)
    return np.asarray((values[:, lower] * (1 - share) + values[:, np.minimum(lower + 1, last)] * share) * inside)


def _sheet(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Points and faces of a grid and of a flat collar to the horizon that shares its rim's points: no gap shows."""
    rows, columns = len(y), len(x)
    grid = np.stack([*np.meshgrid(x, y), np.zeros((rows, columns))], axis=-1).reshape(-1, 3)
    number = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    middle = np.array([(x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2, 0.0])
    horizon = HORIZON_M * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    rims = [number[0, ::-1], number[:, -1][::-1], number[-1], number[:, 0]]  # seen from above, against the clock
    faces: list[tuple[int, ...]] = [tuple(int(corner) for corner in quad) for quad in quads]
    ends = [(0, 1), (1, 2), (2, 3), (3, 0)]
    for rim, (start, end) in zip(rims, ends, strict=True):
        faces += _collar([int(point) for point in rim], len(grid) + start, len(grid) + end)
    return np.concatenate([grid, middle + horizon]), faces


def _collar(rim: list[int], start: int, end: int) -> list[tuple[int, ...]]:
    """Triangles from one side of the rim to two far corners, `rim` running from `end`'s corner to `start`'s."""
    half = len(rim) // 2
    faces: list[tuple[int, ...]] = [(a, b, end) for a, b in pairwise(rim[: half + 1])]
    faces.append((rim[half], start, end))
    faces += [(a, b, start) for a, b in pairwise(rim[half:])]
    return faces


@dataclass(frozen=True, kw_only=True)
class Drops:
    """All drops of an effect, as curves; made anew for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put the drops into their positions; False if there are none."""
        first = int(self.arrays["ends"][frame - 1]) if frame else 0
        in_frame = slice(first, int(self.arrays["ends"][frame]))
        points, moves = (self.arrays[name][in_frame].astype(np.float64) for name in ("points", "moves"))
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


def build_drops(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Drops:
    """Make the object, still empty."""
    bpy.context.scene.cycles_curves.shape = "THICK"
    bpy.context.scene.cycles_curves.subdivisions = 2
    holder = bpy.data.objects.new(name, bpy.data.hair_curves.new(name))
    bpy.context.scene.collection.objects.link(holder)
    holder.data.materials.append(_material(name, entry, None))
    return Drops(holder=holder, arrays=arrays)


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """All water sheets of an effect, as one mesh; its points are moved for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put the points into their positions; False if every sheet has vanished."""
        cover = self.arrays["cover"][frame]
        if not cover.any():
            return False
        mesh = self.holder.data
        mesh.vertices.foreach_set("co", np.ascontiguousarray(self.arrays["positions"][frame], np.float32).ravel())
        mesh.attributes["cover"].data.foreach_set("value", np.ascontiguousarray(cover, np.float32).ravel())
        mesh.update()
        return True


def build_sheets(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Sheets:
    """Make the mesh, as it is in the first frame."""
    positions = arrays["positions"]
    _, count, rows, columns, _ = positions.shape
    number = np.arange(count * rows * columns).reshape(count, rows, columns)
    corners = [number[:, :-1, :-1], number[:, :-1, 1:], number[:, 1:, 1:], number[:, 1:, :-1]]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(positions[0].reshape(-1, 3), [], np.stack(corners, axis=-1).reshape(-1, 4).tolist())
    mesh.attributes.new("cover", "FLOAT", "POINT")
    sheet = mesh.attributes.new("sheet", "FLOAT_VECTOR", "POINT")
    sheet.data.foreach_set("vector", _sheet_coordinates(positions).astype(np.float32).ravel())
    mesh.shade_smooth()
    mesh.materials.append(_material(name, entry, entry["tear_m"]))
    holder = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(holder)
    return Sheets(holder=holder, arrays=arrays)


def _sheet_coordinates(positions: np.ndarray) -> np.ndarray:
    """Coordinates of each point on its sheet when that is widest, in metres, one sheet beside the next."""
    _, count, rows, columns, _ = positions.shape
    along = np.linalg.norm(np.diff(positions, axis=3), axis=-1).sum(axis=3).max(axis=(0, 2))
    up = np.linalg.norm(np.diff(positions, axis=2), axis=-1).sum(axis=2).max(axis=(0, 2))
    across, down = np.linspace(0, 1, columns), np.linspace(0, 1, rows)
    coordinates = np.zeros((count, rows, columns, 3))
    coordinates[..., 0] = along[:, None, None] * across
    coordinates[..., 1] = 0.35 * up[:, None, None] * down[:, None]  # holes are drawn out along the way of the water
    coordinates[..., 2] = 10.0 * np.arange(count)[:, None, None]
    return coordinates


def _material(name: str, entry: dict[str, Any], tear_m: float | None) -> Any:
    """Make the material: clear water lets light through and mirrors the sky at its rim, mud is dull; rays stay unbent.

    Args:
        name: Name of the material.
        entry: Its `colour` and its clarity `clear`.
        tear_m: Size of the holes that open as the attribute "cover" falls; None: all of it thins out evenly.
    """
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = Nodes(material.node_tree)
    clear = entry["clear"]
    body = nodes.add(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": linear(entry["colour"]),
            "Roughness": 0.05 + 0.6 * (1 - clear),
            "Specular IOR Level": 1.0 if clear > 0.5 else 0.4,
        },
    )
    cover = nodes.add("ShaderNodeAttribute", attribute_name="cover").outputs["Fac"]
    facing = nodes.add("ShaderNodeLayerWeight", {"Blend": 0.35}).outputs["Facing"]
    opacity = nodes.between(facing, 1 - 0.5 * clear, 1.0)  # the rim is opaque, the middle less
    if tear_m is not None:
        cover = _torn_cover(nodes, cover, tear_m)
    through = nodes.add("ShaderNodeBsdfTransparent")
    mixed = nodes.add("ShaderNodeMixShader", {0: nodes.math("MULTIPLY", opacity, cover)})
    nodes.put(mixed.inputs[1], through.outputs[0])
    nodes.put(mixed.inputs[2], body.outputs[0])
    nodes.put(nodes.add("ShaderNodeOutputMaterial").inputs["Surface"], mixed.outputs[0])
    return material


def _torn_cover(nodes: Nodes, cover: Any, tear_m: float) -> Any:
    """Cover that is closed at 1, streaked and full of holes as it falls; the holes move with the water."""
    position = nodes.add("ShaderNodeAttribute", attribute_name="sheet").outputs["Vector"]
    holes = nodes.noise(position, tear_m, detail=4.0, rough=0.65)
    edge = nodes.between(cover, 0.85, 0.18)
    torn = nodes.math("MULTIPLY", nodes.math("SUBTRACT", holes, edge), 7.0, clamp=True)
    return nodes.math("MULTIPLY", torn, nodes.math("MULTIPLY", cover, 1.3, clamp=True))
