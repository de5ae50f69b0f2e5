"""Scenes that cannot be drawn, all in one source: each gives one clear sentence, and the rest goes on.

A small program takes Blender's place: it draws in numpy, and comes to grief as the subject's name says.
"""

import json
import os
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import effectpairs
import pytest
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.scenes.single_scene import render_preview
from effectpairs.flows.scenes.source import SceneSource
from effectpairs.render.blender.process import VARIABLE, Blender
from effectpairs.render.effects.light import Shadow
from effectpairs.render.generators.archives import AssetLimits
from effectpairs.render.scene.objects import Body, Material, Sky, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant, dump_scene
from effectpairs.tests.fixtures_workspaces import run_source

FAKE = """#!{python}
import json, os, signal, sys, time
from pathlib import Path

sys.path.insert(0, "{path}")
import numpy as np
from effectpairs.tests import fixtures_frame_files as frame_files

folder = Path(sys.argv[3])
plan = json.loads((folder / "plan.json").read_text())
named = plan["bodies"][0]["name"]
(folder.parent.parent / f"starts-{{named}}").open("a").write("x")

def say(event, **facts):
    print(json.dumps(dict(event=event, **facts)), flush=True)

boxes = [[0, 0, 0, 0] if named == "absent" else frame_files.box_at(plan, frame) for frame in range(plan["frames"])]
(folder / "boxes.json").write_text(json.dumps(boxes))
say("ready", blender="4.5.15", seconds=0.1)
if named == "refused":
    say("refused", reason="/models/duck.glb: is no model that Blender can read; export it again")
    sys.exit(3)
for chosen in plan["passes"]:
    (folder / chosen["name"]).mkdir(exist_ok=True)
    for frame in chosen["frames"]:
        path = folder / chosen["name"] / f"{{frame:04d}}.exr"
        cut = chosen["kind"] in ("subject", "front")
        if path.exists() or cut and not any(boxes[frame]):
            continue
        if named == "hanging" and frame == 2:
            time.sleep(600)
        if named == "killed" and frame == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        effects = [] if named == "unseen" else ["shadow"]
        picture = frame_files.draw_pass(plan | {{"variants": [{{"effects": effects}}] * 2}}, chosen, frame)
        if named == "absent" and chosen["kind"] == "whole":
            picture = frame_files.draw_pass(plan, chosen | {{"kind": "plate", "variant": None}}, frame)
        if named == "blinding" and chosen["kind"] == "whole" and chosen["variant"] == 1:
            picture[3, 3] = np.inf
        if cut:
            left, top, right, bottom = boxes[frame]
            picture = picture[top:bottom, left:right]
        frame_files.write_exr(path, picture)
        if named == "torn" and chosen["kind"] == "whole" and frame == 3:
            path.write_bytes(path.read_bytes()[:99])
        say("frame", **{{"pass": chosen["name"]}}, frame=frame, seconds=0.1, cpu=0.1)
say("done")
"""


def scene(name, **changes):
    """Drawn within a second: 5 frames of 36x64."""
    subject = Body(name=name, shape="ball", look=Material(), motion=Travel(kind="drive"))
    whole = RenderSettings(crop=False)  # the stand-in for Blender draws whole pictures
    plain = {"name": name, "seed": 1, "frames": 5, "size": (36, 64), "subject": subject, "rendering": whole}
    return Scene(**plain | {"variants": (Variant(name="one", effects=(Shadow(),)),)} | changes)


def source_of(folder, *scenes, **settings) -> SceneSource:
    """Write scenes (or, under a name, any text) as a source of a folder."""
    place = folder / "scenes"
    place.mkdir(parents=True, exist_ok=True)
    for one in scenes:
        name, text = one if isinstance(one, tuple) else (one.name, json.dumps(dump_scene(one)))
        (place / f"{name}.json").write_text(text)
    return SceneSource(**{"name": "s", "scenes": f"{place}/*.json", "size": (36, 64), "frames": 5} | settings)


def run(source, workspace):
    """What became of each variant, by SCENE-VARIANT; of a description that cannot be read, by its name."""
    account = run_source(source, workspace, workers=1)
    entries = read_ledger(workspace, source.name)
    assert account.inputs == len(entries) == account.accepted + account.review + account.rejected + account.failed
    names = [entry.name.removeprefix("s-") for entry in entries]
    return {name.rsplit("-", 1)[0] if "-" in name else name: entry for name, entry in zip(names, entries, strict=True)}


