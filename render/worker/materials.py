"""Materials of surfaces: a scene's `Material` as Cycles shader nodes; patterns are computed, nothing is fetched."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

Value = Any
"""A number, a tuple, or the output of another node."""
Inputs = dict[Any, Value]
"""Values of a node's inputs, by name or number."""
SUBSTANCES: dict[str, Inputs] = {
    "metal": {"Metallic": 1.0},
    "glass": {"Transmission Weight": 1.0, "IOR": 1.45},
    "tiles": {"Coat Weight": 0.3, "Coat Roughness": 0.05},
}
"""Inputs of the surfaces that are not plain paint, by kind of look."""


def linear(colour: tuple[float, float, float] | list[float]) -> tuple[float, float, float, float]:
    """Convert a display-space colour (sRGB, 0 to 1) to linear light, opaque."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in colour
    )
    return red, green, blue, 1.0


class Nodes:
    """Builder of one node tree: shader nodes written as expressions."""

    def __init__(self, tree: Any, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        self.tree = tree
        self._shift = shift
        tree.nodes.clear()

    def position(self) -> Any:
        """Position of a point of the object in metres, moved by the tree's shift."""
        return self.vector("ADD", self.add("ShaderNodeTexCoord").outputs["Object"], self._shift)

    def add(self, kind: str, inputs: Inputs | None = None, **settings: Any) -> Any:
        """Add a node of Blender's type `kind` with these inputs and settings; an input that is None keeps its value."""
        node = self.tree.nodes.new(kind)
        for name, setting in settings.items():
            setattr(node, name, setting)
        for key, value in (inputs or {}).items():
            socket = node.inputs[key]
            if hasattr(value, "is_output"):
                self.tree.links.new(value, socket)
            elif value is not None:
                # A vector takes of a colour what is not its opacity.
                socket.default_value = tuple(value)[:3] if socket.type == "VECTOR" else value
        return node

    def math(self, operation: str, first: Value, second: Value = 0.0, clamp: bool = False) -> Any:
        """Arithmetic on numbers: ADD, MULTIPLY, POWER, ..."""
        return self.add("ShaderNodeMath", {0: first, 1: second}, operation=operation, use_clamp=clamp).outputs[0]

    def vector(self, operation: str, first: Value, second: Value = (0.0, 0.0, 0.0)) -> Any:
        """Arithmetic on vectors."""
        node = self.add("ShaderNodeVectorMath", {0: first, 1: second}, operation=operation)
        return node.outputs["Value" if operation == "DOT_PRODUCT" else "Vector"]

    def mix(self, share: Value, first: Value, second: Value) -> Any:
        """Mix two colours, `share` of the second."""
        sockets = {0: share, 6: first, 7: second}
        return self.add("ShaderNodeMix", sockets, data_type="RGBA", clamp_factor=True).outputs[2]

    def between(self, share: Value, first: Value, second: Value) -> Any:
        """Interpolate between two numbers, `share` of the second."""
        sockets = {0: share, 2: first, 3: second}
        return self.add("ShaderNodeMix", sockets, data_type="FLOAT", clamp_factor=True).outputs[0]

    def step(self, value: Value, low: float, high: float) -> Any:
        """Smooth step: 0 below `low`, 1 above `high`."""
        sockets = {"Value": value, "From Min": low, "From Max": high}
        return self.add("ShaderNodeMapRange", sockets, interpolation_type="SMOOTHSTEP").outputs[0]

    def noise(self, position: Value, size_m: float, detail: float = 3.0, rough: float = 0.5) -> Any:
        """Fractal noise around 0.5 whose largest features are `size_m` wide."""
        sockets = {"Vector": position, "Scale": 1 / size_m, "Detail": detail, "Roughness": rough}
        return self.add("ShaderNodeTexNoise", sockets).outputs[0]

    def shade(self, colour: Value, value: Value) -> Any:
        """Multiply a colour or a vector by a number."""
        return self.add("ShaderNodeVectorMath", {0: colour, "Scale": value}, operation="SCALE").outputs[0]

    def bump(self, height: Value, distance_m: float, strength: Value = 1.0, normal: Value = None) -> Any:
        """Raise a normal (None: the surface's own) by a height of 0 to 1 times a distance; without height, keep it."""
        if height is None:
            return normal
        sockets = {"Height": height, "Distance": distance_m, "Strength": strength, "Normal": normal}
        return self.add("ShaderNodeBump", sockets).outputs[0]

    def principled(self, inputs: Inputs) -> Any:
        """Shade with Blender's general surface."""
        return self.add("ShaderNodeBsdfPrincipled", inputs).outputs[0]


