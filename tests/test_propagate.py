"""Key masks carried through clips whose truth is known."""

import numpy as np
import pytest
from effectpairs.stages.propagate import Propagate, _drop_specks
from effectpairs.stages.tracking.flow_propagation import COLOUR_BINS, MIN_DENSITY, colour_cells, fit_colour_model
from effectpairs.stages.tracking.prompts import SubjectPrompt
from hypothesis import given, settings
from hypothesis import strategies as st

FRAMES, HEIGHT, WIDTH, SIDE = 13, 64, 96, 18
SPEED = 3


def scene(hidden: range = range(0)) -> tuple[np.ndarray, np.ndarray]:
    """A textured red square slides over a textured wall; in the hidden frames a blue board stands before it."""
    rng = np.random.default_rng(7)
    wall = np.kron(rng.integers(60, 120, (16, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    skin = np.kron(rng.integers(0, 90, (9, 9, 3)), np.ones((2, 2, 1))).astype(np.uint8) + np.uint8([160, 0, 0])
    gt = np.repeat(wall[None], FRAMES, axis=0)
    truth = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for frame in range(FRAMES):
        left = 10 + SPEED * frame
        gt[frame, 20 : 20 + SIDE, left : left + SIDE] = skin
        truth[frame, 20 : 20 + SIDE, left : left + SIDE] = 255
        if frame in hidden:
            gt[frame, 10:50, 5:90] = (20, 40, 200)
            truth[frame] = 0
    return gt, truth


def jaccard(mask: np.ndarray, truth: np.ndarray) -> float:
    union = ((mask > 127) | (truth > 127)).sum()
    return float(((mask > 127) & (truth > 127)).sum() / union) if union else 1.0


@pytest.mark.parametrize("keys", [(0,), (12,), (6,), (0, 12), (9, 2), (0, 6, 12)])
def test_follows_the_subject_from_any_keys(keys: tuple[int, ...]) -> None:
    gt, truth = scene()
    found = Propagate().track(gt, SubjectPrompt(keys={key: truth[key] for key in keys}))
    assert found.mask.shape == truth.shape
    assert found.confidence.shape == (FRAMES,)
    assert np.mean([jaccard(*pair) for pair in zip(found.mask, truth, strict=True)]) > 0.85
    assert found.confidence.min() >= 0
    assert found.confidence.max() <= 1
    assert found.notes == ()


def test_keys_stand_as_given_even_where_they_are_soft() -> None:
    gt, truth = scene()
    soft = truth[4] // 255 * np.uint8(200)
    found = Propagate().track(gt, SubjectPrompt(keys={4: soft, 8: truth[8]}))
    np.testing.assert_array_equal(found.mask[4], soft)
    np.testing.assert_array_equal(found.mask[8], truth[8])
    assert found.confidence[4] > 0.9


def test_order_of_keys_does_not_matter_and_arguments_stay_as_they_were() -> None:
    gt, truth = scene()
    before = gt.copy(), truth.copy()
    first = Propagate().track(gt, SubjectPrompt(keys={0: truth[0], 12: truth[12]}))
    second = Propagate().track(gt, SubjectPrompt(keys={12: truth[12], 0: truth[0]}))
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    np.testing.assert_array_equal(gt, before[0])
    np.testing.assert_array_equal(truth, before[1])


def test_backwards_in_time_gives_the_mirrored_mask() -> None:
    gt, truth = scene()
    there = Propagate().track(gt, SubjectPrompt(keys={0: truth[0], 12: truth[12]}))
    back = Propagate().track(gt[::-1].copy(), SubjectPrompt(keys={0: truth[12], 12: truth[0]}))
    np.testing.assert_array_equal(there.mask, back.mask[::-1])


def test_a_still_subject_stays_where_it_is() -> None:
    gt, truth = scene()
    still = np.repeat(gt[:1], 8, axis=0)
    found = Propagate().track(still, SubjectPrompt(keys={0: truth[0]}))
    assert all(jaccard(frame, truth[0]) > 0.97 for frame in found.mask)
    assert found.confidence.min() > 0.95


def test_confidence_falls_where_the_subject_is_hidden_and_after() -> None:
    gt, truth = scene(hidden=range(6, 13))
    found = Propagate().track(gt, SubjectPrompt(keys={0: truth[0]}))
    assert found.confidence[:6].min() > 0.7
    assert found.confidence[6:].max() < 0.4


def test_a_key_on_the_far_side_of_an_occlusion_keeps_its_side_sure() -> None:
    gt, truth = scene(hidden=range(6, 8))
    found = Propagate().track(gt, SubjectPrompt(keys={0: truth[0], 12: truth[12]}))
    assert found.confidence[6:8].max() < 0.5
    assert jaccard(found.mask[2], truth[2]) > 0.8
    assert jaccard(found.mask[11], truth[11]) > 0.8


def test_an_empty_key_says_that_the_subject_is_not_there() -> None:
    gt, truth = scene()
    nothing = np.zeros_like(truth[0])
    found = Propagate().track(gt, SubjectPrompt(keys={0: truth[0], 6: nothing, 12: nothing}))
    assert not found.mask[6:].any()
    assert found.confidence[7:12].min() == 1
    assert found.confidence[1:6].max() < 0.5


def test_specks_go_and_parts_of_the_subject_stay() -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[10:40, 10:40] = 255
    mask[41, 10:40] = 90  # a soft rim, which is not a component of its own
    mask[50:56, 50:56] = 255
    mask[5:7, 80:82] = 200
    kept = _drop_specks(mask)
    np.testing.assert_array_equal(kept[5:7, 80:82], 0)
    kept[5:7, 80:82] = 200
    kept[41], mask[41] = 0, 0
    np.testing.assert_array_equal(kept, mask)


def test_a_box_gives_a_draft_that_a_person_must_look_at() -> None:
    gt, truth = scene()
    found = Propagate().track(gt, SubjectPrompt(boxes={4: (10 + 4 * SPEED, 20, SIDE, SIDE)}))
    assert jaccard(found.mask[4], truth[4]) > 0.6
    assert found.confidence.max() <= np.float32(0.4)
    assert "box in frame 4" in found.notes[0]
    again = Propagate().track(gt, SubjectPrompt(boxes={4: (10 + 4 * SPEED, 20, SIDE, SIDE)}))
    np.testing.assert_array_equal(found.mask, again.mask)


def test_keys_go_before_a_box() -> None:
    gt, truth = scene()
    found = Propagate().track(gt, SubjectPrompt(keys={0: truth[0]}, boxes={4: (0, 0, 9, 9)}))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (SubjectPrompt(), "neither a key mask nor a box"),
        (SubjectPrompt(keys={13: np.zeros((HEIGHT, WIDTH), np.uint8)}), "frame 13 lies outside the clip of 13 frames"),
        (SubjectPrompt(keys={0: np.zeros((HEIGHT, WIDTH), np.uint8)}), "all empty"),
        (SubjectPrompt(keys={0: np.full((HEIGHT, WIDTH), 255, np.uint8)}), "covers the whole frame"),
        (SubjectPrompt(keys={0: np.zeros((8, 8), np.uint8)}), "is 8x8, the clip 64x96"),
        (SubjectPrompt(boxes={13: (0, 0, 9, 9)}), "frame 13, outside the clip"),
        (SubjectPrompt(boxes={0: (90, 0, 9, 9)}), "reaches beyond the frame"),
        (SubjectPrompt(boxes={0: (0, 0, 2, 2)}), "smaller than 4x4"),
        (SubjectPrompt(boxes={0: (0, 0, 96, 64)}), "covers the whole frame"),
    ],
)
def test_a_useless_prompt_is_refused_in_one_sentence(prompt: SubjectPrompt, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Propagate().track(scene()[0], prompt)


@pytest.mark.parametrize(
    "wrong", [{"margin_px": 0}, {"band_px": 0}, {"distance_clip_px": 0.25}, {"draft_confidence": 1.5}]
)
def test_settings_out_of_range_name_value_and_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}={next(iter(wrong.values()))} is not in \["):
        Propagate(**wrong)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), background_ring_px=st.integers(1, 4))
