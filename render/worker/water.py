"""Disturbed water: one sheet to the horizon, moved by the waves of all effects shown, in the calm water's material."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

HORIZON_M = 4000.0
"""How far beyond the waves the sheet goes on, flat."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """The waves of one effect, from the plan."""

    effect: str
    entry: dict[str, Any]
    arrays: dict[str, np.ndarray]


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
        shown = [field for field in self.fields if field.effect in kinds]
        if not shown:
            return False
        heights = sum(self._over(field, field.arrays["heights"][frame]) for field in shown)
        foams = [self._over(field, field.arrays["foam"][frame]) for field in shown if "foam" in field.arrays]
        _move(self.holder.data, np.asarray(heights), np.clip(sum(foams), 0, 1) if foams else None)
        return True

    def _over(self, field: Field, values: np.ndarray) -> np.ndarray:
        """A field's values at the sheet's points, linear between its own, 0 outside."""
        step, (left, low) = field.entry["step_m"], field.entry["origin"]
        column, row = (self.x - left) / step, (self.y - low) / step
        across = _between(values, column)
        return _between(across.T, row).T


def build(name: str, fields: tuple[Field, ...], ground: Any) -> Lake:
    """Make the sheet over all fields together, with the step of the finest."""
    step = min(field.entry["step_m"] for field in fields)
    corners = [_corners(field) for field in fields]
    low = np.min([corner[0] for corner in corners], axis=0)
    high = np.max([corner[1] for corner in corners], axis=0)
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
    places = flat.reshape(-1, 3)
    places[: heights.size, 2] = heights.ravel()
    mesh.vertices.foreach_set("co", places.ravel())
    white = np.zeros(len(places), np.float32)
    if foam is not None:
        white[: foam.size] = foam.ravel()
    mesh.attributes["foam"].data.foreach_set("value", white)
    mesh.update()


def _corners(field: Field) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = field.arrays["heights"].shape[1:]
    origin = np.asarray(field.entry["origin"])
    return origin, origin + field.entry["step_m"] * (np.array([columns, rows]) - 1)


def _between(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Columns of values at places between them, 0 outside."""
    last = values.shape[1] - 1
    lower = np.clip(np.floor(place).astype(int), 0, max(0, last - 1))
    share = np.clip(place - lower, 0, 1)
    inside = (place >= -1e-6) & (place <= last + 1e-6)
    return np.asarray((values[:, lower] * (1 - share) + values[:, np.minimum(lower + 1, last)] * share) * inside)


def _sheet(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Points and faces of a grid and of a flat collar to the horizon that shares its rim's points: no gap shows."""
    rows, columns = len(y), len(x)
    grid = np.stack([*np.meshgrid(x, y), np.zeros((rows, columns))], axis=-1).reshape(-1, 3)
    number = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)
    middle = np.array([(x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2, 0.0])
    far = HORIZON_M * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    rims = [number[0, ::-1], number[:, -1][::-1], number[-1], number[:, 0]]  # seen from above, against the clock
    faces: list[tuple[int, ...]] = [tuple(int(corner) for corner in quad) for quad in quads]
    ends = [(0, 1), (1, 2), (2, 3), (3, 0)]
    for rim, (start, end) in zip(rims, ends, strict=True):
        faces += _collar([int(point) for point in rim], len(grid) + start, len(grid) + end)
    return np.concatenate([grid, middle + far]), faces


def _collar(rim: list[int], start: int, end: int) -> list[tuple[int, ...]]:
    """Triangles from one side of the rim to two far corners, `rim` running from `end`'s corner to `start`'s."""
    half = len(rim) // 2
    faces: list[tuple[int, ...]] = [(a, b, end) for a, b in pairwise(rim[: half + 1])]
    faces.append((rim[half], start, end))
    faces += [(a, b, start) for a, b in pairwise(rim[half:])]
    return faces
