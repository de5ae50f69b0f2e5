"""Footage that is written to, shrinks or goes while a run reads it, and long gaps in its time stamps."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from effectpairs.datasets.footage.types import Footage
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.index import WorkspaceIndex
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.store import Store
from effectpairs.flows.engine.batches import make_result
from effectpairs.flows.engine.item import ItemProgress
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.footage import items
from effectpairs.flows.footage.scan import PlannedClip, scan_footage
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.sources import open_run
from effectpairs.stages.normalise import Normalise, UnusableShot, find_gaps
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip
from effectpairs.tests.fixtures_workspaces import run_source

SMALL = Normalise(size=(32, 48), fps=24.0, max_frames=13, min_remainder_frames=5)


def spoil(path: Path, how: str) -> None:
    match how:
        case "grows":
            path.write_bytes(path.read_bytes() + b"more")
        case "shrinks":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "goes":
            path.unlink()


@pytest.mark.parametrize("how", ["grows", "shrinks", "goes"])
@pytest.mark.parametrize("file", ["input_video.mp4", "mask_00.mp4"])
def test_what_changes_after_it_was_listed_leaves_no_result(source_file, footage_root, tmp_path, how, file):
    """A refusal under the digest of the whole file would outlive the repair."""
    source, path = load_source(source_file, into=RealSource), footage_root / "first" / file
    kept = tmp_path / "kept"
    shutil.copy2(path, kept)
    run = open_run(source, tmp_path / "w", workers=1)
    spoil(path, how)
    summary = run_locally(run)
    assert (summary.inputs, summary.failed) == (3, 1)
    (entry,) = (entry for entry in read_ledger(tmp_path / "w", "tiny") if entry.outcome == "fail")
    says = "is gone since it was listed; run again" if how == "goes" else "changed while it was read; run again"
    assert says in entry.reasons[0]
    shutil.copy2(kept, path)
    again = run_source(source, tmp_path / "w", workers=1)
    assert (again.inputs, again.failed) == (4, 0)


def test_what_is_written_to_while_it_is_hashed_is_noticed(source_file, footage_root, tmp_path, monkeypatch):
    source, digests = load_source(source_file, into=RealSource), WorkspaceIndex.digests

    def digests_and_change(self, paths):
        sums = digests(self, paths)
        spoil(footage_root / "first" / "input_video.mp4", "grows")
        return sums

    monkeypatch.setattr(WorkspaceIndex, "digests", digests_and_change)
    run_source(source, tmp_path / "w", workers=1)
    (entry,) = (entry for entry in read_ledger(tmp_path / "w", "tiny") if entry.outcome == "fail")
    assert "changed while it was read; run again" in entry.reasons[0]


def test_a_clip_is_not_made_of_a_video_that_changed_after_the_scan(source_file, footage_root, tmp_path):
    source = load_source(source_file, into=RealSource)
    store = Store(tmp_path / "w")
    run = open_run(source, tmp_path / "w", workers=1)
    scan, normalise_stage = run.stages[:2]
    first = ItemProgress(run.items[0], run.stages, source)
    first.refresh(store)
    make_result(first, scan, store)
    first.refresh(store)
    clip = first.children[0]
    spoil(footage_root / "first" / "input_video.mp4", "grows")
    with pytest.raises(items.FootageChanged, match="it, or a file beside it, changed while it was read; run again"):
        make_result(clip, normalise_stage, store)
    assert not list((tmp_path / "w").glob("store/normalise/*/*/result.json"))


def test_a_result_that_disappears_in_mid_run_is_made_again(source_file, tmp_path):
    """Every folder of one stage goes when the next begins."""
    source, gone = load_source(source_file, into=RealSource), []

    def delete(phase: str, finished: int, total: int) -> None:
        folder = tmp_path / "w/store/normalise"
        if phase == "pairs" and finished == 1 and not gone:
            gone.append(shutil.rmtree(folder))

    summary = run_locally(open_run(source, tmp_path / "w", workers=1), delete)
    assert gone
    assert (summary.inputs, summary.failed) == (4, 0)
    whole = run_source(source, tmp_path / "whole", workers=1)
    assert summary == whole
    layers = [{entry.name: entry.layers for entry in read_ledger(tmp_path / name, "tiny")} for name in ("w", "whole")]
    assert layers[0] == layers[1]


# ---------------------------------------------------------------- gaps


def gapped(path: Path, frame: int, gap_s: float, frames: int = 26) -> Path:
    ticks = [number + (round(24 * gap_s) if number >= frame else 0) for number in range(frames)]
    return encode_video(path, sliding_clip(frames), ticks=ticks, codec="libx264", pix_fmt="yuv420p", crf="35")


@pytest.mark.parametrize("gap_s", [6.0, 3e6])
def test_a_gap_in_the_time_stamps_ends_a_shot_and_takes_no_memory(tmp_path, gap_s):
    """At 24 frames a second 3e6 s are 72 million instants; a file of a few kB took 7.8 GB for them."""
    path = gapped(tmp_path / "a.mkv", 13, gap_s)
    assert path.stat().st_size < 8000
    scan = scan_footage(Footage(name="a", video=path), SMALL)
    assert [part.source_frames for part in scan.parts] == [tuple(range(13)), tuple(range(13, 26))]


def test_a_shorter_gap_is_a_still_as_it_was(tmp_path):
    (first, *_) = scan_footage(Footage(name="a", video=gapped(tmp_path / "a.mkv", 3, 0.25)), SMALL).parts
    assert first.source_frames == (0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 5, 6)


def test_frames_that_are_all_far_apart_give_no_clip(tmp_path):
    ticks = [number * 24 * 100 for number in range(8)]
    path = encode_video(tmp_path / "a.mkv", sliding_clip(8), ticks=ticks)
    parts = scan_footage(Footage(name="a", video=path), replace(SMALL, split_shots=False)).parts
    assert len(parts) == 8
    assert all(isinstance(part, UnusableShot) and "the shot gives 1 frames" in part.reason for part in parts)


def test_gaps_are_found():
    assert find_gaps(np.array([0.0, 1, 2, 7.1, 8, 13])) == [3]
    assert find_gaps(np.array([0.0])) == []


# ---------------------------------------------------------------- plans


def test_a_plan_survives_json(tmp_path):
    path = encode_video(tmp_path / "a.mp4", sliding_clip(40), codec="libx264", pix_fmt="yuv420p", g="12")
    for part in scan_footage(Footage(name="a", video=path), SMALL).parts:
        assert isinstance(part, PlannedClip)
        assert part.runs["video"].key_frame <= part.source_frames[0]
        assert PlannedClip.from_json(json.loads(json.dumps(asdict(part)))) == part


def test_layers_of_another_tool_have_a_longest_video(tmp_path, monkeypatch):
    monkeypatch.setattr("effectpairs.flows.footage.scan.MAX_MATCHED_FRAMES", 20)
    long, short = (encode_video(tmp_path / f"{n}.mp4", sliding_clip(n)) for n in (30, 13))
    with pytest.raises(ValueError, match=r"30\.mp4: has more than 20 frames, the most that are matched with layers of"):
        scan_footage(Footage(name="a", video=long, background=short), SMALL)
    with pytest.raises(ValueError, match=r"30\.mp4: has more than 20 frames, .*; cut the video and its layers into"):
        scan_footage(Footage(name="a", video=short, background=long), SMALL)
