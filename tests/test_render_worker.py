"""What Blender draws: real renders, tiny ones."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from effectpairs.render.blender.exr_frames import Box, read_boxes
from effectpairs.render.blender.process import HOME, Blender, find_python, render_frames
from effectpairs.tests.fixtures_plans import a_pass, a_plan, at, frames_of, full, look, part

WORKER = Path(__file__).parents[1] / "render" / "worker"
ALLOWED = {"bpy", "bmesh", "mathutils", "numpy", *sys.stdlib_module_names}
blender = pytest.mark.blender


@pytest.mark.parametrize("path", sorted(WORKER.glob("*.py")), ids=lambda path: path.stem)
def test_the_worker_imports_blender_numpy_and_nothing_of_the_house(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.level == 0 and (node.module or "").split(".")[0] in ALLOWED)


@pytest.fixture(scope="module")
def ball(tmp_path_factory) -> tuple[Path, tuple[Box, ...]]:
    """The ball drawn, with its shadow and its reflection switched off in turn, and once more at half the size."""
    folder = tmp_path_factory.mktemp("ball")
    offs = [a_pass("whole", name=f"without-{ray}", off=ray) for ray in ("shadow", "reflection")]
    small = a_pass("subject", name="small", scale=0.5)
    render_frames(a_plan(passes=[*a_plan()["passes"], *offs, small]), folder)
    return folder, read_boxes(folder)


@blender
def test_inside_the_subject_whole_and_subject_are_the_same_numbers(ball):
    folder, boxes = ball
    found = frames_of(folder)
    for frame, box in enumerate(boxes):
        subject = full(found[f"subject/{frame:04d}.exr"], box)
        inside = subject[..., 3] == 1
        assert inside.sum() > 30
        assert np.array_equal(found[f"whole/{frame:04d}.exr"][inside], subject[inside])


@blender
def test_every_look_is_exact_where_nothing_is_denoised(tmp_path):
    """Glass shows the world behind it, and must show the same world in both passes."""
    kinds = ("plain", "metal", "glass", "checker", "stripes", "noise", "bricks", "wood", "tiles", "marble")
    meshes = ("sphere", "box", "capsule", "cylinder", "cone", "torus", "monkey", "rock", "hull")
    for ground in ("puddles", "glossy", "water"):
        plan = a_plan(passes=[a_pass(what, frames=1) for what in ("whole", "subject")])
        plan["ground"] |= {"kind": ground, "bumps_m": 0.02}
        plan["bodies"][0]["parts"] = [
            part(meshes[number % 9], (0.4, 0.4, 0.4), [at(0.5 * number - 2.3, 0.2, 0.4)],
                 look=look(kind=kind, emission=2.0 * (number == 3)))
            for number, kind in enumerate(kinds)
        ]  # fmt: skip
        render_frames(plan, tmp_path / ground)
        found, boxes = frames_of(tmp_path / ground), read_boxes(tmp_path / ground)
        subject, whole = full(found["subject/0000.exr"], boxes[0]), found["whole/0000.exr"]
        inside = subject[..., 3] == 1
        assert inside.sum() > 50
        assert np.array_equal(whole[inside], subject[inside])


@blender
def test_every_value_is_finite_and_the_post_is_cut_out_of_the_subject(ball):
    folder, boxes = ball
    found = frames_of(folder)
    assert all(np.isfinite(picture).all() for picture in found.values())
    x0, _, x1, _ = boxes[1]
    cover = found["subject/0001.exr"][..., 3]
    assert cover.shape[1] == x1 - x0
    assert (cover.max(axis=0) < 1).sum() > 2  # the ball's own sides, and the post's column


@blender
def test_shadow_and_reflection_can_be_switched_off_one_by_one(ball):
    folder, boxes = ball
    found = frames_of(folder)
    outside = full(found["subject/0000.exr"], boxes[0])[..., 3] == 0
    whole, lit, unmirrored = (
        found[f"{name}/0000.exr"][..., :3] for name in ("whole", "without-shadow", "without-reflection")
    )
    shade, mirror = (lit - whole).mean(axis=-1), np.abs(unmirrored - whole).mean(axis=-1)
    assert (shade[outside] > 0.02).sum() > 20
    assert (mirror[outside] > 0.01).sum() > 10
    assert np.corrcoef(shade[outside], mirror[outside])[0, 1] < 0.5  # they lie in different places


@blender
def test_a_pass_of_half_the_size_is_cut_out_along_whole_pixels(ball):
    folder, boxes = ball
    x0, y0, x1, y1 = boxes[0]
    small = frames_of(folder)["small/0000.exr"]
    assert small.shape[:2] == (-(-y1 // 2) - y0 // 2, -(-x1 // 2) - x0 // 2)


@blender
def test_the_plate_is_the_scene_without_the_subject(ball, tmp_path):
    folder, _ = ball
    plan = a_plan(passes=[a_pass("plate")])
    plan["bodies"] = plan["bodies"][1:]
    render_frames(plan, tmp_path)
    with_subject = frames_of(folder)
    assert all(np.array_equal(picture, with_subject[name]) for name, picture in frames_of(tmp_path).items())


@blender
def test_what_is_cut_out_is_what_an_uncut_picture_holds(ball, tmp_path):
    """A speck of the subject behind the camera leaves its box without an edge: the whole picture is drawn."""
    folder, boxes = ball
    plan = a_plan(passes=[a_pass("subject")])
    plan["bodies"][0]["parts"].append(part("box", (0.01, 0.01, 0.01), [at(0, -60, -50)]))
    render_frames(plan, tmp_path)
    assert read_boxes(tmp_path)[0] == (0, 0, 64, 36)
    for frame, box in enumerate(boxes):
        name = f"subject/{frame:04d}.exr"
        assert np.array_equal(frames_of(tmp_path)[name], full(frames_of(folder)[name], box))


@blender
def test_order_and_number_of_processes_change_no_pixel(ball, tmp_path):
    folder, boxes = ball
    passes = [pass_ | {"frames": [1, 0]} for pass_ in json.loads((folder / "plan.json").read_text())["passes"][::-1]]
    render_frames(a_plan(passes=passes), tmp_path, Blender(processes=2))
    assert read_boxes(tmp_path) == boxes
    first, second = frames_of(folder), frames_of(tmp_path)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@blender
def test_a_killed_clip_goes_on_and_ends_with_the_same_pixels(ball, tmp_path):
    folder, _ = ball
    plan = json.loads((folder / "plan.json").read_text())
    program = (
        "import json, sys; from pathlib import Path; from effectpairs.render.blender.process import render_frames\n"
        "plan = json.loads(Path(sys.argv[1]).read_text())\n"
        "render_frames(plan, Path(sys.argv[2]), on_frame=lambda *said: print(*said, flush=True))"
    )
    command = [sys.executable, "-c", program, str(folder / "plan.json"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for _ in range(3):
            running.stdout.readline()
        os.kill(running.pid, signal.SIGKILL)
    there = frames_of(tmp_path)
    assert 3 <= len(there) <= len(frames_of(folder))
    drawn_anew = []
    render_frames(plan, tmp_path, on_frame=lambda *said: drawn_anew.append(said))
    assert len(drawn_anew) <= len(frames_of(folder)) - 3
    whole = frames_of(folder)
    assert all(np.array_equal(picture, whole[name]) for name, picture in frames_of(tmp_path).items())
    assert not list(tmp_path.glob("*/*.partial"))


@blender
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the worker looks for its parent between frames only")
def test_the_worker_dies_with_the_one_who_wanted_it(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(a_plan(passes=[a_pass("whole", samples=16384)])))
    program = (
        "import sys, time; from pathlib import Path; from effectpairs.render.blender.process import start_worker\n"
        "worker = start_worker(Path(sys.argv[1]), Path(sys.argv[2]), (1, 1))\n"
        "while not worker.read_events(): time.sleep(0.05)\n"
        "print(worker.process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(find_python()), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        worker = int(running.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        running.kill()
    until = time.monotonic() + 10
    while (state := _state(worker)) not in ("gone", "Z") and time.monotonic() < until:
        time.sleep(0.05)
    assert state in ("gone", "Z")


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


@blender
def test_a_subject_out_of_view_leaves_no_cropped_frames(tmp_path):
    plan = a_plan(passes=[a_pass("subject"), a_pass("whole")])
    plan["bodies"][0]["parts"][0]["matrices"] = [at(0, 0, 0.5), at(40, 0, 0.5)]
    render_frames(plan, tmp_path)
    assert read_boxes(tmp_path)[1] == (0, 0, 0, 0)
    assert sorted(frames_of(tmp_path)) == ["subject/0000.exr", "whole/0000.exr", "whole/0001.exr"]


@blender
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.glb", None, "not there"),
        ("broken.glb", b"glTF and no more", "cannot read it"),
        ("broken.blend", b"no Blender file", "cannot read it"),
        ("empty.obj", b"# nothing\n", "holds no mesh"),
        ("flat.stl", b"solid point\nendsolid point\n", "cannot read it"),
        ("model.xyz", b"1 2 3", "none of"),
        ("point.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "extent"),
    ],
)
def test_an_asset_that_cannot_be_used_is_refused_by_name(name, content, said, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    plan = a_plan()
    plan["bodies"][0]["parts"] = [part("asset", (1, 1, 1), [at(0, 0, 0)], asset=str(path))]
    with pytest.raises(ValueError, match=said) as refused:
        render_frames(plan, tmp_path / "frames")
    assert name in str(refused.value)


@blender
def test_an_asset_stands_on_the_ground_at_its_size(tmp_path):
    corners = [(x, y, z) for x in (5, 25) for y in (5, 10) for z in (3, 8)]
    faces = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + ["f " + " ".join(map(str, face)) for face in faces]
    (tmp_path / "block.obj").write_text("\n".join(lines))
    plan = a_plan(passes=[a_pass("subject")])
    plan["bodies"] = [{"name": "block", "role": "subject", "parts": [
        part("asset", (2, 2, 2), [at(0, 0, 0)], asset=str(tmp_path / "block.obj"), look=look(colour=(0.1, 0.7, 0.2)))
    ]}]  # fmt: skip
    render_frames(plan, tmp_path / "frames")
    x0, _, x1, y1 = read_boxes(tmp_path / "frames")[0]
    wide = 2 * 35 / 36 * 64 / 6.1
    assert abs((x1 - x0) - wide) < 14
    assert y1 < 36
    picture = frames_of(tmp_path / "frames")["subject/0000.exr"]
    assert picture[picture[..., 3] == 1][:, 1].mean() > 2 * picture[picture[..., 3] == 1][:, 0].mean()


EXPORTS = """
import bpy, sys
folder = sys.argv[-1]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_monkey_add(size=3, location=(4, 5, 6))
bpy.context.object.modifiers.new("smooth", "SUBSURF").levels = 1
bpy.ops.object.light_add(type="POINT")
bpy.ops.object.camera_add()
bpy.ops.export_scene.gltf(filepath=folder + "/a.glb", export_lights=True)
bpy.ops.export_scene.gltf(filepath=folder + "/a.gltf", export_format="GLTF_SEPARATE")
bpy.ops.wm.obj_export(filepath=folder + "/a.obj")
bpy.ops.wm.ply_export(filepath=folder + "/a.ply")
bpy.ops.wm.stl_export(filepath=folder + "/a.stl")
for kind in ("usd", "usda", "usdc", "usdz"):
    bpy.ops.wm.usd_export(filepath=folder + "/a." + kind)
