"""Dust, smoke and halos: soft balls become a grid of density, and the grid a volume.

Blender's own way from points to a volume gives hard balls of one density. Here the grid is filled in numpy: each ball
fades towards its rim, its wisps are cut from noise that travels with it, and a shader has nothing left to compute.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from . import noise

MOST_VOXELS = 180_000
"""Of one frame's grid: finer ones cost time and show nothing at these sizes."""
WISPS = 0.7
"""How deep the noise bites into a ball, 0 to 1."""
MANIFOLD = 0.6
"""How bright light that scattered more than once makes a cloud: the picture follows it once, this is the rest."""


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
    modifier.node_group, grid_node = _grid_nodes(name, _material(name, entry, _daylight(plan)))
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
    return max(finest, (largest / MOST_VOXELS) ** (1 / 3), 1e-3)


def _hand_over(mesh: Any, grid_node: Any, filled: np.ndarray, low: np.ndarray, voxel: float) -> None:
    """Give the grid to Blender as an attribute of as many points."""
    if len(mesh.vertices) != filled.size:
        mesh.clear_geometry()
        mesh.vertices.add(filled.size)
        mesh.attributes.new("held", "FLOAT", "POINT")
    mesh.attributes["held"].data.foreach_set("value", np.ascontiguousarray(filled, np.float32).ravel())
    mesh.update()
    high = low + voxel * (np.array(filled.shape) - 1)
    values = {"Min": low, "Max": high, "Resolution X": 0, "Resolution Y": 1, "Resolution Z": 2}
    for socket, value in values.items():
        grid_node.inputs[socket].default_value = filled.shape[value] if isinstance(value, int) else tuple(value)
    _strides(grid_node, filled.shape, low, voxel)


def _strides(grid_node: Any, shape: tuple[int, ...], low: np.ndarray, voxel: float) -> None:
    """Tell the nodes which point of the mesh belongs to a place in the grid."""
    nodes = grid_node.id_data.nodes
    nodes["from low"].inputs[1].default_value = tuple(low)
    nodes["in voxels"].inputs[1].default_value = (1 / voxel,) * 3
    nodes["index"].inputs[1].default_value = (shape[1] * shape[2], shape[2], 1)


def _grid_nodes(name: str, material: Any) -> tuple[Any, Any]:
    """Nodes that read density from the mesh's points into a grid volume."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")

    def node(kind: str, label: str, **values: Any) -> Any:
        made = group.nodes.new(kind)
        made.name = label
        for key, value in values.items():
            setattr(made, key, value)
        return made

    given, result = node("NodeGroupInput", "given"), node("NodeGroupOutput", "result")
    from_low = node("ShaderNodeVectorMath", "from low", operation="SUBTRACT")
    in_voxels = node("ShaderNodeVectorMath", "in voxels", operation="MULTIPLY")
    whole = node("ShaderNodeVectorMath", "half", operation="ADD")
    whole.inputs[1].default_value = (0.5, 0.5, 0.5)
    floor = node("ShaderNodeVectorMath", "floor", operation="FLOOR")
    index = node("ShaderNodeVectorMath", "index", operation="DOT_PRODUCT")
    held = node("GeometryNodeInputNamedAttribute", "held", data_type="FLOAT")
    held.inputs["Name"].default_value = "held"
    sample = node("GeometryNodeSampleIndex", "sample", data_type="FLOAT", domain="POINT")
    grid = node("GeometryNodeVolumeCube", "grid")
    dressed = node("GeometryNodeSetMaterial", "dressed")
    dressed.inputs["Material"].default_value = material
    chain = [node("GeometryNodeInputPosition", "position"), from_low, in_voxels, whole, floor, index]
    for one, other in pairwise(chain):
        group.links.new(one.outputs[0], other.inputs[0])
    group.links.new(index.outputs["Value"], sample.inputs["Index"])
    group.links.new(given.outputs[0], sample.inputs["Geometry"])
    group.links.new(held.outputs["Attribute"], sample.inputs["Value"])
    group.links.new(sample.outputs["Value"], grid.inputs["Density"])
    group.links.new(grid.outputs[0], dressed.inputs["Geometry"])
    group.links.new(dressed.outputs[0], result.inputs[0])
    return group, grid


def _material(name: str, entry: dict[str, Any], daylight: np.ndarray) -> Any:
    """A volume that scatters in its colour, and shines where the entry says so."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    amount = tree.nodes.new("ShaderNodeAttribute")
    amount.attribute_name = "density"
    thick = tree.nodes.new("ShaderNodeMath")
    thick.operation = "MULTIPLY"
    thick.inputs[1].default_value = entry["density"]
    tree.links.new(amount.outputs["Fac"], thick.inputs[0])
    body = tree.nodes.new("ShaderNodeVolumePrincipled")
    albedo = _albedo(entry["colour"])
    body.inputs["Color"].default_value = (*albedo, 1)
    body.inputs["Density Attribute"].default_value = ""
    body.inputs["Anisotropy"].default_value = 0.25
    tree.links.new(thick.outputs[0], body.inputs["Density"])
    shine = tree.nodes.new("ShaderNodeMath")
    shine.operation = "MULTIPLY"
    tree.links.new(thick.outputs[0], shine.inputs[0])
    tree.links.new(shine.outputs[0], body.inputs["Emission Strength"])
    glows = entry["glow"] > 0
    shine.inputs[1].default_value = entry["glow"] if glows else 1.0
    given_off = np.asarray(entry["colour"]) ** 2.2 if glows else MANIFOLD * albedo**2 * daylight
    body.inputs["Emission Color"].default_value = (*given_off, 1)
    tree.links.new(body.outputs[0], output.inputs["Volume"])
    material.cycles.volume_step_rate = 2.0
    material.cycles.volume_sampling = "MULTIPLE_IMPORTANCE"
    return material


def _albedo(colour: tuple[float, ...]) -> np.ndarray:
    """Share of light that a grain scatters, so that a thick cloud of them looks about as the display colour says."""
    linear = np.asarray(colour) ** 2.2
    seen_once = 1 - np.exp(-5.1 * linear + 2.6 * linear**2 - 4.35 * linear**3)
    return np.asarray((linear + seen_once) / 2)  # puffs are seldom thick, so light scatters only a few times


def _daylight(plan: dict[str, Any]) -> np.ndarray:
    """Light in the middle of a thin cloud, on average from all sides: of the sky above, and of the sun."""
    sky, sun = plan["sky"], plan["sun"]
    above = np.mean([sky["colour"], sky["zenith"]], axis=0) if sky["kind"] == "gradient" else np.asarray(sky["colour"])
    high = np.sin(np.radians(sun["elevation_deg"]))
    from_sun = np.asarray(sun["colour"]) ** 2.2 * sun["strength"] * (0.3 + 0.7 * high) / (2 * np.pi)
    return np.asarray(0.6 * sky["strength"] * above**2.2 + from_sun)
