"""Drops of water, mud or sand: points that Cycles draws as true balls."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Drops:
    """One cloud of points, moved for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put the balls where they are; False where there are none."""
        first = int(self.arrays["ends"][frame - 1]) if frame else 0
        points = self.arrays["points"][first : int(self.arrays["ends"][frame])]
        mesh = self.holder.data
        if len(mesh.vertices) != len(points):
            mesh.clear_geometry()
            mesh.vertices.add(len(points))
            mesh.attributes.new("held", "FLOAT", "POINT")
        if not len(points):
            return False
        mesh.vertices.foreach_set("co", np.ascontiguousarray(points[:, :3], np.float32).ravel())
        mesh.attributes["held"].data.foreach_set("value", np.ascontiguousarray(points[:, 3], np.float32))
        mesh.update()
        return True


def build(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Drops:
    """Make the object, still empty."""
    holder = bpy.data.objects.new(name, bpy.data.meshes.new(name))
    bpy.context.scene.collection.objects.link(holder)
    modifier = holder.modifiers.new(name, "NODES")
    modifier.node_group = _ball_nodes(name, _material(name, entry))
    return Drops(holder=holder, arrays=arrays)


def _ball_nodes(name: str, material: Any) -> Any:
    """Nodes that turn the mesh's points into balls of the radius they hold."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    given, result = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    held = group.nodes.new("GeometryNodeInputNamedAttribute")
    held.data_type = "FLOAT"
    held.inputs["Name"].default_value = "held"
    balls = group.nodes.new("GeometryNodeMeshToPoints")
    dressed = group.nodes.new("GeometryNodeSetMaterial")
    dressed.inputs["Material"].default_value = material
    group.links.new(given.outputs[0], balls.inputs["Mesh"])
    group.links.new(held.outputs["Attribute"], balls.inputs["Radius"])
    group.links.new(balls.outputs[0], dressed.inputs["Geometry"])
    group.links.new(dressed.outputs[0], result.inputs[0])
    return group


def _material(name: str, entry: dict[str, Any]) -> Any:
    """Water: what is behind shines through, the rim mirrors the sky; mud: dull. Unbent rays keep it cheap."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    linear = (*(channel**2.2 for channel in entry["colour"]), 1)
    output, mixed = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeMixShader")
    body, through = tree.nodes.new("ShaderNodeBsdfPrincipled"), tree.nodes.new("ShaderNodeBsdfTransparent")
    body.inputs["Base Color"].default_value = linear
    body.inputs["Roughness"].default_value = 0.05 + 0.6 * (1 - entry["clear"])
    body.inputs["Specular IOR Level"].default_value = 1.0 if entry["clear"] > 0.5 else 0.4
    facing = tree.nodes.new("ShaderNodeLayerWeight")
    facing.inputs["Blend"].default_value = 0.35
    seen = tree.nodes.new("ShaderNodeMapRange")  # all of the ball's rim is seen, little of its middle
    seen.inputs["To Min"].default_value = 1 - 0.5 * entry["clear"]
    seen.inputs["To Max"].default_value = 1.0
    tree.links.new(facing.outputs["Facing"], seen.inputs["Value"])
    tree.links.new(seen.outputs["Result"], mixed.inputs["Fac"])
    tree.links.new(through.outputs[0], mixed.inputs[1])
    tree.links.new(body.outputs[0], mixed.inputs[2])
    tree.links.new(mixed.outputs[0], output.inputs["Surface"])
    return material
