"""Effect masks from passes with and without an effect."""

import numpy as np
import pytest
from effectpairs.render.blender.exr_frames import open_render_frames
from effectpairs.render.compositing import effect_masks, linear_composite
from effectpairs.render.compositing.effect_masks import MaskFromPasses
from effectpairs.tests.fixtures_frame_files import draw_shadow, draw_smoke, draw_subject, frame_plan, write_frames

FRAMES = 5


def steps_of_each(folder, plan):
    """The steps of each effect of a plan of several, over all frames."""
    write_frames(plan, folder)
    files = open_render_frames(folder)
    found = {effect: [] for effect in plan["variants"][0]["effects"]}
    for frame in range(FRAMES):
        _, cover = files.layer("subject", frame)
        front_share = linear_composite.front_share(files.layer("v00-front", frame)[1])
        whole = files.light("v00-truth", frame)
        for effect, steps in found.items():
            steps.append(
                effect_masks.steps_between_passes(
                    whole, files.light(f"v00-without-{effect}", frame), cover, front_share
                )
            )
    return {effect: np.stack(steps) for effect, steps in found.items()}


def test_each_effect_of_several_has_its_own_mask(tmp_path):
    plan = frame_plan(effects=("shadow", "dust"), front=True)
    steps = steps_of_each(tmp_path / "frames", plan)
    for frame in range(FRAMES):
        _, cover = draw_subject(plan, frame)
        shadow, smoke = (draw_shadow(plan, frame) > 0) & (cover == 0), draw_smoke(plan, frame) > 0
        found = {effect: values[frame] >= 4 for effect, values in steps.items()}
        assert effect_masks.mask_iou(found["shadow"][None], shadow[None]) > 0.6  # half the size: edges are soft
        assert effect_masks.mask_iou(found["dust"][None], smoke[None]) > 0.7
        assert not (found["shadow"] & (cover == 1)).any()
        assert (found["dust"] & (cover == 1)).any()


def test_one_effect_is_gt_against_over():
    over = np.full((20, 30, 3), 100, np.uint8)
    gt = over.copy()
    gt[5:10, 5:15, 1] -= 40
    cover, front_share = np.zeros((20, 30), np.float32), np.zeros((20, 30), np.float32)
    cover[5:10, 10:15] = 1
    steps = effect_masks.steps_between_frames(gt, over, cover, front_share)
    assert (steps[5:10, 5:10] == 40).all()
    assert steps.sum() == 40 * 25
    front_share[5:10, 10:15] = 1
    assert effect_masks.steps_between_frames(gt, over, cover, front_share).sum() == 40 * 50


def test_an_outline_has_no_more_effect_than_what_lies_beside_it():
    over = np.full((20, 40, 3), 100, np.uint8)
    gt = over.copy()
    cover, front_share = np.zeros((20, 40), np.float32), np.zeros((20, 40), np.float32)
    cover[5:15, 10:30], cover[6:14, 11:29] = 0.5, 1
    gt[cover == 0.5] -= 20  # noise of two passes
    assert not effect_masks.steps_between_frames(gt, over, cover, front_share).any()
    gt[12:20, 20:36] -= 60  # a shadow that begins under it
    steps = effect_masks.steps_between_frames(gt, over, cover, front_share)
    assert (steps[15:20, 20:36] == 60).all()
    assert (steps[14, 22:28] == 40).all()
    assert not steps[5].any()


def test_the_soft_mask_is_white_where_the_effect_is_strong():
    steps = np.zeros((4, 20, 30), np.uint8)
    steps[:, 5:15, 5:25] = np.linspace(0, 60, 20).astype(np.uint8)
    mask, white = effect_masks.soft_mask(steps, MaskFromPasses())
    assert 50 <= white <= 60
    assert mask.max() == 255
    assert (mask[steps == 0] == 0).all()
    assert (np.diff(mask[0, 7, 5:25].astype(int)) >= 0).all()


def test_an_effect_that_never_shows_has_a_black_mask():
    steps = np.full((4, 20, 30), 2, np.uint8)
    mask, white = effect_masks.soft_mask(steps, MaskFromPasses(threshold=4))
    assert white == 0
    assert not mask.any()
    assert not effect_masks.true_mask([steps], MaskFromPasses(threshold=4)).any()


def test_specks_go_unless_they_are_sure():
    steps = np.zeros((1, 384, 384), np.uint8)
    steps[0, 10:12, 10:12] = 9  # noise
    steps[0, 50:52, 50:52] = 60  # a drop
    steps[0, 100:120, 100:120] = 11  # faint, but a patch
    mask = effect_masks.true_mask([steps], MaskFromPasses())
    assert not mask[0, 10:12, 10:12].any()
    assert mask[0, 50:52, 50:52].all()
    assert mask[0, 100:120, 100:120].all()
    assert mask.sum() == 4 + 400


def test_the_mask_of_several_effects_is_their_union():
    steps = np.zeros((2, 1, 40, 40), np.uint8)
    steps[0, 0, :20], steps[1, 0, :, :20] = 30, 30
    mask = effect_masks.true_mask(steps, MaskFromPasses())
    assert mask.sum() == 3 * 400


def test_where_gt_is_over_there_is_no_effect_whatever_the_passes_say():
    over = np.full((2, 30, 30, 3), 90, np.uint8)
    gt = over.copy()
    gt[0, 5:15, 5:15, 2] = 60
    change = effect_masks.visible_change(gt, over)
    assert (change[0, 4:16, 4:16] == 30).all()  # a pixel beside counts too
    change[0, 4:16, 4:16] = 0
    assert not change.any()


def test_agreement_is_intersection_over_union():
    one, other = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    assert effect_masks.mask_iou(one, other) == 1
    one[0, 0], other[0, 0, :2] = True, True
    assert effect_masks.mask_iou(one, other) == 0.5


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"truth\.threshold=0"):
        MaskFromPasses(threshold=0)
