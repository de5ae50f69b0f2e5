"""A source from footage to account and corpus, without Prefect: what a run gives, and that a second does nothing."""

import json
import shutil
from pathlib import Path

import pytest
from effectpairs.captioning.config import CAPTION_STEPS
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.ledger import read_account, read_ledger
from effectpairs.flows.engine import batches
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.engine.workers import WorkerDied
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.sources import open_run
from effectpairs.tests.fixtures_workspaces import read_files, run_source

EVERYTHING = PublishSettings(include=("accept", "review", "reject"))


def load(path: Path, *overrides: str) -> RealSource:
    return load_source(path, overrides, into=RealSource)


@pytest.fixture
def done(source_file, tmp_path):
    source, workspace = load(source_file), tmp_path / "workspace"
    return source, workspace, run_source(source, workspace, workers=1)


def test_every_input_is_accounted_for(done):
    source, workspace, account = done
    assert account.inputs == account.accepted + account.review + account.rejected + account.failed == 4
    assert account.failed == 0
    entries = read_ledger(workspace, source.name)
    assert len(entries) == 4
    assert all(entry.reasons and all(entry.reasons) for entry in entries)
    assert read_account(workspace, source.name)[0] == account


def test_running_again_computes_nothing_and_changes_nothing(done, monkeypatch):
    source, workspace, account = done
    before = read_files(workspace, with_memory=True)

    def forbidden(*_, **__):
        raise AssertionError("a stage ran again")

    monkeypatch.setattr(batches, "run_batch", forbidden)
    assert open_run(source, workspace).check_done()
    assert run_source(source, workspace, workers=1) == account
    assert read_files(workspace, with_memory=True) == before


def test_two_workers_give_the_bytes_of_one(done, source_file, tmp_path):
    source, workspace, _ = done
    other = tmp_path / "other"
    run_source(source, other, workers=2)
    assert read_files(other / "store") == read_files(workspace / "store")
    publish_locally(str(tmp_path / "one" / "corpus"), workspace, EVERYTHING)
    publish_locally(str(tmp_path / "two" / "corpus"), other, EVERYTHING)
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


def test_a_changed_setting_makes_again_just_what_depends_on_it(done, source_file):
    source, workspace, _ = done
    before = set(read_files(workspace / "store"))
    run_source(load(source_file, "effect_mask.dilate_px=20"), workspace, workers=1)
    new = {name.split("/")[0] for name in set(read_files(workspace / "store")) - before}
    # Captions are augmented again only where their words changed with the mask.
    assert new | {"augment"} == {"effect_mask", "quality", "tags", *CAPTION_STEPS}
    stricter = load(source_file, "effect_mask.dilate_px=20", "quality_thresholds.effect_area_min=[0.4, 0.3]")
    run_source(stricter, workspace, workers=1)
    after = {name.split("/")[0] for name in set(read_files(workspace / "store")) - before}
    assert after == new
    assert read_account(workspace, source.name)[0].accepted == 0


def test_the_corpus_holds_the_pairs_exactly(done, tmp_path):
    _, workspace, _ = done
    publish_locally(str(tmp_path / "corpus"), workspace, EVERYTHING)
    corpus = open_corpus(str(tmp_path / "corpus"))
    assert len(corpus) == 4
    assert verify(corpus) == []
    for clip in corpus:
        outside = ~((clip.subject_mask > 0) | (clip.alpha > 0))
        assert (clip.background[outside] == clip.gt[outside]).all()
        assert (clip.over[outside] == clip.gt[outside]).all()
        assert clip.num_frames == len(clip.gt) == 13
        assert clip.effects == ["shadow"]
        provenance = clip.provenance
        assert provenance["licence"] == "CC0-1.0"
        assert json.loads(provenance["settings"])["normalise"]["size"] == [48, 80]
        assert {item["role"] for item in provenance["inputs"]} == {"video", "masks-0"}


def test_one_bad_video_costs_itself_alone(source_file, footage_root, tmp_path):
    (footage_root / "broken").mkdir()
    (footage_root / "broken" / "input_video.mp4").write_bytes(b"no video at all")
    shutil.copy(footage_root / "first" / "mask_00.mp4", footage_root / "broken" / "mask_00.mp4")
    source, workspace = load(source_file), tmp_path / "workspace"
    account = run_source(source, workspace, workers=1)
    assert (account.inputs, account.failed) == (5, 1)
    (failed,) = (entry for entry in read_ledger(workspace, source.name) if entry.outcome == "fail")
    assert "input_video.mp4" in failed.reasons[0]


def test_a_clip_that_kills_its_worker_is_tried_once_more_and_then_given_up(source_file, tmp_path, monkeypatch):
    source, workspace = load(source_file), tmp_path / "workspace"
    calls: list[str] = []
    real_call = batches.Worker.call

    def call(self, function, *arguments, **watch):
        stage, _, ids = arguments[3:]
        if stage == "decompose" and ids[0].startswith("tiny-second-000"):
            calls.extend(ids)
            raise WorkerDied("the worker process died: out of memory, or a crash in a library")
        return real_call(self, function, *arguments, **watch)

    monkeypatch.setattr(batches.Worker, "call", call)
    account = run_source(source, workspace, workers=1)
    assert len(calls) == 2
    assert (account.inputs, account.failed) == (4, 1)
    (failed,) = (entry for entry in read_ledger(workspace, source.name) if entry.outcome == "fail")
    assert failed.stage == "decompose"
    assert "worker process died" in failed.reasons[0]
    monkeypatch.undo()
    # Nothing was remembered against it: the next run tries it again.
    assert run_source(source, workspace, workers=1).failed == 0


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_hold_every_item_once(workers):
    items = list(range(17))
    runs = list(batches.split_evenly(items, size=4, workers=workers))
    assert [item for run in runs for item in run] == items
    assert all(1 <= len(run) <= 4 for run in runs)
    assert len(runs) >= min(workers, 17)
    assert list(batches.split_evenly([], size=4, workers=2)) == []


def test_what_another_worker_reads_is_not_kept_in_memory(source_file, tmp_path, monkeypatch):
    """Clips of long footage filled a worker's cache with 1.1 GB that nobody read."""
    budgets = {}
    find = batches._worker_store

    def record(workspace, cache_bytes):
        budgets[stage_names[-1]] = cache_bytes
        return find(workspace, cache_bytes=cache_bytes)

    stage_names = []
    monkeypatch.setattr(batches, "_worker_store", record)
    monkeypatch.setattr(
        batches.Worker,
        "call",
        lambda self, function, *arguments, **watch: stage_names.append(arguments[3]) or function(*arguments),
    )
    run_source(load(source_file), tmp_path / "w", workers=1)
    assert budgets["scan"] == budgets["normalise"] == 0
    assert budgets["subject"] == budgets["quality"] > 0
