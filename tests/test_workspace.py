"""The commands on a workspace, as a user meets them: plan, parts of a run, purge, gc, verify and inspect."""

import json
import shutil
from collections import Counter
from pathlib import Path

import effectpairs
import pytest
from effectpairs.cli.app import app
from effectpairs.datasets.store import purges, references, store
from effectpairs.datasets.store.atomic_io import CorruptFile
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.store import StageKey, Store
from effectpairs.flows.engine import plan
from effectpairs.flows.engine.workers import Worker
from effectpairs.stages import pair
from effectpairs.tests.benchmarks.scale import write_source
from effectpairs.tests.fixtures_workspaces import read_files
from typer.testing import CliRunner

CLIPS = 3


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Work in this process: a worker of its own costs seconds."""
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **limits: function(*arguments))


def call(*arguments, status=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.output, done.exception)
    return done.output


def run(source, workspace, *options, status=0):
    return call("run", source, "--workspace", workspace, "--no-prefect", "--workers", 1, *options, status=status)


def planned(source, workspace, *options):
    (values,) = json.loads(call("plan", source, "--workspace", workspace, "--json", *options))
    return {stage["stage"]: stage for stage in values["stages"]}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A source of three clips that was run to its end, and published."""
    folder = tmp_path_factory.mktemp("done")
    source = write_source(folder, "many", CLIPS, alike=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "call", lambda self, function, *arguments, **limits: function(*arguments))
        assert "many: 3 clips = 3 accepted" in run(source, folder / "workspace")
        call("publish", folder / "corpus", "--workspace", folder / "workspace", "--no-prefect")
    return folder


@pytest.fixture
def copied(done, tmp_path):
    """Its settings, a copy of its workspace, and one of its corpus."""
    for name in ("workspace", "corpus"):
        shutil.copytree(done / name, tmp_path / name)
    return done / "many.toml", tmp_path / "workspace", tmp_path / "corpus"


# ---------------------------------------------------------------- plan


def test_a_finished_source_has_nothing_to_do(copied):
    source, workspace, _ = copied
    assert call("plan", source, "--workspace", workspace).strip() == "many: nothing to do"


def test_a_plan_names_the_setting_that_changed_and_what_follows_from_it(copied):
    source, workspace, _ = copied
    stages = planned(source, workspace, "--set", "effect_mask.threshold_min=9")
    assert next(iter(stages)) == "effect_mask"
    assert stages["effect_mask"]["reasons"] == {"changed setting threshold_min": CLIPS}
    assert stages["quality"]["items"] == CLIPS
    assert stages["quality"]["is_estimate"]
    assert "decompose" not in stages


def test_a_plan_tells_new_input_changed_code_and_damage_apart(copied, tmp_path, monkeypatch):
    _, workspace, _ = copied
    source = write_source(tmp_path, "many", CLIPS + 1, alike=False)
    # The first three are the same files at another place, which is the same input.
    stages = planned(source, workspace)
    assert stages["scan"]["reasons"] == {"new input": 1}
    folder = next((workspace / "store" / "quality").glob("*/*"))
    (folder / "result.json").unlink()
    stages = planned(source, workspace)
    assert stages["quality"]["reasons"] == {"new input": 1, "damaged or gone": 1}
    version_of = pair.version_of
    monkeypatch.setattr(pair, "version_of", lambda name, settings: version_of(name, settings) + (name == "composite"))
    stages = planned(source, workspace)
    assert stages["composite"]["reasons"] == {"changed code": CLIPS, "new input": 1}


def test_a_plan_estimates_time_and_disk_by_past_runs(copied, tmp_path):
    source, workspace, _ = copied
    again = planned(source, tmp_path / "other")
    assert again["scan"]["seconds"] is None
    assert again["scan"]["size_bytes"] is None
    shutil.rmtree(workspace / "store")
    stages = planned(source, workspace)
    table = references.read_references(Location(str(workspace)), "many").to_pylist()
    seconds = [row["seconds"] for row in table if row["stage"] == "decompose"]
    assert stages["decompose"]["seconds"] == pytest.approx(sum(seconds), abs=0.1)
    assert stages["decompose"]["size_bytes"] == sum(row["size_bytes"] for row in table if row["stage"] == "decompose")
    text = call("plan", source, "--workspace", workspace)
    assert "many: to do: scan 3, normalise up to 3" in text
    assert "by past runs about " in text
    assert " are free" in text


