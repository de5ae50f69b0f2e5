"""A stage's result is there whole or not at all, and doing the same again does nothing."""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from effectpairs.datasets.store import atomic_io
from effectpairs.datasets.store.atomic_io import CannotWrite, CorruptFile
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.store import DamagedLayer, LayerCache, StageKey, Store
from effectpairs.tests import fixtures_workspaces

WORK = StageKey(stage="draw", version=1, settings={"size": (16, 24)}, inputs={"gt": "a" * 64})


def layers(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "gt": rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8),
        "000/alpha": rng.integers(0, 256, (5, 16, 24), dtype=np.uint8),
        "000/effect": rng.random((5, 16, 24)) > 0.5,
    }


def draw(draft):
    for name, frames in layers().items():
        draft.add(name, frames)
    draft.facts["pair"] = (1, 2.5)


def test_a_result_reads_back_equal(tmp_path):
    kept = Store(tmp_path)
    result = kept.once(WORK, draw)
    assert result.facts == {"pair": [1, 2.5]}
    assert result == kept.find(WORK)
    for name, frames in layers().items():
        expected = frames.astype(np.uint8) * 255 if frames.dtype == bool else frames
        assert np.array_equal(kept.layer(result.layers[name]), expected)


def test_the_same_again_does_nothing(tmp_path):
    made = []
    for _ in range(3):
        Store(tmp_path).once(WORK, lambda draft: (made.append(1), draw(draft)))
    assert len(made) == 1


def test_all_that_goes_in_changes_the_key():
    changes = [{"stage": "other"}, {"version": 2}, {"settings": {"size": (16, 25)}}, {"inputs": {"gt": "b" * 64}}]
    keys = {replace(WORK, **change).key for change in ({}, *changes)}
    assert len(keys) == 5
    assert replace(WORK, settings={"size": [16, 24]}).key == WORK.key  # as JSON has it


def test_a_refused_input_is_remembered(tmp_path):
    calls = []

    def refuse(draft):
        calls.append(1)
        draft.add("gt", layers()["gt"])
        raise ValueError("clip.mp4: is all black; choose another clip")

    for _ in range(2):
        result = Store(tmp_path).once(WORK, refuse)
        assert result.refused == "clip.mp4: is all black; choose another clip"
        assert not result.layers
        assert not result.facts
    assert len(calls) == 1
    assert list(fixtures_workspaces.read_files(tmp_path)) == [f"store/draw/{WORK.key[:2]}/{WORK.key}/result.json"]


@pytest.mark.parametrize("problem", [KeyError("x"), MemoryError(), OSError(errno.EIO, "i/o"), KeyboardInterrupt()])
def test_any_other_failure_leaves_nothing(tmp_path, problem):
    def fail(draft):
        draft.add("gt", layers()["gt"])
        raise problem

    with pytest.raises(type(problem)):
        Store(tmp_path).once(WORK, fail)
    assert not fixtures_workspaces.read_files(tmp_path)
    assert Store(tmp_path).once(WORK, draw).refused is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_no_nan_gets_into_a_result(tmp_path, value):
    with pytest.raises(ValueError, match=r"score\[1\]=(nan|inf) is no JSON value"):
        Store(tmp_path).once(WORK, lambda draft: draft.facts.update(score=[1.0, value]))
    assert not fixtures_workspaces.read_files(tmp_path)


def test_killed_at_any_touch_of_a_file_the_next_run_ends_with_the_same_bytes(tmp_path):
    Store(tmp_path / "clean").once(WORK, draw)
    clean = fixtures_workspaces.read_files(tmp_path / "clean")
    for moment in range(1, 500):
        workspace = tmp_path / f"killed-{moment}"
        if not fixtures_workspaces.run_in_child(
            lambda w=workspace: Store(w).once(WORK, draw), kill_at=moment, near=workspace
        ):
            break
        found = Store(workspace).find(WORK)
        Store(workspace).sweep()
        assert found is None or fixtures_workspaces.read_files(workspace) == clean
        Store(workspace).once(WORK, draw)
        assert fixtures_workspaces.read_files(workspace) == clean
    assert moment > 10


