"""Surroundings of the action: sky, camera, sun, ground, walls."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from mathutils import Matrix, Vector

from . import grounds, materials
from .bodies import matrix
from .events import Refused
from .materials import Nodes, linear

FAR_M = 4000.0
"""Half the ground's width: its edge lies within a pixel of the horizon."""
BUNDLED = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""Panoramas that come with Blender."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The endless ground or calm water, one flat sheet at z = 0."""

    object: Any
    """Media that bring their own water surface hide this and fill the plane themselves."""
    material: Any
    """Takes world coordinates from the object's; the attribute "foam" (0 to 1 at vertices) whitens water."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Camera, sun and ground, as far as frames and variants change them."""

    camera: Any
    camera_poses: tuple[Any, ...]
    """The camera's matrix in every frame, or one for all."""
    sun: Any
    softness_deg: float
    ground: Ground

    def set_frame(self, frame: int) -> None:
        """Put the camera into its pose of that frame."""
        self.camera.matrix_world = self.camera_poses[min(frame, len(self.camera_poses) - 1)]

    def set_softness(self, softness_deg: float | None) -> None:
        """Give the sun the width that a variant asks for, or its own."""
        self.sun.data.angle = math.radians(self.softness_deg if softness_deg is None else softness_deg)


def build(plan: dict[str, Any]) -> Environment:
    """Make the surroundings of a plan.

    Raises:
        Refused: the sky's panorama is missing or broken.
    """
    _build_sky(plan["sky"])
    surroundings = Environment(
        camera=_camera(plan["camera"]),
        camera_poses=tuple(matrix(values) for values in plan["camera"]["matrices"]),
        sun=_sun(plan["sun"]),
        softness_deg=plan["sun"]["softness_deg"],
        ground=_ground(plan["ground"], plan["seed"]),
    )
    for wall in plan["walls"]:
        _build_wall(wall)
    return surroundings


def _link(name: str, data: Any) -> Any:
    linked = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(linked)
    return linked


def _camera(entry: dict[str, Any]) -> Any:
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit = "HORIZONTAL"
    lens.lens, lens.sensor_width = entry["focal_mm"], entry.get("sensor_mm", 36)
    lens.clip_start, lens.clip_end = 0.01, 4 * FAR_M
    bpy.context.scene.camera = _link("camera", lens)
    return bpy.context.scene.camera


def _sun(entry: dict[str, Any]) -> Any:
    light = bpy.data.lights.new("sun", "SUN")
    light.energy = entry["strength"]
    light.color = linear(entry["colour"])[:3]
    sun = _link("sun", light)
    up, around = math.radians(entry["elevation_deg"]), math.radians(entry["azimuth_deg"])
    towards = Vector((math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up)))
    sun.matrix_world = towards.to_track_quat("Z", "Y").to_matrix().to_4x4()  # a sun shines along its -z
    return sun


def _ground(entry: dict[str, Any], seed: int) -> Ground:
    mesh = bpy.data.meshes.new("ground")
    mesh.from_pydata([(x * FAR_M, y * FAR_M, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], [], [(0, 1, 2, 3)])
    material = grounds.build(entry, seed)
    mesh.materials.append(material)
    return Ground(object=_link("ground", mesh), material=material)


def _build_wall(entry: dict[str, Any]) -> None:
    """Make a slab, 20 cm thick; the lower middle of its front stands at the wall's position."""
    size = (0.2, entry["width_m"], entry["height_m"])
    mesh = bpy.data.meshes.new("wall")
    box = [(-0.2 * x, (y - 0.5) * size[1], z * size[2]) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    mesh.from_pydata(box, [], faces)
    mesh.materials.append(materials.surface(entry["look"]))
    wall = _link("wall", mesh)
    x, y = entry["at"]
    wall.matrix_world = Matrix.Translation((x, y, 0)) @ Matrix.Rotation(math.radians(entry["heading_deg"]), 4, "Z")


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
    try:
        image = bpy.data.images.load(str(path))
    except RuntimeError:
        image = None
    if image is None or not image.size[0]:
        raise Refused(f"{path}: cannot be read as a picture; give an .exr or .hdr with the sky all around")
    return image
