"""Layers of another size, length and tone come back onto the clip that they were made from."""

import cv2
import numpy as np
import pytest
from effectpairs.stages.alignment.frame_matching import match_frames, match_placed
from effectpairs.stages.alignment.scale_and_shift import Placement, find_placement, warp_layer
from effectpairs.stages.alignment.tone import apply_tone, fit_tone
from scipy import ndimage

SIZE = 96, 168


def moving_texture(frames, height, width, speed=3.0, seed=0):
    """A textured plane that slides to the left."""
    rng = np.random.default_rng(seed)
    wide = int(width + speed * frames) + 2
    noise = rng.normal(0, 1, (height, wide, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0)) * 4 + ndimage.gaussian_filter(noise, (9, 9, 0)) * 14
    picture = np.clip(128 + 40 * smooth, 0, 255).astype(np.float32)
    matrices = [np.float32([[1, 0, speed * index], [0, 1, 0]]) for index in range(frames)]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack(
        [np.rint(cv2.warpAffine(picture, m, (width, height), flags=flags)).astype(np.uint8) for m in matrices]
    )


def a_square(frames, height, width):
    subject = np.zeros((frames, height, width), np.uint8)
    subject[:, height // 3 : height // 2, width // 3 : width // 2] = 255
    return subject


def with_subject(clip, subject):
    return np.where(subject[..., None] > 0, np.uint8(30), clip)


@pytest.mark.parametrize(
    ("crop", "layer_size"),
    [
        ((0, 0, 0, 0), (128, 192)),  # stretched
        ((0, 0, 10, 0), (128, 192)),  # rows missing below, then stretched
        ((6, 4, 6, 4), (96, 144)),  # a rim cropped on all sides
        ((0, 12, 0, 12), (64, 96)),  # the sides cropped, then made small
    ],
)
def test_a_crop_and_a_stretch_are_found(crop, layer_size):
    large = moving_texture(9, 120, 200)
    clip = large[:, 12:108, 16:184]
    subject = a_square(9, *SIZE)
    top, left, bottom, right = crop
    shown = clip[:, top : SIZE[0] - bottom, left : SIZE[1] - right]
    layer = [cv2.resize(frame, layer_size[::-1], interpolation=cv2.INTER_AREA) for frame in shown]
    placement = find_placement(with_subject(clip, subject), layer, subject)
    scale_y, scale_x = (side / part for side, part in zip(layer_size, shown.shape[1:3], strict=True))
    expected = Placement(scale_x=scale_x, scale_y=scale_y, shift_x=-left * scale_x, shift_y=-top * scale_y)
    corners = np.array([0.0, SIZE[1]]), np.array([0.0, SIZE[0]])
    error_x = (placement.scale_x - scale_x) * corners[0] + placement.shift_x - expected.shift_x
    error_y = (placement.scale_y - scale_y) * corners[1] + placement.shift_y - expected.shift_y
    assert np.abs(error_x / scale_x).max() < 0.3  # pixels of the clip
    assert np.abs(error_y / scale_y).max() < 0.3
    assert placement.correlation > 0.8


def test_another_video_and_a_mirrored_one_do_not_correlate():
    clip, subject = moving_texture(9, *SIZE), a_square(9, *SIZE)
    for layer in (moving_texture(9, *SIZE, seed=5), clip[:, :, ::-1]):
        assert find_placement(clip, list(layer), subject).correlation < 0.4


def test_placing_at_its_own_place_changes_nothing():
    frame = moving_texture(1, *SIZE)[0]
    own = Placement(scale_x=1.0, scale_y=1.0, shift_x=0.0, shift_y=0.0)
    assert np.array_equal(warp_layer(frame, own, SIZE), frame)


def test_a_placement_for_smaller_pictures_shows_the_same_place():
    placement = Placement(scale_x=1.2, scale_y=0.9, shift_x=7.0, shift_y=-3.0)
    small = placement.reduced(4.0)
    assert small.scale_x * (10 / 4) + small.shift_x == pytest.approx((1.2 * 10 + 7.0) / 4)
    assert small.reduced(1 / 4) == placement


def test_frames_that_the_layer_lacks_are_found():
    clip, subject = moving_texture(21, *SIZE), a_square(21, *SIZE)
    layer = np.delete(clip, [8, 9], axis=0)
    match = match_placed(with_subject(clip, subject), list(layer), subject)
    assert match.missing.sum() == 2
    assert set(np.flatnonzero(match.missing)) <= set(range(6, 13))
    assert match.indices[:6].tolist() == list(range(6))
    assert match.indices[13:].tolist() == list(range(11, 19))


@pytest.mark.parametrize("offset", [-4, 0, 3])
def test_an_offset_is_found(offset):
    longer = moving_texture(29, *SIZE)
    clip, layer = longer[4:25], longer[4 + offset : 25 + offset]
    match = match_placed(clip, list(layer), np.zeros(clip.shape[:3], np.uint8))
    expected = np.clip(np.arange(21) - offset, 0, 20)
    assert match.indices.tolist() == expected.tolist()
    assert match.missing.sum() == abs(offset)


def test_a_crop_does_not_hide_an_offset():
    picture = moving_texture(1, 160, 300)[0]
    path = [(20 + 14 * np.sin(0.7 * k) + 2 * k, 20 + 10 * np.cos(1.1 * k)) for k in range(29)]
    views = np.stack([cv2.getRectSubPix(picture, SIZE[::-1], (100 + x, 60 + y)) for x, y in path])
    clip = views[4:25]
    layer = [cv2.resize(frame[4:-8, 6:-2], (150, 120), interpolation=cv2.INTER_AREA) for frame in views[7:28]]
    match = match_frames(clip, layer, a_square(21, *SIZE))
    assert match.indices.tolist() == [0, 0, 0, *range(18)]
    assert match.missing.sum() == 3


def test_a_still_scene_is_taken_frame_by_frame():
    still = np.repeat(moving_texture(1, *SIZE), 13, axis=0)
    noisy = np.clip(still + np.random.default_rng(1).normal(0, 2, still.shape), 0, 255).astype(np.uint8)
    match = match_placed(still, list(noisy[:11]), np.zeros(still.shape[:3], np.uint8))
    assert match.indices.tolist() == [*range(11), 10, 10]
    assert match.missing.tolist() == [False] * 11 + [True] * 2


def test_gain_and_bias_are_taken_out_and_an_effect_stays():
    clip = moving_texture(5, *SIZE)
    shadow = np.zeros(clip.shape[:3], bool)
    shadow[:, 60:80, 40:90] = True
    with_shadow = np.where(shadow[..., None], clip * 0.6, clip).astype(np.uint8)
    ramp = np.linspace(1.0, 1.1, SIZE[1])[None, None, :, None]
    layer = np.clip(np.rint(clip * ramp * 0.9 + 8), 0, 255).astype(np.uint8)
    toned = apply_tone(layer, fit_tone(with_shadow, layer, np.ones(clip.shape[:3], bool)))
    assert np.abs(toned.astype(int) - clip).mean() < 1.5
    assert np.abs(layer.astype(int) - clip).mean() > 3
    assert (toned.astype(int) - with_shadow)[shadow].mean() > 30
