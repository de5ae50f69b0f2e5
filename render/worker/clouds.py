"""Dust, smoke and halos: soft balls become a grid of density, and the grid a volume.

Blender's own way from points to a volume gives hard balls of one density. Here the grid is filled in numpy: each ball
fades towards its rim, its wisps are cut from noise that travels with it, and a shader has nothing left to compute.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from .noise import noise_block, periodic_noise

MAX_VOXELS = 180_000
"""Voxels of one frame's grid: finer ones cost time and show nothing at these sizes."""
WISP_DEPTH = 0.7
"""Depth to which the noise bites into a ball, 0 to 1."""
MULTIPLE_SCATTERING = 0.6
"""Brightness that light scattered more than once adds to a cloud: rays follow it once, this is the remainder."""


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
        """Fill the grid; False if this frame has nothing to show."""
        first = int(self.arrays["ends"][frame - 1]) if frame else 0
        balls = slice(first, int(self.arrays["ends"][frame]))
        points, strength, phase = (self.arrays[name][balls] for name in ("points", "strength", "phase"))
        if not len(points) or float(strength.max()) < 1e-3:
            return False
        drift_m = np.asarray(self.entry["drift"]) * frame / self.fps
        has_wisps = self.entry["grain_m"] > 0
        low, density = density_grid(points, strength, phase, self.voxel_m, (self.wisps, drift_m, has_wisps))
        _set_grid(self.holder.data, self.grid_node, density, low, self.voxel_m)
        return True


def build_cloud(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray], plan: dict[str, Any]) -> Cloud:
    """Make the volume's object, still empty."""
    voxel = _voxel_size(arrays, entry["grain_m"])
    holder = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    bpy.context.scene.collection.objects.link(holder)
    modifier = holder.modifiers.new(name, "NODES")
    modifier.node_group, grid_node = _grid_nodes(name, _volume_material(name, entry, plan))
    wisps = periodic_noise(plan["seed"], max(3.0, entry["grain_m"] / voxel))
    return Cloud(
        holder=holder, grid_node=grid_node, arrays=arrays, entry=entry, voxel_m=voxel, fps=plan["fps"], wisps=wisps
    )


