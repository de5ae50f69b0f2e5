"""Scenes drawn by Blender to rows: several effects over one picture without, the same bytes however they are run."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.corpus.schema import QUALITY_NUMBERS
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.scenes.source import SceneSource
from effectpairs.flows.sources import load_any, load_for, open_run
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import Shadow
from effectpairs.render.generators.blender_generator import BlenderGenerator
from effectpairs.render.scene.objects import Body, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant, dump_scene
from effectpairs.stages.difference import Noise
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.tests.fixtures_workspaces import read_files, run_source

EVERYTHING = PublishSettings(include=("accept", "review", "reject"), validation_share=0.0, test_share=0.0)
SCENE = Scene(
    name="car",
    seed=5,
    frames=5,
    size=(36, 64),
    subject=Body(name="red car", shape="car", size_m=4.0, motion=Travel(kind="drive", speed_mps=5.0)),
    variants=(
        Variant(name="plain", effects=(Shadow(),)),
        Variant(name="soft", effects=(Shadow(softness_deg=15.0),)),
        Variant(name="dusty", effects=(Shadow(), Dust(density=6.0))),
    ),
    rendering=RenderSettings(samples=4, mask_samples=4, denoise=False),
)
SCRIPT = """
import sys
from pathlib import Path
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.sources import load_any, open_run
if __name__ == "__main__":
    run_locally(open_run(load_any(sys.argv[1]), Path(sys.argv[2]), workers=2))
"""


def source_file(folder: Path, *scenes: Scene) -> Path:
    """A source over these scenes' files."""
    (folder / "scenes").mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        (folder / "scenes" / f"{scene.name}.json").write_text(json.dumps(dump_scene(scene)))
    path = folder / "tiny-scenes.toml"
    path.write_text(f'flow = "synthetic-pairs"\nscenes = "{folder}/scenes/*.json"\nsize = [36, 64]\nframes = 5\n')
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    path = source_file(folder, SCENE, replace(SCENE, name="other", seed=6))
    workspace = folder / "workspace"
    return path, workspace, run_source(load_any(path), workspace, workers=1)


@pytest.mark.blender
def test_every_variant_is_a_row_and_shares_what_is_without_effects(done):
    _, workspace, account = done
    assert account.inputs == 6
    assert account.failed == 0
    entries = {entry.name: entry for entry in read_ledger(workspace, "tiny-scenes")}
    cars = [entry for name, entry in entries.items() if name.startswith("tiny-scenes-car-")]
    assert len({entry.row["group"] for entry in cars}) == 1
    assert len({entry.row["group"] for entry in entries.values()}) == 2
    assert len({entry.layers["over"]["sha256"] for entry in cars}) == 1
    assert len({entry.layers["gt"]["sha256"] for entry in cars}) == 3
    assert not list((workspace / "scratch" / "frames").glob("*"))


@pytest.mark.blender
def test_rows_say_how_they_came_about(done, tmp_path):
    _, workspace, _ = done
    publish_locally(str(tmp_path / "corpus"), workspace, EVERYTHING)
    corpus = open_corpus(str(tmp_path / "corpus"))
    assert verify(corpus) == []
    for clip in corpus:
        assert clip.kind == "synthetic"
        assert clip.alpha is None
        inside = clip.subject_mask == 255
        assert inside.any()
        if "dusty" not in clip.clip_id:  # nothing lies before the subject
            np.testing.assert_array_equal(clip.gt[inside], clip.over[inside])
        assert clip.quality["subject_error"] == 0
        recipe = find_effect(clip.gt, clip.over, clip.subject_mask, EffectMaskSettings(), Noise())
        np.testing.assert_array_equal(clip.effect_mask, recipe.mask)
        assert list(clip.effect_truth) == list(clip.effects)
        differs = cv2.dilate(np.abs(clip.gt.astype(int) - clip.over).max(axis=(0, 3)).astype(np.uint8), np.ones((3, 3)))
        for strength in clip.effect_truth.values():
            assert strength.max() == 255
            assert len(np.unique(strength)) > 2  # soft
            assert not strength[:, differs == 0].any()
        assert 0 <= clip.quality["otsu_iou"] <= 1
        assert clip.provenance["composite"] == "exact"
        assert clip.provenance["models"][0]["id"] == "blender"
        facts = json.loads(clip.provenance["facts"])
        assert facts["subject"] == "red car"
        assert set(facts["effects"]) == set(clip.effects)