DESCRIPTIONS = {
    "frames": ({"frames": 6}, r"scene\.frames=6 is not 8k\+5; give 5, 13, 21"),
    "size": ({"size": [8, 64]}, r"scene\.size=\(8, 64\) is not within 16 to 4096"),
    "seed": ({"seed": -1}, r"scene\.seed=-1 is not in \[0, 2\^31\)"),
    "sun": ({"sun": {"elevation_deg": 0}}, r"json: sun\.elevation_deg=0 is not in \[1, 90\]; give a value between"),
    "variants": ({"variants": []}, r"scene\.variants \[\]: give 1 to 16"),
    "key": ({"fog": 1}, "fog is no key; compare with what `effectpairs render --example"),
    "typo": ({"camra": {}}, "camra is no key; did you mean 'camera'"),
    "shape": ({"subject": {"name": "x", "shape": "dragon"}}, r"subject\.shape='dragon' does not do: input should be"),
    "sky": ({"sky": {"kind": "hdri"}}, r"sky\.kind='hdri' and sky\.hdri go together"),
    "asset": ({"subject": {"name": "x", "shape": "asset"}}, "shape 'asset' and an asset's path go together"),
}
TEXTS = {"brace": "{", "list": "[]", "empty": "", "null": "\x00"}
TROUBLES = ("absent", "unseen", "hanging", "killed", "torn", "refused")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the source that holds every trouble at once, and one scene that is fine."""
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def found(folder):
    """What became of all that, in one run."""
    program = folder / "fake-blender"
    program.write_text(FAKE.format(python=sys.executable, path=Path(effectpairs.__file__).parents[1]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    variants = tuple(Variant(name=name, effects=(Shadow(),)) for name in ("calm", "wild"))
    odd = [(name, json.dumps(dump_scene(scene(name)) | change)) for name, (change, _) in DESCRIPTIONS.items()]
    scenes = [scene("fine"), scene("blinding", variants=variants), *(scene(name) for name in TROUBLES)]
    blender = Blender(python_path=str(program), frame_timeout_s=3.0, max_attempts=2)
    return run(source_of(folder, *odd, *TEXTS.items(), *scenes, blender=blender), folder / "w")


def reason(entry, outcome="fail"):
    """The one sentence."""
    assert entry.outcome == outcome
    return entry.reasons[0]


def test_the_rest_goes_on(found):
    assert found["fine-one"].outcome == "accept", found["fine-one"].reasons


# ---------------------------------------------------------------- what the description says


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_out_of_range(found, name):
    assert f"{name}.json: " in reason(found[name])
    assert re.search(DESCRIPTIONS[name][1], reason(found[name])), reason(found[name])


@pytest.mark.parametrize("name", TEXTS)
def test_a_description_that_is_none(found, name):
    assert f"{name}.json: is no scene (" in reason(found[name])
    assert "; compare with" in reason(found[name])


def test_no_description_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"no file is there; give a pattern of scenes' JSON"):
        run(source_of(tmp_path), tmp_path / "w")


# ---------------------------------------------------------------- what the picture shows


def test_a_subject_that_is_never_in_the_picture(found):
    assert reason(found["absent-one"]) == "absent: is in no frame of the picture; move it, or point the camera at it"


def test_an_effect_that_shows_in_no_pixel(found):
    assert "the shadow shows in no pixel: it lies out of view" in reason(found["unseen-one"], "reject")


def test_a_value_without_bound_costs_its_variant_alone(found):
    assert found["blinding-calm"].outcome == "accept"
    sentence = "pass 'v01', frame 0: a value is not finite; change what shines without bound"
    assert reason(found["blinding-wild"]) == sentence


# ---------------------------------------------------------------- what Blender does


def test_a_render_that_hangs(found):
    assert re.search(r"Blender made no frame for \d+ s, 2 times without a new frame", reason(found["hanging-one"]))


def test_blender_killed(found):
    assert "Blender ended with code -9, 2 times without a new frame" in reason(found["killed-one"])


def test_a_frame_file_cut_short(found, folder):
    assert "0003.exr is damaged" in reason(found["torn-one"])


def test_what_blender_refuses(found, folder):
    assert reason(found["refused-one"]) == "/models/duck.glb: is no model that Blender can read; export it again"
    assert len((folder / "w/scratch/starts-refused").read_text()) == 1, "it would refuse again: asked once"


def test_no_blender_environment(found, folder, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    entry = run(source_of(tmp_path, scene("fine")), tmp_path / "w")["fine-one"]
    assert "/nowhere/python is no program; run `effectpairs doctor --make`, or set EFFECTPAIRS_BLENDER" in reason(entry)


# ---------------------------------------------------------------- what users bring

MODELS = {
    "gone": (".glb", None),
    "hollow": (".obj", b""),
    "huge": (".obj", b"v 0 0 0"),
    "broken": (".glb", b"glTF" + b"\0" * 60),
    "page": (".glb", b"<html>denied</html>"),
    "foreign": (".fbx", b"Kaydara"),
}


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """Files that Blender itself is asked to read, and a scene that is fine."""
    folder = tmp_path_factory.mktemp("brought")
    scenes = [scene("fine")]
    for name, (suffix, content) in MODELS.items():
        if content is not None:
            (folder / f"{name}{suffix}").write_bytes(content)
        if name == "huge":
            os.truncate(folder / f"{name}{suffix}", AssetLimits().file_bytes + 1)
        body = Body(name=name, shape="asset", asset=str(folder / f"{name}{suffix}"))
        scenes.append(scene(name, subject=body))
    (folder / "dusk.exr").write_bytes(b"no picture")
    scenes.append(scene("dusk", sky=Sky(kind="hdri", hdri=str(folder / "dusk.exr"))))
    quick = [replace(one, rendering=RenderSettings(samples=2, mask_samples=2)) for one in scenes]
    return run(source_of(folder, *quick, blender=Blender(frame_timeout_s=120.0, max_attempts=1)), folder / "w")


@pytest.mark.blender
def test_what_is_fine_is_drawn(brought):
    assert brought["fine-one"].outcome != "fail", brought["fine-one"].reasons


@pytest.mark.blender
@pytest.mark.parametrize("name", [*MODELS, "dusk"])
def test_models_and_skies_that_cannot_be_used(brought, name):
    suffix = MODELS[name][0] if name in MODELS else ".exr"
    assert f"{name}{suffix}: " in reason(brought[f"{name}-one"])
    assert ";" in reason(brought[f"{name}-one"]), "with its remedy"


def test_a_frame_beyond_the_clip_is_refused(tmp_path):
    source = SceneSource(name="bad", scenes="x/*.json")
    with pytest.raises(ValueError, match="frame 13 is not in the clip; give one from 0 to 4"):
        render_preview(scene("fine"), 13, tmp_path, source, lambda *_: None)
