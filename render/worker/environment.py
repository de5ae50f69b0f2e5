"""Surroundings of the action: sky, camera, sun, walls, and the ground: a pattern, and what wetness makes of it."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .events import Refused
from .materials import Nodes, Pattern, Value, linear, new_material, pattern, surface
from .meshes import add_mesh, add_object

FAR_M = 4000.0
"""Half the ground's width: its edge lies within a pixel of the horizon."""
BUNDLED = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""Panoramas that come with Blender."""
MATT = 0.8
"""Roughness from which dry ground has no sheen."""


class Environment:
    """Camera, sun and ground, as far as frames and variants change them."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Make the surroundings of a plan.

        Raises:
            Refused: the sky's panorama is missing or broken.
        """
        _build_sky(plan["sky"])
        lens, camera, sun = bpy.data.cameras.new("camera"), plan["camera"], plan["sun"]
        lens.sensor_fit = "HORIZONTAL"
        lens.lens, lens.sensor_width = camera["focal_mm"], camera.get("sensor_mm", 36)
        lens.clip_start, lens.clip_end = 0.01, 4 * FAR_M
        self.camera = bpy.context.scene.camera = add_object("camera", lens)
        self._camera_poses = [Matrix(np.reshape(values, (4, 4))) for values in camera["matrices"]]
        self._light, self._softness_deg = bpy.data.lights.new("sun", "SUN"), sun["softness_deg"]
        self._light.energy = sun["strength"]
        self._light.color = linear(sun["colour"])[:3]
        up, around = math.radians(sun["elevation_deg"]), math.radians(sun["azimuth_deg"])
        towards = Vector((math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up)))
        # A sun shines along its -z.
        add_object("sun", self._light).matrix_world = towards.to_track_quat("Z", "Y").to_matrix().to_4x4()
        corners = [(x * FAR_M, y * FAR_M, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        self.ground = add_mesh("ground", corners, [(0, 1, 2, 3)], _ground_material(plan["ground"], plan["seed"]))
        """The endless ground or calm water, one flat sheet at z = 0; a lake with waves hides it and fills the plane."""
        for wall in plan["walls"]:
            _build_wall(wall)

    def set_frame(self, frame: int, softness_deg: float | None) -> None:
        """Put the camera into its pose of that frame; give the sun the width that a variant asks for, or its own."""
        self.camera.matrix_world = self._camera_poses[min(frame, len(self._camera_poses) - 1)]
        self._light.angle = math.radians(self._softness_deg if softness_deg is None else softness_deg)


def _build_wall(entry: dict[str, Any]) -> None:
    """Make a slab, 20 cm thick; the lower middle of its front stands at the wall's position."""
    width, height = entry["width_m"], entry["height_m"]
    box = [(-0.2 * x, (y - 0.5) * width, z * height) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    at = Matrix.Translation((*entry["at"], 0))
    wall = add_mesh("wall", box, faces, surface(entry["look"]))
    wall.matrix_world = at @ Matrix.Rotation(math.radians(entry["heading_deg"]), 4, "Z")


def _build_sky(entry: dict[str, Any]) -> None:
    """Light from everywhere: a plain colour, a gradient from the horizon to the zenith, or a panorama."""
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes = Nodes(world.node_tree)
    world.cycles.sampling_method = "NONE"  # smooth: no direction is worth more rays than another
    direction = nodes.add("ShaderNodeTexCoord").outputs["Generated"] if entry["kind"] != "plain" else None
    if entry["kind"] == "hdri":
        rotation = (0.0, 0.0, math.radians(entry["turned_deg"]))
        mapping = nodes.add("ShaderNodeMapping", {"Vector": direction, "Rotation": rotation})
        image = _load_panorama(entry["hdri"])
        colour = nodes.add("ShaderNodeTexEnvironment", {"Vector": mapping.outputs[0]}, image=image).outputs["Color"]
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 512
    elif entry["kind"] == "gradient":  # quickly at first; below the horizon it stays
        height = nodes.add("ShaderNodeSeparateXYZ", {0: direction}).outputs["Z"]
        share = nodes.math("POWER", nodes.math("MAXIMUM", height, 0.0), 0.6, clamp=True)
        colour = nodes.mix(share, linear(entry["colour"]), linear(entry["zenith"]))
    else:
        colour = linear(entry["colour"])
    light = nodes.add("ShaderNodeBackground", {"Color": colour, "Strength": entry["strength"]})
    nodes.add("ShaderNodeOutputWorld", {"Surface": light.outputs[0]})


def _load_panorama(name: str) -> Any:
    path = Path(name)
    if name in BUNDLED:
        path = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world" / f"{name}.exr"
    if not path.is_file():
        raise Refused(f"{path}: the sky's picture is not there; name a file or one of {', '.join(BUNDLED)}")
    with contextlib.suppress(RuntimeError):
        image = bpy.data.images.load(str(path))
        if image.size[0]:
            return image
    raise Refused(f"{path}: cannot be read as a picture; give an .exr or .hdr with the sky all around")


def _ground_material(entry: dict[str, Any], seed: int) -> Any:
    """Make the material of a ground; its coordinates are metres, with an origin of its own for every seed."""
    x, y = ((seed % 1009 * share) % 1.0 * 300 - 150 for share in (0.6180339887, 0.7548776662))
    material, nodes = new_material(f"ground {entry['kind']}", (x, y, 0.0))
    nodes.add("ShaderNodeOutputMaterial", {"Surface": GROUNDS[entry["kind"]](nodes, entry)})
    return material


def _normal(nodes: Nodes, entry: dict[str, Any], look: Pattern, share: Value = 1.0) -> Any:
    """Unevenness of the ground as it catches light: the pattern's own relief and `bumps_m`, less where `share` is."""
    relief, bumps = nodes.bump(look.height, look.relief_m, share), entry["bumps_m"]
    if bumps <= 0:
        return relief
    height = nodes.noise(nodes.position(), max(0.25, bumps * 10), detail=3, rough=0.6)
    return nodes.bump(height, bumps * 2, share, relief)


def _dry(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Dry ground; matt ground has no sheen, which nobody would see and which costs a tenth of a picture's time."""
    look = pattern(nodes, entry["look"], flat=True)
    normal = _normal(nodes, entry, look)
    if entry["look"]["roughness"] >= MATT:
        return nodes.add("ShaderNodeBsdfDiffuse", {"Color": look.colour, "Normal": normal}).outputs[0]
    return nodes.principled(
        {"Base Color": look.colour, "Roughness": look.roughness, "Specular IOR Level": 0.3, "Normal": normal}
    )


def _wet(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Wet ground: darker, under a film of water that is thicker here and thinner there."""
    look = pattern(nodes, entry["look"], flat=True)
    film = nodes.step(nodes.noise(nodes.position(), 1.4, detail=4, rough=0.55), 0.35, 0.62)
    return nodes.principled(
        {
            "Base Color": nodes.shade(look.colour, nodes.between(film, 0.55, 0.36)),
            "Roughness": nodes.between(film, 0.38, 0.14),
            "Specular IOR Level": 0.7,
            "Normal": _normal(nodes, entry, look, nodes.between(film, 0.5, 0.12)),
        }
    )


def _puddles(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """Standing water in hollows, a damp rim around it, dry elsewhere."""
    look = pattern(nodes, entry["look"], flat=True)
    hollow = nodes.noise(nodes.position(), 2.6, detail=3.5, rough=0.45)
    water, damp = nodes.step(hollow, 0.545, 0.558), nodes.step(hollow, 0.49, 0.545)
    soaked = nodes.shade(look.colour, nodes.between(damp, 1.0, 0.5))
    return nodes.principled(
        {
            "Base Color": nodes.mix(water, soaked, nodes.shade(look.colour, 0.22)),
            "Roughness": nodes.between(water, nodes.between(damp, entry["look"]["roughness"], 0.4), 0.02),
            "Specular IOR Level": nodes.between(water, 0.35, 0.9),
            "Normal": _normal(nodes, entry, look, nodes.between(water, 1.0, 0.0)),
        }
    )


def _glossy(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """A polished floor: its pattern under a thin clear coat."""
    look = pattern(nodes, entry["look"], flat=True)
    rough = nodes.between(nodes.noise(nodes.position(), 0.9, detail=5, rough=0.6), 0.03, 0.10)
    coat = {"Roughness": rough, "IOR": 1.8, "Specular IOR Level": 1.0}
    return nodes.principled({"Base Color": look.colour, "Normal": _normal(nodes, entry, look, 0.05), **coat})


def _water(nodes: Nodes, entry: dict[str, Any]) -> Any:
    """A lake: a mirror that is deep in colour when looked into; the attribute "foam" (0 to 1) whitens it."""
    deep, normal = nodes.shade(linear(entry["look"]["colour"]), 0.5), _ruffled(nodes, entry["bumps_m"])
    mirror = {"Roughness": 0.03, "IOR": 1.33, "Specular IOR Level": 0.6}
    clear = nodes.principled({"Base Color": deep, "Normal": normal, **mirror})
    foam = nodes.add("ShaderNodeAttribute", attribute_name="foam").outputs["Fac"]
    flecks = nodes.noise(nodes.position(), 0.12, detail=6, rough=0.7)
    share = nodes.step(nodes.math("ADD", foam, nodes.math("SUBTRACT", flecks, 0.5)), 0.25, 0.75)
    white = nodes.principled({"Base Color": (0.85, 0.88, 0.9, 1.0), "Roughness": 0.8})
    share = nodes.math("MULTIPLY", share, nodes.step(foam, 0.0, 0.1))
    return nodes.add("ShaderNodeMixShader", {0: share, 1: clear, 2: white}).outputs[0]


def _ruffled(nodes: Nodes, bumps_m: float) -> Any:
    """The lake's own waves: two trains drawn out across the wind, and none at all when it is still."""
    normal = None
    trains = ((0.4, max(0.5, bumps_m * 25), 1.0), (-0.5, max(0.15, bumps_m * 8), 0.35))
    for angle, length, share in trains if bumps_m > 0 else ():
        turned = {"Vector": nodes.position(), "Rotation": (0.0, 0.0, angle), "Scale": (1.0, 0.45, 1.0)}
        height = nodes.noise(nodes.add("ShaderNodeMapping", turned).outputs[0], length, detail=3, rough=0.5)
        normal = nodes.bump(height, bumps_m * share, normal=normal)
    return normal


GROUNDS: dict[str, Callable[[Nodes, dict[str, Any]], Any]] = {
    "dry": _dry,
    "wet": _wet,
    "puddles": _puddles,
    "glossy": _glossy,
    "water": _water,
}
