"""Dust, smoke and halos: soft balls become a grid of density, and the grid a volume.

Blender's own way from points to a volume gives hard balls of one density. Here the grid is filled in numpy: each ball
fades towards its rim, its wisps are cut from noise that travels with it, and a shader has nothing left to compute.
"""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import noise, volumes

MOST_VOXELS = 180_000
"""Of one frame's grid: finer ones cost time and show nothing at these sizes."""
WISPS = 0.7
"""How deep the noise bites into a ball, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One volume; its grid is filled anew for each frame."""

    holder: Any
    grid_node: Any
    arrays: dict[str, np.ndarray]
    entry: dict[str, Any]
    voxel_m: float
    fps: float
    wisps: np.ndarray

    def set_frame(self, frame: int) -> bool:
        """Fill the grid; False where this frame has nothing to show."""
        first = int(self.arrays["ends"][frame - 1]) if frame else 0
        balls = slice(first, int(self.arrays["ends"][frame]))
        points, strength, phase = (self.arrays[name][balls] for name in ("points", "strength", "phase"))
        if not len(points) or float(strength.max()) < 1e-3:
            return False
        carried = np.asarray(self.entry["drift"]) * frame / self.fps
        low, filled = fill(points, strength, phase, self.voxel_m, (self.wisps, carried, self.entry["grain_m"] > 0))
        _hand_over(self.holder.data, self.grid_node, filled, low, self.voxel_m)
        return True


def build(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray], plan: dict[str, Any]) -> Cloud:
    """Make the volume's object, still empty."""
    voxel = _voxel(arrays, entry["grain_m"])
    holder = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    bpy.context.scene.collection.objects.link(holder)
    modifier = holder.modifiers.new(name, "NODES")
    modifier.node_group, grid_node = volumes.grid_nodes(name, volumes.material(name, entry, plan))
    wisps = noise.periodic(plan["seed"], max(3.0, entry["grain_m"] / voxel))
    return Cloud(
        holder=holder, grid_node=grid_node, arrays=arrays, entry=entry, voxel_m=voxel, fps=plan["fps"], wisps=wisps
    )


def fill(
    points: np.ndarray, strength: np.ndarray, phase: np.ndarray, voxel: float, look: tuple[np.ndarray, np.ndarray, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Add up all balls on a grid that lies still in the world.

    Args:
        points: Balls, x y z radius.
        strength: Of each ball.
        phase: Of each ball.
        voxel: Distance of grid points, metres.
        look: Periodic noise 0 to 1; how far it has travelled; whether there is any at all.

    Returns:
        The first grid point's place, and density 0 to 1 over x, y, z.
    """
    wisps, carried, broken = look
    low = np.floor((points[:, :3] - points[:, 3:]).min(axis=0) / voxel).astype(int) - 1
    high = np.ceil((points[:, :3] + points[:, 3:]).max(axis=0) / voxel).astype(int) + 1
    total = np.zeros(high - low + 1, np.float32)
    for ball, weight, own in zip(points, strength, phase, strict=True):
        first = np.ceil((ball[:3] - ball[3]) / voxel).astype(int)
        last = np.floor((ball[:3] + ball[3]) / voxel).astype(int) + 1
        if (last <= first).any():
            continue
        offsets = [
            (np.arange(a, b, dtype=np.float32) * voxel - c) / ball[3]
            for a, b, c in zip(first, last, ball[:3], strict=True)
        ]
        squares = offsets[0][:, None, None] ** 2 + offsets[1][:, None] ** 2 + offsets[2] ** 2
        body = np.clip(1 - squares, 0, 1)
        if broken:
            start = first - (ball[:3] + carried) / voxel + own * np.array([977.0, 1409.0, 1871.0])
            bite = noise.block(wisps, start, body.shape)
            body = np.clip(body * (1 + WISPS) - WISPS * 1.5 * bite, 0, 1)
        else:
            body *= 0.06 * (1 / (squares + 0.06) - 1 / 1.06)  # a halo falls off as the square of the distance
        total[tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))] += weight * body
    if broken:
        total *= 0.45 + 1.1 * noise.block(wisps, low - carried / voxel, total.shape)
    return low * voxel, total / (1 + 0.4 * total)


def _voxel(arrays: dict[str, np.ndarray], grain: float) -> float:
    """Fine enough for the wisps, coarse enough for the largest frame's box."""
    largest, first = 1e-6, 0
    for end in arrays["ends"]:
        balls = arrays["points"][first:end]
        if len(balls):
            box = (balls[:, :3] + balls[:, 3:]).max(axis=0) - (balls[:, :3] - balls[:, 3:]).min(axis=0)
            largest = max(largest, float(np.prod(box)))
        first = end
    finest = grain / 6 if grain > 0 else largest ** (1 / 3) / 24
    return float(max(finest, (largest / MOST_VOXELS) ** (1 / 3), 1e-3))


def _hand_over(mesh: Any, grid_node: Any, filled: np.ndarray, low: np.ndarray, voxel: float) -> None:
    """Give the grid to Blender as an attribute of as many points."""
    if len(mesh.vertices) != filled.size:
        mesh.clear_geometry()
        mesh.vertices.add(filled.size)
        mesh.attributes.new("held", "FLOAT", "POINT")
    mesh.attributes["held"].data.foreach_set("value", np.ascontiguousarray(filled, np.float32).ravel())
    mesh.update()
    high = low + voxel * (np.array(filled.shape) - 1)
    for socket, place in (("Min", low), ("Max", high)):
        grid_node.inputs[socket].default_value = tuple(place)
    for axis, count in zip("XYZ", filled.shape, strict=True):
        grid_node.inputs[f"Resolution {axis}"].default_value = count
    _strides(grid_node, filled.shape, low, voxel)


def _strides(grid_node: Any, shape: tuple[int, ...], low: np.ndarray, voxel: float) -> None:
    """Tell the nodes which point of the mesh belongs to a place in the grid."""
    nodes = grid_node.id_data.nodes
    nodes["from low"].inputs[1].default_value = tuple(low)
    nodes["in voxels"].inputs[1].default_value = (1 / voxel,) * 3
    nodes["index"].inputs[1].default_value = (shape[1] * shape[2], shape[2], 1)
