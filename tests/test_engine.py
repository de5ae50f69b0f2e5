"""The engine takes any kind of item through its stages: a toy kind of two files, and what a real clip costs."""

import json
from collections import Counter
from pathlib import Path

import pytest
from effectpairs import digests
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.store import Store
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.engine.run import Run
from effectpairs.flows.engine.workers import Worker
from effectpairs.flows.sources import load_any, open_run
from effectpairs.tests.fixtures_workspaces import run_source
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import CALLS, TOY

TOYS = ToySource(name="toys", lines=("red 7 orange", "", "a bee unspellable", "one two three four five"))


def outcomes(workspace: Path) -> dict[str, tuple[str, str]]:
    return {clip.name: (clip.outcome, clip.stage) for clip in read_ledger(workspace, "toys")}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv(CALLS, str(path))
    return lambda: Counter(path.read_text().splitlines())


def test_a_new_kind_of_item_needs_no_change_of_the_engine(tmp_path, calls):
    progress = []
    summary = run_locally(Run(TOY, TOYS, tmp_path, workers=2), lambda *step: progress.append(step))
    assert (summary.inputs, summary.accepted, summary.rejected, summary.failed) == (12, 9, 1, 2)
    by_name = outcomes(tmp_path)
    assert by_name["toys-0-1"] == ("reject", "split")
    assert by_name["toys-1"] == ("fail", "list")
    assert by_name["toys-2-2"] == ("fail", "spell")
    rows = {clip.name: clip for clip in read_ledger(tmp_path, "toys")}
    assert rows["toys-3-2"].row == {"spelling": "three", "weight": 5, "rhyme": {"ending": "ee"}}
    assert rows["toys-0-2"].row["rhyme"] is None, "an optional stage costs no row"
    assert rows["toys-0-2"].reasons == ("RuntimeError: nothing rhymes with it",)
    assert {name for name, _, _ in progress} == {"split", "words"}
    assert all(done <= total for _, done, total in progress)
    assert calls()["split"] == 3
    assert sum(int(name.split()[1]) * count for name, count in calls().items() if name.startswith("weigh")) == 9
    assert any(name in calls() for name in ("weigh 2", "weigh 3")), "a model takes several items at once"


def test_a_second_run_makes_nothing_and_a_changed_setting_only_what_follows(tmp_path, calls):
    words = ToySource(name="toys", lines=("red bee",))
    run_locally(Run(TOY, words, tmp_path, workers=1))
    first = calls()
    run = Run(TOY, words, tmp_path, workers=1)
    assert run.check_done()
    run_locally(run)
    assert calls() == first
    run_locally(Run(TOY, ToySource(name="toys", lines=("red bee",), upper=True), tmp_path, workers=1))
    assert calls() - first == Counter({"spell": 2, "weigh 2": 1})


def test_a_worker_that_dies_costs_one_item(tmp_path, monkeypatch):
    source = ToySource(name="toys", lines=("red deadly bee",))
    summary = run_locally(Run(TOY, source, tmp_path, workers=1))
    assert (summary.accepted, summary.failed) == (2, 1)
    (failed,) = (clip for clip in read_ledger(tmp_path, "toys") if clip.outcome == "fail")
    assert "worker process died" in failed.reasons[0]
    monkeypatch.setenv("EFFECTPAIRS_TOY_ALIVE", "1")
    assert run_locally(Run(TOY, source, tmp_path, workers=1)).accepted == 3


def test_an_item_that_hangs_is_given_up_with_a_sentence_and_the_others_go_on(tmp_path):
    run_locally(Run(TOY, ToySource(name="toys", lines=("one endless two",)), tmp_path, 1))
    reasons = {clip.name: (clip.outcome, clip.reasons[0]) for clip in read_ledger(tmp_path, "toys")}
    assert [outcome for outcome, _ in reasons.values()] == ["accept", "fail", "accept"]
    assert reasons["toys-0-1"][1].startswith("gave no frame for 5 s, so its worker was killed")


def test_each_input_is_hashed_once_and_each_result_read_once(source_file, tmp_path, monkeypatch):
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **watch: function(*arguments))
    hashed, loaded = Counter(), Counter()
    hash_file, load = digests._digest_of_file.__wrapped__, Store.get

    def count_hash(path, *stat):
        hashed[str(path)] += 1
        return hash_file(path, *stat)

    def count_load(self, stage, key):
        loaded[stage] += self.workspace.exists(f"store/{stage}/{key[:2]}/{key}/result.json")
        return load(self, stage, key)

    digests._digest_of_file.cache_clear()
    cached = digests.lru_cache(maxsize=None)(count_hash)
    monkeypatch.setattr(digests, "_digest_of_file", cached)
    monkeypatch.setattr(Store, "get", count_load)
    source = load_any(source_file)
    summary = run_source(source, tmp_path / "w", workers=1)
    assert (summary.inputs, summary.failed) == (4, 0)
    assert set(hashed.values()) == {1}, "every file of footage is read once for its digest"
    assert len(hashed) == 4
    assert sum(loaded.values()) <= 15 * summary.inputs
    first = sum(loaded.values())
    loaded.clear()
    run = open_run(source, tmp_path / "w", workers=1)
    assert run.check_done()
    run_locally(run)
    assert not loaded, "a finished item is looked up in the index"
    (tmp_path / "w" / "index.sqlite").write_bytes(b"nothing of the kind")
    run_locally(open_run(source, tmp_path / "w", workers=1))
    assert sum(loaded.values()) <= first
    assert max(loaded.values()) <= summary.inputs, "each result is read once"
    print(json.dumps({"loads of a clip": first / summary.inputs, "again": sum(loaded.values()) / summary.inputs}))
