"""Meshes of bodies: simple shapes of given size, and users' models, cleaned of all but their surfaces.

Shapes are centred on the origin: posts, cones and capsules stand along z, boats look along +x. Models stand on z = 0.
"""

import contextlib
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector, noise

from .events import Refused
from .materials import surface

Size = tuple[float, float, float]
MAX_FACES = 5_000_000
SOLID = {"MESH", "CURVE", "SURFACE", "META", "FONT"}
"""Types of Blender's objects that have a surface."""


def add_object(name: str, data: Any) -> Any:
    """Add an object of these data to the scene."""
    added = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(added)
    return added


def add_mesh(name: str, points: Any, faces: Any, material: Any) -> Any:
    """Add a mesh of these points and faces to the scene, all of one material; return its object."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.materials.append(material)
    return add_object(name, mesh)


def vertex_positions(mesh: Any) -> "np.ndarray[Any, Any]":
    """Positions [N, 3] of a mesh's vertices."""
    positions = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", positions)
    return positions.reshape(-1, 3).astype(np.float64)


def build_shape(part: dict[str, Any]) -> Any:
    """Make the mesh of a part of the plan: its full extents are `size`, its sharp edges bevelled by `bevel_m`."""
    kind, size, bevel_m = part["mesh"], tuple(part["size"]), part.get("bevel_m", 0.0)
    shape = bmesh.new()
    if kind == "prism":
        _prism(shape, part["outline"], part.get("taper", 0.0))
    else:
        SHAPES[kind](shape, size)
    positions = np.array([vertex.co for vertex in shape.verts])
    low, high = positions.min(axis=0), positions.max(axis=0)
    scale = np.asarray(size) / np.maximum(high - low, 1e-9)
    for vertex, position in zip(shape.verts, (positions - (low + high) / 2) * scale, strict=True):
        vertex.co = position
    if bevel_m > 0:
        sharp = [edge for edge in shape.edges if edge.calc_face_angle(0.0) > math.radians(40)]
        bmesh.ops.bevel(shape, geom=sharp, offset=bevel_m, segments=3, profile=0.5, affect="EDGES", clamp_overlap=True)
    bmesh.ops.recalc_face_normals(shape, faces=shape.faces)
    mesh = bpy.data.meshes.new(kind)
    mesh.from_pydata(*_sorted_geometry(shape))
    shape.free()
    mesh.materials.append(surface(part["look"]))
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=math.radians(35))
    return mesh


def _sorted_geometry(shape: Any) -> tuple[list[Any], list[Any], list[list[int]]]:
    """Vertices, no edges, and faces, sorted: Blender gives them in the order of chance, which moves the last bit of
    every normal from one process to the next.
    """
    positions = np.array([vertex.co for vertex in shape.verts])
    order = np.lexsort(positions.T)
    rank = np.argsort(order)
    shape.verts.index_update()
    faces = []
    for face in shape.faces:
        around = [int(rank[vertex.index]) for vertex in face.verts]
        first = around.index(min(around))
        faces.append(around[first:] + around[:first])
    return positions[order].tolist(), [], sorted(faces)


def _monkey(shape: Any, size: Size) -> None:
    bmesh.ops.create_monkey(shape)
    bmesh.ops.rotate(shape, verts=shape.verts[:], cent=(0, 0, 0), matrix=Matrix.Rotation(math.pi / 2, 3, "Z"))
    bmesh.ops.subdivide_edges(shape, edges=shape.edges[:], cuts=1, use_grid_fill=True, smooth=1.0)


def _capsule(shape: Any, size: Size) -> None:
    """A ball cut at its equator and pulled apart, so that both ends stay round."""
    radius = min(size) / 2
    bmesh.ops.create_uvsphere(shape, u_segments=32, v_segments=20, radius=radius)
    reach = max(size[2] / 2 - radius, 0.0)
    for vertex in shape.verts:
        vertex.co.z += math.copysign(reach, vertex.co.z) if abs(vertex.co.z) > radius * 1e-4 else 0.0


