"""What the action plays on: camera, sun, ground, walls."""

import math
from dataclasses import dataclass
from typing import Any

import bpy
from mathutils import Matrix, Vector

from . import bodies, grounds, materials, sky

FAR_M = 4000.0
"""How far the ground goes: its edge lies within a pixel of the horizon."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The endless ground or calm water, one flat sheet at z = 0."""

    object: Any
    """Media that bring their own water surface hide this and fill the whole plane themselves."""
    material: Any
    """Takes world coordinates from the object's; the attribute "foam" (0 to 1 at vertices) whitens water."""
    kind: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """All that is neither body nor medium."""

    camera: Any
    places: tuple[Any, ...]
    """Of the camera, in every frame, or one for all."""
    sun: Any
    softness_deg: float
    ground: Ground
    walls: tuple[Any, ...]

    def set_frame(self, frame: int) -> None:
        """Put the camera where it is in that frame."""
        self.camera.matrix_world = self.places[min(frame, len(self.places) - 1)]

    def set_softness(self, softness_deg: float | None) -> None:
        """Give the sun the width that a variant asks for, or its own."""
        self.sun.data.angle = math.radians(self.softness_deg if softness_deg is None else softness_deg)


def build(plan: dict[str, Any]) -> Environment:
    """Make them from the plan."""
    sky.build(plan["sky"])
    camera = _camera(plan["camera"])
    return Environment(
        camera=camera,
        places=tuple(bodies.matrix(values) for values in plan["camera"]["matrices"]),
        sun=_sun(plan["sun"]),
        softness_deg=plan["sun"]["softness_deg"],
        ground=_ground(plan["ground"], plan["seed"]),
        walls=tuple(_wall(wall) for wall in plan["walls"]),
    )


def _link(name: str, data: Any) -> Any:
    made = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(made)
    return made


def _camera(given: dict[str, Any]) -> Any:
    lens = bpy.data.cameras.new("camera")
    lens.sensor_fit = "HORIZONTAL"
    lens.lens, lens.sensor_width = given["focal_mm"], given.get("sensor_mm", 36)
    lens.clip_start, lens.clip_end = 0.01, 4 * FAR_M
    bpy.context.scene.camera = _link("camera", lens)
    return bpy.context.scene.camera


def _sun(given: dict[str, Any]) -> Any:
    light = bpy.data.lights.new("sun", "SUN")
    light.energy = given["strength"]
    light.color = materials.linear(given["colour"])[:3]
    sun = _link("sun", light)
    up, around = math.radians(given["elevation_deg"]), math.radians(given["azimuth_deg"])
    towards = Vector((math.cos(up) * math.cos(around), math.cos(up) * math.sin(around), math.sin(up)))
    sun.matrix_world = towards.to_track_quat("Z", "Y").to_matrix().to_4x4()  # a sun shines along its -z
    return sun


def _ground(given: dict[str, Any], seed: int) -> Ground:
    mesh = bpy.data.meshes.new("ground")
    mesh.from_pydata([(x * FAR_M, y * FAR_M, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], [], [(0, 1, 2, 3)])
    material = grounds.build(given, seed)
    mesh.materials.append(material)
    return Ground(object=_link("ground", mesh), material=material, kind=given["kind"])


def _wall(given: dict[str, Any]) -> Any:
    """A slab, 20 cm thick, whose middle of the front stands at its place."""
    size = (0.2, given["width_m"], given["height_m"])
    mesh = bpy.data.meshes.new("wall")
    box = [(-0.2 * x, (y - 0.5) * size[1], z * size[2]) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    mesh.from_pydata(box, [], faces)
    mesh.materials.append(materials.surface(given["look"]))
    wall = _link("wall", mesh)
    x, y = given["at"]
    wall.matrix_world = Matrix.Translation((x, y, 0)) @ Matrix.Rotation(math.radians(given["heading_deg"]), 4, "Z")
    return wall
