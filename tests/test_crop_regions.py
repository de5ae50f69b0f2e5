"""A variant is drawn where it differs from its plate, and the rest of its picture is the plate."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from effectpairs.render.blender.exr_frames import CorruptFrame, open_render_frames, paste, read_exr
from effectpairs.render.blender.plan import make_plan, passes_of
from effectpairs.render.blender.process import Blender, render_frames
from effectpairs.render.compositing.layers import compose_shared, compose_variant
from effectpairs.render.compositing.linear_composite import encode
from effectpairs.render.effects.registry import CastLight, Reflection, Shadow
from effectpairs.render.scene.objects import Body, Camera, Ground, Sun
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant

blender = pytest.mark.blender
SIZE = (72, 128)
FRAMES = (0, 4)


def parse_scene(*variants, **rendering):
    return Scene(
        name="area", seed=3, frames=5, size=SIZE, ground=Ground(kind="wet"), camera=Camera(kind="pan", amount=4.0),
        subject=Body(name="red ball", shape="ball", size_m=0.7),
        variants=tuple(Variant(name=f"{number}", effects=effects) for number, effects in enumerate(variants)),
        rendering=RenderSettings(samples=8, **rendering),
    )  # fmt: skip


def draw_both(scene, folder, **how):
    """Every pass as planned, and again in full under another name."""
    passes = [replace(one, frames=FRAMES) for one in passes_of(scene)]
    whole = [replace(one, name=f"{one.name}-full", crop=False) for one in passes if one.crop]
    return render_frames(make_plan(scene, folder, [*passes, *whole]), folder, **how)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A shadow, the same under a softer sun, a lantern; nothing is denoised but what masks come from."""
    folder = tmp_path_factory.mktemp("areas")
    scene = parse_scene(
        (Shadow(), Reflection()), (Shadow(softness_deg=20.0),), (CastLight(power_w=500.0),), denoise=False
    )
    draw_both(scene, folder)
    return folder, scene


def area(folder, variant, frame):
    with np.load(folder / "areas" / f"{variant:02d}-{frame:04d}.npz") as kept:
        return kept["box"].tolist()


@blender
def test_where_it_is_used_a_cropped_pass_is_the_full_one(drawn):
    folder, _ = drawn
    files = open_render_frames(folder)
    for name in ("v00", "v01", "v01-plate", "v02"):
        for frame in FRAMES:
            (left, top, right, bottom), share = files.crop_region(name, frame)
            full = read_exr(folder / f"{name}-full" / f"{frame:04d}.exr")[top:bottom, left:right]
            cut = read_exr(folder / name / f"{frame:04d}.exr")
            used = share[top:bottom, left:right] > 0
            assert used.mean() > 0.3
            assert np.array_equal(cut[used], full[used])


@blender
def test_what_nobody_uses_is_covered(tmp_path):
    low = replace(parse_scene((Shadow(),), denoise=False), sun=Sun(elevation_deg=12.0, azimuth_deg=150.0))
    draw_both(low, tmp_path)  # a long shadow, aslant: the corners of its box are empty
    (left, top, right, bottom), share = open_render_frames(tmp_path).crop_region("v00", 0)
    cut = read_exr(tmp_path / "v00" / "0000.exr")[..., :3]
    full, used = read_exr(tmp_path / "v00-full" / "0000.exr")[..., :3], share[top:bottom, left:right] > 0
    assert np.array_equal(cut[used], full[top:bottom, left:right][used])
    assert (cut[~used].max(axis=-1) == 0).sum() > 0.08 * used.size


@blender
def test_a_shadow_is_cut_out_and_light_that_reaches_everywhere_is_not(drawn):
    folder, _ = drawn
    share = [
        np.prod(np.subtract(*np.split(np.array(area(folder, variant, 0)), 2))) / np.prod(SIZE) for variant in (0, 2)
    ]
    assert 0.05 < share[0] < 0.7
    left, _, right, bottom = area(folder, 2, 0)
    assert (left, right, bottom) == (0, SIZE[1], SIZE[0])  # all but the sky
    assert share[1] > share[0] + 0.1


@blender
def test_outside_its_area_a_variant_is_its_plate_to_the_eye(drawn):
    folder, _ = drawn
    for frame in FRAMES:
        left, top, right, bottom = area(folder, 0, frame)
        steps = [
            encode(read_exr(folder / one / f"{frame:04d}.exr")[..., :3]).astype(int)
            for one in ("v00-full", "background")
        ]
        apart = np.abs(steps[0] - steps[1]).max(axis=2)
        apart[top:bottom, left:right] = 0
        assert np.mean(apart) < 0.3
        assert np.percentile(apart, 99) <= 2