def test_colour_model_is_bayes_rule_counted_by_hand(seed: int, background_ring_px: int) -> None:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8) // 64 * 64
    mask = np.zeros((10, 12), np.uint8)
    mask[3:6, 4:8] = 255
    posterior = fit_colour_model([(frame, mask)], background_ring_px)[colour_cells(frame)]
    inside, around = {}, {}
    for y in range(10):
        for x in range(12):
            cell = tuple(frame[y, x] // (256 // COLOUR_BINS))
            if mask[y, x]:
                inside[cell] = inside.get(cell, 0) + 1
            elif np.min([np.hypot(y - v, x - u) for v in range(3, 6) for u in range(4, 8)]) <= background_ring_px:
                around[cell] = around.get(cell, 0) + 1
    for y in range(3, 6):
        for x in range(4, 8):
            cell = tuple(frame[y, x] // (256 // COLOUR_BINS))
            p = inside[cell] / sum(inside.values())
            q = around.get(cell, 0) / sum(around.values())
            if background_ring_px == 1:  # the brush of one pixel is an exact disk; larger ones are OpenCV's ellipses
                assert posterior[y, x] == pytest.approx((p + MIN_DENSITY) / (p + q + 2 * MIN_DENSITY), abs=1e-5)
            assert 0 < posterior[y, x] <= 1
