"""What surfaces look like: a Look of the scene as a shader; patterns are computed, nothing is fetched."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from .nodes import Nodes, Value, linear

__all__ = ["Pattern", "linear", "pattern", "surface"]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What a pattern gives at a point."""

    colour: Value
    roughness: Value
    height: Value = None
    """0 to 1, or none for a smooth surface."""
    relief_m: float = 0.0
    """How far the height reaches."""


def surface(look: dict[str, Any]) -> Any:
    """The material of a body or wall; equal looks share one."""
    name = f"look {json.dumps(look, sort_keys=True)}"
    for known in bpy.data.materials:
        if known.get("look") == name:
            return known
    material = bpy.data.materials.new(look["kind"])
    material["look"] = name
    material.use_nodes = True
    nodes = Nodes(material.node_tree)
    given = pattern(nodes, look, flat=False)
    inputs: dict[str | int, Value] = {"Base Color": given.colour, "Roughness": given.roughness, **_substance(look)}
    if look["emission"] > 0:
        inputs |= {"Emission Color": given.colour, "Emission Strength": look["emission"]}
    if given.height is not None:
        bump = nodes.add("ShaderNodeBump", {"Height": given.height, "Distance": given.relief_m, "Strength": 1.0})
        inputs["Normal"] = bump.outputs[0]
    shader = nodes.add("ShaderNodeBsdfPrincipled", inputs)
    nodes.add("ShaderNodeOutputMaterial", {"Surface": shader.outputs[0]})
    return material


def _substance(look: dict[str, Any]) -> dict[str | int, Value]:
    if look["kind"] == "metal":
        return {"Metallic": 1.0}
    if look["kind"] == "glass":
        return {"Transmission Weight": 1.0, "IOR": 1.45}
    if look["kind"] == "tiles":
        return {"Coat Weight": 0.3, "Coat Roughness": 0.05}
    return {}


def pattern(nodes: Nodes, look: dict[str, Any], flat: bool) -> Pattern:
    """The nodes of a look. On flat ground a pattern lies in the plane; bodies are wrapped in it from all sides."""
    place = nodes.place()
    sheet = place if flat else _wrapped(nodes, place)
    draw = PATTERNS.get(look["kind"], _plain)
    return draw(nodes, look, place, sheet)


def _wrapped(nodes: Nodes, place: Value) -> Any:
    """Two coordinates in metres on the side that a point faces: x-y from above, y-z and x-z from the sides."""
    facing = nodes.vector("ABSOLUTE", nodes.add("ShaderNodeTexCoord").outputs["Normal"])
    side = nodes.add("ShaderNodeSeparateXYZ", {0: facing})
    axes = nodes.add("ShaderNodeSeparateXYZ", {0: place})
    x, y, z = axes.outputs
    above = nodes.math("GREATER_THAN", side.outputs[2], 0.7)
    across = nodes.math("MULTIPLY", nodes.math("GREATER_THAN", side.outputs[0], side.outputs[1]), 1.0)
    first = nodes.between(nodes.math("MULTIPLY", across, nodes.math("SUBTRACT", 1.0, above)), x, y)
    second = nodes.between(above, z, y)
    return nodes.add("ShaderNodeCombineXYZ", {0: first, 1: second, 2: 0.0}).outputs[0]


