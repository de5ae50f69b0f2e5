"""The same footage through two sources is one group; copies are listed, share a split, and can be left out."""

import dataclasses
import io

import av
import cv2
import effectpairs
import numpy as np
import pytest
from effectpairs.datasets.corpus import near_duplicates, selection
from effectpairs.datasets.corpus.near_duplicates import ClipRef, fingerprint
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import store_clip

SIZE = (96, 168)


@pytest.fixture(scope="module")
def footage(clips_dir):
    """A fast DAVIS sequence: its images, and the same as an mp4 of three quarters of the size at 30 fps."""
    paths = sorted((clips_dir / "davis" / "JPEGImages" / "480p" / "bmx-trees").glob("*.jpg"))
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "28"})
        stream.height, stream.width, stream.pix_fmt = 180, 324, "yuv420p"
        for image in images:
            small = cv2.resize(image, (324, 180), interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        container.mux(stream.encode(None))
    film.seek(0)
    with av.open(film) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return images, decoded


def as_clip(images, first: int, frames: int, zoom: float = 1.0) -> np.ndarray:
    """A clip at 16 of 24 frames a second that begins at one of the images, scaled to cover and cropped."""
    times = [first + round(time * 1.5) for time in range(frames)]
    height, width = SIZE
    scale = zoom * max(height / images[0].shape[0], width / images[0].shape[1])
    side = (round(images[0].shape[1] * scale), round(images[0].shape[0] * scale))
    scaled = [cv2.resize(images[time], side, interpolation=cv2.INTER_AREA) for time in times]
    top, left = (side[1] - height) // 2, (side[0] - width) // 2
    return np.stack([frame[top : top + height, left : left + width] for frame in scaled])


def layers_of(gt: np.ndarray, mask_left: int = 40) -> dict[str, np.ndarray]:
    mask = np.zeros(gt.shape[:3], bool)
    mask[:, 50:80, mask_left : mask_left + 60] = True
    subject = np.zeros(gt.shape[:3], np.uint8)
    subject[:, 10:40, 40:90] = 255
    colour = dict.fromkeys(("gt", "over", "background", "foreground"), gt)
    return {**colour, "alpha": subject, "subject_mask": subject, "effect_mask": mask}


def fill(workspace, clips: dict[str, dict[str, np.ndarray]]) -> None:
    """A source for each first part of the names."""
    entries: dict[str, list] = {}
    for name, layers in clips.items():
        source = name.partition("-")[0]
        quality = {"quality": fixtures_workspaces.accepted_quality()}
        entries.setdefault(source, []).append(
            store_clip(workspace, name, "real", layers, effects=["shadow"], source=source, **quality)
        )
    for source, of_source in entries.items():
        write_ledger(workspace, source, of_source, {"origin": "tests"})


def test_davis_as_images_and_as_an_mp4_of_another_set_is_one_group_and_never_straddles_a_split(footage, tmp_path):
    """Another size, coding, beginning and crop; a different clip of the same length keeps its group."""
    images, film = footage
    noise = np.repeat(np.random.default_rng(0).integers(0, 255, (1, *SIZE, 3), np.uint8), 29, axis=0)
    clips = {
        "davis-bmx": layers_of(as_clip(images, 0, 29)),
        "films-bmx": layers_of(as_clip(film, 4, 29, zoom=1.03)),
        "films-noise": layers_of(noise),
    }
    fill(tmp_path / "w", clips)
    shares = {"validation_share": 0.3, "test_share": 0.3}
    own = {name: selection.split_of(name, selection.PublishSettings(**shares)) for name in clips}
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", **shares)
    corpus = effectpairs.open(tmp_path / "corpus")
    rows = {row["clip_id"]: row for row in corpus.table.to_pylist()}
    assert rows["davis-bmx"]["group"] == rows["films-bmx"]["group"] in ("davis-bmx", "films-bmx")
    assert rows["films-noise"]["group"] == "films-noise"
    assert rows["davis-bmx"]["split"] == rows["films-bmx"]["split"]
    assert rows["davis-bmx"]["split"] == max(own["davis-bmx"], own["films-bmx"], key=selection.SPLITS.index)
    (pair,) = corpus.manifest["left_out"]["near_duplicates"]
    assert pair["clips"] == ["davis-bmx", "films-bmx"]
    assert pair["same_effect"]
    assert "| davis-bmx, films-bmx |" in (tmp_path / "corpus" / "README.md").read_text()


def test_the_rarer_copy_is_dropped_and_another_effect_of_the_same_footage_is_not(footage, tmp_path):
    images, film = footage
    clips = {
        "davis-bmx": layers_of(as_clip(images, 0, 13)),
        "davis-later": layers_of(as_clip(images, 50, 13)),
        "films-copy": layers_of(as_clip(film, 0, 13)),
        "other-effect": layers_of(as_clip(film, 1, 13), mask_left=105),
    }
    fill(tmp_path / "w", clips)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", duplicates="drop")
    corpus = effectpairs.open(tmp_path / "corpus")
    assert set(corpus.ids) == {"davis-bmx", "davis-later", "other-effect"}
    assert corpus.manifest["left_out"]["duplicates"] == ["films-copy"]
    groups = dict(zip(*(corpus.table.column(name).to_pylist() for name in ("clip_id", "group")), strict=True))
    assert groups["davis-bmx"] == groups["other-effect"] != groups["davis-later"]
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "all", duplicates="ignore")
    assert len({row["group"] for row in effectpairs.open(tmp_path / "all").table.to_pylist()}) == 4


