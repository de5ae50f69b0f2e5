"""Rendered sets of others: small ones, written in their layouts, from listing to ledger."""

from pathlib import Path

import numpy as np
import pytest
from effectpairs.datasets.footage.listing import Footage, SubjectFiles, UnusableFootage, list_footage
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.codec import decode
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_videos import encode_video, write_images
from effectpairs.tests.fixtures_workspaces import run_source

FRAMES, HEIGHT, WIDTH = 13, 64, 80


def rendered(frames=FRAMES):
    """A red box that slides and drags a shadow past a blue one that stays: gt, clean plate, where the two are."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    plate = np.stack([90 + rows, 100 + columns, 120 + (rows + columns) // 2], -1).astype(np.uint8)
    plate = np.repeat(plate[None], frames, axis=0)
    plate[:, 8:24, 60:72] = (40, 60, 200)
    kept, removed, gt = (
        np.zeros((2, frames, HEIGHT, WIDTH), bool)[0],
        np.zeros((frames, HEIGHT, WIDTH), bool),
        plate.copy(),
    )
    kept[:, 8:24, 60:72] = True
    for number in range(frames):
        left = 6 + 2 * number
        gt[number, 44:50, left : left + 24] //= 2
        removed[number, 28:46, left : left + 14] = True
    gt[removed] = (210, 60, 40)
    return gt, plate, removed, kept


def trimask(removed, kept):
    return np.where(removed, 0, np.where(kept, 255, 128)).astype(np.uint8)


def kubric_clip(folder, *, mask=None, suffix=".mp4", **more):
    """A clip as the generator writes it: trimask, lossy videos."""
    gt, plate, removed, kept = rendered()
    mask = trimask(removed, kept) if mask is None else mask
    folder.mkdir(parents=True)
    lossy = {"codec": "libx264", "pix_fmt": "yuv420p", "fps": 16, "crf": "12", **more}
    for name, frames in (("rgb_full", gt), ("rgb_removed", plate), ("mask", np.repeat(mask[..., None], 3, -1))):
        encode_video(folder / f"{name}{suffix}", frames, **lossy)
    (folder / "tuple.mp4").write_bytes(b"not read")
    return folder


def movies_clip(folder, *, plate_folder=None):
    gt, plate, removed, _ = rendered()
    left = np.arange(WIDTH) < 20  # two objects, of which neither mask alone is the subject
    write_images(folder / "rgb_1x", gt)
    write_images(folder / "masks/mask/00", np.where(removed & left, 255, 0).astype(np.uint8))
    write_images(folder / "masks/mask/01", np.where(removed & ~left, 255, 0).astype(np.uint8))
    write_images(plate_folder or folder / "bg", plate)
    return folder


def source_of(name, root, *overrides):
    sizes = ("normalise.size=64x80", "normalise.max_frames=13", *overrides)
    return load_source(name, [f"root='{root}'", *sizes], into=RealSource)


def listed(name, root, *overrides):
    return list_footage(source_of(name, root, *overrides))


def run(name, root, workspace, *overrides):
    """The whole chain; what became of each clip, by the name of its folder."""
    source = source_of(name, root, *overrides)
    run_source(source, workspace, workers=1)
    return {entry.name.removeprefix(f"{name}-").split("-0")[0]: entry for entry in read_ledger(workspace, name)}


def layer(workspace: Path, entry, name):
    return decode((workspace / entry.layers[name]["file"]).read_bytes())


# ---------------------------------------------------------------- what is found


def test_kubric_clips_as_videos(tmp_path):
    kubric_clip(tmp_path / "kubric/00042")
    (clip,) = listed("kubric-pairs", tmp_path)
    folder = tmp_path / "kubric/00042"
    assert clip == Footage(
        name="kubric-00042",
        video=folder / "rgb_full.mp4",
        subjects=(SubjectFiles(masks=folder / "mask.mp4", label=0),),
        background=folder / "rgb_removed.mp4",
    )
    (alone,) = listed("kubric-pairs", folder)
    assert (alone.name, alone.video) == ("00042", clip.video), "the root may be a clip itself"


@pytest.mark.parametrize("parts", [("rgb_full", "rgb_removed", "mask"), ("input", "bg", "trimask")])
def test_kubric_clips_as_images(tmp_path, parts):
    gt, plate, removed, kept = rendered()
    for part, frames in zip(parts, (gt, plate, trimask(removed, kept)), strict=True):
        write_images(tmp_path / "clip" / part, frames)
    (clip,) = listed("kubric-pairs", tmp_path)
    assert [clip.video.name, clip.background.name, clip.subjects[0].masks.name] == [*parts]
    assert [role for role, _ in clip.files()] == ["video"] * 13 + ["masks-0"] * 13 + ["background"] * 13


@pytest.mark.parametrize("gone", ["rgb_full", "rgb_removed", "mask"])
def test_a_part_that_is_missing(tmp_path, gone):
    (kubric_clip(tmp_path / "a") / f"{gone}.mp4").unlink()
    kubric_clip(tmp_path / "b")
    a, b = listed("kubric-pairs", tmp_path)
    assert isinstance(b, Footage)
    assert a == UnusableFootage(
        name="a",
        reason=f"{tmp_path / 'a'}: lacks {gone} ({gone}.mp4 or a folder {gone} of images); fetch the clip again, or "
        "exclude 'a'",
    )


def test_movies(tmp_path):
    folder = movies_clip(tmp_path / "movies/chicken")
    (clip,) = listed("movies", tmp_path)
    assert clip == Footage(
        name="movies-chicken",
        video=folder / "rgb_1x",
        subjects=(SubjectFiles(masks=folder / "masks/mask"),),
        background=folder / "bg",
    )
    roles = [role for role, _ in clip.files()]
    assert roles == ["video"] * 13 + ["masks-0"] * 26 + ["background"] * 13, "both objects' masks count"


def test_movies_with_plates_elsewhere(tmp_path):
    movies_clip(tmp_path / "dog", plate_folder=tmp_path / "plates/dog_bg/rgb")
    (clip,) = listed("movies", tmp_path, "background='../plates/{stem}_bg/rgb'")
    assert clip.background.resolve() == tmp_path / "plates/dog_bg/rgb"


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("rgb_1x", "rgb_1x: holds no images; put the video's frames there"),
        ("masks/mask", "masks/mask: holds no mask images; put them there, or in a folder 00, 01"),
        ("bg", "has no clean plate 'bg'; render or fetch it, or name it with --set background=FOLDER"),
    ],
)
def test_movies_without(tmp_path, gone, sentence):
    (movies_clip(tmp_path / "a") / gone).rename(tmp_path / "elsewhere")
    movies_clip(tmp_path / "b")
    a, b = listed("movies", tmp_path)
    assert isinstance(b, Footage)
    assert a.name == "a"
    assert sentence in a.reason


def test_nothing_of_the_layout(tmp_path):
    write_images(tmp_path / "frames", rendered()[0])
    for name in ("movies", "kubric-pairs"):
        with pytest.raises(ValueError, match=f"finds no footage there in the '{name}' layout"):
            listed(name, tmp_path)


# ---------------------------------------------------------------- what becomes of it


def test_kubric_pairs_from_folder_to_ledger(tmp_path):
    gt, plate, removed, _ = rendered()
    kubric_clip(tmp_path / "set/tri")
    kubric_clip(tmp_path / "set/binary", mask=np.where(removed, 0, 255).astype(np.uint8))
    found = run("kubric-pairs", tmp_path / "set", tmp_path / "w")
    assert {name: entry.outcome for name, entry in found.items()} == {"binary": "accept", "tri": "accept"}
    for entry in found.values():
        subject = layer(tmp_path / "w", entry, "subject_mask") > 127
        assert (subject != removed).mean() < 0.002, "0 is the subject; what stays and what is unknown is not"
        background = layer(tmp_path / "w", entry, "background")
        assert np.abs(background.astype(int) - plate).mean() < 2, "the plate as it was given"
        effect = layer(tmp_path / "w", entry, "effect_mask") > 127
        shadow = (gt // 2 != plate // 2).any(-1) & ~removed
        assert (effect & shadow).sum() > 0.6 * shadow.sum()
        assert not effect[:, 8:24, 60:72].any(), "what stays has no effect"


def test_movies_from_folder_to_ledger(tmp_path):
    movies_clip(tmp_path / "set/chicken")
    (entry,) = run("movies", tmp_path / "set", tmp_path / "w", "image_fps=16").values()
    assert entry.outcome == "accept"
    _, plate, removed, _ = rendered()
    assert np.array_equal(layer(tmp_path / "w", entry, "subject_mask") > 127, removed), "both objects are one subject"
    assert np.array_equal(layer(tmp_path / "w", entry, "background"), plate)


def test_bad_clips_are_told_and_the_rest_goes_on(tmp_path):
    _, plate, removed, kept = rendered()
    whole = trimask(removed, kept)
    kubric_clip(tmp_path / "set/fine")
    kubric_clip(tmp_path / "set/nothing-removed", mask=np.full_like(whole, 128))
    kubric_clip(tmp_path / "set/all-removed", mask=np.zeros_like(whole))
    encode_video(
        kubric_clip(tmp_path / "set/short-plate") / "rgb_removed.mp4", plate[:8], codec="libx264", pix_fmt="yuv420p"
    )
    encode_video(kubric_clip(tmp_path / "set/short-mask") / "mask.mp4", whole[:8], codec="libx264", pix_fmt="gray")
    encode_video(
        kubric_clip(tmp_path / "set/other-shape") / "mask.mp4", whole[:, :, :40], codec="libx264", pix_fmt="gray"
    )
    (kubric_clip(tmp_path / "set/torn") / "rgb_full.mp4").write_bytes(b"no video")
    found = run("kubric-pairs", tmp_path / "set", tmp_path / "w")
    reasons = {name: entry.reasons[0] for name, entry in found.items() if entry.outcome == "fail"}
    assert found["fine"].outcome == "accept"
    expected = {
        "nothing-removed": "mask.mp4: the mask is empty in all frames for 0, the value of what was removed",
        "all-removed": "mask.mp4: the mask covers every frame whole",
        "short-plate": "rgb_removed.mp4: lacks 5 of the video's 13 frames",
        "short-mask": "mask.mp4: has 8 masks, but the video has 13 frames",
        "other-shape": "mask.mp4: is 40x64 pixels, another shape than the video's 80x64",
        "torn": "rgb_full.mp4",
    }
    assert set(reasons) == set(expected)
    for name, sentence in expected.items():
        assert sentence in reasons[name], name


def test_masks_of_two_objects_that_differ_in_length(tmp_path):
    folder = movies_clip(tmp_path / "set/a")
    (folder / "masks/mask/01/00012.png").unlink()
    (entry,) = run("movies", tmp_path / "set", tmp_path / "w").values()
    assert entry.outcome == "fail"
    assert "masks/mask/01: has 12 masks, but 00 has 13; give each object one mask for each frame" in entry.reasons[0]


def test_an_inverted_mask_is_not_taken_for_good(tmp_path):
    """White where the object is, as everyone else writes masks: all but the object would be the subject."""
    _, _, removed, _ = rendered()
    kubric_clip(tmp_path / "set/a", mask=np.where(removed, 255, 0).astype(np.uint8))
    (entry,) = run("kubric-pairs", tmp_path / "set", tmp_path / "w").values()
    assert entry.outcome != "accept"


@pytest.mark.parametrize("name", ["kubric-pairs", "movies"])
def test_clips_of_rendered_sets_are_synthetic(tmp_path, name):
    {"kubric-pairs": kubric_clip, "movies": movies_clip}[name](tmp_path / "set/a")
    (entry,) = run(name, tmp_path / "set", tmp_path / "w").values()
    assert entry.row["kind"] == "synthetic"
