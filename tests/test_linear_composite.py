"""From frame files to layers: equal inside the subject, equal off the effect, as a camera would see it between."""

import cv2
import numpy as np
import pytest
from effectpairs.render.blender.exr_frames import CorruptFrame, open_render_frames
from effectpairs.render.compositing import linear_composite
from effectpairs.tests.fixtures_frame_files import SHADE, draw_plate, draw_subject, frame_plan, write_exr, write_frames
from hypothesis import given
from hypothesis import strategies as st

FRAME = 2


def slow_encode(value: float) -> int:
    value = min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))


def layers_of(folder, plan):
    """Base, gt and the share of the subject's pixels behind smoke of one frame."""
    write_frames(plan, folder)
    files = open_render_frames(folder)
    shared = linear_composite.compose_shared_frame(files, FRAME)
    before = files.layer("v00-front", FRAME)[1] if "v00-front" in files.frames else np.zeros(files.size, np.float32)
    own = files.light("v00-plate", FRAME) if "v00-plate" in files.frames else None
    gt = linear_composite.compose_gt(shared, files.light("v00", FRAME), own, before, shared.over)
    return shared, gt, linear_composite.front_share(before)


@given(value=st.floats(-1, 2, width=32))
def test_the_curve_is_srgb_rounded(value):
    light = np.full((1, 3), value, np.float32)
    assert abs(int(linear_composite.encode(light)[0, 0]) - slow_encode(value)) <= (0 if value in (0, 1) else 1)


def test_each_display_value_comes_back():
    shown = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    np.testing.assert_array_equal(linear_composite.encode(linear_composite.decode(shown)), shown)


@pytest.mark.parametrize("still", [True, False])
def test_inside_the_subject_and_off_the_effect_gt_is_over(tmp_path, still):
    shared, gt, _ = layers_of(tmp_path / "frames", frame_plan(still=still))
    inside = shared.subject_mask == 255
    assert inside.any()
    np.testing.assert_array_equal(gt[inside], shared.over[inside])
    np.testing.assert_array_equal(gt[:8], shared.over[:8])
    assert (gt[27, 20:30] < shared.over[27, 20:30]).all()


def test_inside_stays_equal_whatever_noise_the_whole_has(tmp_path):
    plan, folder = frame_plan(), tmp_path / "frames"
    write_frames(plan, folder)
    files = open_render_frames(folder)
    shared = linear_composite.compose_shared_frame(files, FRAME)
    noisy = files.light("v00", FRAME) + np.random.default_rng(1).normal(0, 0.05, (*files.size, 3)).astype(np.float32)
    gt = linear_composite.compose_gt(shared, noisy, None, np.zeros(files.size, np.float32), shared.over)
    inside = shared.subject_mask == 255
    np.testing.assert_array_equal(gt[inside], shared.over[inside])
    assert (gt[~inside] != shared.over[~inside]).any()


def test_over_is_the_formula_in_linear_light(tmp_path):
    plan = frame_plan()
    shared, _, _ = layers_of(tmp_path / "frames", plan)
    subject, cover = draw_subject(plan, FRAME)
    mixed = subject + (1 - cover[..., None]) * draw_plate(*plan["size"])
    expected = np.vectorize(slow_encode)(mixed)
    assert np.abs(expected - shared.over).max() <= 1  # half floats
    np.testing.assert_array_equal(shared.background[cover == 0], shared.over[cover == 0])
    np.testing.assert_array_equal(shared.subject_mask, np.rint(255 * cover))


def test_the_foreground_is_straight_and_goes_on_beyond_the_edge(tmp_path):
    plan = frame_plan()
    shared, _, _ = layers_of(tmp_path / "frames", plan)
    inside = tuple(np.argwhere(shared.subject_mask == 255)[0])
    around = cv2.dilate((shared.subject_mask > 0).view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert np.abs(shared.foreground.astype(int) - shared.foreground[inside])[around].max() <= 1
    assert not shared.foreground[:, -10:].any()


def test_smoke_before_the_subject_is_in_gt_alone(tmp_path):
    shared, gt, front_share = layers_of(tmp_path / "frames", frame_plan(effects=("shadow", "dust"), front=True))
    inside = shared.subject_mask == 255
    covered = inside & (front_share == 1)
    assert covered.any()
    assert (gt[covered] > shared.over[covered]).all()
    np.testing.assert_array_equal(gt[inside & (front_share == 0)], shared.over[inside & (front_share == 0)])


def test_a_sun_of_its_own_changes_nothing_but_the_shadow(tmp_path):
    shared, gt, _ = layers_of(tmp_path / "frames", frame_plan(own_plate=True))
    bare = shared.subject_mask == 0
    assert np.abs(gt[:8].astype(int) - shared.over[:8]).max() <= 1
    shaded = linear_composite.encode(shared.plate * np.float32(SHADE))
    assert np.abs(gt[27, 20:30].astype(int) - shaded[27, 20:30])[bare[27, 20:30]].max() <= 1


def test_a_pixel_that_shines_alone_is_counted_and_a_highlight_is_not():
    light = np.full((40, 60, 3), 0.1, np.float32)
    light[10, 10] = 50
    light[30, 40, 1] = 3
    assert linear_composite.count_fireflies(light) == 2
    light[20:24, 20:24] = 5
    assert linear_composite.count_fireflies(light) == 2


def test_a_subject_out_of_the_picture_leaves_the_plate(tmp_path):
    plan, folder = frame_plan(), tmp_path / "frames"
    write_frames(plan, folder)
    (folder / "boxes.json").write_text("[[0,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,0]]")
    (folder / "subject" / f"{FRAME:04d}.exr").unlink()
    shared = linear_composite.compose_shared_frame(open_render_frames(folder), FRAME)
    assert not shared.subject_mask.any()
    np.testing.assert_array_equal(shared.over, shared.background)


def test_what_is_not_finite_is_refused_with_pass_and_frame(tmp_path):
    plan, folder = frame_plan(), tmp_path / "frames"
    write_frames(plan, folder)
    picture = np.zeros((36, 64, 4))
    picture[3, 3, 1] = np.nan
    write_exr(folder / "v00" / "0002.exr", picture)
    with pytest.raises(ValueError, match=r"pass 'v00', frame 2: a value is not finite"):
        open_render_frames(folder).light("v00", 2)


def test_damaged_frames_are_told_from_bad_scenes(tmp_path, capfd):
    plan, folder = frame_plan(), tmp_path / "frames"
    write_frames(plan, folder)
    path = folder / "v00" / "0001.exr"
    path.write_bytes(path.read_bytes()[:400])
    (folder / "v00" / "0003.exr").unlink()
    write_exr(folder / "subject" / "0001.exr", np.zeros((5, 5, 4)))
    files = open_render_frames(folder)
    for read, said in (
        (lambda: files.light("v00", 1), "is damaged"),
        (lambda: files.light("v00", 3), "is missing"),
        (lambda: files.layer("subject", 1), "is 5x5, its box 18x14"),
    ):
        with pytest.raises(CorruptFrame, match=said):
            read()
    with pytest.raises(CorruptFrame, match=r"plan\.json or boxes\.json"):
        open_render_frames(tmp_path)
