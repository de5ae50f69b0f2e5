"""Simple meshes of given size, centred on the origin; posts, cones and capsules stand along z, boats look along +x."""

import math
from collections.abc import Callable
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, noise

Size = tuple[float, float, float]


def build(part: dict[str, Any]) -> Any:
    """The mesh of a part of the plan: its full extents are `size`, its sharp edges bevelled by `bevel_m`."""
    kind, size, bevel_m = part["mesh"], tuple(part["size"]), part.get("bevel_m", 0.0)
    shape = bmesh.new()
    if kind == "prism":
        _prism(shape, part["outline"], part.get("taper", 0.0))
    else:
        SHAPES[kind](shape, size)
    _fit(shape, size)
    if bevel_m > 0:
        sharp = [edge for edge in shape.edges if edge.calc_face_angle(0.0) > math.radians(40)]
        bmesh.ops.bevel(shape, geom=sharp, offset=bevel_m, segments=3, profile=0.5, affect="EDGES", clamp_overlap=True)
    bmesh.ops.recalc_face_normals(shape, faces=shape.faces)
    mesh = bpy.data.meshes.new(kind)
    mesh.from_pydata(*_in_order(shape))
    shape.free()
    for face in mesh.polygons:
        face.use_smooth = True
    mesh.set_sharp_from_angle(angle=math.radians(35))
    return mesh


def _in_order(shape: Any) -> tuple[list[Any], list[Any], list[list[int]]]:
    """Vertices, no edges, and faces, sorted: Blender gives them in the order of chance, which moves the last bit of
    every normal from one process to the next.
    """
    places = np.array([vertex.co for vertex in shape.verts])
    order = np.lexsort(places.T)
    rank = np.argsort(order)
    shape.verts.index_update()
    faces = []
    for face in shape.faces:
        around = [int(rank[vertex.index]) for vertex in face.verts]
        first = around.index(min(around))
        faces.append(around[first:] + around[:first])
    return places[order].tolist(), [], sorted(faces)


def _fit(shape: Any, size: Size) -> None:
    """Centre, and scale each axis to its extent."""
    places = np.array([vertex.co for vertex in shape.verts])
    low, high = places.min(axis=0), places.max(axis=0)
    scale = np.asarray(size) / np.maximum(high - low, 1e-9)
    for vertex, place in zip(shape.verts, (places - (low + high) / 2) * scale, strict=True):
        vertex.co = place


def _sphere(shape: Any, size: Size) -> None:
    bmesh.ops.create_uvsphere(shape, u_segments=48, v_segments=24, radius=0.5)


def _box(shape: Any, size: Size) -> None:
    bmesh.ops.create_cube(shape, size=1)


def _cylinder(shape: Any, size: Size) -> None:
    bmesh.ops.create_cone(shape, cap_ends=True, segments=48, radius1=0.5, radius2=0.5, depth=1)


def _cone(shape: Any, size: Size) -> None:
    bmesh.ops.create_cone(shape, cap_ends=True, segments=48, radius1=0.5, radius2=0.0, depth=1)


def _monkey(shape: Any, size: Size) -> None:
    bmesh.ops.create_monkey(shape)
    bmesh.ops.rotate(shape, verts=shape.verts[:], cent=(0, 0, 0), matrix=Matrix.Rotation(math.pi / 2, 3, "Z"))
    bmesh.ops.subdivide_edges(shape, edges=shape.edges[:], cuts=1, use_grid_fill=True, smooth=1.0)


def _capsule(shape: Any, size: Size) -> None:
    """A ball cut at its equator and pulled apart, so that both ends stay round."""
    radius = min(size[0], size[1], size[2]) / 2
    bmesh.ops.create_uvsphere(shape, u_segments=32, v_segments=20, radius=radius)
    reach = max(size[2] / 2 - radius, 0.0)
    for vertex in shape.verts:
        vertex.co.z += math.copysign(reach, vertex.co.z) if abs(vertex.co.z) > radius * 1e-4 else 0.0


