"""Users' models: read, cleaned of all but their surfaces, scaled, stood on the ground."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import materials
from .events import Refused

MOST_FACES = 5_000_000
SOLID = {"MESH", "CURVE", "SURFACE", "META", "FONT"}


def load(path: Path, largest_m: float, look: dict[str, Any]) -> list[Any]:
    """Every surface of a file as meshes around the origin, its largest extent as asked, its lowest point at z = 0.

    What has no material of its own gets `look`.

    Raises:
        Refused: the file is missing, broken, empty or too large.
    """
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
    for thing in added:
        bpy.data.objects.remove(thing)
    _stand(path, meshes, largest_m)
    for mesh in meshes:
        if not any(mesh.materials):
            mesh.materials.clear()
            mesh.materials.append(materials.surface(look))
    return meshes


def _surfaces(path: Path, added: set[Any]) -> list[Any]:
    """What the new objects look like after their modifiers, instances included, in world coordinates."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    meshes, faces = [], 0
    for instance in graph.object_instances:
        source = instance.parent if instance.is_instance else instance.object
        if instance.object.type not in SOLID or source is None or source.original not in added:
            continue
        if instance.object.original.hide_render:
            continue
        mesh = bpy.data.meshes.new_from_object(instance.object)
        if mesh is None or not mesh.polygons:
            continue
        faces += len(mesh.polygons)
        if faces > MOST_FACES:
            raise Refused(f"{path}: it has more than {MOST_FACES:,} faces; decimate it")
        mesh.transform(instance.matrix_world)
        meshes.append(mesh)
    if not meshes:
        raise Refused(f"{path}: it holds no mesh; export the model with its geometry")
    return meshes


def _stand(path: Path, meshes: list[Any], largest_m: float) -> None:
    """Scale to the size asked for; the middle over the origin, the lowest point at z = 0."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for mesh in meshes:
        places = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", places)
        low = np.minimum(low, places.reshape(-1, 3).min(axis=0))
        high = np.maximum(high, places.reshape(-1, 3).max(axis=0))
    extent = float((high - low).max())
    if not np.isfinite(extent) or extent <= 0:
        raise Refused(f"{path}: its extent is {extent}; a model needs a finite size in some direction")
    middle = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
    fit = Matrix.Scale(largest_m / extent, 4) @ Matrix.Translation(-middle)
    for mesh in meshes:
        mesh.transform(fit)


def _blend(path: Path) -> None:
    with bpy.data.libraries.load(str(path), link=False) as (there, wanted):
        wanted.objects = list(there.objects)
    for thing in wanted.objects:
        if thing is not None:
            with contextlib.suppress(RuntimeError):  # already linked through a parent
                bpy.context.scene.collection.objects.link(thing)


def _usd(path: Path) -> None:
    bpy.ops.wm.usd_import(filepath=str(path))


READERS: dict[str, Callable[[Path], None]] = {
    ".blend": _blend,
    ".glb": lambda path: bpy.ops.import_scene.gltf(filepath=str(path)),
    ".gltf": lambda path: bpy.ops.import_scene.gltf(filepath=str(path)),
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=str(path)),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=str(path)),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=str(path)),
    ".usd": _usd,
    ".usda": _usd,
    ".usdc": _usd,
    ".usdz": _usd,
}
