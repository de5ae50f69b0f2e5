"""`effectpairs pair`: one clip here and now, from a mask, key frames or a box."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from effectpairs.datasets.corpus.schema import COLOUR_LAYERS, LAYERS, QUALITY_NUMBERS
from effectpairs.datasets.store import codec
from effectpairs.tests.fixtures_scene import sliding_square, write_h264


@pytest.fixture
def clip(tmp_path) -> Path:
    made = sliding_square(29, seed=3)
    write_h264(tmp_path / "clip.mp4", made.gt)
    write_h264(tmp_path / "mask.mp4", made.subject_mask)
    write_h264(tmp_path / "plate.mp4", made.background)
    for frame in (0, 14, 28):
        cv2.imwrite(str(tmp_path / f"key{frame}.png"), made.subject_mask[frame])
    return tmp_path


def pair(folder: Path, *arguments: str) -> dict:
    command = [sys.executable, "-m", "effectpairs", "pair", "clip.mp4", "--size", "48x80", "--out", "out", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / "out" / "pair.json").read_text())
    assert done.stdout.startswith(f"{record['verdict']}: ")
    return record


def layer(folder: Path, name: str) -> np.ndarray:
    return codec.decode((folder / "out" / f"{name}.mkv").read_bytes())


def test_a_mask_gives_every_layer_and_the_record(clip):
    record = pair(clip, "--subject-mask", "mask.mp4")
    layers = {name: layer(clip, name) for name in LAYERS}
    for name, frames in layers.items():
        assert frames.shape == ((29, 48, 80, 3) if name in COLOUR_LAYERS else (29, 48, 80)), name
    assert set(np.unique(layers["effect_mask"])) <= {0, 255}
    mixed = layers["subject_mask"][..., None] / 255
    eq2 = mixed * layers["foreground"] + (1 - mixed) * layers["background"]
    assert (layers["over"] == np.rint(eq2)).all()
    assert record["verdict"] in ("accept", "review", "reject")
    assert record["reasons"]
    assert set(record["quality"]) == set(QUALITY_NUMBERS)
    assert {"normalise", "subject", "decompose", "composite", "effect_mask", "quality", "write"} <= set(
        record["seconds"]
    )
    assert record["source_frames"] == list(range(29))


def test_key_frames_are_carried_between(clip):
    keys = [argument for frame in (0, 14, 28) for argument in ("--key", f"{frame}=key{frame}.png")]
    pair(clip, *keys)
    given, found = sliding_square(29, seed=3).subject_mask > 127, layer(clip, "subject_mask") > 127
    assert (given & found).sum() / (given | found).sum() > 0.75


def test_a_box_is_a_draft_and_goes_to_review_at_best(clip):
    record = pair(clip, "--box", "30,16,14,14", "--at", "14")
    assert record["verdict"] != "accept"
    assert max(record["mask_confidence"]) < 0.5


def test_another_subject_stays_in_the_background(clip):
    scene = sliding_square(29, seed=3)
    gt, other = scene.gt.copy(), np.zeros_like(scene.subject_mask)
    for frame in range(29):
        other[frame, 4:12, 70 - 2 * frame : 78 - 2 * frame] = 255
    gt[other > 0] = (20, 230, 20)
    write_h264(clip / "clip.mp4", gt)
    write_h264(clip / "other.mp4", other)
    pair(clip, "--subject-mask", "mask.mp4", "--other-mask", "other.mp4")
    core = (other > 0) & (scene.subject_mask == 0)
    np.testing.assert_array_equal(layer(clip, "background")[core], layer(clip, "gt")[core])
    assert not (layer(clip, "effect_mask") > 127)[core].any()


def test_a_clip_without_the_subject_is_refused_though_another_is_there(clip):
    scene = sliding_square(29, seed=3)
    left, middle = np.zeros_like(scene.subject_mask), np.zeros_like(scene.subject_mask)
    left[:, 10:30, :10] = 255  # the square crop of the picture begins at column 16
    middle[:, 10:30, 30:50] = 255
    write_h264(clip / "mask.mp4", left)
    write_h264(clip / "other.mp4", middle)
    command = [sys.executable, "-m", "effectpairs", "pair", "clip.mp4", "--size", "48x48", "--subject-mask", "mask.mp4"]
    command += ["--other-mask", "other.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=clip, timeout=300)
    assert done.returncode
    assert "the subject is in no frame of this clip" in done.stderr.replace("\n", " ")


def test_another_tools_plate_is_taken(clip):
    record = pair(clip, "--subject-mask", "mask.mp4", "--background", "plate.mp4")
    assert record["settings"]["decompose"]["kind"] == "external"
    truth = sliding_square(29, seed=3)
    assert np.abs(layer(clip, "background").astype(int) - truth.background).mean() < 4
    shadow, found = truth.shadow, layer(clip, "effect_mask") > 127
    assert (shadow & found).sum() / shadow.sum() > 0.5