def _plain(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    return Pattern(colour=linear(look["colour"]), roughness=look["roughness"])


def _checker(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    cell = look["scale_m"] / 2
    middle = nodes.vector("ADD", sheet, (0.0, 0.0, cell / 2))
    cells = nodes.add("ShaderNodeTexChecker", {"Vector": middle, "Scale": 1 / cell}).outputs["Fac"]
    return Pattern(colour=_two(nodes, look, cells), roughness=look["roughness"])


def _stripes(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    along = nodes.math("DIVIDE", nodes.vector("DOT_PRODUCT", sheet, (0.8, 0.6, 0.0)), look["scale_m"])
    wave = nodes.math("PINGPONG", along, 0.5)
    return Pattern(colour=_two(nodes, look, nodes.step(wave, 0.23, 0.27)), roughness=look["roughness"])


def _noise(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    size = look["scale_m"]
    broad = nodes.noise(place, size * 6, detail=1)
    fine = nodes.noise(place, size, detail=4, rough=0.65)
    relief = nodes.noise(place, size * 0.5, detail=2, rough=0.65)
    share = nodes.step(nodes.between(0.35, fine, broad), 0.36, 0.64)
    return Pattern(colour=_two(nodes, look, share), roughness=look["roughness"], height=relief, relief_m=0.04 * size)


def _bricks(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    return _laid(nodes, look, sheet, (0.5, 0.30, 0.045))


def _tiles(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    return _laid(nodes, look, sheet, (0.0, 1.0, 0.02))


def _laid(nodes: Nodes, look: dict[str, Any], sheet: Value, laying: tuple[float, float, float]) -> Pattern:
    """Bricks or tiles: how far rows are shifted, their height, the joint, as shares of a brick's width."""
    shift, row, joint = laying
    first = linear(look["colour"])
    other = nodes.shade(first, 0.72)
    units = nodes.vector("SCALE", sheet)
    nodes.put(units.node.inputs["Scale"], 1 / look["scale_m"])
    wall = nodes.add(
        "ShaderNodeTexBrick",
        {
            "Vector": units, "Color1": first, "Color2": other, "Mortar": linear(look["second"]), "Scale": 1.0,
            "Mortar Size": joint * 0.5, "Mortar Smooth": 0.15, "Bias": 0.0, "Brick Width": 1.0, "Row Height": row,
        },
        offset=shift,
    )  # fmt: skip
    stain = nodes.noise(sheet, look["scale_m"] * 0.6, detail=6, rough=0.6)
    colour = nodes.shade(wall.outputs["Color"], nodes.between(stain, 0.8, 1.2))
    rough = nodes.between(wall.outputs["Fac"], look["roughness"], min(1.0, look["roughness"] + 0.3))
    height = nodes.math("SUBTRACT", 1.0, wall.outputs["Fac"])
    return Pattern(colour=colour, roughness=rough, height=height, relief_m=0.03 * look["scale_m"])


def _wood(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    """Boards, each with a grain of its own that runs along it."""
    size = look["scale_m"]
    axes = nodes.add("ShaderNodeSeparateXYZ", {0: sheet})
    board = nodes.math("DIVIDE", axes.outputs[1], size * 0.5)
    number, across = nodes.math("FLOOR", board), nodes.math("FRACT", board)
    own = nodes.add("ShaderNodeTexWhiteNoise", {"W": number}, noise_dimensions="1D").outputs["Value"]
    along = nodes.math("ADD", nodes.math("MULTIPLY", axes.outputs[0], 0.12), nodes.math("MULTIPLY", own, 37.0))
    grain = nodes.noise(
        nodes.add("ShaderNodeCombineXYZ", {0: along, 1: axes.outputs[1], 2: own}).outputs[0], size * 0.12, 5, 0.6
    )
    rings = nodes.math("PINGPONG", nodes.math("MULTIPLY", grain, 6.0), 1.0)
    share = nodes.math("ADD", nodes.math("MULTIPLY", rings, 0.55), nodes.math("MULTIPLY", own, 0.35), clamp=True)
    joint = nodes.step(nodes.math("PINGPONG", across, 0.5), 0.0, 0.035)
    colour = nodes.shade(_two(nodes, look, share), nodes.between(joint, 0.25, 1.0))
    return Pattern(colour=colour, roughness=look["roughness"], height=joint, relief_m=0.01 * size)


def _marble(nodes: Nodes, look: dict[str, Any], place: Value, sheet: Value) -> Pattern:
    """Thin veins where a bent noise crosses its middle, in soft clouds."""
    size = look["scale_m"]
    bend = nodes.add("ShaderNodeTexNoise", {"Vector": place, "Scale": 1.5 / size, "Detail": 4.0}).outputs["Color"]
    bent = nodes.vector("ADD", place, nodes.shade(bend, size * 0.8))
    vein = nodes.math("ABSOLUTE", nodes.math("SUBTRACT", nodes.noise(bent, size, 3, 0.55), 0.5))
    sharp = nodes.math("SUBTRACT", 1.0, nodes.step(vein, 0.0, 0.05))
    cloud = nodes.step(nodes.noise(place, size * 1.7, 5), 0.35, 0.75)
    share = nodes.math("MAXIMUM", nodes.math("MULTIPLY", sharp, 0.85), nodes.math("MULTIPLY", cloud, 0.3))
    return Pattern(colour=_two(nodes, look, share), roughness=look["roughness"])


def _two(nodes: Nodes, look: dict[str, Any], share: Value) -> Any:
    return nodes.mix(share, linear(look["colour"]), linear(look["second"]))


PATTERNS: dict[str, Callable[[Nodes, dict[str, Any], Value, Value], Pattern]] = {
    "checker": _checker,
    "stripes": _stripes,
    "noise": _noise,
    "bricks": _bricks,
    "tiles": _tiles,
    "wood": _wood,
    "marble": _marble,
}
