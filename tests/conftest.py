"""Footage whose truth is known, small enough to run every stage on in a moment."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from effectpairs.tests.fixtures_scene import Scene, sliding_square, write_h264

cv2.setNumThreads(1)  # two threads on a loaded machine are many times slower on small frames


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: two processes then end at about the same time."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that draw with Blender where there is none."""
    if item.get_closest_marker("blender"):
        from effectpairs.render.blender.process import BlenderNotFound, find_python

        try:
            find_python()
        except BlenderNotFound as missing:
            pytest.skip(str(missing))


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Real footage beside the project; never part of it."""
    beside = Path(__file__).parents[1].parent / "shared" / "clips"
    folder = Path(os.environ.get("EFFECTPAIRS_CLIPS", beside))
    if not folder.is_dir():
        pytest.skip(f"no real footage at {folder}; set EFFECTPAIRS_CLIPS to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def scene() -> Scene:
    return sliding_square()


@pytest.fixture
def footage_root(tmp_path: Path) -> Path:
    """Two videos with masks in the gen-omnimatte layout, 29 frames each: real files, tiny pictures."""
    for name, seed in (("first", 1), ("second", 2)):
        tiny_scene = sliding_square(29, seed=seed)
        write_h264(tmp_path / "footage" / name / "input_video.mp4", tiny_scene.gt)
        write_h264(tmp_path / "footage" / name / "mask_00.mp4", tiny_scene.subject_mask)
    return tmp_path / "footage"


@pytest.fixture
def source_file(footage_root: Path, tmp_path: Path) -> Path:
    """The settings of a source over that footage, at 48x80."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'root = "{footage_root}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        'effects = ["shadow"]\n[normalise]\nsize = [48, 80]\nmax_frames = 13\n'
    )
    return path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One real server for all tests of flows: of a second one in this process no run would be seen."""
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=240):
        yield


@pytest.fixture
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Metrics find no weights but those that a test makes, whatever is installed on this machine."""
    from effectpairs.training.evaluation.video_metrics import VBENCH_PYTHON

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(VBENCH_PYTHON, raising=False)


@pytest.fixture
def fresh_accelerator() -> Iterator[None]:
    """Forget the state that accelerate keeps for the whole process, once the test is over."""
    yield
    pytest.importorskip("accelerate.state").AcceleratorState._reset_state(True)


@pytest.fixture(scope="module")
def wan_caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Caches of three clips for a tiny Wan of each layout, with their models, by kind."""
    from effectpairs.tests.fixtures_latent_cache import WAN_KINDS, make_small_cache

    folder = tmp_path_factory.mktemp("wan")
    return {kind: make_small_cache(folder / kind, clips=3, kind=kind) for kind in WAN_KINDS}