instances = bpy.data.collections.new("herd")
monkey = bpy.data.objects["Suzanne"]
instances.objects.link(monkey)
bpy.context.scene.collection.objects.unlink(monkey)
herd = bpy.data.objects.new("herd", None)
herd.instance_type, herd.instance_collection = "COLLECTION", instances
bpy.context.scene.collection.objects.link(herd)
bpy.ops.wm.save_as_mainfile(filepath=folder + "/a.blend")
"""


@blender
def test_every_format_is_read_and_drawn_the_same_by_every_process(tmp_path):
    run = [str(find_python()), "-c", EXPORTS, str(tmp_path)]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    kinds = ("glb", "gltf", "obj", "ply", "stl", "usd", "usda", "usdc", "usdz", "blend")
    plan = a_plan(passes=[a_pass("subject", frames=1)])
    plan["bodies"] = [{"name": "heads", "role": "subject", "parts": [
        part("asset", (0.4, 0.4, 0.4), [at(0.55 * number - 2.5, 0, 0.4)], asset=str(tmp_path / f"a.{kind}"))
        for number, kind in enumerate(kinds)
    ]}]  # fmt: skip
    pictures = []
    for name in ("first", "second"):
        render_frames(plan, tmp_path / name)
        pictures.append(frames_of(tmp_path / name)["subject/0000.exr"])
    seen = pictures[0][..., 3].max(axis=0) > 0.3
    assert np.diff(seen.astype(int)).clip(0).sum() + seen[0] == len(kinds)
    assert np.array_equal(*pictures)


@blender
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sky", {"kind": "hdri", "hdri": "/nowhere/sky.hdr", "strength": 1.0, "turned_deg": 0.0}, "/nowhere/sky.hdr"),
        ("device", "OPTIX", "use 'CPU'"),
    ],
)
def test_skies_and_devices_that_are_not_there_are_refused(key, value, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        render_frames(a_plan(**{key: value}), tmp_path)


@blender
@pytest.mark.parametrize("sky", ["forest", "night"])
def test_blenders_own_skies_light_the_scene(sky, tmp_path):
    sky_ = {"kind": "hdri", "hdri": sky, "strength": 1.0, "turned_deg": 30.0}
    render_frames(a_plan(sky=sky_, passes=[a_pass("whole", frames=1)]), tmp_path)
    picture = frames_of(tmp_path)["whole/0000.exr"]
    assert np.isfinite(picture).all()
    assert picture[:8, :, :3].std() > 0.001


@blender
def test_the_worker_speaks_lines_and_keeps_blenders_chatter_to_itself(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(a_plan(passes=[a_pass("plate", frames=1)])))
    environment = {**os.environ, "PYTHONPATH": str(HOME), "PYTHONSAFEPATH": "1"}
    command = [str(find_python()), "-m", "worker", str(tmp_path)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd="/")
    events = [json.loads(line) for line in said.stdout.splitlines()]
    assert [event["event"] for event in events] == ["ready", "frame", "done"]
    assert 0 < events[1]["cpu"] < 1.3 * events[1]["seconds"] + 0.02  # one thread, and none that waits busily beside it
    assert said.returncode == 0
