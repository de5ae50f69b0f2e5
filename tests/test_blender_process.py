"""The door to Blender, before programs that crash, hang and refuse."""

import os
import stat
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from effectpairs.render.blender.exr_frames import read_boxes
from effectpairs.render.blender.process import (
    VARIABLE,
    Blender,
    BlenderNotFound,
    RenderFailed,
    blender_version,
    find_python,
    render_frames,
)
from effectpairs.tests.fixtures_plans import a_pass, a_plan
from effectpairs.tests.fixtures_processes import wait_until

FAKE = """#!{python}
import json, os, subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[3])
with (folder / "starts").open("a") as starts:
    starts.write("x")
start = len((folder / "starts").read_text())

def say(event, **facts):
    print(json.dumps(dict(event=event, **facts)), flush=True)

def frame(number):
    path = folder / "whole" / f"{{number:04d}}.exr"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text("drawn")
        say("frame", **{{"pass": "whole"}}, frame=number, seconds=0.1, cpu=0.1)

def ready():
    (folder / "boxes.json").write_text("[[0, 0, 4, 4], [0, 0, 0, 0]]")
    say("ready", blender="4.5.15", seconds=0.1)

{body}
"""


@pytest.fixture
def fake(tmp_path):
    """A program that takes Blender's place; its body says what it does."""

    def write(body: str) -> Blender:
        path = tmp_path / "python"
        path.write_text(FAKE.format(python=sys.executable, body=body))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return Blender(python_path=str(path), frame_timeout_s=2.0)

    return write


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def alive(pid: int, patience_s: float = 10.0) -> bool:
    """Does it still run after a while? What was killed may take a moment on a busy machine."""
    until = time.monotonic() + patience_s
    while running := psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    return running


def test_frames_are_told_and_boxes_written(fake, tmp_path):
    told = []
    version = render_frames(
        a_plan(), tmp_path / "f", fake("ready(); frame(0); frame(1); say('done')"), lambda *f: told.append(f)
    )
    assert told == [("whole", 0, 0.1), ("whole", 1, 0.1)]
    assert read_boxes(tmp_path / "f") == ((0, 0, 4, 4), (0, 0, 0, 0))
    assert version == "4.5.15"


def test_a_crash_is_tried_again_and_goes_on_from_the_frames_on_disk(fake, tmp_path):
    told = []
    body = "ready(); frame(start - 1)\nif start < 5: os.abort()\nsay('done')"
    render_frames(a_plan(), tmp_path / "f", fake(body), lambda *f: told.append(f[1]))
    assert told == [0, 1, 2, 3, 4]  # more crashes than max_attempts, but each after a new frame


def test_crashing_without_progress_ends_with_the_log(fake, tmp_path):
    body = "ready(); print('Segmentation fault: tile 7', file=sys.stderr); sys.exit(139)"
    with pytest.raises(RenderFailed, match=r"(?s)ended with code 139, 3 times.*tile 7"):
        render_frames(a_plan(), tmp_path / "f", fake(body))
    assert starts(tmp_path / "f") == 3


def test_a_hang_is_killed_with_everything_it_started(fake, tmp_path):
    body = "ready(); child = subprocess.Popen(['sleep', '300'])\n"
    body += "(folder / 'pid').write_text(str(child.pid)); time.sleep(300)"
    begin = time.monotonic()
    with pytest.raises(RenderFailed, match="made no frame for 2 s"):
        render_frames(a_plan(), tmp_path / "f", replace(fake(body), max_attempts=2))
    assert time.monotonic() - begin < 30
    assert not alive(int((tmp_path / "f" / "pid").read_text()))


def test_what_is_refused_is_not_tried_again(fake, tmp_path):
    with pytest.raises(ValueError, match=r"^horse\.glb: it holds no mesh$"):
        render_frames(
            a_plan(), tmp_path / "f", fake("say('refused', reason='horse.glb: it holds no mesh'); sys.exit(3)")
        )
    assert starts(tmp_path / "f") == 1


def test_an_interruption_ends_the_worker(fake, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    body = "(folder / 'pid').write_text(str(os.getpid())); ready(); frame(0); time.sleep(300)"
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        render_frames(a_plan(), tmp_path / "f", fake(body), interrupt)
    assert not alive(int((tmp_path / "f" / "pid").read_text()))
    assert wait_until(lambda: set(threading.enumerate()) <= before, 10.0), set(threading.enumerate()) - before


def test_two_runs_of_one_clip_do_not_fight(fake, tmp_path):
    told = []
    settings = fake("ready(); frame(0); time.sleep(0.5); frame(1); say('done')")
    runs = [
        threading.Thread(target=render_frames, args=(a_plan(), tmp_path / "f", settings, lambda *f: told.append(f[1])))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(30)
    assert told == [0, 1]


def test_what_is_drawn_needs_no_blender_and_what_is_deleted_is_drawn_again(fake, tmp_path):
    passes = [a_pass("whole"), a_pass("subject", frames=0)]
    settings = fake("ready(); frame(0); frame(1); say('done')")
    first, second = (render_frames(a_plan(passes=passes), tmp_path / "f", settings) for _ in range(2))
    assert starts(tmp_path / "f") == 1
    assert first == second == "4.5.15"
    (tmp_path / "f" / "whole" / "0001.exr").unlink()
    told = []
    render_frames(a_plan(passes=passes), tmp_path / "f", settings, lambda *f: told.append(f[:2]))
    assert told == [("whole", 1)]


def test_frames_of_another_plan_are_taken_away(fake, tmp_path):
    settings = fake("ready(); frame(0); frame(1); say('done')")
    told = []
    for seed in (1, 1, 2):
        render_frames(a_plan(seed=seed), tmp_path / "f", settings, lambda *f: told.append(f[1]))
    assert told == [0, 1, 0, 1]


def test_without_an_environment_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    with pytest.raises(
        BlenderNotFound, match=f"/nowhere/python is no program; run `effectpairs doctor --make`, or set {VARIABLE}"
    ):
        find_python()


def test_a_python_without_blender_is_told_at_once(tmp_path):
    with pytest.raises(BlenderNotFound, match=r"cannot be loaded .*bpy.*; run `effectpairs doctor --make`"):
        render_frames(a_plan(), tmp_path, Blender(python_path=sys.executable))
    assert blender_version(Path(sys.executable)) is None


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"frame_timeout_s": 0.0}, {"processes": 0}, {"frame_timeout_s": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="is not in"):
        Blender(**wrong)


@pytest.mark.blender
def test_the_version_is_read_without_starting_blender():
    assert (blender_version(find_python()) or "").startswith("4.5.")
    assert os.path.isabs(find_python())  # noqa: PTH117