def test_a_changed_model_is_named():
    past = {"version": 1, "settings": {}, "inputs": {"gt": "a", "weights m": "1"}}
    key = StageKey(stage="s", version=1, settings={}, inputs={"gt": "a", "weights m": "2"})
    assert plan.compare_keys(past, key) == "changed model"
    assert plan.changed_settings({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": (1,)}}) == ["a.b"]


# ---------------------------------------------------------------- parts of a run


def test_parts_of_a_run_add_up_to_the_whole(copied, tmp_path):
    source, workspace, _ = copied
    part = tmp_path / "part"
    waits = "many: nothing to do in these stages; items wait: 3 for scan"
    assert waits in " ".join(run(source, part, "--only", "normalise").split())
    assert "many: 3 clips = 0 accepted + 0 review + 0 rejected + 0 failed + 3 pending" in run(
        source, part, "--only", "scan"
    )
    assert "1 accepted + 0 review + 0 rejected + 0 failed + 2 pending" in run(source, part, "--clips", "*clip000001*")
    assert "2 accepted + 0 review + 0 rejected + 0 failed + 1 pending" in run(source, part, "--limit", 1)
    pending = [entry for entry in read_ledger(part, "many") if entry.outcome == "pending"]
    assert "was left out of this run by its options" in pending[0].reasons[0]
    assert "3 accepted" in run(source, part)
    assert read_files(part / "store") == read_files(workspace / "store")
    assert "3 accepted" in run(source, part, "--clips", "none*"), "what is finished stays in the account"


def test_a_stage_that_is_not_there_is_wrong_usage(copied):
    source, workspace, _ = copied
    text = run(source, workspace, "--only", "decomposing", status=2)
    assert "there is no stage 'decomposing' here" in " ".join(text.replace("│", " ").split())


# ---------------------------------------------------------------- purge and gc


@pytest.mark.parametrize("option", ["--clip", "--licence", "--source", "--origin"])
def test_what_is_purged_leaves_store_and_corpus_and_does_not_come_back(copied, option):
    source, workspace, corpus = copied
    first = effectpairs.open(corpus).ids[0]
    pattern = {"--clip": first, "--licence": "CC0", "--source": "man?", "--origin": "*clip000000"}[option]
    is_one = option in ("--clip", "--origin")
    before = read_files(workspace / "store")
    listed = call("purge", option, pattern, "--workspace", workspace)
    assert f"would take out {1 if is_one else CLIPS} clips" in listed
    assert first in listed
    assert read_files(workspace / "store") == before
    if is_one:
        text = call("purge", option, pattern, "--workspace", workspace, "--corpus", corpus, "--yes")
        assert first not in effectpairs.open(corpus)
        assert len(effectpairs.open(corpus)) == CLIPS - 1
        assert call("verify", corpus)
    else:
        text = call("purge", option, pattern, "--workspace", workspace, "--yes")
    assert "took out" in text
    after = read_files(workspace / "store")
    assert len(after) == (len(before) * 2 // 3 if is_one else 0)
    account = f"{CLIPS - 1 if is_one else 0} accepted"
    text = run(source, workspace)
    assert account in text
    assert f"{1 if is_one else CLIPS} purged" in text
    assert "was purged by" in text
    assert read_files(workspace / "store") == after
    assert call("verify", "--workspace", workspace)


def test_a_purge_of_nothing_and_one_without_a_subject_are_refused(copied):
    _, workspace, _ = copied
    done = CliRunner().invoke(app, ["purge", "--clip", "nobody", "--workspace", str(workspace)])
    assert "no clip matches clip 'nobody'; nothing is purged" in str(done.exception)
    call("purge", "--workspace", workspace, status=2)
    call("purge", "--clip", "a", "--source", "b", "--workspace", workspace, status=2)
    (workspace / "purged.json").write_text("{}")
    with pytest.raises(CorruptFile, match=r"purged\.json is damaged; it lists what was purged"):
        purges.read_purges(workspace)


def test_garbage_is_listed_before_it_goes_and_nothing_else_goes(copied):
    source, workspace, _ = copied
    before = read_files(workspace)
    assert "would delete 0 results" in call("gc", "--workspace", workspace)
    key = StageKey(stage="quality", version=0, settings={}, inputs={})
    Store(workspace).once(key, lambda writer: writer.facts.update(old=True))
    listed = call("gc", "--workspace", workspace)
    assert "quality: 1 results" in listed
    assert "would delete 1 results" in listed
    assert Store(workspace).find(key) is not None
    assert "deleted 1 results" in call("gc", "--workspace", workspace, "--yes")
    assert Store(workspace).find(key) is None
    assert read_files(workspace) == before
    assert "3 accepted" in run(source, workspace)


def test_what_a_run_made_that_did_not_end_is_no_garbage(copied):
    _, workspace, _ = copied
    (workspace / "sources" / "many" / "batches.partial-0-1-2").mkdir()
    done = CliRunner().invoke(app, ["gc", "--workspace", str(workspace), "--yes"])
    assert "the last run of 'many' has not ended, and what it made would be lost; let it end" in str(done.exception)


# ---------------------------------------------------------------- verify, inspect, index, disk


def test_verify_reads_every_byte_and_the_next_run_mends_what_it_names(copied):
    source, workspace, _ = copied
    whole = read_files(workspace / "store")
    assert "every byte is as it was written" in call("verify", "--workspace", workspace)
    layer = next((workspace / "store" / "composite").rglob("*.mkv"))
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    manifest = next((workspace / "store" / "quality").rglob("result.json"))
    manifest.write_bytes(manifest.read_bytes().replace(b"0", b"1", 1))
    text = call("verify", "--workspace", workspace, status=1)
    assert f"{layer.parent}: its layer {layer.name} is damaged; run many again to re-make it" in text
    assert f"{manifest.parent}: its result.json is damaged; run many again to re-make it" in text
    assert "3 accepted" in run(source, workspace)
    assert read_files(workspace / "store") == whole
    assert call("verify", "--workspace", workspace)


def test_inspect_adds_up_what_is_on_the_disk(copied):
    _, workspace, _ = copied
    values = json.loads(call("inspect", "--workspace", workspace, "--json"))
    total = sum(map(len, read_files(workspace / "store").values()))
    assert values["size_bytes"] == total
    assert sum(cost["size_bytes"] for cost in values["sources"]["many"].values()) == total
    assert values["sources"]["many"]["decompose"]["results"] == CLIPS
    assert values["accounts"]["many"]["accepted"] == CLIPS
    assert "many: 3 clips = 3 accepted" in call("inspect", "--workspace", workspace)
    call("inspect", status=2)
    call("verify", status=2)


@pytest.mark.parametrize("harm", ["gone", "damaged", "another version"])
def test_the_index_is_never_the_truth(copied, harm, monkeypatch):
    source, workspace, _ = copied
    before = read_files(workspace / "store")
    path = workspace / "index.sqlite"
    if harm == "gone":
        path.unlink()
    elif harm == "damaged":
        path.write_bytes(path.read_bytes()[:5000] + b"?" * 3000)
    else:
        monkeypatch.setattr("effectpairs.datasets.store.index.VERSION", 99)
    assert call("plan", source, "--workspace", workspace).strip() == "many: nothing to do"
    assert "3 accepted" in run(source, workspace)
    assert read_files(workspace / "store") == before
    loads = count_loads(monkeypatch)
    run(source, workspace)
    assert not loads, "it was made again, from the results"


def count_loads(monkeypatch):
    loads, load = Counter(), Store.get
    monkeypatch.setattr(Store, "get", lambda self, stage, key: (loads.update([stage]), load(self, stage, key))[1])
    return loads


def test_a_result_that_changed_behind_the_index_is_read_again(copied, monkeypatch):
    source, workspace, _ = copied
    before = read_files(workspace / "store")
    next((workspace / "store" / "composite").rglob("*.mkv")).unlink()
    assert planned(source, workspace)["composite"]["reasons"] == {"damaged or gone": 1}
    assert "3 accepted" in run(source, workspace)
    assert read_files(workspace / "store") == before


def test_a_run_stops_before_the_disk_is_full_and_the_next_goes_on(copied, tmp_path, monkeypatch):
    source, workspace, _ = copied
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: usage._replace(free=2**20))
    text = run(source, tmp_path / "small", status=1)
    assert f"error: {tmp_path}/small: the disk is nearly full, 1 MiB are free; free some space or choose" in text
    assert "many: 3 clips = 0 accepted + 0 review + 0 rejected + 3 failed" in text
    monkeypatch.undo()
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **limits: function(*arguments))
    assert "3 accepted" in run(source, tmp_path / "small")
    assert read_files(tmp_path / "small" / "store") == read_files(workspace / "store")


def test_a_file_that_is_as_it_was_is_not_hashed_again(copied, monkeypatch):
    source, workspace, _ = copied
    hashed = []
    monkeypatch.setattr("effectpairs.datasets.store.index.digest_of_file", lambda path, **_: hashed.append(path) or "0")
    call("plan", source, "--workspace", workspace)
    assert hashed == []
    Path(source.parent / "footage" / "many" / "clip000000.mp4").touch()
    call("plan", source, "--workspace", workspace)
    assert [path.name for path in hashed] == ["clip000000.mp4"]
