"""What makes a grid of density a volume in Blender: the nodes that read it, and the shader that lights it."""

from itertools import pairwise
from typing import Any

import bpy
import numpy as np

MANIFOLD = 0.6
"""How bright light that scattered more than once makes a cloud: the picture follows it once, this is the rest."""


def grid_nodes(name: str, dress: Any) -> tuple[Any, Any]:
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
    dressed.inputs["Material"].default_value = dress
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


def material(name: str, entry: dict[str, Any], plan: dict[str, Any]) -> Any:
    """A volume that scatters in its colour, and shines where the entry says so."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    tree = made.node_tree
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
    given_off = np.asarray(entry["colour"]) ** 2.2 if glows else MANIFOLD * albedo**2 * _daylight(plan)
    body.inputs["Emission Color"].default_value = (*given_off, 1)
    tree.links.new(body.outputs[0], output.inputs["Volume"])
    made.cycles.volume_step_rate = 2.0
    made.cycles.volume_sampling = "MULTIPLE_IMPORTANCE"
    return made


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