def _rock(shape: Any, size: Size) -> None:
    bmesh.ops.create_icosphere(shape, subdivisions=5, radius=1)
    for vertex in shape.verts:
        position = vertex.co.copy()
        coarse = noise.noise(position * 0.9 + Vector((3.1, 7.7, 1.3)))
        cut = noise.fractal(position * 2.1, 0.7, 2.1, 5)
        vertex.co = position * (1 + 0.35 * coarse + 0.10 * cut)


def _torus(shape: Any, size: Size) -> None:
    """A ring around z; its thickness is its height."""
    around, across = 64, 24
    thick = min(size[2] / max(size[0], size[1]), 0.5) / 2
    turns, rolls = (np.arange(count) / count * math.tau for count in (around, across))
    turn, roll = np.meshgrid(turns, rolls, indexing="ij")
    reach = 0.5 - thick + thick * np.cos(roll)
    _grid(shape, np.stack([reach * np.cos(turn), reach * np.sin(turn), thick * np.sin(roll)], -1), True)


def _hull(shape: Any, size: Size) -> None:
    """A boat's hull without its deck fittings: round below, straight stern, bow along +x that rises."""
    along, side = np.meshgrid(np.linspace(0, 1, 33), np.linspace(-math.pi / 2, math.pi / 2, 25), indexing="ij")
    narrowing = np.sqrt(np.clip(1 - np.clip((along - 0.35) / 0.65, 0, 1) ** 2.4, 0, 1))
    beam = narrowing * (0.85 + 0.15 * np.minimum(along / 0.35, 1))
    sheer = 0.5 + 0.22 * along**3
    keel = -0.5 + 0.55 * np.clip((along - 0.55) / 0.45, 0, 1) ** 3
    rake = 0.10 * along**2 * np.abs(np.sin(side))
    positions = np.stack(
        [along - 0.5 + rake, beam * np.sin(side) / 2, sheer - (sheer - keel) * np.cos(side) ** 0.7], axis=-1
    )
    rows = _grid(shape, positions, False)
    for deck in (rows[0], [row[0] for row in rows] + [row[-1] for row in rows[::-1]]):
        shape.faces.new(deck)
    bmesh.ops.remove_doubles(shape, verts=shape.verts[:], dist=1e-5)


def _prism(shape: Any, outline: list[list[float]], taper: float) -> None:
    """Side view extruded along y, narrower at its top by `taper`."""
    low, high = min(z for _, z in outline), max(z for _, z in outline)
    narrow = [1 - taper * (z - low) / max(high - low, 1e-9) for _, z in outline]
    front, back = (
        [shape.verts.new((x, side * share, z)) for (x, z), share in zip(outline, narrow, strict=True)]
        for side in (-0.5, 0.5)
    )
    shape.faces.new(front)
    shape.faces.new(back[::-1])
    for (a, b), (d, c) in zip(pairwise((*front, front[0])), pairwise((*back, back[0])), strict=True):
        shape.faces.new((a, d, c, b))


def _grid(shape: Any, positions: "np.ndarray[Any, Any]", closed: bool) -> list[list[Any]]:
    """Make faces over a grid [rows, columns, 3] of positions, which may close both ways."""
    rows = [[shape.verts.new(position) for position in row] for row in positions]
    around = [[*row, row[0]] for row in (*rows, rows[0])] if closed else rows
    for upper, lower in pairwise(around):
        for (a, b), (d, c) in zip(pairwise(upper), pairwise(lower), strict=True):
            shape.faces.new((a, b, c, d))
    return rows


