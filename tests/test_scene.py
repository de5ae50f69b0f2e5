"""A scene's description: it reads back equal, and what is wrong with it is said in one sentence."""

import json
from dataclasses import replace

import pytest
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import Shadow
from effectpairs.render.generators.blender_generator import BlenderGenerator
from effectpairs.render.generators.generator import ClipFormat
from effectpairs.render.generators.kubric_generator import KubricGenerator
from effectpairs.render.scene.objects import Body, Camera, Sky, Still, Toss, Travel
from effectpairs.render.scene.scene import Scene, Variant, dump_scene, parse_scene, read_scene
from hypothesis import given, settings
from hypothesis import strategies as st

PLAIN = Scene(
    name="plain", seed=1, frames=5, size=(64, 112), subject=Body(name="red ball", shape="ball"),
    variants=(Variant(name="shadow", effects=(Shadow(),)),),
)  # fmt: skip


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def triples(low: float, high: float) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(numbers(low, high), numbers(low, high), numbers(low, high))


MOTIONS = st.one_of(
    st.builds(Still, at=triples(-1000, 1000), heading_deg=numbers(-720, 720)),
    st.builds(
        Travel, kind=st.sampled_from(["walk", "drive", "drift", "boat", "bounce", "fly"]), speed_mps=numbers(0, 100),
        turn_deg_s=numbers(-720, 720), height_m=numbers(0, 100), phase=numbers(0, 1),
    ),
    st.builds(Toss, at=triples(-1000, 1000), velocity=triples(-100, 100), restitution=numbers(0, 1)),
)  # fmt: skip


@given(motion=MOTIONS, size=numbers(0.01, 200), seed=st.integers(0, 2**31 - 1), k=st.integers(0, 20))
@settings(max_examples=60)
def test_a_scene_reads_back_equal(motion, size, seed, k):
    scene = replace(
        PLAIN, seed=seed, frames=8 * k + 5, subject=replace(PLAIN.subject, motion=motion, size_m=size),
        variants=(*PLAIN.variants, Variant(name="dust", effects=(Dust(), Shadow(softness_deg=9.0)))),
    )  # fmt: skip
    text = json.dumps(dump_scene(scene))
    assert parse_scene(text) == scene
    assert json.dumps(dump_scene(parse_scene(text))) == text


@pytest.mark.parametrize("generator", [BlenderGenerator(), KubricGenerator()], ids=lambda generator: generator.kind)
def test_generated_scenes_read_back_equal(generator):
    if generator.kind == "kubric":
        pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")
    for index in range(4):
        scene = generator.scene_at(index, 5, ClipFormat(frames=13, size=(64, 112)))
        assert parse_scene(json.dumps(dump_scene(scene))) == scene


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frames": 12}, "scene.frames=12 is not 8k+5"),
        ({"frames": 2005}, "is not 8k+5"),
        ({"size": [8, 112]}, "is not within 16 to 4096"),
        ({"fps": 0}, "fps=0 is not in [1, 240]"),
        ({"seed": -1}, "not in [0, 2^31)"),
        ({"subjet": {}}, "subjet"),
        ({"schema": 2}, "schema"),
        ({"subject": {"name": " ", "shape": "ball"}}, "1 to 80 characters"),
        ({"subject": {"name": "x", "shape": "dragon"}}, "shape"),
        ({"subject": {"name": "x", "shape": "asset"}}, "asset's path go together"),
        ({"subject": {"name": "x", "shape": "ball", "asset": "a.glb"}}, "asset's path go together"),
        ({"subject": {"name": "x", "shape": "ball", "size_m": 1e9}}, "body.size_m=1e+09 is not in [0.01, 200]"),
        ({"subject": {"name": "x", "shape": "ball", "motion": {"kind": "swim"}}}, "swim"),
        ({"subject": {"name": "x", "shape": "ball", "look": {"colour": [2, 0, 0]}}}, "look"),
        ({"sky": {"kind": "hdri"}}, "sky.hdri go together"),
        ({"sun": {"elevation_deg": 0}}, "elevation_deg=0 is not in [1, 90]"),
        ({"camera": {"at": [0, 0, 1], "look_at": [0, 0, 1]}}, "must look somewhere else"),
        ({"camera": {"amount": "fast"}}, "camera.amount"),
        ({"variants": []}, "give 1 to 16"),
        ({"variants": [{"name": "a", "effects": []}]}, "give one to 8"),
        ({"variants": [{"name": "a", "effects": [{"kind": "shadow"}, {"kind": "shadow"}]}]}, "each kind once"),
        ({"variants": [{"name": "a/b", "effects": [{"kind": "shadow"}]}]}, "letters, digits"),
        ({"variants": [{"name": "a", "effects": [{"kind": "dust", "density": -1}]}]}, "dust.density=-1"),
        ({"variants": [{"name": "a", "effects": [{"kind": "fire"}]}]}, "fire"),
        ({"rendering": {"samples": 0}}, "samples=0 is not in [1, 16384]"),
        ({"props": [{"name": "post", "shape": "post"}] * 201}, "201 bodies are more than 200"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, change, says):
    path = tmp_path / "scene.json"
    path.write_text(json.dumps({**dump_scene(PLAIN), **change}))
    with pytest.raises(ValueError, match=r".") as told:
        read_scene(path)
    assert says in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"name": "x"}', "\x00"])
def test_what_is_no_scene_is_refused(tmp_path, content):
    path = tmp_path / "scene.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"scene\.json"):
        read_scene(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json: cannot be read"):
        read_scene(tmp_path / "none.json")


def test_a_scene_holds_still_if_camera_and_props_do():
    crate = Body(name="crate", shape="crate", motion=Still(at=(1.0, 0.0, 0.0)))
    ball = Body(name="ball", shape="ball", motion=Toss())
    assert replace(PLAIN, props=(crate,)).static_background
    assert not replace(PLAIN, props=(crate, ball)).static_background
    assert not replace(PLAIN, camera=Camera(kind="pan")).static_background


def test_a_sky_of_its_own_is_kept():
    scene = replace(PLAIN, sky=Sky(kind="hdri", hdri="sunset"))
    assert parse_scene(json.dumps(dump_scene(scene))).sky.hdri == "sunset"
