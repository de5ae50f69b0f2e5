"""Disturbed water: one sheet to the horizon, moved by the waves of visible effects, in the calm water's material."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

HORIZON_M = 4000.0
"""Distance to which the sheet goes on beyond the waves, flat."""


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
        """Move the water by these effects; False where none of them moves it."""
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


def build(name: str, fields: tuple[Field, ...], ground: Any) -> Lake:
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
    """Heights (and foam) over rows and columns, into the mesh; its last four points lie at the horizon."""
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
