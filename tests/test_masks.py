import json

import numpy as np
import pytest
from effectpairs.datasets.footage.key_masks import check_keys, read_keys
from effectpairs.datasets.footage.masks import open_masks
from effectpairs.datasets.footage.reader import open_frames
from effectpairs.datasets.footage.types import FootageInfo
from effectpairs.tests.fixtures_videos import encode_video, square_mask, write_images, write_label_images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

VIDEO = FootageInfo(width=48, height=32, fps=24.0, frames=13)


def masks_of(path, frames=13, **more):
    return np.stack(list(open_masks(path, VIDEO, frames, **more)))


def refusal(path, frames=13, video=VIDEO, **more):
    with pytest.raises(ValueError) as caught:
        list(open_masks(path, video, frames, **more))
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


# ---------------------------------------------------------------- a mask for every frame


def test_a_lossless_mask_video_comes_back_soft(tmp_path):
    soft = square_mask()
    soft[:, 20:22] = 77
    path = encode_video(tmp_path / "mask.mkv", soft, codec="ffv1", pix_fmt="gray", level="3")
    assert np.array_equal(masks_of(path), soft)
    reader = open_masks(path, VIDEO, 13)
    assert np.array_equal(np.stack(list(reader)), np.stack(list(reader))), "each loop reads anew"


def test_a_lossy_mask_video(tmp_path):
    colour = np.repeat(square_mask()[..., None], 3, -1)
    path = encode_video(tmp_path / "mask.mp4", colour, codec="libx264", pix_fmt="yuv420p", crf="18")
    assert np.abs(masks_of(path).astype(int) - square_mask()).mean() < 4


