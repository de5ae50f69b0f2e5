"""Materials of ground and water: a pattern, and what wetness makes of it."""

from collections.abc import Callable
from typing import Any

import bpy

from .materials import Nodes, Pattern, Value, linear, pattern

MATT = 0.8
"""Roughness from which dry ground has no sheen."""


def build(entry: dict[str, Any], seed: int) -> Any:
    """Make the material of a ground; its coordinates are metres, with an origin of its own for every seed."""
    material = bpy.data.materials.new(f"ground {entry['kind']}")
    material.use_nodes = True
    shift = tuple((seed % 1009 * share) % 1.0 * 300 - 150 for share in (0.6180339887, 0.7548776662))
    nodes = Nodes(material.node_tree, (shift[0], shift[1], 0.0))
    shader = KINDS[entry["kind"]](nodes, entry)
    nodes.add("ShaderNodeOutputMaterial", {"Surface": shader})
    return material


def _shader(nodes: Nodes, inputs: dict[str | int, Value]) -> Any:
    return nodes.add("ShaderNodeBsdfPrincipled", inputs).outputs[0]


def _normal(nodes: Nodes, entry: dict[str, Any], look: Pattern, share: Value = 1.0) -> Any:
    """Unevenness of the ground as it catches light: the pattern's own relief and `bumps_m`, less where `share` is."""
    base: dict[str | int, Value] = {}
    if look.height is not None:
        relief = nodes.add("ShaderNodeBump", {"Height": look.height, "Distance": look.relief_m, "Strength": share})
        base = {"Normal": relief.outputs[0]}
    bumps = entry["bumps_m"]
    if bumps <= 0:
        return base["Normal"] if base else None
    height = nodes.noise(nodes.position(), max(0.25, bumps * 10), detail=3, rough=0.6)
    return nodes.add("ShaderNodeBump", {"Height": height, "Distance": bumps * 2, "Strength": share, **base}).outputs[0]


def _with_normal(inputs: dict[str | int, Value], normal: Value) -> dict[str | int, Value]:
    return inputs if normal is None else {**inputs, "Normal": normal}


def _dry(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Dry ground; matt ground has no sheen, which nobody would see and which costs a tenth of a picture's time."""
    look = pattern(nodes, entry["look"], flat=True)
    if entry["look"]["roughness"] >= MATT:
        matt = _with_normal({"Color": look.colour}, _normal(nodes, entry, look))
        return nodes.add("ShaderNodeBsdfDiffuse", matt).outputs[0]
    inputs: dict[str | int, Value] = {
        "Base Color": look.colour, "Roughness": look.roughness, "Specular IOR Level": 0.3,
    }  # fmt: skip
    return _shader(nodes, _with_normal(inputs, _normal(nodes, entry, look)))


def _wet(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Wet ground: darker, under a film of water that is thicker here and thinner there."""
    look = pattern(nodes, entry["look"], flat=True)
    film = nodes.step(nodes.noise(nodes.position(), 1.4, detail=4, rough=0.55), 0.35, 0.62)
    inputs: dict[str | int, Value] = {
        "Base Color": nodes.shade(look.colour, nodes.between(film, 0.55, 0.36)),
        "Roughness": nodes.between(film, 0.38, 0.14),
        "Specular IOR Level": 0.7,
    }
    return _shader(nodes, _with_normal(inputs, _normal(nodes, entry, look, nodes.between(film, 0.5, 0.12))))


def _puddles(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Standing water in hollows, a damp rim around it, dry elsewhere."""
    look = pattern(nodes, entry["look"], flat=True)
    hollow = nodes.noise(nodes.position(), 2.6, detail=3.5, rough=0.45)
    water, damp = nodes.step(hollow, 0.545, 0.558), nodes.step(hollow, 0.49, 0.545)
    soaked = nodes.shade(look.colour, nodes.between(damp, 1.0, 0.5))
    inputs: dict[str | int, Value] = {
        "Base Color": nodes.mix(water, soaked, nodes.shade(look.colour, 0.22)),
        "Roughness": nodes.between(water, nodes.between(damp, entry["look"]["roughness"], 0.4), 0.02),
        "Specular IOR Level": nodes.between(water, 0.35, 0.9),
    }
    return _shader(nodes, _with_normal(inputs, _normal(nodes, entry, look, nodes.between(water, 1.0, 0.0))))


def _glossy(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """A polished floor: its pattern under a thin clear coat."""
    look = pattern(nodes, entry["look"], flat=True)
    scuffs = nodes.noise(nodes.position(), 0.9, detail=5, rough=0.6)
    inputs: dict[str | int, Value] = {
        "Base Color": look.colour, "Roughness": nodes.between(scuffs, 0.03, 0.10),
        "IOR": 1.8, "Specular IOR Level": 1.0,
    }  # fmt: skip
    return _shader(nodes, _with_normal(inputs, _normal(nodes, entry, look, 0.05)))


def _water(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """A lake: a mirror that is deep in colour when looked into; waves and foam come with a mesh of their own."""
    look = entry["look"]
    normal = _ruffled(nodes, entry["bumps_m"])
    water: dict[str | int, Value] = {
        "Base Color": nodes.shade(linear(look["colour"]), 0.5), "Roughness": 0.03, "IOR": 1.33,
        "Specular IOR Level": 0.6,
    }  # fmt: skip
    clear = _shader(nodes, _with_normal(water, normal))
    foam = nodes.add("ShaderNodeAttribute", attribute_name="foam").outputs["Fac"]
    flecks = nodes.noise(nodes.position(), 0.12, detail=6, rough=0.7)
    share = nodes.step(nodes.math("ADD", foam, nodes.math("SUBTRACT", flecks, 0.5)), 0.25, 0.75)
    white = _shader(nodes, {"Base Color": (0.85, 0.88, 0.9, 1.0), "Roughness": 0.8})
    mixed = nodes.add("ShaderNodeMixShader", {0: nodes.math("MULTIPLY", share, nodes.step(foam, 0.0, 0.1))})
    nodes.put(mixed.inputs[1], clear)
    nodes.put(mixed.inputs[2], white)
    return mixed.outputs[0]


def _ruffled(nodes: Nodes, bumps_m: float) -> Any:
    """The lake's own waves: two trains drawn out across the wind, and none at all when it is still."""
    if bumps_m <= 0:
        return None
    position, normal = nodes.position(), None
    for angle, length, share in ((0.4, max(0.5, bumps_m * 25), 1.0), (-0.5, max(0.15, bumps_m * 8), 0.35)):
        stretched = nodes.add(
            "ShaderNodeMapping", {"Vector": position, "Rotation": (0.0, 0.0, angle), "Scale": (1.0, 0.45, 1.0)}
        ).outputs[0]
        height = nodes.noise(stretched, length, detail=3, rough=0.5)
        inputs: dict[str | int, Value] = {"Height": height, "Distance": bumps_m * share, "Strength": 1.0}
        normal = nodes.add("ShaderNodeBump", _with_normal(inputs, normal)).outputs[0]
    return normal


KINDS: dict[str, Callable[[Nodes, dict[str, Any]], Any]] = {
    "dry": _dry,
    "wet": _wet,
    "puddles": _puddles,
    "glossy": _glossy,
    "water": _water,
}
