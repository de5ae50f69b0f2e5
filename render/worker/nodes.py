"""Shader nodes written as expressions: a small vocabulary over Blender's node trees."""

from typing import Any

Value = Any
"""A number, a tuple, or the output of another node."""


def linear(colour: tuple[float, float, float] | list[float]) -> tuple[float, float, float, float]:
    """A display-space colour (sRGB, 0 to 1) in linear light, opaque."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in colour
    )
    return red, green, blue, 1.0


class Nodes:
    """Builds one node tree from nothing."""

    def __init__(self, tree: Any, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        self.tree = tree
        self._shift = shift
        tree.nodes.clear()

    def place(self) -> Any:
        """Where a point of the object is, in metres, moved by the tree's shift."""
        return self.vector("ADD", self.add("ShaderNodeTexCoord").outputs["Object"], self._shift)

    def add(self, kind: str, inputs: dict[str | int, Value] | None = None, **settings: Any) -> Any:
        """A node of Blender's type `kind`, its settings and inputs given."""
        node = self.tree.nodes.new(kind)
        for name, setting in settings.items():
            setattr(node, name, setting)
        for socket, value in (inputs or {}).items():
            self.put(node.inputs[socket], value)
        return node

    def put(self, socket: Any, value: Value) -> None:
        """Link or set an input."""
        if hasattr(value, "is_output"):
            self.tree.links.new(value, socket)
        elif socket.type == "VECTOR":
            socket.default_value = tuple(value)[:3]  # of a colour, what is not its opacity
        else:
            socket.default_value = value

    def math(self, operation: str, first: Value, second: Value = 0.0, clamp: bool = False) -> Any:
        """Arithmetic on numbers: ADD, MULTIPLY, POWER, ..."""
        node = self.add("ShaderNodeMath", {0: first, 1: second}, operation=operation, use_clamp=clamp)
        return node.outputs[0]

    def vector(self, operation: str, first: Value, second: Value = (0.0, 0.0, 0.0)) -> Any:
        """Arithmetic on vectors."""
        node = self.add("ShaderNodeVectorMath", {0: first, 1: second}, operation=operation)
        return node.outputs["Value" if operation in ("DOT_PRODUCT", "LENGTH", "DISTANCE") else "Vector"]

    def mix(self, share: Value, first: Value, second: Value) -> Any:
        """Between two colours, `share` of the second."""
        node = self.add("ShaderNodeMix", data_type="RGBA", clamp_factor=True)
        for socket, value in zip((node.inputs[0], node.inputs[6], node.inputs[7]), (share, first, second), strict=True):
            self.put(socket, value)
        return node.outputs[2]

    def between(self, share: Value, first: Value, second: Value) -> Any:
        """Between two numbers, `share` of the second."""
        node = self.add("ShaderNodeMix", {0: share, 2: first, 3: second}, data_type="FLOAT", clamp_factor=True)
        return node.outputs[0]

    def step(self, value: Value, low: float, high: float) -> Any:
        """A smooth step: 0 below `low`, 1 above `high`."""
        node = self.add(
            "ShaderNodeMapRange", {"Value": value, "From Min": low, "From Max": high}, interpolation_type="SMOOTHSTEP"
        )
        return node.outputs[0]

    def noise(self, place: Value, size_m: float, detail: float = 3.0, rough: float = 0.5) -> Any:
        """Fractal noise around 0.5 whose largest features are `size_m` wide."""
        node = self.add(
            "ShaderNodeTexNoise", {"Vector": place, "Scale": 1 / size_m, "Detail": detail, "Roughness": rough}
        )
        return node.outputs[0]

    def shade(self, colour: Value, value: Value) -> Any:
        """A colour times a number."""
        node = self.add("ShaderNodeVectorMath", {0: colour}, operation="SCALE")
        self.put(node.inputs["Scale"], value)
        return node.outputs[0]