def test_folders_of_mask_images(tmp_path):
    truth = square_mask(5)
    grey = write_images(tmp_path / "grey", truth)
    assert np.array_equal(masks_of(grey, 5), truth)
    ones = write_images(tmp_path / "ones", truth // 255)
    assert np.array_equal(masks_of(ones, 5), truth), "nought and one"
    colour = write_images(tmp_path / "colour", np.repeat(truth[..., None], 3, -1))
    assert np.array_equal(masks_of(colour, 5), truth)
    two = truth // 255 * 3
    two[:, 28:] = 1
    labels = write_label_images(tmp_path / "labels", two)
    assert np.array_equal(masks_of(labels, 5, label=3), truth)
    assert np.array_equal(masks_of(labels, 5, label=1), np.where(two == 1, 255, 0))
    assert np.array_equal(masks_of(labels, 5), np.where(two > 0, 255, 0)), "without a label, all that is no background"


@pytest.mark.parametrize("off", [-1, 1])
def test_one_frame_more_or_less_is_an_encoders_rounding(tmp_path, off):
    path = encode_video(tmp_path / "mask.mkv", square_mask(13 + off), codec="ffv1", pix_fmt="gray")
    reader = open_masks(path, VIDEO, 13)
    masks = np.stack(list(reader))
    assert len(masks) == 13
    assert np.array_equal(masks[:12], square_mask(12))
    assert np.array_equal(masks[12], square_mask()[11 if off < 0 else 12])
    ends = {
        1: "longer than the video: its last mask is left out.",
        -1: "shorter than the video: its last mask is repeated.",
    }
    assert reader.notes == (f"mask.mkv is one frame {ends[off]}",)
    folder = write_images(tmp_path / "folder", square_mask(13 + off))
    assert f"has {13 + off} masks, but the video has 13 frames" in refusal(folder)


@pytest.mark.parametrize("frames", [5, 11, 15, 26])
def test_another_length(tmp_path, frames):
    path = encode_video(tmp_path / "mask.mkv", square_mask(frames), codec="ffv1", pix_fmt="gray")
    assert f"has {frames} masks, but the video has 13 frames; give one mask for each frame" in refusal(path)


def test_another_size_of_the_same_shape_is_resized(tmp_path):
    big = square_mask().repeat(2, 1).repeat(2, 2)
    path = encode_video(tmp_path / "mask.mkv", big, codec="ffv1", pix_fmt="gray")
    reader = open_masks(path, VIDEO, 13)
    assert np.array_equal(np.stack(list(reader)), square_mask())
    assert reader.notes == ("mask.mkv is 96x64 pixels; it was resized to the video's 48x32.",)


def test_another_shape_is_refused(tmp_path):
    path = encode_video(tmp_path / "mask.mkv", square_mask(13, 32, 56), codec="ffv1", pix_fmt="gray")
    assert "is 56x32 pixels, another shape than the video's 48x32" in refusal(path)
    folder = write_images(tmp_path / "folder", square_mask())
    Image.fromarray(square_mask(1, 32, 40)[0]).save(folder / "00007.png")
    assert "is 40x32 pixels" in refusal(folder)


@pytest.mark.parametrize(
    ("value", "sentence"), [(0, "the mask is empty in all frames"), (255, "the mask covers every frame whole")]
)
def test_empty_and_full(tmp_path, value, sentence):
    clip = np.full((13, 32, 48), value, np.uint8)
    assert sentence in refusal(encode_video(tmp_path / "mask.mkv", clip, codec="ffv1", pix_fmt="gray"))
    clip[6, 3:5, 3:5] = 255 - value
    some = encode_video(tmp_path / "some.mkv", clip, codec="ffv1", pix_fmt="gray")
    assert np.array_equal(masks_of(some, meaning="subject"), clip)


def test_a_label_that_is_nowhere(tmp_path):
    assert "empty in all frames for label 4" in refusal(
        write_label_images(tmp_path / "labels", square_mask() // 255), label=4
    )


def test_a_mask_that_cannot_be_read(tmp_path):
    (tmp_path / "mask.mp4").write_text("hello")
    assert "is not a video" in refusal(tmp_path / "mask.mp4")
    assert "is not there" in refusal(tmp_path / "gone.mp4")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal(tmp_path / "empty")


# ---------------------------------------------------------------- key frames


def keys_of(path, frames=13):
    keys = read_keys(path, VIDEO)
    check_keys(keys, frames, str(path))
    return {number: load() for number, load in keys.items()}


def key_refusal(path, frames=13):
    with pytest.raises(ValueError) as caught:
        keys_of(path, frames)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_folder_of_key_masks(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    Image.fromarray(square_mask()[3]).save(folder / "3.png")
    Image.fromarray(square_mask()[11]).save(folder / "00011.png")
    keys = keys_of(folder)
    assert sorted(keys) == [3, 11]
    assert all(np.array_equal(mask, square_mask()[number]) for number, mask in keys.items())
    assert "key frame 11 is not in the video, which has frames 0 to 8" in key_refusal(folder, 9)
    Image.fromarray(square_mask()[3]).save(folder / "03.png")
    assert "second mask of frame 3" in key_refusal(folder)
    (folder / "03.png").unlink()
    Image.fromarray(np.zeros((32, 48), np.uint8)).save(folder / "5.png")
    assert "the mask of key frame 5 is empty" in key_refusal(folder)
    Image.fromarray(np.full((32, 48), 255, np.uint8)).save(folder / "5.png")
    assert "the mask of key frame 5 covers everything" in key_refusal(folder)
    Image.fromarray(square_mask(1, 32, 40)[0]).save(folder / "5.png")
    assert "another shape" in key_refusal(folder)
    for file in folder.iterdir():
        file.unlink()
    assert "holds no key masks" in key_refusal(folder)


def inside_twin(outline, height, width):
    """Even-odd rule at pixel centres, pixel by pixel; for outlines that do not cross themselves."""
    inside = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            for (x0, y0), (x1, y1) in zip(outline, outline[1:] + outline[:1], strict=True):
                if (y0 > row) != (y1 > row) and column < (x1 - x0) * (row - y0) / (y1 - y0) + x0:
                    inside[row, column] = ~inside[row, column]
    return inside


@given(st.integers(4, 40), st.integers(4, 26), st.floats(3, 9), st.floats(3, 9), st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_polygons_fill_what_they_surround(tmp_path_factory, x, y, wide, high, corners):
    turns = np.arange(corners) / corners * 2 * np.pi
    outline = [[x + wide * np.cos(turn), y + high * np.sin(turn)] for turn in turns]
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(json.dumps({"4": [outline]}))
    mask = keys_of(path)[4]
    truth = inside_twin(outline, 32, 48)
    rim = np.zeros_like(truth)
    for row, column in np.argwhere(truth):
        around = truth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        rim[row, column] = not around.all()
    assert (mask[truth & ~rim] == 255).all()
    far = ~truth & (np.abs(np.indices((32, 48)) - np.array([y, x])[:, None, None]).max(0) > 12)
    assert (mask[far] == 0).all()
    assert abs(int((mask >= 128).sum()) - int(truth.sum())) <= 4 * (wide + high) + 4


def test_several_polygons_are_united(tmp_path):
    path = tmp_path / "keys.json"
    one, two = [[5, 5], [20, 5], [20, 20], [5, 20]], [[10, 10], [30, 10], [30, 25], [10, 25]]
    path.write_text(json.dumps({"0": [one, two], "12": [one]}))
    keys = keys_of(path)
    assert sorted(keys) == [0, 12]
    assert keys[0][15, 15] == 255, "where they overlap there is no hole"
    assert (keys[0][15, 25], keys[12][15, 25]) == (255, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not valid JSON"),
        ("[]", 'is not {"FRAME": [[[x, y], ...], ...]}'),
        ('{"first": []}', "whole frame numbers"),
        ('{"0": [[[1, 2], [3, 4]]]}', "frame 0 is not a list of polygons [[x, y], ...] of three points or more"),
        ('{"0": [[1, 2, 3]]}', "frame 0 is not a list of polygons"),
        ('{"0": 7}', "frame 0 is not a list of polygons"),
        ('{"0": [[["a", 2], [3, 4], [5, 6]]]}', "frame 0 is not a list of polygons"),
        ('{"0": [[[1e9, 2], [3, 4], [5, 6]]]}', "frame 0 is not a list of polygons"),
        ('{"0": [[[NaN, 2], [3, 4], [5, 6]]]}', "is not valid JSON (0=nan is no finite number)"),
        ('{"0": []}', "the mask of key frame 0 is empty"),
        ('{"0": [[[900, 900], [950, 900], [950, 950]]]}', "the mask of key frame 0 is empty"),
        ('{"0": [[[-9, -9], [90, -9], [90, 90], [-9, 90]]]}', "the mask of key frame 0 covers everything"),
        ("{}", "holds no key masks"),
    ],
)
def test_bad_polygons(tmp_path, text, sentence):
    (tmp_path / "keys.json").write_text(text)
    assert sentence in key_refusal(tmp_path / "keys.json")


@pytest.mark.clips
def test_real_masks(clips_dir):
    swan = clips_dir / "omnimatte_zero" / "swan_lake"
    masks = open_masks(swan / "object_mask.mp4", open_frames(swan / "video.mp4").info, 240)
    first = next(iter(masks))
    assert first.shape == (690, 1280)
    assert 0.02 < (first >= 128).mean() < 0.3