def test_fingerprints_are_made_once_and_a_damaged_file_of_them_is_made_anew(footage, tmp_path, monkeypatch):
    fill(tmp_path / "w", {"davis-bmx": layers_of(as_clip(footage[0], 0, 13))})
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    kept = (tmp_path / "w" / near_duplicates.FILE).read_bytes()
    calls = []
    real = near_duplicates.fingerprint
    monkeypatch.setattr(near_duplicates, "fingerprint", lambda *layers: calls.append(1) or real(*layers))
    selection._selected.cache_clear()
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "again")
    assert not calls
    selection._selected.cache_clear()
    (tmp_path / "w" / near_duplicates.FILE).write_bytes(b"damaged")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "third")
    assert calls
    assert (tmp_path / "w" / near_duplicates.FILE).read_bytes() == kept
    selection._selected.cache_clear()
    (tmp_path / "w" / near_duplicates.FILE).unlink()
    (tmp_path / "w" / near_duplicates.FILE).mkdir()  # as good as a disk that takes nothing
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "fourth")
    assert fixtures_workspaces.read_files(tmp_path / "fourth") == fixtures_workspaces.read_files(tmp_path / "again")


def refs(prints) -> list[ClipRef]:
    names = [f"clip-{number:05}" for number in range(len(prints))]
    common = {
        "source": "s",
        "start": 0,
        "kind": "real",
        "size_bytes": 1,
        "digest": "",
        "licence": "",
        "held_out": False,
    }
    return [ClipRef(clip_id=name, group=name, pixels=name, **common) for name in names]


def test_the_search_finds_what_comparing_all_with_all_finds():
    """In random hashes with copies of some flipped bits; up to 7 flipped bits nothing may be missed."""
    rng = np.random.default_rng(1)
    prints = [rng.integers(1, 2**63, (12, 5), np.uint64) for _ in range(60)]
    for number in range(20):
        flips = np.zeros((12, 5), np.uint64)
        for row in range(12):
            flips[row, 0] = sum(1 << int(bit) for bit in rng.choice(63, 7, replace=False))
        prints.append(prints[number] ^ flips)
    values = [near_duplicates.Fingerprint(frames=frames, effect=None) for frames in prints]
    clips = refs(values)
    found = near_duplicates.near_duplicates(
        clips, {c.pixels: v for c, v in zip(clips, values, strict=True)}, drop=False
    )
    assert {pair.clips for pair in found} == {(f"clip-{n:05}", f"clip-{60 + n:05}") for n in range(20)}


def test_black_frames_are_like_nothing():
    black = fingerprint(np.zeros((8, *SIZE, 3), np.uint8), None)
    assert not black.frames.any()
    clips = refs([black, black])
    assert near_duplicates.near_duplicates(clips, {clip.pixels: black for clip in clips}, drop=False) == []
    same = [dataclasses.replace(clip, pixels="p") for clip in clips]
    (pair,) = near_duplicates.near_duplicates(same, {"p": black}, drop=True)
    assert pair.dropped == "clip-00001"
    pinned = [same[0], dataclasses.replace(same[1], held_out=True)]
    (pair,) = near_duplicates.near_duplicates(pinned, {"p": black}, drop=True)
    assert pair.dropped == "clip-00000", "what a benchmark pins stays"