def test_a_program_killed_from_outside_leaves_nothing_that_counts(tmp_path):
    program = (
        "import sys, time, numpy as np\nfrom pathlib import Path\n"
        "from effectpairs.datasets.store.store import StageKey, Store\n"
        "def make(draft):\n    draft.add('gt', np.zeros((5, 16, 24, 3), np.uint8))\n    print('in it', flush=True)\n"
        "    time.sleep(60)\n"
        "Store(Path(sys.argv[1])).once(StageKey(stage='draw', version=1, settings={}, inputs={}), make)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=tmp_path)
    assert child.stdout.readline() == b"in it\n"
    assert Store(tmp_path).sweep() == 0, "what a living process is making stays"
    assert len(fixtures_workspaces.read_files(tmp_path)) == 1
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Store(tmp_path).find(StageKey(stage="draw", version=1, settings={}, inputs={})) is None
    assert Store(tmp_path).sweep() == 1, "nobody has asked for its exit status, but it has ended"
    child.communicate()
    assert not fixtures_workspaces.read_files(tmp_path)


def test_an_input_that_a_process_without_memory_calls_damaged_is_tried_again(tmp_path):
    def refuse(writer):
        raise ValueError("video.mp4: its first frame does not decode")

    def refuse_without_memory():
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))
        with pytest.raises(MemoryError, match=r"no memory left; it said 'video.mp4: its first frame does not decode'"):
            Store(tmp_path).once(WORK, refuse)

    fixtures_workspaces.run_in_child(refuse_without_memory)
    assert Store(tmp_path).find(WORK) is None
    assert Store(tmp_path).once(WORK, draw).refused is None


def test_sweep_takes_what_another_machine_gave_up_long_ago(tmp_path):
    folder = tmp_path / "store" / "draw" / "ab"
    fresh, old = (folder / f"ab{n}.partial-0123abcd-7-{n}0000000" for n in (1, 2))
    for partial in (fresh, old):
        partial.mkdir(parents=True)
    os.utime(old, (time.time() - 30 * 24 * 3600,) * 2)
    not_ours = folder / "x.partial-hand-made"
    not_ours.touch()
    assert Store(tmp_path).sweep() == 1
    assert fresh.exists()
    assert not old.exists()
    assert not_ours.exists()


def test_two_processes_at_once_end_with_one_result(tmp_path):
    fixtures_workspaces.run_at_once(
        lambda: Store(tmp_path / "both").once(WORK, lambda draft: (draw(draft), time.sleep(0.1))), 3
    )
    Store(tmp_path / "one").once(WORK, draw)
    assert fixtures_workspaces.read_files(tmp_path / "both") == fixtures_workspaces.read_files(tmp_path / "one")


def test_who_comes_second_takes_the_result_that_is_there(tmp_path):
    kept = Store(tmp_path)

    def overtaken(draft):
        Store(tmp_path).once(WORK, draw)
        draw(draft)

    assert kept.once(WORK, overtaken) == kept.find(WORK)
    assert not [name for name in fixtures_workspaces.read_files(tmp_path) if "partial" in name]


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_damaged_layer_is_noticed_and_made_anew(tmp_path, harm):
    result = Store(tmp_path).once(WORK, draw)
    clean = fixtures_workspaces.read_files(tmp_path)
    path = tmp_path / result.layers["gt"].file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content) if harm == "changed" else path.unlink()
    with pytest.raises(DamagedLayer, match=rf"{path} is damaged or gone; run its source again"):
        Store(tmp_path).layer(result.layers["gt"])
    assert Store(tmp_path).find(WORK) is None
    assert Store(tmp_path).once(WORK, draw) == result
    assert fixtures_workspaces.read_files(tmp_path) == clean


def test_one_changed_byte_of_a_manifest_is_noticed(tmp_path):
    result = Store(tmp_path).once(WORK, draw)
    path = tmp_path / result.folder / "result.json"
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert Store(tmp_path).find(WORK) is None, position
    assert Store(tmp_path).once(WORK, draw) == result
    assert path.read_bytes() == content


