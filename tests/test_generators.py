"""Generators make plausible scenes: the subject in view, effects that fit the ground, the same for the same seed."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from effectpairs.render.animation.motion import compute_track
from effectpairs.render.generators import scenarios
from effectpairs.render.generators.blender_generator import BlenderGenerator, _draw_camera
from effectpairs.render.generators.framing import CameraView, measure_framing
from effectpairs.render.generators.generator import ClipFormat
from effectpairs.render.generators.kubric_generator import KubricGenerator
from effectpairs.render.generators.palettes import PANORAMA_SUNS
from effectpairs.render.generators.scenarios import SCENARIOS
from effectpairs.render.scene.objects import Toss, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, dump_scene

CLIP_FORMAT = ClipFormat(frames=21, size=(96, 168), rendering=RenderSettings(samples=4))
GENERATORS = [BlenderGenerator(), KubricGenerator()]
COUNT = {"blender": 40, "kubric": 8}
OTHER_PROCESS = """
import json
from effectpairs.render.generators.{kind}_generator import {name}
from effectpairs.render.generators.generator import ClipFormat
from effectpairs.render.scene.scene import dump_scene
print(json.dumps(dump_scene({name}().scene_at(3, 5, ClipFormat(frames=21, size=(96, 168))))))
"""


def scenes(generator, count, seed, clip_format):
    return (generator.scene_at(index, seed, clip_format) for index in range(count))


@pytest.fixture(scope="module", params=GENERATORS, ids=lambda generator: generator.kind)
def made(request) -> tuple[object, list[Scene]]:
    if request.param.kind == "kubric":
        pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")
    return request.param, list(scenes(request.param, COUNT[request.param.kind], 1, CLIP_FORMAT))


def test_a_scene_depends_on_seed_and_number_alone(made):
    generator, all_of_them = made
    for index in (0, 3, COUNT[generator.kind] - 1):
        assert generator.scene_at(index, 1, CLIP_FORMAT) == all_of_them[index]
    assert generator.scene_at(0, 2, CLIP_FORMAT) != all_of_them[0]
    assert len({json.dumps(dump_scene(scene)) for scene in all_of_them}) == len(all_of_them)
    assert len({scene.name for scene in all_of_them}) == len(all_of_them)


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda generator: generator.kind)
def test_another_process_makes_the_same_scene(generator):
    if generator.kind == "kubric":
        pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")
    program = OTHER_PROCESS.format(kind=generator.kind, name=type(generator).__name__)
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    here = generator.scene_at(3, 5, ClipFormat(frames=21, size=(96, 168)))
    assert there.stdout.strip() == json.dumps(dump_scene(here))


def test_the_subject_is_in_view(made):
    for scene in made[1]:
        seen = measure_framing(scene)
        shows = seen.inside & (seen.area >= 0.01) & (seen.area <= 0.30)
        assert np.mean(shows) >= 0.7, scene.name
        assert np.mean(seen.hidden < 0.5) >= 0.7, scene.name


def test_effects_fit_the_ground(made):
    for scene in made[1]:
        kinds = {effect.kind for variant in scene.variants for effect in variant.effects}
        wet = scene.ground.kind in ("wet", "puddles", "water")
        assert wet or not kinds & {"splash", "spray", "wake", "ripple"}
        assert scene.ground.kind == "dry" or "dust" not in kinds
        assert scene.ground.kind != "dry" or "reflection" not in kinds
        assert ("wake" in kinds or "ripple" in kinds) <= (scene.ground.kind == "water")
        for variant in scene.variants:
            assert len({"wake", "ripple"} & {effect.kind for effect in variant.effects}) < 2
            for effect in variant.effects:
                if getattr(effect, "softness_deg", None) is not None:
                    assert scene.static_background


def test_the_sun_stands_where_the_panorama_shows_it(made):
    for scene in made[1]:
        if scene.sky.hdri in PANORAMA_SUNS:
            azimuth, elevation = PANORAMA_SUNS[scene.sky.hdri]
            assert (azimuth - scene.sky.turned_deg - scene.sun.azimuth_deg + 180) % 360 - 180 == pytest.approx(
                0, abs=0.1
            )
            assert scene.sun.elevation_deg == elevation


def test_formats_and_variants_are_as_asked(made):
    generator, all_of_them = made
    for scene in all_of_them:
        assert (scene.frames, scene.size, scene.rendering) == (
            CLIP_FORMAT.frames,
            CLIP_FORMAT.size,
            CLIP_FORMAT.rendering,
        )
        assert generator.variants[0] <= len(scene.variants) <= generator.variants[1]
        assert scene.subject.name
    assert len({scene.camera.kind for scene in all_of_them}) >= 2
    assert any(len(scene.variants) > 1 for scene in all_of_them)


def test_tossed_subjects_hit_what_their_effects_need():
    pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")
    for scene in scenes(KubricGenerator(floors=("loose", "puddles")), 4, 3, CLIP_FORMAT):
        assert isinstance(scene.subject.motion, Toss)
        assert compute_track(scene).contacts
        assert 3 <= 1 + len(scene.props) <= 10 or len(scene.props) < 3


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_scenario_can_be_had_alone(scenario):
    generator = BlenderGenerator(scenarios=(scenario,), cameras=("still",))
    for scene in scenes(generator, 3, 4, CLIP_FORMAT):
        assert isinstance(scene.subject.motion, Travel)
        assert scene.camera.kind == "still"


@pytest.mark.parametrize("size", [(64, 64), (168, 96), (96, 168)])
@pytest.mark.parametrize("frames", [5, 85])
def test_any_format_will_do(size, frames):
    for scene in scenes(BlenderGenerator(), 6, 0, ClipFormat(frames=frames, size=size)):
        assert measure_framing(scene).fits


def test_users_models_and_skies_are_used(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "skies").mkdir()
    (tmp_path / "models" / "green_chair.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "skies" / "own.hdr").write_bytes(b"#?RADIANCE\n")
    generator = BlenderGenerator(
        models=str(tmp_path / "models"), model_probability=1.0, skies=str(tmp_path / "skies"), scenarios=("drive",)
    )
    made = list(scenes(generator, 8, 0, CLIP_FORMAT))
    assert {scene.subject.shape for scene in made} == {"asset"}
    assert {scene.subject.name for scene in made} == {"green chair"}
    assert {scene.sky.hdri for scene in made if scene.sky.kind == "hdri"} <= {str(tmp_path / "skies" / "own.hdr")}
    pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")
    tossed = KubricGenerator(models=str(tmp_path / "models"), model_probability=1.0)
    assert tossed.scene_at(0, 0, CLIP_FORMAT).subject.asset == str(tmp_path / "models" / "green_chair.obj")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scenarios": ("dance",)}, "name some of walk"),
        ({"cameras": ()}, "name some of still"),
        ({"variants": (0, 3)}, "within 1 to 4"),
        ({"variants": (3, 2)}, "within 1 to 4"),
        ({"focal_mm": (80.0, 20.0)}, "shortest and longest"),
        ({"occluder_probability": 2.0}, "occluder_probability=2 is not in"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        replace(BlenderGenerator(), **settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bodies": (0, 3)}, "within 1 to 40"),
        ({"floors": ("lava",)}, "name some of loose"),
        ({"walls": -1.0}, "walls=-1 is not in"),
    ],
)
def test_settings_of_the_other_generator_too(settings, says):
    with pytest.raises(ValueError, match=says):
        replace(KubricGenerator(), **settings)


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing: is no folder of model files"):
        list(
            scenes(
                BlenderGenerator(models=str(tmp_path / "nothing"), model_probability=1.0, scenarios=("drive",)),
                1,
                0,
                CLIP_FORMAT,
            )
        )
    with pytest.raises(ValueError, match=r"nothing: is no folder of sky files"):
        list(scenes(KubricGenerator(skies=str(tmp_path / "nothing")), 1, 0, CLIP_FORMAT))


@pytest.mark.parametrize("start_x", [-20.0, 20.0])
def test_a_pan_is_no_faster_than_a_camera_may_turn(start_x):
    rng = np.random.default_rng(0)
    view = CameraView(away_deg=90.0, distance_m=2.0, elevation_deg=10.0, focal_mm=35.0)
    motion = Travel(kind="drive", start=(start_x, 0.0), heading_deg=0.0, speed_mps=20.0)
    camera = _draw_camera(rng, scenarios.walk(rng), view, "pan", motion, 1.0)
    assert abs(camera.amount) == 180