@pytest.mark.blender
def test_two_workers_give_the_bytes_of_one_and_a_second_run_does_nothing(done, tmp_path):
    path, workspace, account = done
    before = read_files(workspace, with_memory=True)
    assert open_run(load_any(path), workspace).check_done()
    assert run_source(load_any(path), workspace, workers=1) == account
    assert read_files(workspace, with_memory=True) == before
    assert run_source(load_any(path), tmp_path / "other", workers=2) == account
    assert read_files(tmp_path / "other" / "store") == read_files(workspace / "store")


@pytest.mark.blender
def test_killed_in_the_middle_of_a_clip_it_goes_on_to_the_same_bytes(done, tmp_path):
    path, workspace, _ = done
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(script), str(path), str(killed)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(killed.glob("scratch/frames/*/v00/*.exr")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(killed.glob("scratch/frames/*"))
    assert not list(killed.glob("store/render/*/*/result.json"))
    run_source(load_any(path), killed, workers=1)
    assert read_files(killed / "store") == read_files(workspace / "store")
    assert not list(killed.glob("scratch/frames/*"))


@pytest.mark.blender
def test_in_display_space_the_inside_is_equal_too(tmp_path):
    scene = replace(SCENE, rendering=replace(SCENE.rendering, composite="eq2"), variants=SCENE.variants[:1])
    workspace = tmp_path / "w"
    run_source(load_any(source_file(tmp_path, scene)), workspace, workers=1)
    (entry,) = read_ledger(workspace, "tiny-scenes")
    assert entry.row["provenance"]["composite"] == "eq2"
    assert entry.row["quality"]["subject_error"] == 0


@pytest.mark.blender
def test_a_frame_is_drawn_in_a_moment_with_every_layer(tmp_path):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    path = tmp_path / "scene.json"
    path.write_text(json.dumps(dump_scene(SCENE)))
    asked = ["render", str(path), "--frame", "2", "--samples", "2", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    names = set(read_files(tmp_path / "out"))
    assert {"sheet.png", "over.png", "subject_mask.png", "plain/gt.png", "dusty/truth_dust.png"} <= names
    result = CliRunner().invoke(app, [*asked[:2], "--frame", "99", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "frame 99 is not in the clip; give one from 0 to 4" in str(result.exception)


@pytest.mark.blender
def test_a_whole_clip_is_written_with_its_numbers(tmp_path):
    from effectpairs.flows.scenes import single_scene as render_one

    told = []
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(dump_scene(SCENE)))
    described = render_one.read_changed_scene(path, ["size=18x32", "rendering.samples=1"])
    made = render_one.render_clip(
        described, tmp_path / "out", SceneSource(name="scene", scenes=str(path)), lambda *told_: told.append(told_)
    )
    assert set(made.verdicts) == {"plain", "soft", "dusty"}
    record = json.loads((tmp_path / "out" / "dusty" / "pair.json").read_text())
    assert (record["height"], record["width"], record["composite"]) == (18, 32, "exact")
    assert told[-1][1] == told[-1][2]
    assert not (tmp_path / "out" / ".frames").exists()


def test_the_example_is_a_scene_and_never_overwrites(tmp_path):
    from effectpairs.flows.scenes import single_scene as render_one
    from effectpairs.render.scene.scene import read_scene

    path = tmp_path / "scene.json"
    render_one.write_example(path)
    assert len(read_scene(path).variants) == 3
    with pytest.raises(ValueError, match="is there already"):
        render_one.write_example(path)


def test_overrides_reach_any_value_of_a_scene(tmp_path):
    from effectpairs.flows.scenes import single_scene as render_one

    path = tmp_path / "scene.json"
    path.write_text(json.dumps(dump_scene(SCENE)))
    changed = render_one.read_changed_scene(path, ["subject.size_m=2.5", *render_one.option_overrides(3, "48x80")])
    assert (changed.subject.size_m, changed.size, changed.rendering.samples) == (2.5, (48, 80), 3)
    with pytest.raises(ValueError, match=r"scene\.json: frames"):
        render_one.read_changed_scene(path, ["frames='many'"])
    with pytest.raises(ValueError, match="--size '33' is not HEIGHTxWIDTH; write for example"):
        render_one.option_overrides(None, "33")


def test_without_blender_one_sentence_says_so(tmp_path, monkeypatch):
    from effectpairs.cli.app import app
    from effectpairs.cli.console import user_message
    from effectpairs.render.blender.process import VARIABLE
    from typer.testing import CliRunner

    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(dump_scene(SCENE)))
    result = CliRunner().invoke(app, ["render", str(path), "--frame", "2", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert user_message(result.exception).startswith(
        "/nowhere/python is no program; run `effectpairs doctor --make`, or set "
    )


@pytest.mark.parametrize("size", [(48, 80), (96, 168), (192, 336), (384, 672)])
def test_a_few_glints_pass_at_any_size_and_many_do_not(size):
    from effectpairs.flows.scenes.stages import judge_variant

    def verdict(alone):
        numbers = dict.fromkeys(QUALITY_NUMBERS) | {
            "effect_area": 0.02, "effect_peak_area": 0.03, "effect_strength": 20.0, "effect_flicker": 0.0,
            "subject_area": 0.02, "edge_effect": 0.1, "preservation_psnr_db": 50.0, "subject_error": 0.0,
            "firefly_share": alone / (size[0] * size[1]),
        }  # fmt: skip
        made = {"numbers": numbers, "white_steps": {"ripple": 20}}
        return judge_variant(made, SceneSource(name="s", scenes="x/*.json"), size).verdict

    assert [verdict(alone) for alone in (0, 5, 40, 100)] == ["accept", "accept", "review", "reject"]


def test_a_source_says_which_flow_reads_it(tmp_path):
    for name in ("blender", "kubric", "demo-scenes"):
        assert isinstance(load_any(name), SceneSource)
    assert load_any("movies").kind == "synthetic"
    with pytest.raises(ValueError, match="source 'blender' is for synthetic-pairs; run it as synthetic-pairs/blender"):
        load_for("real-pairs", "blender")
    with pytest.raises(ValueError, match="either a generator or scenes"):
        load_any("blender", ["scenes='x/*.json'"])


def test_a_texture_beside_a_model_counts(tmp_path):
    from effectpairs.flows.scenes.stages import render_inputs

    (tmp_path / "duck.obj").write_text("v 0 0 0\n")
    (tmp_path / "duck.png").write_bytes(b"yellow")
    duck = Body(name="duck", shape="asset", asset=str(tmp_path / "duck.obj"))
    scene = replace(SCENE, subject=duck)
    first = render_inputs(scene, "4.5.15")
    assert render_inputs(scene, "4.5.15") == first
    (tmp_path / "workspace.json").write_text("what a run writes beside it is no part of it")
    assert render_inputs(scene, "4.5.15") == first
    (tmp_path / "duck.png").write_bytes(b"a green one")
    assert render_inputs(scene, "4.5.15") != first
    (tmp_path / "duck.obj").unlink()
    assert "missing" in render_inputs(scene, "4.5.15").values()


def test_descriptions_are_kept_until_something_decides_otherwise(tmp_path, monkeypatch):
    from effectpairs.datasets.store.store import Store
    from effectpairs.flows.scenes import listing as scene_list

    def listed(*overrides):
        source = load_any("blender", ["count=2", "frames=5", "size=36x64", *overrides])
        fresh = Store(tmp_path / "-".join(["fresh", *overrides]))
        return list(scene_list.list_scenes(source, Store(tmp_path))), list(scene_list.list_scenes(source, fresh))

    made, alone = listed()
    assert made == alone
    monkeypatch.setattr(BlenderGenerator, "scene_at", lambda *asked: pytest.fail(f"was described anew: {asked}"))
    source = load_any("blender", ["count=2", "frames=5", "size=36x64"])
    assert list(scene_list.list_scenes(source, Store(tmp_path))) == made
    monkeypatch.undo()
    for other in ("seed=2", "frames=13", "generator.occluder_probability=0.9"):
        described, alone = listed(other)
        assert described == alone != made


def test_a_film_that_nothing_can_fall_in_is_refused_at_once():
    sentence = r"kubric\.toml: frames=5 at fps=16 last 0\.25 s, .* give frames=13 or more, or a lower fps"
    with pytest.raises(ValueError, match=sentence):
        load_any("kubric", ["frames=5"])
    assert load_any("kubric", ["frames=13"]).frames == 13
    with pytest.raises(ValueError, match=r"blender\.toml: frames=6 is not 8k\+5; give 5, 13, 21"):
        load_any("blender", ["frames=6"])


def test_generators_give_the_same_scenes_again_and_more_of_them(tmp_path):
    from effectpairs.datasets.store.store import Store
    from effectpairs.flows.scenes.listing import list_scenes

    sources = (load_any("blender", [f"count={count}", "frames=5", "size=36x64"]) for count in (2, 4))
    few, more = (list(list_scenes(source, Store(tmp_path / str(source.count)))) for source in sources)
    assert few == more[:2]
    assert len({json.dumps(dump_scene(scene)) for _, scene in more}) == 4