CONE = {"cap_ends": True, "segments": 48, "radius1": 0.5, "depth": 1}
SHAPES: dict[str, Callable[[Any, Size], None]] = {
    "sphere": lambda shape, size: bmesh.ops.create_uvsphere(shape, u_segments=48, v_segments=24, radius=0.5),
    "box": lambda shape, size: bmesh.ops.create_cube(shape, size=1),
    "capsule": _capsule,
    "cylinder": lambda shape, size: bmesh.ops.create_cone(shape, **CONE, radius2=0.5),
    "cone": lambda shape, size: bmesh.ops.create_cone(shape, **CONE, radius2=0.0),
    "torus": _torus,
    "monkey": _monkey,
    "rock": _rock,
    "hull": _hull,
}


def load_asset(part: dict[str, Any]) -> list[Any]:
    """Read every surface of a part's file as meshes around the origin, on z = 0, its largest extent that of `size`.

    Surfaces without a material of their own get the part's look.

    Raises:
        Refused: the file is missing, broken, empty or too large.
    """
    path = Path(part["asset"])
    if not path.is_file():
        raise Refused(f"{path}: the asset is not there; give the path of a file")
    before = set(bpy.data.objects)
    try:
        READERS[path.suffix.lower()](path)
    except KeyError:
        raise Refused(f"{path}: {path.suffix or 'no ending'} is none of {', '.join(READERS)}; convert it") from None
    except (RuntimeError, OSError, ValueError, TypeError, AttributeError, IndexError, UnicodeError) as broken:
        reason = (str(broken).strip().splitlines() or [type(broken).__name__])[-1]
        raise Refused(f"{path}: Blender cannot read it ({reason}); check the file by opening it in Blender") from None
    added = set(bpy.data.objects) - before
    meshes = _surfaces(path, added)
    for item in added:
        bpy.data.objects.remove(item)
    _stand_on_ground(path, meshes, max(part["size"]))
    for mesh in meshes:
        if not any(mesh.materials):
            mesh.materials.clear()
            mesh.materials.append(surface(part["look"]))
    return meshes


def _surfaces(path: Path, added: set[Any]) -> list[Any]:
    """Surfaces of the new objects after their modifiers, instances included, in world coordinates."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    meshes, faces = [], 0
    for instance in graph.object_instances:
        source = instance.parent if instance.is_instance else instance.object
        is_new = source is not None and source.original in added and instance.object.type in SOLID
        if not is_new or instance.object.original.hide_render:
            continue
        mesh = bpy.data.meshes.new_from_object(instance.object)
        if mesh is None or not mesh.polygons:
            continue
        faces += len(mesh.polygons)
        if faces > MAX_FACES:
            raise Refused(f"{path}: it has more than {MAX_FACES:,} faces; decimate it")
        mesh.transform(instance.matrix_world)
        meshes.append(mesh)
    if not meshes:
        raise Refused(f"{path}: it holds no mesh; export the model with its geometry")
    return meshes


def _stand_on_ground(path: Path, meshes: list[Any], largest_m: float) -> None:
    """Scale to the size asked for; the middle over the origin, the lowest point at z = 0."""
    positions = np.concatenate([vertex_positions(mesh) for mesh in meshes])
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = float((high - low).max())
    if not np.isfinite(extent) or extent <= 0:
        raise Refused(f"{path}: its extent is {extent}; a model needs a finite size in some direction")
    middle = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
    fit = Matrix.Scale(largest_m / extent, 4) @ Matrix.Translation(-middle)
    for mesh in meshes:
        mesh.transform(fit)


def _blend(path: Path) -> None:
    with bpy.data.libraries.load(str(path), link=False) as (library, loaded):
        loaded.objects = list(library.objects)
    for item in loaded.objects:
        if item is not None:
            with contextlib.suppress(RuntimeError):  # already linked through a parent
                bpy.context.scene.collection.objects.link(item)


READERS: dict[str, Callable[[Path], None]] = {
    ".blend": _blend,
    **dict.fromkeys((".glb", ".gltf"), lambda path: bpy.ops.import_scene.gltf(filepath=str(path))),
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=str(path)),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=str(path)),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=str(path)),
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), lambda path: bpy.ops.wm.usd_import(filepath=str(path))),
}
