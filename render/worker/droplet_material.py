"""What water and mud in the air look like."""

from typing import Any

import bpy

from .nodes import Nodes, linear


def material(name: str, entry: dict[str, Any], tear_m: float | None) -> Any:
    """Water: what is behind shines through, the rim mirrors the sky; mud: dull. Unbent rays keep it cheap.

    Args:
        name: Of the material.
        entry: Its `colour` and how `clear` it is.
        tear_m: Size of the holes that open where the attribute "cover" falls; None: all of it thins out evenly.
    """
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes = Nodes(made.node_tree)
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
    seen = nodes.between(facing, 1 - 0.5 * clear, 1.0)  # all of the rim is seen, less of the middle
    if tear_m is not None:
        cover = _torn(nodes, cover, tear_m)
    through = nodes.add("ShaderNodeBsdfTransparent")
    mixed = nodes.add("ShaderNodeMixShader", {0: nodes.math("MULTIPLY", seen, cover)})
    nodes.put(mixed.inputs[1], through.outputs[0])
    nodes.put(mixed.inputs[2], body.outputs[0])
    nodes.put(nodes.add("ShaderNodeOutputMaterial").inputs["Surface"], mixed.outputs[0])
    return made


def _torn(nodes: Nodes, cover: Any, tear_m: float) -> Any:
    """Whole where the cover is, streaked and full of holes where it falls; the holes move with the water."""
    skin = nodes.add("ShaderNodeAttribute", attribute_name="skin").outputs["Vector"]
    holes = nodes.noise(skin, tear_m, detail=4.0, rough=0.65)
    edge = nodes.between(cover, 0.85, 0.18)
    open_to = nodes.math("SUBTRACT", holes, edge)
    torn = nodes.math("MULTIPLY", open_to, 7.0, clamp=True)
    return nodes.math("MULTIPLY", torn, nodes.math("MULTIPLY", cover, 1.3, clamp=True))