def density_grid(
    points: np.ndarray,
    strength: np.ndarray,
    phase: np.ndarray,
    voxel: float,
    wisps: tuple[np.ndarray, np.ndarray, bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Add up all balls on a grid that is fixed in the world.

    Args:
        points: Balls, x y z radius.
        strength: Weight of each ball.
        phase: Offset of each ball's noise, 0 to 1.
        voxel: Distance of grid points, metres.
        wisps: Periodic noise 0 to 1; the way it has drifted, metres; whether wisps are cut at all.

    Returns:
        The first grid point's position, and density 0 to 1 over x, y, z.
    """
    noise, drift_m, has_wisps = wisps
    low = np.floor((points[:, :3] - points[:, 3:]).min(axis=0) / voxel).astype(int) - 1
    high = np.ceil((points[:, :3] + points[:, 3:]).max(axis=0) / voxel).astype(int) + 1
    total = np.zeros(high - low + 1, np.float32)
    for ball, weight, ball_phase in zip(points, strength, phase, strict=True):
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


def _voxel_size(arrays: dict[str, np.ndarray], grain: float) -> float:
    """Voxel size in metres, fine enough for the wisps and coarse enough for the largest frame's box."""
    largest, first = 1e-6, 0
    for end in arrays["ends"]:
        balls = arrays["points"][first:end]
        if len(balls):
            box = (balls[:, :3] + balls[:, 3:]).max(axis=0) - (balls[:, :3] - balls[:, 3:]).min(axis=0)
            largest = max(largest, float(np.prod(box)))
        first = end
    finest = grain / 6 if grain > 0 else largest ** (1 / 3) / 24
    return float(max(finest, (largest / MAX_VOXELS) ** (1 / 3), 1e-3))


def _set_grid(mesh: Any, grid_node: Any, density: np.ndarray, low: np.ndarray, voxel: float) -> None:
    """Give the grid to Blender as an attribute of as many points, and tell the nodes which point lies where."""
    if len(mesh.vertices) != density.size:
        mesh.clear_geometry()
        mesh.vertices.add(density.size)
        mesh.attributes.new("grid", "FLOAT", "POINT")
    mesh.attributes["grid"].data.foreach_set("value", np.ascontiguousarray(density, np.float32).ravel())
    mesh.update()
    shape = density.shape
    for socket, corner in (("Min", low), ("Max", low + voxel * (np.array(shape) - 1))):
        grid_node.inputs[socket].default_value = tuple(corner)
    for axis, count in zip("XYZ", shape, strict=True):
        grid_node.inputs[f"Resolution {axis}"].default_value = count
    nodes = grid_node.id_data.nodes
    nodes["from low"].inputs[1].default_value = tuple(low)
    nodes["in voxels"].inputs[1].default_value = (1 / voxel,) * 3
    nodes["index"].inputs[1].default_value = (shape[1] * shape[2], shape[2], 1)


def _grid_nodes(name: str, material: Any) -> tuple[Any, Any]:
    """Nodes that read density from the mesh's points into a grid volume."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")

    def add_node(kind: str, label: str, **values: Any) -> Any:
        node = group.nodes.new(kind)
        node.name = label
        for key, value in values.items():
            setattr(node, key, value)
        return node

    source, result = add_node("NodeGroupInput", "source"), add_node("NodeGroupOutput", "result")
    from_low = add_node("ShaderNodeVectorMath", "from low", operation="SUBTRACT")
    in_voxels = add_node("ShaderNodeVectorMath", "in voxels", operation="MULTIPLY")
    half = add_node("ShaderNodeVectorMath", "half", operation="ADD")
    half.inputs[1].default_value = (0.5, 0.5, 0.5)
    floor = add_node("ShaderNodeVectorMath", "floor", operation="FLOOR")
    index = add_node("ShaderNodeVectorMath", "index", operation="DOT_PRODUCT")
    density = add_node("GeometryNodeInputNamedAttribute", "density", data_type="FLOAT")
    density.inputs["Name"].default_value = "grid"
    sample = add_node("GeometryNodeSampleIndex", "sample", data_type="FLOAT", domain="POINT")
    grid = add_node("GeometryNodeVolumeCube", "grid")
    set_material = add_node("GeometryNodeSetMaterial", "material")
    set_material.inputs["Material"].default_value = material
    position = add_node("GeometryNodeInputPosition", "position")
    for node, following in pairwise([position, from_low, in_voxels, half, floor, index]):
        group.links.new(node.outputs[0], following.inputs[0])
    group.links.new(index.outputs["Value"], sample.inputs["Index"])
    group.links.new(source.outputs[0], sample.inputs["Geometry"])
    group.links.new(density.outputs["Attribute"], sample.inputs["Value"])
    group.links.new(sample.outputs["Value"], grid.inputs["Density"])
    group.links.new(grid.outputs[0], set_material.inputs["Geometry"])
    group.links.new(set_material.outputs[0], result.inputs[0])
    return group, grid


def _volume_material(name: str, entry: dict[str, Any], plan: dict[str, Any]) -> Any:
    """Material of a volume that scatters in its colour, and shines if the entry says so."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    amount = tree.nodes.new("ShaderNodeAttribute")
    amount.attribute_name = "density"
    density = tree.nodes.new("ShaderNodeMath")
    density.operation = "MULTIPLY"
    density.inputs[1].default_value = entry["density"]
    tree.links.new(amount.outputs["Fac"], density.inputs[0])
    body = tree.nodes.new("ShaderNodeVolumePrincipled")
    linear = np.asarray(entry["colour"]) ** 2.2
    # Share of light that a grain scatters, so that a thick cloud of them looks about as the display colour says; puffs
    # are seldom thick, so light scatters only a few times.
    once = 1 - np.exp(-5.1 * linear + 2.6 * linear**2 - 4.35 * linear**3)
    albedo = np.asarray((linear + once) / 2)
    body.inputs["Color"].default_value = (*albedo, 1)
    body.inputs["Density Attribute"].default_value = ""
    body.inputs["Anisotropy"].default_value = 0.25
    tree.links.new(density.outputs[0], body.inputs["Density"])
    shine = tree.nodes.new("ShaderNodeMath")
    shine.operation = "MULTIPLY"
    tree.links.new(density.outputs[0], shine.inputs[0])
    tree.links.new(shine.outputs[0], body.inputs["Emission Strength"])
    glows = entry["glow"] > 0
    shine.inputs[1].default_value = entry["glow"] if glows else 1.0
    emission = linear if glows else MULTIPLE_SCATTERING * albedo**2 * _daylight(plan)
    body.inputs["Emission Color"].default_value = (*emission, 1)
    tree.links.new(body.outputs[0], output.inputs["Volume"])
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