def test_damage_is_no_refusal_of_what_builds_on_it(tmp_path):
    kept = Store(tmp_path)
    result = kept.once(WORK, draw)
    (tmp_path / result.layers["gt"].file).write_bytes(b"x" * result.layers["gt"].size_bytes)
    later = StageKey(stage="later", version=1, settings={}, inputs={"gt": result.layers["gt"].sha256})

    def build(draft):
        draft.add("gt", kept.layer(result.layers["gt"]))

    with pytest.raises(CorruptFile):
        kept.once(later, build)
    assert kept.find(later) is None
    assert (
        kept.once(later, lambda draft: draft.add("gt", kept.layer(kept.once(WORK, draw).layers["gt"]))).refused is None
    )


@pytest.mark.parametrize("harm", ["cut", "gone", "manifest", "empty object", "no object"])
def test_a_result_that_is_not_whole_is_made_anew(tmp_path, harm):
    result = Store(tmp_path).once(WORK, draw)
    clean = fixtures_workspaces.read_files(tmp_path)
    if harm == "cut":
        (tmp_path / result.layers["gt"].file).write_bytes(b"short")
    elif harm == "gone":
        (tmp_path / result.layers["000/alpha"].file).unlink()
    else:
        manifest = clean[f"{result.folder}/result.json"]
        text = {"manifest": manifest[:40], "empty object": b"{}", "no object": b"[1]"}[harm]
        (tmp_path / result.folder / "result.json").write_bytes(text)
    assert Store(tmp_path).find(WORK) is None
    Store(tmp_path).once(WORK, draw)
    assert fixtures_workspaces.read_files(tmp_path) == clean


def test_memory_gives_what_the_disk_has(tmp_path):
    kept = Store(tmp_path, cache_bytes=1 << 20)
    result = kept.once(WORK, draw)
    (tmp_path / result.layers["gt"].file).unlink()
    assert np.array_equal(kept.layer(result.layers["gt"]), layers()["gt"])
    effect = kept.layer(result.layers["000/effect"])
    assert effect.dtype == np.uint8
    assert set(np.unique(effect)) == {0, 255}
    with pytest.raises(ValueError, match="read-only"):
        effect[0] = 1


def test_memory_holds_no_more_than_its_budget():
    frame = np.zeros((1, 10, 10), np.uint8)
    cache = LayerCache(budget_bytes=250)
    for digest in "abc":
        cache.keep(digest, frame)
    assert cache.find("a") is None
    assert cache.find("b") is not None
    cache.keep("d", frame)
    assert cache.find("c") is None, "the least recently used goes first"
    assert cache.find("b") is not None
    cache.keep("huge", np.zeros((3, 10, 10), np.uint8))
    assert cache.find("huge") is None


def test_a_full_disk_harms_nothing_and_says_so(tmp_path):
    with fixtures_workspaces.limited_disk(tmp_path / "small", 1 << 20) as disk:
        if disk is None:
            pytest.skip("mounting a small file system is not permitted here; run as root to test a really full disk")
        kept = Store(disk)
        first = kept.once(WORK, draw)
        before = fixtures_workspaces.read_files(disk)
        noise = np.random.default_rng(0).integers(0, 256, (5, 400, 400, 3), dtype=np.uint8)
        with pytest.raises(CannotWrite, match=rf"{disk}: the disk is full; free some space or choose another folder"):
            kept.once(replace(WORK, version=2), lambda draft: draft.add("gt", noise))
        assert fixtures_workspaces.read_files(disk) == before
        assert np.array_equal(kept.layer(first.layers["gt"]), layers()["gt"])


def test_a_simulated_full_disk_says_so(tmp_path, monkeypatch):
    Store(tmp_path).once(WORK, draw)
    before = fixtures_workspaces.read_files(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_io.os, "fsync", full)
    with pytest.raises(CannotWrite, match="the disk is full") as caught:
        Store(tmp_path).once(replace(WORK, version=2), draw)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).startswith(str(tmp_path))
    assert fixtures_workspaces.read_files(tmp_path) == before


