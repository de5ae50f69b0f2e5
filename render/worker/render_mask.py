"""A blind close before the lens: what of a picture nobody will use is covered, so that no light is followed there.

It is black, seen by the camera alone, and throws no shadow: every other pixel keeps its numbers, bit for bit.
"""

import math
from typing import Any

import bpy
import numpy as np

FROM_LENS_M = 0.012
"""Just beyond where the camera begins to see."""
ROOM_PX = 6
"""Around all that is used stays open: readers blend between cells, and the denoiser looks around itself."""
LEAST = 0.08
"""Of the box: less is not worth a blind."""


class RenderMask:
    """One mesh of rectangles, made anew for each frame that has some."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Make it, open."""
        self._plan = plan
        black = bpy.data.materials.new("blind")
        black.use_nodes = True
        tree = black.node_tree
        tree.nodes.clear()
        dark, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
        dark.inputs["Strength"].default_value = 0.0
        tree.links.new(dark.outputs[0], output.inputs["Surface"])
        self._holder = bpy.data.objects.new("blind", bpy.data.meshes.new("blind"))
        self._holder.data.materials.append(black)
        bpy.context.scene.collection.objects.link(self._holder)
        for seen_by in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
            setattr(self._holder, f"visible_{seen_by}", False)
        self._holder.hide_render = True

    def close(self, unused: Any | None, camera: Any) -> None:
        """Cover the cells [rows, columns] that are true, seen from a camera's place; none for an open blind."""
        self._holder.hide_render = unused is None
        if unused is None:
            return
        places, faces = _rectangles(unused, self._plan)
        self._holder.data.clear_geometry()
        self._holder.data.from_pydata(places, [], faces)
        self._holder.data.update()
        self._holder.matrix_world = camera


def unused(share: Any, box: list[int], size: tuple[int, int]) -> Any | None:
    """Cells of a picture that no reader uses, or None where there are too few of them within the box.

    Args:
        share: Of each cell [rows, columns], how much of it is used.
        box: Of what is drawn, x0, y0, x1, y1 in pixels.
        size: Of the picture, height and width in pixels.
    """
    rows, columns = share.shape
    room = math.ceil(ROOM_PX * rows / size[0])
    padded, width = np.pad(share > 0, room), 2 * room + 1
    used = np.zeros((rows, columns), bool)
    for down in range(width):
        for right in range(width):
            used |= padded[down : down + rows, right : right + columns]
    y, x = (np.arange(count) * side / count for count, side in ((rows, size[0]), (columns, size[1])))
    inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
    return ~used if (~used & inside).sum() > LEAST * inside.sum() else None


def _rectangles(cells: Any, plan: dict[str, Any]) -> tuple[list[tuple[float, float, float]], list[list[int]]]:
    """Points before the camera and faces of every run of cells in a row."""
    rows, columns = cells.shape
    height, width = plan["size"]
    half = FROM_LENS_M * plan["camera"].get("sensor_mm", 36) / plan["camera"]["focal_mm"] / 2  # spans the width
    places: list[tuple[float, float, float]] = []
    for row in range(rows):
        edges = np.flatnonzero(np.diff(np.pad(cells[row].astype(np.int8), 1)))
        for first, last in edges.reshape(-1, 2):
            x0, x1 = (half * (2 * edge / columns - 1) for edge in (first, last))
            y0, y1 = (half * height / width * (1 - 2 * edge / rows) for edge in (row, row + 1))
            places += [(x, y, -FROM_LENS_M) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return places, np.arange(len(places)).reshape(-1, 4).tolist()
