import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from effectpairs.datasets.footage.listing import Footage, SubjectFiles, UnusableFootage, list_footage
from effectpairs.datasets.sources.source import FootageSource
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, square_mask, write_images, write_label_images
from PIL import Image


def listed(root, layout="videos", **more):
    return list_footage(FootageSource(name="test", root=str(root), layout=layout, **more))


def davis(root, name="bear", masks=None, between="480p"):
    write_images(root / "JPEGImages" / between / name, sliding_clip(5), suffix=".jpg")
    write_label_images(root / "Annotations" / between / name, square_mask(5) // 255 if masks is None else masks)


# ---------------------------------------------------------------- DAVIS


def test_davis(tmp_path):
    two = square_mask(5) // 255 * 2
    two[:, 26:30, 2:6] = 1
    two[:, 0, :] = 255  # void
    davis(tmp_path, "dogs", two)
    davis(tmp_path, "bear")
    bear, dogs = listed(tmp_path, "davis", image_fps=12.0, fixed_caption="A bear.")
    video, masks = tmp_path / "JPEGImages/480p/bear", tmp_path / "Annotations/480p/bear"
    assert bear == Footage(
        name="bear", video=video, subjects=(SubjectFiles(masks=masks, label=1),), image_fps=12.0, caption="A bear."
    )
    assert [subject.label for subject in dogs.subjects] == [1, 2], "one subject for each label; void is none"
    roles = [role for role, _ in bear.files()]
    assert roles == ["video"] * 5 + ["masks-0"] * 5
    assert [path.name for _, path in bear.files()] == [f"{n:05d}.jpg" for n in range(5)] + [
        f"{n:05d}.png" for n in range(5)
    ]


@pytest.mark.parametrize(
    ("values", "wanted"), [((0, 255), [255]), ((0, 1), [1]), ((0, 1, 2), [1, 2]), ((0, 9, 128, 200, 255), [None])]
)
def test_grey_annotations_are_labels_or_soft(tmp_path, values, wanted):
    davis(tmp_path)
    folder = tmp_path / "Annotations/480p/bear"
    for number in range(5):
        grey = np.resize(np.array(values, np.uint8), (32, 48))
        Image.fromarray(grey).save(folder / f"{number:05d}.png")
    (bear,) = listed(tmp_path, "davis")
    assert [subject.label for subject in bear.subjects] == wanted


def test_davis_resolutions(tmp_path):
    davis(tmp_path, between="Full-Resolution")
    assert len(listed(tmp_path, "davis")) == 1
    davis(tmp_path, "cat")
    assert [item.name for item in listed(tmp_path, "davis")] == ["cat"], "480p is taken where it is"
    assert [item.name for item in listed(tmp_path, "davis", resolution="Full-Resolution")] == ["bear"]
    with pytest.raises(ValueError, match="has no folder '720p'; resolution is one of 480p, Full-Resolution"):
        listed(tmp_path, "davis", resolution="720p")


def test_davis_without_a_resolution_between(tmp_path):
    davis(tmp_path, between="")
    assert [item.name for item in listed(tmp_path, "davis")] == ["bear"]


def test_davis_refusals(tmp_path):
    davis(tmp_path)
    write_images(tmp_path / "JPEGImages/480p/lonely", sliding_clip(3), suffix=".jpg")
    davis(tmp_path, "void", np.zeros((5, 32, 48), np.uint8))
    davis(tmp_path, "torn")
    (tmp_path / "Annotations/480p/torn/00002.png").write_text("no image")
    bear, lonely, torn, void = listed(tmp_path, "davis")
    assert isinstance(bear, Footage)
    assert isinstance(lonely, UnusableFootage)
    assert "lonely: has no mask beside it" in lonely.reason
    assert "00002.png: is not an image" in torn.reason
    assert "empty in all frames" in void.reason
    with pytest.raises(ValueError, match="JPEGImages: is not there"):
        listed(tmp_path / "JPEGImages", "davis")


# ---------------------------------------------------------------- Generative Omnimatte


def test_gen_omnimatte(tmp_path):
    for name, masks in (("camel", 2), ("beach", 1), ("bare", 0)):
        (tmp_path / name).mkdir()
        encode_video(tmp_path / name / "input_video.mp4", sliding_clip(5))
        (tmp_path / name / "prompt.json").write_text('{"bg": "a beach"}')
        for number in range(masks):
            encode_video(tmp_path / name / f"mask_{number:02d}.mp4", square_mask(5), codec="libx264", pix_fmt="gray")
    (tmp_path / "void").mkdir()
    bare, beach, camel, void = listed(tmp_path, "gen-omnimatte")
    assert [path.name for _, path in camel.files()] == ["input_video.mp4", "mask_00.mp4", "mask_01.mp4"]
    assert beach.caption is None, "the prompt is of the background alone"
    assert "mask_00.mp4 is not there" in bare.reason
    assert "input_video.mp4: is not there" in void.reason
    (alone,) = listed(tmp_path / "camel", "gen-omnimatte")
    assert alone == Footage(name="camel", video=camel.video, subjects=camel.subjects)


# ---------------------------------------------------------------- videos


def test_videos_with_masks_beside(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "a_mask.mp4", "sub/b.mp4", "sub/b_mask.mp4", "c[1].mp4", "c[1]_mask.mp4", "lonely.mp4"):
        (tmp_path / name).write_bytes(b"x")
    items = listed(tmp_path, masks=("{stem}_mask.mp4",))
    assert [item.name for item in items] == ["a", "c[1]", "lonely", "sub-b"]
    assert [isinstance(item, Footage) for item in items] == [True, True, False, True]
    assert items[0].subjects == (SubjectFiles(masks=tmp_path / "a_mask.mp4"),)
    assert "lonely.mp4: has no mask beside it" in items[2].reason
    assert [item.name for item in listed(tmp_path, masks=("{stem}_mask.mp4",), include=("*b", "a"))] == ["a", "sub-b"]
    assert [item.name for item in listed(tmp_path, masks=("{stem}_mask.mp4",), exclude=("lonely", "c*"))] == [
        "a",
        "sub-b",
    ]
    with pytest.raises(ValueError, match="leave none of 4 videos"):
        listed(tmp_path, masks=("{stem}_mask.mp4",), include=("z*",))


def test_videos_named_by_their_folder(tmp_path):
    folder = tmp_path / "swan"
    folder.mkdir()
    for name in ("video.mp4", "object_mask.mp4", "background.mp4"):
        (folder / name).write_bytes(b"x")
    more = {"video": "**/video.mp4", "masks": ("object_mask.mp4",), "background": "background.mp4"}
    (swan,) = listed(tmp_path, **more)
    assert (swan.name, swan.background) == ("swan", folder / "background.mp4")
    assert [role for role, _ in swan.files()] == ["video", "masks-0", "background"]
    (same,) = listed(folder, **more)
    assert same == swan
    (folder / "background.mp4").unlink()
    (gone,) = listed(tmp_path, **more)
    assert "background.mp4 is not there" in gone.reason


def test_keys_and_nothing_at_all(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a_keys.json").write_text("{}")
    write_images(tmp_path / "b", sliding_clip(2))
    (a,) = listed(tmp_path, keys="{stem}_keys.json")
    assert a.subjects == (SubjectFiles(keys=tmp_path / "a_keys.json"),)
    (a,) = listed(tmp_path)
    assert a.subjects == (SubjectFiles(),), "settings alone say where the subject is"
    (b,) = listed(tmp_path, video="*/", image_fps=10.0)
    assert (b.video, b.image_fps) == (tmp_path / "b", 10.0)


# ---------------------------------------------------------------- what every layout refuses


def test_roots(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="is no folder; put the footage there or --set root=FOLDER"):
        listed(tmp_path / "gone")
    with pytest.raises(ValueError, match="finds no footage there"):
        listed(tmp_path)
    monkeypatch.delenv("EFFECTPAIRS_DATA", raising=False)
    with pytest.raises(
        ValueError, match="needs the environment variable EFFECTPAIRS_DATA; export EFFECTPAIRS_DATA=FOLDER"
    ):
        listed("${EFFECTPAIRS_DATA}/clips")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.mp4").write_bytes(b"x")
    monkeypatch.setenv("EFFECTPAIRS_DATA", str(tmp_path))
    assert [item.name for item in listed("${EFFECTPAIRS_DATA}/clips")] == ["a"]
    monkeypatch.chdir(tmp_path)
    assert [item.name for item in listed("clips")] == ["a"]


def test_two_of_one_name(tmp_path):
    for name in ("a.mov", "a.mp4"):
        (tmp_path / name).write_bytes(b"x")
    first, second = listed(tmp_path, video="*.m*")
    assert isinstance(first, Footage)
    assert second == UnusableFootage(
        name="a", reason=f"{tmp_path / 'a.mp4'}: has the same name as {tmp_path / 'a.mov'}; rename one of the two"
    )


def test_files_that_leave_the_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (root / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "b.mp4").write_bytes(b"x")
    a, b = listed(root)
    assert "a.mp4: leads out of the source's folder" in a.reason
    assert isinstance(b, Footage)
    (root / "a.mp4").unlink()
    (b,) = listed(root, masks=("../secret.mp4",))
    assert "leads out of the source's folder" in b.reason
    (tmp_path / "link").symlink_to(root)
    assert isinstance(listed(tmp_path / "link")[0], Footage), "the root itself may be a link"


@pytest.fixture
def nobody():
    """A folder that anyone may look into, where root steps down, because root may read anything."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)

        def step_down():
            if os.getuid() == 0:
                os.seteuid(65534)

        yield Path(name), step_down
        if os.getuid() == 0:
            os.seteuid(0)
        for folder in Path(name).rglob("*"):
            folder.chmod(0o755)


@pytest.mark.parametrize("place", ["JPEGImages/480p/bear", "Annotations/480p/bear"])
def test_unreadable_folders(nobody, place):
    root, step_down = nobody
    davis(root)
    davis(root, "cat")
    (root / place).chmod(0)
    step_down()
    bear, cat = listed(root, "davis")
    assert isinstance(cat, Footage)
    assert f"{place}: may not be read; change its permissions" in bear.reason


def test_an_unreadable_folder_among_videos(nobody):
    root, step_down = nobody
    (root / "a.mp4").write_bytes(b"x")
    (root / "closed").mkdir()
    (root / "closed").chmod(0)
    step_down()
    a, closed = listed(root)
    assert isinstance(a, Footage)
    assert "closed: may not be read" in closed.reason


@pytest.mark.clips
def test_real_folders(clips_dir):
    (bmx,) = listed(clips_dir / "davis", "davis")
    assert len(bmx.files()) == 160
    beach, camel = listed(clips_dir / "gen_omnimatte", "gen-omnimatte")
    assert (beach.name, len(beach.subjects), camel.name, len(camel.subjects)) == ("boys-beach", 2, "davis_camel", 2)
    (swan,) = listed(
        clips_dir / "omnimatte_zero", video="**/video.mp4", masks=("object_mask.mp4",), background="background.mp4"
    )
    assert swan.name == "swan_lake"
