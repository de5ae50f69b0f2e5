"""The proportions of users' models, of every format that is read without Blender."""

import json
import struct

import numpy as np
import pytest
from effectpairs.render.procedural_models.registry import body_extent
from effectpairs.render.procedural_models.user_models import model_proportions
from effectpairs.render.scene.objects import Body

BOX = np.array([[x, y, z] for x in (0.0, 4.0) for y in (1.0, 2.0) for z in (-1.0, 1.0)])
"""4 long, 1 along y, 2 along z."""


def obj(path):
    path.write_text("# box\n" + "".join(f"v {x} {y} {z}\n" for x, y, z in BOX) + "vn 0 0 9\nf 1 2 3\n")


def stl(path):
    corners = BOX[[0, 7, 3]]
    path.write_bytes(b" " * 80 + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 1, *corners.ravel(), 0))


def stl_text(path):
    lines = "".join(f"   vertex {x} {y} {z}\n" for x, y, z in BOX[[0, 7, 3]])
    path.write_text(f"solid it\n facet normal 0 0 1\n  outer loop\n{lines}  endloop\n endfacet\nendsolid\n")


def ply(path):
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 8\nproperty float x\nproperty uchar q\n"
    head += "property float y\nproperty float z\nelement face 0\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_bytes(head.encode() + b"".join(struct.pack("<fBff", x, 7, y, z) for x, y, z in BOX))


def ply_text(path):
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    path.write_text(head + "".join(f"{x} {y} {z}\n" for x, y, z in BOX))


def gltf_of(turned: bool = False):
    node = {"mesh": 0, "scale": [2, 2, 2], "translation": [5, 5, 5]}
    if turned:  # a quarter around y: what lies along x lies along z
        node["rotation"] = [0, np.sqrt(0.5), 0, np.sqrt(0.5)]
    return {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"children": [1]}, node],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"min": BOX.min(axis=0).tolist(), "max": BOX.max(axis=0).tolist()}],
    }  # fmt: skip


def gltf(path):
    path.write_text(json.dumps(gltf_of()))


def glb(path):
    chunk = json.dumps(gltf_of()).encode()
    chunk += b" " * (-len(chunk) % 4)
    path.write_bytes(struct.pack("<4sIIII", b"glTF", 2, 20 + len(chunk), len(chunk), 0x4E4F534A) + chunk)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.obj", obj, (1.0, 0.5, 0.25)),
        ("a.gltf", gltf, (1.0, 0.5, 0.25)),
        ("a.glb", glb, (1.0, 0.5, 0.25)),
        ("a.stl", stl, (1.0, 0.25, 0.5)),
        ("b.stl", stl_text, (1.0, 0.25, 0.5)),
        ("a.ply", ply, (1.0, 0.25, 0.5)),
        ("b.ply", ply_text, (1.0, 0.25, 0.5)),
    ],
)
def test_proportions_are_those_that_blender_sees(tmp_path, name, write, expected):
    write(tmp_path / name)
    assert model_proportions(tmp_path / name) == pytest.approx(expected)
    body = Body(name="thing", shape="asset", asset=str(tmp_path / name), size_m=3.0)
    assert body_extent(body) == pytest.approx(tuple(3 * side for side in expected))


def test_nodes_turn_what_they_hold(tmp_path):
    (tmp_path / "a.gltf").write_text(json.dumps(gltf_of(turned=True)))
    assert model_proportions(tmp_path / "a.gltf") == pytest.approx((0.5, 1.0, 0.25))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.obj", b""), ("a.obj", b"v 1 2\n"), ("a.obj", b"v nan nan nan\n"), ("a.glb", b"glTF"), ("a.gltf", b"{}"),
        ("a.gltf", b'{"nodes": [{"children": [0]}]}'), ("a.gltf", b"[]"), ("a.ply", b"ply\n"), ("a.stl", b"solid\n"),
        ("a.blend", b"BLENDER"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_counts_as_a_cube(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert model_proportions(tmp_path / name) == (1.0, 1.0, 1.0)


def test_a_missing_file_counts_as_a_cube(tmp_path):
    assert model_proportions(tmp_path / "none.glb") == (1.0, 1.0, 1.0)
