"""Whatever lies in a source's folder: it stands in the account, and nothing is waited for or followed without end."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from effectpairs.datasets.footage.key_masks import read_keys
from effectpairs.datasets.footage.listing import Footage, UnusableFootage, list_footage
from effectpairs.datasets.footage.reader import open_frames
from effectpairs.datasets.sources.source import FootageSource, load_source
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.tests.fixtures_workspaces import run_source

LATIN = os.fsdecode(b"caf\xe9")


@pytest.fixture
def in_time() -> Iterator[None]:
    """An alarm after a minute: what this file is about would otherwise wait for ever."""

    def too_late(*_: object) -> None:
        raise TimeoutError("stalled")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    os.chdir(here)


ODD = {
    "pipe.mp4": (pipe, "pipe.mp4: is a pipe, socket or device and no file; copy what it gives into a file"),
    "socket.mp4": (unix_socket, "socket.mp4: is a pipe, socket or device"),
    "device.mp4": (lambda path: path.symlink_to("/dev/zero"), "device.mp4: is a pipe, socket or device"),
    "circle.mp4": (lambda path: path.symlink_to(path.name), "circle.mp4: is a link that leads in a circle; delete it"),
    "nothing.mp4": (lambda path: path.symlink_to("gone.mp4"), "nothing.mp4: is a link to nothing; delete it, or link"),
    f"{LATIN}.mp4": (
        lambda path: write_h264(path, sliding_square(9).gt),
        r"caf\xe9.mp4: its name is no UTF-8, which no table can hold; rename it (convmv -f latin1 -t utf8)",
    ),
    "empty": (Path.mkdir, "empty: is an empty folder; put footage there, or delete it"),
    "ring": (lambda path: path.symlink_to("ring"), "ring: is a link to nothing, or in a circle; delete it, or link to"),
}


def listed(root: Path, layout: str = "videos", **more: object) -> dict[str, Footage | UnusableFootage]:
    items = list_footage(FootageSource(name="test", root=str(root), layout=layout, **more))
    assert len({item.name for item in items}) == len(items)
    return {item.name: item for item in items}


@pytest.mark.parametrize("name", ODD)
def test_each_is_listed_with_what_it_is(tmp_path, in_time, name):
    write_h264(tmp_path / "good.mp4", sliding_square(9).gt)
    make, sentence = ODD[name]
    make(tmp_path / name)
    shown = name.replace(LATIN, r"caf\xe9")
    items = listed(tmp_path, video="*.mp4")
    assert set(items) == {"good", shown.removesuffix(".mp4")}
    assert isinstance(items["good"], Footage)
    assert sentence in items[shown.removesuffix(".mp4")].reason


def test_a_pipe_beside_a_good_video(tmp_path, in_time):
    for name, beside in (("a", "a_mask.mp4"), ("b", "b_keys.json")):
        write_h264(tmp_path / f"{name}.mp4", sliding_square(9).gt)
        os.mkfifo(tmp_path / beside)
    masks = listed(tmp_path, video="a.mp4", masks=("{stem}_mask.mp4",))
    keys = listed(tmp_path, video="b.mp4", keys="{stem}_keys.json")
    for items, name in ((masks, "a_mask.mp4"), (keys, "b_keys.json")):
        (item,) = items.values()
        assert f"{name}: is a pipe" in item.reason


def test_a_pipe_given_by_hand_is_not_waited_for(tmp_path, in_time):
    os.mkfifo(tmp_path / "video.mp4")
    with pytest.raises(ValueError, match=r"video\.mp4: is a pipe"):
        open_frames(tmp_path / "video.mp4")


@pytest.mark.parametrize("layout", ["movies", "kubric-pairs"])
def test_links_between_folders_are_not_followed_without_end(tmp_path, in_time, layout):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "up").symlink_to(tmp_path)
        for number in range(4):
            (tmp_path / folder / f"x{number}").symlink_to(tmp_path / ("b" if folder == "a" else "a"))
    (tmp_path / "clip" / "rgb_full").mkdir(parents=True)
    (tmp_path / "clip" / "rgb_1x").mkdir()
    assert "clip" in listed(tmp_path, layout)


def test_layouts_of_folders_miss_none(tmp_path, in_time):
    """A folder that is empty, and a link to a folder that leads nowhere."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "gone").symlink_to(tmp_path / "elsewhere")
    for layout in ("gen-omnimatte", "movies", "kubric-pairs"):
        assert set(listed(tmp_path, layout)) == {"empty", "ring", "gone"}


def test_json_beside_footage_has_limits(tmp_path, monkeypatch):
    write_h264(tmp_path / "a.mp4", sliding_square(9).gt)
    keys = tmp_path / "a.json"
    keys.write_text("[" * 100_000)
    monkeypatch.setattr("effectpairs.datasets.footage.types.MAX_JSON_BYTES", 1 << 20)
    source = {"video": "a.mp4", "keys": "a.json"}
    (footage,) = listed(tmp_path, **source).values()
    with pytest.raises(ValueError, match=r"a\.json: is not valid JSON \(is nested deeper"):
        read_keys(footage.subjects[0].keys, open_frames(footage.video).info)
    keys.write_text('{"0": [' + " " * (2 << 20) + "]}")
    with pytest.raises(ValueError, match=r"a\.json: is a JSON file of 2 MiB, above the limit of 1; give masks as"):
        read_keys(footage.subjects[0].keys, open_frames(footage.video).info)


def test_the_account_of_a_folder_of_odd_things_adds_up(tmp_path, in_time):
    root = tmp_path / "footage"
    root.mkdir()
    write_h264(root / "good.mp4", sliding_square(29).gt)
    write_h264(root / "good_mask.mov", sliding_square(29).subject_mask)
    for name, (make, _) in ODD.items():
        make(root / name)
    path = tmp_path / "odd.toml"
    path.write_text(
        f'root = "{root}"\nlayout = "videos"\nvideo = "*.mp4"\nmasks = ["good_mask.mov"]\n'
        "[normalise]\nsize = [48, 80]\nmax_frames = 13\n"
    )
    summary = run_source(load_source(path, into=RealSource), tmp_path / "w", workers=1)
    assert (summary.inputs, summary.failed) == (len(ODD) + 2, len(ODD))
    entries = read_ledger(tmp_path / "w", "odd")
    assert {rf"odd-{name.removesuffix('.mp4')}".replace(LATIN, r"caf\xe9") for name in ODD} <= {
        entry.name for entry in entries
    }
    for entry in entries:
        json.dumps(vars(entry), ensure_ascii=False).encode()  # raises for half a character
