"""The plan holds everything that Blender has to know, as plain values, and the same ones every time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from effectpairs.render.blender.plan import make_plan, passes_of
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import Reflection, Shadow
from effectpairs.render.effects.waves import Wake
from effectpairs.render.scene.objects import SHAPES, Body, Camera, Ground, Sky, Still, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant
from hypothesis import given, settings
from hypothesis import strategies as st

CAR = Body(name="red car", shape="car", size_m=4.0, motion=Travel(kind="drive", speed_mps=4.0))
POST = Body(name="post", shape="post", motion=Still(at=(0.0, 2.0, 0.0)))
SCENE = Scene(
    name="plan", seed=11, frames=13, size=(64, 112), subject=CAR, props=(POST,),
    variants=(
        Variant(name="shadow", effects=(Shadow(),)),
        Variant(name="dust", effects=(Shadow(softness_deg=12.0), Dust())),
        Variant(name="wet", effects=(Reflection(), Dust())),
    ),
)  # fmt: skip


def write_plan(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "plan.json"
    path.write_text(json.dumps(make_plan(SCENE, folder, passes_of(SCENE))))
    return path


def test_the_plan_is_plain_json_and_repeatable(tmp_path):
    first, second = (write_plan(tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    values = json.loads(first.read_text())
    assert json.loads(json.dumps(make_plan(SCENE, tmp_path / "one", passes_of(SCENE)))) == values
    assert {file.name for file in first.parent.iterdir()} == {
        "plan.json", *(medium["file"] for variant in values["variants"] for medium in variant["media"])
    }  # fmt: skip
    for file in first.parent.glob("*.npz"):
        with np.load(file) as one, np.load(second.parent / file.name) as other:
            assert all(np.array_equal(one[key], other[key]) for key in one.files)


def test_bodies_have_parts_with_a_matrix_for_every_frame_or_one(tmp_path):
    car, post = make_plan(SCENE, tmp_path, ())["bodies"]
    assert (car["role"], post["role"]) == ("subject", "prop")
    assert {len(part["matrices"]) for part in car["parts"]} == {13}
    assert {len(part["matrices"]) for part in post["parts"]} == {1}
    for part in (*car["parts"], *post["parts"]):
        assert all(len(matrix) == 16 for matrix in part["matrices"])
        assert np.isfinite(part["matrices"]).all()
        assert (part["outline"] is not None) == (part["mesh"] == "prism")
        if part["outline"]:
            assert np.abs(part["outline"]).max() == pytest.approx(0.5)


def test_outlines_run_counter_clockwise(tmp_path):
    for shape in ("car", "truck", "boat", "bird"):
        for name in "abcdefgh":
            scene = replace(SCENE, subject=replace(CAR, shape=shape, name=name))
            for part in make_plan(scene, tmp_path, ())["bodies"][0]["parts"]:
                if part["outline"]:
                    x, z = np.array(part["outline"]).T
                    assert np.sum(x * np.roll(z, -1) - np.roll(x, -1) * z) > 0


def test_the_passes_of_a_clip():
    names = {one.name: one for one in passes_of(SCENE)}
    assert set(names) == {
        "background", "subject", "v00", "v01", "v01-front", "v01-plate", "v02", "v02-front",
        "v01-truth", "v01-without-shadow", "v01-without-dust",
        "v02-truth", "v02-without-reflection", "v02-without-dust",
    }  # fmt: skip
    assert names["background"].frames == names["v01-plate"].frames == (0,)
    assert names["v00"].frames == tuple(range(13))
    assert (names["v01-without-dust"].off, names["v01-without-dust"].variant) == ("dust", 1)
    assert names["v01-truth"].scale == SCENE.rendering.mask_scale
    assert names["v01-truth"].denoise


def test_a_moving_camera_needs_every_frame_of_the_background():
    moving = replace(SCENE, camera=Camera(kind="handheld"), rendering=RenderSettings(samples=3, denoise=False))
    background = passes_of(moving)[0]
    assert background.frames == tuple(range(13))
    assert (background.samples, background.denoise) == (3, False)


def test_variants_say_what_they_show(tmp_path):
    shadow, dust, wet = make_plan(SCENE, tmp_path, ())["variants"]
    assert (shadow["rays"], shadow["media"], shadow["softness_deg"]) == (["shadow"], [], None)
    assert (dust["rays"], dust["softness_deg"]) == (["shadow"], 12.0)
    assert [medium["kind"] for medium in dust["media"]] == ["cloud"]
    assert wet["rays"] == ["reflection"]


def test_the_same_effect_has_the_same_chances_in_every_variant(tmp_path):
    values = make_plan(SCENE, tmp_path, ())
    one, other = (values["variants"][number]["media"][0]["file"] for number in (1, 2))
    assert one != other
    with np.load(tmp_path / one) as first, np.load(tmp_path / other) as second:
        assert all(np.array_equal(first[key], second[key]) for key in first.files)


def test_clouds_own_their_frames(tmp_path):
    medium = make_plan(SCENE, tmp_path, ())["variants"][1]["media"][0]
    with np.load(tmp_path / medium["file"]) as arrays:
        assert arrays["points"].dtype == arrays["strength"].dtype == np.float32
        assert arrays["ends"].dtype == np.int64
        assert len(arrays["ends"]) == 13
        assert arrays["ends"][-1] == len(arrays["points"]) == len(arrays["strength"]) > 0


def test_water_comes_as_heights(tmp_path):
    boat = replace(CAR, shape="boat", motion=Travel(kind="boat", speed_mps=3.0))
    scene = replace(
        SCENE, subject=boat, ground=Ground(kind="water"), variants=(Variant(name="wake", effects=(Wake(),)),)
    )  # fmt: skip
    medium = make_plan(scene, tmp_path, ())["variants"][0]["media"][0]
    assert medium["kind"] == "waves"
    with np.load(tmp_path / medium["file"]) as arrays:
        assert arrays["heights"].shape[0] == 13


def test_paths_are_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = replace(SCENE, sky=Sky(kind="hdri", hdri="skies/own.exr"))
    assert make_plan(own, tmp_path, ())["sky"]["hdri"] == str(tmp_path / "skies" / "own.exr")
    known = replace(SCENE, sky=Sky(kind="hdri", hdri="sunset"))
    assert make_plan(known, tmp_path, ())["sky"]["hdri"] == "sunset"
    model = Body(name="thing", shape="asset", asset="thing.glb")
    part = make_plan(replace(SCENE, subject=model), tmp_path, ())["bodies"][0]["parts"][0]
    assert part["asset"] == str(tmp_path / "thing.glb")


def test_the_camera_is_one_matrix_if_it_stays(tmp_path):
    assert len(make_plan(SCENE, tmp_path, ())["camera"]["matrices"]) == 1
    panning = replace(SCENE, camera=Camera(kind="pan", amount=3.0))
    assert len(make_plan(panning, tmp_path, ())["camera"]["matrices"]) == 13


@given(
    shape=st.sampled_from([shape for shape in SHAPES if shape != "asset"]),
    kind=st.sampled_from(["walk", "drive", "drift", "boat", "bounce", "fly"]),
    size=st.floats(0.01, 200), speed=st.floats(0, 100), turn=st.floats(-720, 720), height=st.floats(0, 100),
    view=st.sampled_from(["still", "pan", "handheld", "follow"]), amount=st.floats(-180, 180),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_whatever_a_description_may_ask_for_is_finite(shape, kind, size, speed, turn, height, view, amount):
    travel = Travel(kind=kind, speed_mps=speed, turn_deg_s=turn, height_m=height, phase=0.3)
    scene = replace(
        SCENE, frames=5, subject=Body(name="it", shape=shape, size_m=size, motion=travel), variants=SCENE.variants[:1],
        camera=Camera(kind=view, amount=amount, at=(0.0, 0.0, 9.0), look_at=(0.0, 0.0, 0.0)),
    )  # fmt: skip
    values = make_plan(scene, Path("unused"), ())
    assert np.isfinite(values["camera"]["matrices"]).all()
    assert "NaN" not in json.dumps(values)
    for part in values["bodies"][0]["parts"]:
        assert np.isfinite(part["matrices"]).all()
        assert min(part["size"]) > 0
