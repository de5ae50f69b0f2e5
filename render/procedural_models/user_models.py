"""The proportions of users' models, read from their files without Blender: the box that collisions and framing go by.

Of .obj, .stl, .ply, .glb and .gltf files; what cannot be read so (.blend, .usd) or is broken counts as a cube, and
Blender says later what is wrong with it.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Vec3

CUBE: Vec3 = (1.0, 1.0, 1.0)
LARGEST_BYTES = 512 << 20
PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
Points = Float64[np.ndarray, "n 3"]


def proportions(path: Path) -> Vec3:
    """Extents along x, y, z as Blender will see them, the largest being 1."""
    try:
        state = path.stat()
        if state.st_size > LARGEST_BYTES:
            return CUBE
        return _proportions(path, state.st_mtime_ns)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration, RecursionError):
        return CUBE


@lru_cache(maxsize=256)
def _proportions(path: Path, _changed: int) -> Vec3:
    read = READERS.get(path.suffix.lower())
    if read is None:
        return CUBE
    points = read(path)
    extents = np.ptp(points, axis=0)
    if not np.isfinite(extents).all() or extents.max() <= 0:
        return CUBE
    x, y, z = (float(max(side, 0.01)) for side in extents / extents.max())
    return x, y, z


def _obj(path: Path) -> Points:
    """Of Wavefront's text; y is up there, z is up in Blender."""
    rows = [line.split()[1:4] for line in path.read_bytes().splitlines() if line[:2] == b"v "]
    return np.array(rows, np.float64)[:, [0, 2, 1]]


def _stl(path: Path) -> Points:
    content = path.read_bytes()
    count = int.from_bytes(content[80:84], "little")
    if len(content) == 84 + 50 * count:
        facets = np.frombuffer(content, np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]), count, 84)
        return facets["v"].reshape(-1, 3).astype(np.float64)
    return np.array([line.split()[1:4] for line in content.splitlines() if line.strip()[:6] == b"vertex"], np.float64)


def _ply(path: Path) -> Points:
    content = path.read_bytes()
    head, _, rest = content.partition(b"end_header")
    body = rest[rest.index(b"\n") + 1 :]
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    start = next(number for number, line in enumerate(lines) if line[:2] == ["element", "vertex"])
    names: list[tuple[str, str]] = []
    for line in lines[start + 1 :]:
        if line[0] != "property":
            break
        names.append((line[2], PLY_TYPES[line[1]]))
    count, form = int(lines[start][2]), next(line[1] for line in lines if line[0] == "format")
    if form == "ascii":
        table = np.array([row.split()[: len(names)] for row in body.splitlines()[:count]], np.float64)
        return table[:, [[name for name, _ in names].index(axis) for axis in "xyz"]]
    order = "<" if form == "binary_little_endian" else ">"
    rows = np.frombuffer(body, np.dtype([(name, order + kind) for name, kind in names]), count)
    return np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=-1)


def _glb(path: Path) -> Points:
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    return _nodes(json.loads(content[20 : 20 + length]))


def _gltf(path: Path) -> Points:
    return _nodes(json.loads(path.read_bytes()))


def _nodes(file: dict[str, Any]) -> Points:
    """Corners of every mesh's own box, under its nodes; y is up there, z is up in Blender."""
    found: list[np.ndarray] = []
    known: set[int] = set()
    nodes = file["nodes"]
    scene = file.get("scenes", [{"nodes": range(len(nodes))}])[file.get("scene", 0)]

    def walk(number: int, above: np.ndarray) -> None:
        if number in known:
            raise ValueError(f"node {number} hangs in two places; the format allows one")
        known.add(number)
        matrix = above @ _matrix(nodes[number])
        for part in file["meshes"][nodes[number]["mesh"]]["primitives"] if "mesh" in nodes[number] else []:
            box = file["accessors"][part["attributes"]["POSITION"]]
            corners = np.array(np.meshgrid(*zip(box["min"], box["max"], strict=True))).reshape(3, -1)
            found.append((matrix @ np.vstack([corners, np.ones(corners.shape[1])]))[:3].T)
        for child in nodes[number].get("children", []):
            walk(child, matrix)

    for root in scene["nodes"]:
        walk(root, np.eye(4))
    return np.concatenate(found)[:, [0, 2, 1]].astype(np.float64)


def _matrix(node: dict[str, Any]) -> Float64[np.ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= node.get("scale", (1, 1, 1))
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


READERS = {".obj": _obj, ".stl": _stl, ".ply": _ply, ".glb": _glb, ".gltf": _gltf}
