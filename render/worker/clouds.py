"""Dust, smoke and halos: soft balls become a grid of density, and the grid a volume.

Blender's own way from points to a volume gives hard balls of one density. Here the grid is filled in numpy: each ball
fades towards its rim, its wisps are cut from noise that travels with it, and a shader has nothing left to compute.
"""

from typing import Any

import bpy
import numpy as np

from .materials import Nodes, new_material
from .meshes import add_object
from .noise import noise_block, periodic_noise

MAX_VOXELS = 180_000
"""Voxels of one frame's grid: finer ones cost time and show nothing at these sizes."""
WISP_DEPTH = 0.7
"""Depth to which the noise bites into a ball, 0 to 1."""
MULTIPLE_SCATTERING = 0.6
"""Brightness that light scattered more than once adds to a cloud: rays follow it once, this is the remainder."""


class Cloud:
    """One volume; its grid is filled anew for each frame."""

    def __init__(self, name: str, entry: dict[str, Any], arrays: dict[str, Any], plan: dict[str, Any]) -> None:
        """Make the volume's object, still empty."""
        self._arrays, self._entry, self._fps = arrays, entry, plan["fps"]
        self._voxel_m = _voxel_size(arrays["points"], entry["grain_m"])
        self._wisps = periodic_noise(plan["seed"], max(3.0, entry["grain_m"] / self._voxel_m))
        self.holder = add_object(name, bpy.data.meshes.new(name))
        modifier = self.holder.modifiers.new(name, "NODES")
        modifier.node_group, self._grid_node = _grid_nodes(name, _volume_material(name, entry, plan))

    def set_frame(self, frame: int) -> bool:
        """Fill the grid; False if this frame has nothing to show.

        Blender gets the grid as an attribute of as many points, and the nodes get to know which point lies where.
        """
        strength = self._arrays["strength"][frame]
        if not len(strength) or float(strength.max()) < 1e-3:
            return False
        low, density = self._density_grid(frame)
        mesh = self.holder.data
        if len(mesh.vertices) != density.size:
            mesh.clear_geometry()
            mesh.vertices.add(density.size)
            mesh.attributes.new("grid", "FLOAT", "POINT")
        mesh.attributes["grid"].data.foreach_set("value", np.ascontiguousarray(density, np.float32).ravel())
        mesh.update()
        shape, grid, nodes = density.shape, self._grid_node, self._grid_node.id_data.nodes
        for socket, corner in (("Min", low), ("Max", low + self._voxel_m * (np.array(shape) - 1))):
            grid.inputs[socket].default_value = tuple(corner)
        for axis, count in zip("XYZ", shape, strict=True):
            grid.inputs[f"Resolution {axis}"].default_value = count
        nodes["from low"].inputs[1].default_value = tuple(low)
        nodes["in voxels"].inputs[1].default_value = (1 / self._voxel_m,) * 3
        nodes["index"].inputs[1].default_value = (shape[1] * shape[2], shape[2], 1)
        return True

    def _density_grid(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Add up all balls of a frame on a grid that is fixed in the world.

        Returns:
            The first grid point's position, and density 0 to 1 over x, y, z.
        """
        points, strength, phase = (self._arrays[name][frame] for name in ("points", "strength", "phase"))
        voxel, noise, has_wisps = self._voxel_m, self._wisps, self._entry["grain_m"] > 0
        drift_m = np.asarray(self._entry["drift"]) * frame / self._fps
        low = np.floor((points[:, :3] - points[:, 3:]).min(axis=0) / voxel).astype(int) - 1
        high = np.ceil((points[:, :3] + points[:, 3:]).max(axis=0) / voxel).astype(int) + 1
        total = np.zeros(high - low + 1, np.float32)
        for ball, weight, ball_phase in zip(points, strength, phase, strict=True):
            first = np.ceil((ball[:3] - ball[3]) / voxel).astype(int)
            last = np.floor((ball[:3] + ball[3]) / voxel).astype(int) + 1
            if (last <= first).any():
                continue
            x, y, z = (
                (np.arange(a, b, dtype=np.float32) * voxel - c) / ball[3]
                for a, b, c in zip(first, last, ball[:3], strict=True)
            )
            squares = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2
            body = np.clip(1 - squares, 0, 1)
            if has_wisps:
                start = first - (ball[:3] + drift_m) / voxel + ball_phase * np.array([977.0, 1409.0, 1871.0])
                bite = noise_block(noise, start, body.shape)
                body = np.clip(body * (1 + WISP_DEPTH) - WISP_DEPTH * 1.5 * bite, 0, 1)
            else:
                body *= 0.06 * (1 / (squares + 0.06) - 1 / 1.06)  # a halo falls off as the square of the distance
            total[tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))] += weight * body
        if has_wisps:
            total *= 0.45 + 1.1 * noise_block(noise, low - drift_m / voxel, total.shape)
        return low * voxel, total / (1 + 0.4 * total)


def _voxel_size(frames: list[np.ndarray], grain: float) -> float:
    """Voxel size in metres, fine enough for the wisps and coarse enough for the largest frame's box."""
    boxes = [
        (balls[:, :3] + balls[:, 3:]).max(axis=0) - (balls[:, :3] - balls[:, 3:]).min(axis=0)
        for balls in frames
        if len(balls)
    ]
    largest = max([1e-6, *(float(np.prod(box)) for box in boxes)])
    finest = grain / 6 if grain > 0 else largest ** (1 / 3) / 24
    return float(max(finest, (largest / MAX_VOXELS) ** (1 / 3), 1e-3))


def _grid_nodes(name: str, material: Any) -> tuple[Any, Any]:
    """Nodes that read density from the mesh's points into a grid volume, and the node of that grid among them."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    for side in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=side, socket_type="NodeSocketGeometry")
    nodes = Nodes(group)
    index = nodes.add("GeometryNodeInputPosition").outputs[0]
    for label, operation in (("from low", "SUBTRACT"), ("in voxels", "MULTIPLY"), ("half", "ADD"), ("floor", "FLOOR")):
        half = (0.5, 0.5, 0.5) if operation == "ADD" else None
        index = nodes.add("ShaderNodeVectorMath", {0: index, 1: half}, name=label, operation=operation).outputs[0]
    index = nodes.add("ShaderNodeVectorMath", {0: index}, name="index", operation="DOT_PRODUCT").outputs["Value"]
    density = nodes.add("GeometryNodeInputNamedAttribute", {"Name": "grid"}, data_type="FLOAT").outputs["Attribute"]
    points = {"Geometry": nodes.add("NodeGroupInput").outputs[0], "Value": density, "Index": index}
    sample = nodes.add("GeometryNodeSampleIndex", points, data_type="FLOAT", domain="POINT").outputs["Value"]
    grid = nodes.add("GeometryNodeVolumeCube", {"Density": sample})
    volume = nodes.add("GeometryNodeSetMaterial", {"Geometry": grid.outputs[0], "Material": material}).outputs[0]
    nodes.add("NodeGroupOutput", {0: volume})
    return group, grid


def _volume_material(name: str, entry: dict[str, Any], plan: dict[str, Any]) -> Any:
    """Material of a volume that scatters in its colour, and shines if the entry says so."""
    material, nodes = new_material(name)
    linear = np.asarray(entry["colour"]) ** 2.2
    # Share of light that a grain scatters, so that a thick cloud of them looks about as the display colour says; puffs
    # are seldom thick, so light scatters only a few times.
    once = 1 - np.exp(-5.1 * linear + 2.6 * linear**2 - 4.35 * linear**3)
    albedo = np.asarray((linear + once) / 2)
    glows = entry["glow"] > 0
    emission = linear if glows else MULTIPLE_SCATTERING * albedo**2 * _daylight(plan)
    share = nodes.add("ShaderNodeAttribute", attribute_name="density").outputs["Fac"]
    density = nodes.math("MULTIPLY", share, entry["density"])
    body = {
        "Color": (*albedo, 1),
        "Density": density,
        "Density Attribute": "",
        "Anisotropy": 0.25,
        "Emission Color": (*emission, 1),
        "Emission Strength": nodes.math("MULTIPLY", density, entry["glow"] if glows else 1.0),
    }
    volume = nodes.add("ShaderNodeVolumePrincipled", body).outputs[0]
    nodes.add("ShaderNodeOutputMaterial", {"Volume": volume})
    material.cycles.volume_step_rate = 2.0
    material.cycles.volume_sampling = "MULTIPLE_IMPORTANCE"
    return material


def _daylight(plan: dict[str, Any]) -> np.ndarray:
    """Light in the middle of a thin cloud, on average from all sides: from the sky above, and from the sun."""
    sky, sun = plan["sky"], plan["sun"]
    above = np.mean([sky["colour"], sky["zenith"]], axis=0) if sky["kind"] == "gradient" else np.asarray(sky["colour"])
    high = np.sin(np.radians(sun["elevation_deg"]))
    from_sun = np.asarray(sun["colour"]) ** 2.2 * sun["strength"] * (0.3 + 0.7 * high) / (2 * np.pi)
    return np.asarray(0.6 * sky["strength"] * above**2.2 + from_sun)