def new_material(name: str, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> tuple[Any, Nodes]:
    """Make a material without nodes, and the builder that adds them."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    return material, Nodes(material.node_tree, shift)


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Colour, roughness and relief of a pattern, as node outputs or constants."""

    colour: Value
    roughness: Value
    height: Value = None
    """0 to 1, or none for a smooth surface."""
    relief_m: float = 0.0
    """Relief at height 1."""


def surface(look: dict[str, Any]) -> Any:
    """Return the material of a body or wall; equal looks share one."""
    name = f"look {json.dumps(look, sort_keys=True)}"
    for existing in bpy.data.materials:
        if existing.get("look") == name:
            return existing
    material, nodes = new_material(look["kind"])
    material["look"] = name
    paint = pattern(nodes, look, flat=False)
    inputs = {
        "Base Color": paint.colour,
        "Roughness": paint.roughness,
        "Normal": nodes.bump(paint.height, paint.relief_m),
        **SUBSTANCES.get(look["kind"], {}),
    }
    if look["emission"] > 0:
        inputs |= {"Emission Color": paint.colour, "Emission Strength": look["emission"]}
    nodes.add("ShaderNodeOutputMaterial", {"Surface": nodes.principled(inputs)})
    return material


def pattern(nodes: Nodes, look: dict[str, Any], flat: bool) -> Pattern:
    """Make the nodes of a look. On flat ground a pattern lies in the plane; bodies are wrapped in it from all sides."""
    if look["kind"] not in PATTERNS:
        return Pattern(colour=linear(look["colour"]), roughness=look["roughness"])
    position = nodes.position()
    return PATTERNS[look["kind"]](nodes, look, position, position if flat else _wrapped_uv(nodes, position))


def _wrapped_uv(nodes: Nodes, position: Value) -> Any:
    """Coordinates u, v in metres on the side that a point faces: x-y from above, y-z and x-z from the sides."""
    facing = nodes.vector("ABSOLUTE", nodes.add("ShaderNodeTexCoord").outputs["Normal"])
    side = nodes.add("ShaderNodeSeparateXYZ", {0: facing})
    x, y, z = nodes.add("ShaderNodeSeparateXYZ", {0: position}).outputs
    above = nodes.math("GREATER_THAN", side.outputs[2], 0.7)
    across = nodes.math("GREATER_THAN", side.outputs[0], side.outputs[1])
    first = nodes.between(nodes.math("MULTIPLY", across, nodes.math("SUBTRACT", 1.0, above)), x, y)
    second = nodes.between(above, z, y)
    return nodes.add("ShaderNodeCombineXYZ", {0: first, 1: second, 2: 0.0}).outputs[0]


def _checker(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    cell = look["scale_m"] / 2
    middle = nodes.vector("ADD", uv, (0.0, 0.0, cell / 2))
    cells = nodes.add("ShaderNodeTexChecker", {"Vector": middle, "Scale": 1 / cell}).outputs["Fac"]
    return Pattern(colour=_two(nodes, look, cells), roughness=look["roughness"])


def _stripes(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    along = nodes.math("DIVIDE", nodes.vector("DOT_PRODUCT", uv, (0.8, 0.6, 0.0)), look["scale_m"])
    wave = nodes.math("PINGPONG", along, 0.5)
    return Pattern(colour=_two(nodes, look, nodes.step(wave, 0.23, 0.27)), roughness=look["roughness"])


def _noise(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    size = look["scale_m"]
    broad = nodes.noise(position, size * 6, detail=1)
    fine = nodes.noise(position, size, detail=4, rough=0.65)
    relief = nodes.noise(position, size * 0.5, detail=2, rough=0.65)
    share = nodes.step(nodes.between(0.35, fine, broad), 0.36, 0.64)
    return Pattern(colour=_two(nodes, look, share), roughness=look["roughness"], height=relief, relief_m=0.04 * size)


def _bricks(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    """Bricks or tiles: shift of every second row, height and joint are shares of a brick's width."""
    shift, row, joint = (0.5, 0.30, 0.045) if look["kind"] == "bricks" else (0.0, 1.0, 0.02)
    first = linear(look["colour"])
    second = nodes.shade(first, 0.72)
    units = nodes.shade(uv, 1 / look["scale_m"])
    wall = nodes.add(
        "ShaderNodeTexBrick",
        {
            "Vector": units, "Color1": first, "Color2": second, "Mortar": linear(look["second"]), "Scale": 1.0,
            "Mortar Size": joint * 0.5, "Mortar Smooth": 0.15, "Bias": 0.0, "Brick Width": 1.0, "Row Height": row,
        },
        offset=shift,
    )  # fmt: skip
    stain = nodes.noise(uv, look["scale_m"] * 0.6, detail=6, rough=0.6)
    colour = nodes.shade(wall.outputs["Color"], nodes.between(stain, 0.8, 1.2))
    rough = nodes.between(wall.outputs["Fac"], look["roughness"], min(1.0, look["roughness"] + 0.3))
    height = nodes.math("SUBTRACT", 1.0, wall.outputs["Fac"])
    return Pattern(colour=colour, roughness=rough, height=height, relief_m=0.03 * look["scale_m"])


def _wood(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    """Boards, each with a grain of its own that runs along it."""
    size = look["scale_m"]
    axes = nodes.add("ShaderNodeSeparateXYZ", {0: uv})
    board = nodes.math("DIVIDE", axes.outputs[1], size * 0.5)
    number, across = nodes.math("FLOOR", board), nodes.math("FRACT", board)
    board_value = nodes.add("ShaderNodeTexWhiteNoise", {"W": number}, noise_dimensions="1D").outputs["Value"]
    along = nodes.math("ADD", nodes.math("MULTIPLY", axes.outputs[0], 0.12), nodes.math("MULTIPLY", board_value, 37.0))
    fibre = nodes.add("ShaderNodeCombineXYZ", {0: along, 1: axes.outputs[1], 2: board_value}).outputs[0]
    grain = nodes.noise(fibre, size * 0.12, 5, 0.6)
    rings = nodes.math("PINGPONG", nodes.math("MULTIPLY", grain, 6.0), 1.0)
    dark = nodes.math("MULTIPLY", board_value, 0.35)
    share = nodes.math("ADD", nodes.math("MULTIPLY", rings, 0.55), dark, clamp=True)
    joint = nodes.step(nodes.math("PINGPONG", across, 0.5), 0.0, 0.035)
    colour = nodes.shade(_two(nodes, look, share), nodes.between(joint, 0.25, 1.0))
    return Pattern(colour=colour, roughness=look["roughness"], height=joint, relief_m=0.01 * size)


def _marble(nodes: Nodes, look: dict[str, Any], position: Value, uv: Value) -> Pattern:
    """Thin veins where a bent noise crosses its middle, in soft clouds."""
    size = look["scale_m"]
    bend = nodes.add("ShaderNodeTexNoise", {"Vector": position, "Scale": 1.5 / size, "Detail": 4.0}).outputs["Color"]
    bent = nodes.vector("ADD", position, nodes.shade(bend, size * 0.8))
    vein = nodes.math("ABSOLUTE", nodes.math("SUBTRACT", nodes.noise(bent, size, 3, 0.55), 0.5))
    sharp = nodes.math("SUBTRACT", 1.0, nodes.step(vein, 0.0, 0.05))
    cloud = nodes.step(nodes.noise(position, size * 1.7, 5), 0.35, 0.75)
    share = nodes.math("MAXIMUM", nodes.math("MULTIPLY", sharp, 0.85), nodes.math("MULTIPLY", cloud, 0.3))
    return Pattern(colour=_two(nodes, look, share), roughness=look["roughness"])


def _two(nodes: Nodes, look: dict[str, Any], share: Value) -> Any:
    return nodes.mix(share, linear(look["colour"]), linear(look["second"]))


PATTERNS: dict[str, Callable[[Nodes, dict[str, Any], Value, Value], Pattern]] = {
    "checker": _checker,
    "stripes": _stripes,
    "noise": _noise,
    "bricks": _bricks,
    "tiles": _bricks,
    "wood": _wood,
    "marble": _marble,
}
