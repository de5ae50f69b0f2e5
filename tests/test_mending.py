"""Painting on masks: the strokes, and what a run makes anew because of them."""

import base64
import shutil

import cv2
import numpy as np
import pytest
from effectpairs.datasets.review.painting import ADD, ERASE, decode_stroke, encode_stroke
from effectpairs.datasets.review.session import Conflict, ReviewSession
from effectpairs.datasets.store.ledger import iter_ledger
from effectpairs.datasets.store.references import list_results
from effectpairs.datasets.store.store import LayerRef, Store
from effectpairs.flows.sources import load_any
from effectpairs.stages.mend import track_between
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.tests.fixtures_workspaces import run_source

CAPTIONS = {"tags", "describe", "refine", "augment"}


def test_a_stroke_comes_back_as_it_was_painted_and_other_pictures_are_refused():
    stroke = np.zeros((6, 8), np.uint8)
    stroke[1:3, 2:5], stroke[4, :] = ADD, ERASE
    assert (decode_stroke(encode_stroke(stroke), (6, 8)) == stroke).all()
    page = np.dstack([stroke, stroke, stroke, np.full_like(stroke, 255)])
    text = base64.b64encode(cv2.imencode(".png", page)[1].tobytes()).decode()
    assert (decode_stroke(text, (6, 8)) == stroke).all()
    for wrong in ("no base64!", base64.b64encode(b"GIF89a").decode(), encode_stroke(np.zeros((6, 9), np.uint8))):
        with pytest.raises(ValueError, match="no PNG of 6x8 pixels"):
            decode_stroke(wrong, (6, 8))


def test_frames_between_corrected_ones_are_tracked_and_others_stay(scene):
    truth, gt = scene.subject_mask, scene.gt
    lost = truth.copy()
    lost[3:10] = 0
    lost[3], lost[9] = truth[3], truth[9]
    doubtful = np.full(len(gt), 0.3, np.float32)
    track = track_between(gt, lost, doubtful, (3, 9), carry=True)
    inside = [np.logical_and(a > 127, b > 127).sum() / (b > 127).sum() for a, b in zip(track.mask, truth, strict=True)]
    assert min(inside[4:9]) > 0.8
    assert (track.mask[:4] == lost[:4]).all()
    assert (track.mask[9:] == lost[9:]).all()
    assert track.confidence[3] == track.confidence[9] == 1
    assert track.confidence[2] == np.float32(0.3)
    alone = track_between(gt, lost, doubtful, (3, 9), carry=False)
    assert (alone.mask == lost).all()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The settings of a source of two clips, and a workspace in which it was run."""
    folder = tmp_path_factory.mktemp("mending")
    footage = sliding_square(29, seed=1)
    write_h264(folder / "footage" / "first" / "input_video.mp4", footage.gt)
    write_h264(folder / "footage" / "first" / "mask_00.mp4", footage.subject_mask)
    (folder / "tiny.toml").write_text(
        f'root = "{folder / "footage"}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        'effects = ["shadow"]\n[normalise]\nsize = [48, 80]\nmax_frames = 13\n'
    )
    source = load_any(folder / "tiny.toml")
    run_source(source, folder / "w", workers=1)
    return source, folder / "w"


@pytest.fixture
def workspace(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "w")


def results(workspace):
    return {(stage, key) for stage, key, _ in list_results(Store(workspace).workspace)}


def entries(workspace):
    return {entry.name: entry for _, entry in iter_ledger(workspace, "tiny") if entry.row}


def painting(workspace, entry, layer, frames, *, number, by="Ana"):
    """A decision of a page that fills a corner of some frames."""
    ref = LayerRef(**entry.layers[layer])
    stroke = np.zeros((entry.row["height"], entry.row["width"]), np.uint8)
    stroke[:10, :12] = ADD
    session = ReviewSession(str(workspace))
    return session.decide({
        "id": f"{number:032x}",
        "clip": entry.name,
        "layers": session.details(entry.name)["fingerprint"],
        "by": by,
        "what": "mask",
        "value": {"layer": layer, "drawn_on": ref.sha256, "carry": True,
                  "frames": {str(frame): encode_stroke(stroke) for frame in frames}},
    })  # fmt: skip


def mask_of(workspace, entry, layer):
    return Store(workspace).layer(LayerRef(**entry.layers[layer]))


def test_a_run_takes_strokes_in_and_makes_anew_what_follows_alone(finished, workspace):
    source = finished[0]
    made, before = results(workspace), entries(workspace)
    clip, other = sorted(before)[:2]
    painting(workspace, before[clip], "effect_mask", [2], number=1)
    run_source(source, workspace, workers=1)
    after = entries(workspace)
    assert {stage for stage, _ in results(workspace) - made} <= {"mend_effect_mask", "quality", *CAPTIONS}
    assert {"mend_effect_mask", "quality"} <= {stage for stage, _ in results(workspace) - made}
    assert after[other] == before[other]
    old, new = (mask_of(workspace, each[clip], "effect_mask") for each in (before, after))
    assert (new[2, :10, :12] == 255).all()
    assert (np.delete(new, 2, axis=0) == np.delete(old, 2, axis=0)).all()
    assert "effect_mask was painted by Ana in frame 2." in after[clip].row["provenance"]["notes"]

    painting(workspace, after[clip], "effect_mask", [5], number=2)
    run_source(source, workspace, workers=1)
    after = entries(workspace)
    twice = mask_of(workspace, after[clip], "effect_mask")
    assert (twice[[2, 5], :10, :12] == 255).all(), "strokes on a mended mask add to it"

    made = results(workspace)
    painting(workspace, after[clip], "subject_mask", [0, 4], number=3, by="Ben")
    painting(workspace, after[clip], "effect_mask", [3], number=4)
    run_source(source, workspace, workers=1)
    stages = {stage for stage, _ in results(workspace) - made}
    assert {"mend_subject", "decompose", "composite", "effect_mask", "quality"} <= stages
    assert not stages & {"scan", "normalise", "subject"}, "what was tracked stays"
    last = entries(workspace)[clip]
    assert (mask_of(workspace, last, "subject_mask")[[0, 4], :10, :12] == 255).all()
    assert not any("effect_mask was painted" in note for note in last.row["provenance"]["notes"]), "of another mask"
    made = results(workspace)
    run_source(source, workspace, workers=1)
    assert results(workspace) == made


def test_strokes_that_do_not_fit_are_refused(workspace):
    entry = min(entries(workspace).values(), key=lambda entry: entry.name)
    with pytest.raises(ValueError, match="has no frame 99"):
        painting(workspace, entry, "effect_mask", [99], number=1)
    with pytest.raises(ValueError, match="nothing was painted"):
        painting(workspace, entry, "effect_mask", [], number=1)
    stale = {"file": "x", "sha256": "e" * 64, "size_bytes": 1}
    made_anew = type(entry)(**{**vars(entry), "layers": {**entry.layers, "effect_mask": stale}})
    with pytest.raises(Conflict, match="made anew"):
        painting(workspace, made_anew, "effect_mask", [1], number=1)
