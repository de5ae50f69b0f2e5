"""Users' models: one part, with the proportions that collisions and framing need, read without Blender.

Formats .obj, .stl, .ply, .glb and .gltf; other formats (.blend, .usd) and broken files count as a cube, and Blender
says later what is wrong with them. A mesh library such as trimesh is no substitute: it drops an .obj file's loose
vertices, and opens every buffer and texture of a glTF file, of which the boxes in the header are enough (and all that
can be read where the meshes are compressed).
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Vec3
from ..scene.transforms import from_quaternions
from .parts import Gait, Part

CUBE: Vec3 = (1.0, 1.0, 1.0)
MAX_BYTES = 512 << 20
PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
Vertices = Float64[np.ndarray, "n 3"]


def asset(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A user's model unchanged, +x taken for its front."""
    assert body.asset is not None
    size = model_proportions(Path(body.asset).expanduser())
    return (Part(mesh="asset", size=size, look=body.look, asset=body.asset),)


def model_proportions(path: Path) -> Vec3:
    """Extents along x, y, z as Blender will see them, the largest being 1."""
    try:
        state = path.stat()
        if state.st_size > MAX_BYTES:
            return CUBE
        return _proportions(path, state.st_mtime_ns)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration, RecursionError):
        return CUBE


@lru_cache(maxsize=256)
def _proportions(path: Path, _modified_ns: int) -> Vec3:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        return CUBE
    extents = np.ptp(reader(path), axis=0)
    if not np.isfinite(extents).all() or extents.max() <= 0:
        return CUBE
    x, y, z = (float(max(side, 0.01)) for side in extents / extents.max())
    return x, y, z


def _read_obj(path: Path) -> Vertices:
    rows = [line.split()[1:4] for line in path.read_bytes().splitlines() if line[:2] == b"v "]
    return np.array(rows, np.float64)[:, [0, 2, 1]]  # y is up there, z is up in Blender


def _read_stl(path: Path) -> Vertices:
    content = path.read_bytes()
    count = int.from_bytes(content[80:84], "little")
    if len(content) == 84 + 50 * count:
        facets = np.frombuffer(content, np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]), count, 84)
        return facets["v"].reshape(-1, 3).astype(np.float64)
    return np.array([line.split()[1:4] for line in content.splitlines() if line.strip()[:6] == b"vertex"], np.float64)


def _read_ply(path: Path) -> Vertices:
    head, _, tail = path.read_bytes().partition(b"end_header")
    content = tail[tail.index(b"\n") + 1 :]
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    start = next(number for number, line in enumerate(lines) if line[:2] == ["element", "vertex"])
    columns: list[tuple[str, str]] = []
    for line in lines[start + 1 :]:
        if line[0] != "property":
            break
        columns.append((line[2], PLY_TYPES[line[1]]))
    count, encoding = int(lines[start][2]), next(line[1] for line in lines if line[0] == "format")
    if encoding == "ascii":
        table = np.array([row.split()[: len(columns)] for row in content.splitlines()[:count]], np.float64)
        return table[:, [[name for name, _ in columns].index(axis) for axis in "xyz"]]
    order = "<" if encoding == "binary_little_endian" else ">"
    rows = np.frombuffer(content, np.dtype([(name, order + kind) for name, kind in columns]), count)
    return np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=-1)


def _read_gltf(path: Path) -> Vertices:
    """Corners of every mesh's own box, under its nodes; y is up there, z is up in Blender."""
    content = path.read_bytes()
    if path.suffix.lower() == ".glb":
        content = content[20 : 20 + int.from_bytes(content[12:16], "little")]
    file = json.loads(content)
    corners: list[np.ndarray] = []
    visited: set[int] = set()
    nodes = file["nodes"]
    scene = file.get("scenes", [{"nodes": range(len(nodes))}])[file.get("scene", 0)]
    waiting = [(number, np.eye(4)) for number in scene["nodes"]]
    while waiting:
        number, parent = waiting.pop()
        if number in visited:
            raise ValueError(f"node {number} has two parents; the format allows one")
        visited.add(number)
        node = nodes[number]
        if "matrix" in node:
            matrix = parent @ np.array(node["matrix"], np.float64).reshape(4, 4).T
        else:
            x, y, z, w = node.get("rotation", (0, 0, 0, 1))
            own = from_quaternions(np.array([[w, x, y, z]], np.float64))[0]
            own[:3, :3] *= node.get("scale", (1, 1, 1))
            own[:3, 3] = node.get("translation", (0, 0, 0))
            matrix = parent @ own
        waiting += [(child, matrix) for child in node.get("children", [])]
        for primitive in file["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []:
            box = file["accessors"][primitive["attributes"]["POSITION"]]
            points = np.array(np.meshgrid(*zip(box["min"], box["max"], strict=True))).reshape(3, -1)
            corners.append((matrix @ np.vstack([points, np.ones(points.shape[1])]))[:3].T)
    return np.concatenate(corners)[:, [0, 2, 1]].astype(np.float64)


READERS = {".obj": _read_obj, ".stl": _read_stl, ".ply": _read_ply, ".glb": _read_gltf, ".gltf": _read_gltf}