def test_a_read_only_workspace_is_named(tmp_path):
    with fixtures_workspaces.limited_disk(tmp_path / "sealed", 1 << 20, read_only=True) as disk:
        if disk is None:
            pytest.skip("mounting a read-only file system is not permitted here; run as root")
        with pytest.raises(CannotWrite, match=rf"{disk}: cannot be written; choose another folder"):
            Store(disk).once(WORK, draw)
        with pytest.raises(CannotWrite, match="cannot be written"):
            atomic_io.atomic_write(disk / "account.json", b"{}")


def test_a_file_in_the_way_of_the_workspace_is_named(tmp_path):
    (tmp_path / "workspace").write_text("not a folder")
    with pytest.raises(CannotWrite, match="workspace: a file stands where a folder is needed"):
        Store(tmp_path / "workspace").once(WORK, draw)


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_workspace(tmp_path):
    def read(draft):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/clip.mp4")

    with pytest.raises(PermissionError, match=r"/elsewhere/clip\.mp4"):
        Store(tmp_path).once(WORK, read)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "account.json"
    atomic_io.atomic_write(path, b"old")
    for moment in range(1, 50):
        killed = fixtures_workspaces.run_in_child(
            lambda: atomic_io.atomic_write(path, b"new" * 1000), kill_at=moment, near=tmp_path / "account"
        )
        assert path.read_bytes() in (b"old", b"new" * 1000)
        if not killed:
            break
        atomic_io.atomic_write(path, b"old")
    assert path.read_bytes() == b"new" * 1000
    assert moment > 1


def test_json_is_the_same_for_equal_values():
    value = {"b": np.float64(1.5), "a": [Path("x"), np.int32(3)], "c": None}
    assert atomic_io.json_bytes(value) == atomic_io.json_bytes(dict(reversed(value.items())))
    assert json.loads(atomic_io.json_bytes(value)) == {"a": ["x", 3], "b": 1.5, "c": None}
    with pytest.raises(TypeError, match="is not a JSON value"):
        atomic_io.json_bytes({"a": {1, 2}})


def test_the_manifest_comes_when_all_layers_are_in_their_places(tmp_path, monkeypatch):
    before = []
    real = Location.take_new

    def take_new(location, scratch, name):
        before.extend(sorted(location.sizes(name.rpartition("/")[0])))
        return real(location, scratch, name)

    monkeypatch.setattr(Location, "take_new", take_new)
    result = Store(tmp_path).once(WORK, draw)
    assert set(before) >= {layer.file for layer in result.layers.values()}
    assert f"{result.folder}/result.json" not in before


def test_scratch_is_beside_a_local_workspace_and_in_the_cache_of_a_remote_one(tmp_path, monkeypatch):
    monkeypatch.delenv("EFFECTPAIRS_SCRATCH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Location.of(tmp_path / "w").scratch_folder == tmp_path / "w" / "scratch"
    remote = [Location.of(f"memory://{name}").scratch_folder for name in ("one", "two")]
    assert all(folder.parent == tmp_path / "cache" / "effectpairs" / "scratch" for folder in remote)
    assert remote[0] != remote[1]
    monkeypatch.setenv("EFFECTPAIRS_SCRATCH", str(tmp_path / "shared"))
    assert Location.of("memory://one").scratch_folder == Location.of(tmp_path).scratch_folder == tmp_path / "shared"


def test_a_location_by_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Location.of("w")
    monkeypatch.chdir("/")
    assert place.local == tmp_path / "w"
    assert Location.of("memory://w").local is None


def test_memory_is_a_workspace_as_good_as_a_folder(tmp_path):
    url = f"memory://{tmp_path.name}-{time.time_ns()}"
    result = Store(url).once(WORK, draw)
    assert result == Store(tmp_path).once(WORK, draw)
    assert Store(url).find(WORK) == result
    assert fixtures_workspaces.read_files(url, with_memory=True) == fixtures_workspaces.read_files(tmp_path)