def _rock(shape: Any, size: Size) -> None:
    bmesh.ops.create_icosphere(shape, subdivisions=5, radius=1)
    for vertex in shape.verts:
        place = vertex.co.copy()
        coarse = noise.noise(place * 0.9 + type(place)((3.1, 7.7, 1.3)))
        cut = noise.fractal(place * 2.1, 0.7, 2.1, 5)
        vertex.co = place * (1 + 0.35 * coarse + 0.10 * cut)


def _torus(shape: Any, size: Size) -> None:
    """A ring around z; its thickness is its height."""
    around, across = 64, 24
    thick = min(size[2] / max(size[0], size[1]), 0.5) / 2
    turns, rolls = (np.arange(count) / count * math.tau for count in (around, across))
    turn, roll = np.meshgrid(turns, rolls, indexing="ij")
    reach = 0.5 - thick + thick * np.cos(roll)
    _grid(shape, np.stack([reach * np.cos(turn), reach * np.sin(turn), thick * np.sin(roll)], -1), (True, True))


def _hull(shape: Any, size: Size) -> None:
    """A boat's hull without its deck fittings: round below, straight stern, bow along +x that rises."""
    along, side = np.meshgrid(np.linspace(0, 1, 33), np.linspace(-math.pi / 2, math.pi / 2, 25), indexing="ij")
    narrowing = np.sqrt(np.clip(1 - np.clip((along - 0.35) / 0.65, 0, 1) ** 2.4, 0, 1))
    beam = narrowing * (0.85 + 0.15 * np.minimum(along / 0.35, 1))
    sheer = 0.5 + 0.22 * along**3
    keel = -0.5 + 0.55 * np.clip((along - 0.55) / 0.45, 0, 1) ** 3
    rake = 0.10 * along**2 * np.abs(np.sin(side))
    places = np.stack(
        [along - 0.5 + rake, beam * np.sin(side) / 2, sheer - (sheer - keel) * np.cos(side) ** 0.7], axis=-1
    )
    rows = _grid(shape, places, (False, False))
    for deck in (rows[0], [row[0] for row in rows] + [row[-1] for row in rows[::-1]]):
        shape.faces.new(deck)
    bmesh.ops.remove_doubles(shape, verts=shape.verts[:], dist=1e-5)


def _prism(shape: Any, outline: list[list[float]], taper: float) -> None:
    """A side view drawn along y, narrower at its top by `taper`."""
    low, high = min(z for _, z in outline), max(z for _, z in outline)
    sides = []
    for side in (-0.5, 0.5):
        narrow = [1 - taper * (z - low) / max(high - low, 1e-9) for _, z in outline]
        sides.append([shape.verts.new((x, side * share, z)) for (x, z), share in zip(outline, narrow, strict=True)])
    near, far = sides
    shape.faces.new(near)
    shape.faces.new(far[::-1])
    for start in range(len(outline)):
        after = (start + 1) % len(outline)
        shape.faces.new((near[start], far[start], far[after], near[after]))


def _grid(shape: Any, places: "np.ndarray[Any, Any]", closed: tuple[bool, bool]) -> list[list[Any]]:
    """Faces over a grid [rows, columns, 3] of places; either way around may close."""
    rows = [[shape.verts.new(place) for place in row] for row in places]
    down, right = len(rows) - (not closed[0]), len(rows[0]) - (not closed[1])
    for row in range(down):
        upper, lower = rows[row], rows[(row + 1) % len(rows)]
        for column in range(right):
            beside = (column + 1) % len(upper)
            shape.faces.new((upper[column], upper[beside], lower[beside], lower[column]))
    return rows


SHAPES: dict[str, Callable[[Any, Size], None]] = {
    "sphere": _sphere,
    "box": _box,
    "capsule": _capsule,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "monkey": _monkey,
    "rock": _rock,
    "hull": _hull,
}
