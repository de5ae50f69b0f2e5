"""Light from everywhere: a plain colour, a gradient, or a picture all around."""

import math
from pathlib import Path
from typing import Any

import bpy

from .events import Refused
from .nodes import Nodes, linear

BUNDLED = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")


def build(given: dict[str, Any]) -> None:
    """Make the scene's world.

    Raises:
        Refused: the picture of the sky is missing or broken.
    """
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes = Nodes(world.node_tree)
    if given["kind"] == "hdri":
        colour = _picture(nodes, given)
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 512
    else:
        colour = linear(given["colour"]) if given["kind"] == "plain" else _gradient(nodes, given)
        world.cycles.sampling_method = "NONE"  # smooth: no direction is worth more rays than another
    light = nodes.add("ShaderNodeBackground", {"Color": colour, "Strength": given["strength"]})
    nodes.add("ShaderNodeOutputWorld", {"Surface": light.outputs[0]})


def _gradient(nodes: Nodes, given: dict[str, Any]) -> Any:
    """From the horizon up to the zenith, quickly at first; below the horizon it stays."""
    direction = nodes.add("ShaderNodeTexCoord").outputs["Generated"]
    height = nodes.add("ShaderNodeSeparateXYZ", {0: direction}).outputs["Z"]
    share = nodes.math("POWER", nodes.math("MAXIMUM", height, 0.0), 0.6, clamp=True)
    return nodes.mix(share, linear(given["colour"]), linear(given["zenith"]))


def _picture(nodes: Nodes, given: dict[str, Any]) -> Any:
    direction = nodes.add("ShaderNodeTexCoord").outputs["Generated"]
    turned = nodes.add(
        "ShaderNodeMapping", {"Vector": direction, "Rotation": (0.0, 0.0, math.radians(given["turned_deg"]))}
    )
    image = nodes.add("ShaderNodeTexEnvironment", {"Vector": turned.outputs[0]}, image=_image(given["hdri"]))
    return image.outputs["Color"]


def _image(name: str) -> Any:
    path = Path(name)
    if name in BUNDLED:
        path = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world" / f"{name}.exr"
    if not path.is_file():
        raise Refused(f"{path}: the sky's picture is not there; name a file or one of {', '.join(BUNDLED)}")
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError:
        image = None
    if image is None or not image.size[0]:
        raise Refused(f"{path}: cannot be read as a picture; give an .exr or .hdr with the sky all around")
    return image