@blender
def test_gt_is_the_background_outside_the_area_whatever_the_sun(drawn):
    folder, scene = drawn
    files = open_render_frames(folder)
    shared = compose_shared(files, FRAMES)
    for variant in (0, 1):
        kinds = tuple(effect.kind for effect in scene.variants[variant].effects)
        own = compose_variant(files, variant, kinds, shared, shared.over)
        for place, frame in enumerate(FRAMES):
            left, top, right, bottom = area(folder, variant, frame)
            same = (own.gt[place] == shared.background[place]).all(axis=2)
            same[top:bottom, left:right] = True
            assert same.all()
            assert all(steps[place][:top].max(initial=0) == 0 for steps in own.steps.values())
        assert own.subject_error == 0


@blender
def test_areas_are_the_same_in_any_order_by_any_number_of_processes(drawn, tmp_path):
    folder, scene = drawn
    passes = [replace(one, frames=FRAMES[::-1]) for one in passes_of(scene)][::-1]
    render_frames(make_plan(scene, tmp_path, passes), tmp_path, Blender(processes=2))
    for path in tmp_path.glob("areas/*.npz"):
        assert path.read_bytes() == (folder / "areas" / path.name).read_bytes()
    for path in tmp_path.glob("*/*.exr"):
        assert np.array_equal(read_exr(path), read_exr(folder / path.relative_to(tmp_path)))


PROGRAM = """
import json, sys
from pathlib import Path
from effectpairs.render.blender.process import render_frames
folder = Path(sys.argv[1])
render_frames(json.loads((folder / "plan.json").read_text()), folder, on_frame=lambda *said: print(*said, flush=True))
"""


@blender
def test_a_clip_killed_among_its_cropped_frames_ends_with_the_same_pixels(drawn, tmp_path):
    folder, scene = drawn
    passes = [replace(one, frames=FRAMES) for one in passes_of(scene) if one.name in ("v00", "v01", "v01-plate")]
    given = make_plan(scene, tmp_path, passes)
    (tmp_path / "plan.json").write_text(json.dumps(given))
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True) as running:
        for _ in range(2):
            running.stdout.readline()
        time.sleep(0.1)  # now it looks for the next frame's area, or draws it
        os.kill(running.pid, signal.SIGKILL)
    render_frames(given, tmp_path)
    made = [path.relative_to(tmp_path) for path in tmp_path.glob("*/*.exr")]
    assert len(made) == 6
    assert all(np.array_equal(read_exr(tmp_path / path), read_exr(folder / path)) for path in made)
    assert not list(tmp_path.rglob("*.partial"))


@blender
def test_a_lost_area_is_found_again_and_a_full_scene_has_none(drawn, tmp_path):
    scene = parse_scene((Shadow(),))
    passes = [replace(one, frames=(0,)) for one in passes_of(scene)]
    render_frames(make_plan(scene, tmp_path, passes), tmp_path)
    (lost,) = tmp_path.glob("areas/*.npz")
    before = lost.read_bytes()
    lost.unlink()
    with pytest.raises(CorruptFrame, match=r"00-0000\.npz"):
        open_render_frames(tmp_path).light("v00", 0)
    render_frames(make_plan(scene, tmp_path, passes), tmp_path)
    assert lost.read_bytes() == before
    assert not any(one.crop for one in passes_of(parse_scene((Shadow(),), crop=False)))


def test_a_cut_out_picture_fades_into_what_surrounds_it_but_not_at_the_pictures_border():
    around, cut = np.zeros((100, 160, 3), np.float32), np.ones((60, 80, 3), np.float32)
    share = np.ones((100, 160), np.float32)
    light = paste(cut, (0, 20, 80, 80), around, share)
    assert light[50, :76, 0].min() == 1
    assert 0 < light[50, 79, 0] < light[50, 77, 0] < 1
    assert 0 < light[20, 9, 0] < light[21, 9, 0] < light[22, 9, 0] < light[24, 9, 0] == 1
    share[40:60, 20:40] = 0  # nothing of the variant shows here: the plate is used
    assert not paste(cut, (0, 20, 80, 80), around, share)[40:60, 20:40].any()
    assert not light[:20].any()
    assert not light[:, 80:].any()
    assert paste(np.ones_like(around), (0, 0, 160, 100), around, np.ones_like(share)).min() == 1
