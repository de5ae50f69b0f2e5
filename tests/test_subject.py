"""Masks that came with the video: taken as they are, doubted where they cannot be right."""

import cv2
import numpy as np
import pytest
from effectpairs.stages.propagate import Propagate
from effectpairs.stages.subject import Provided, SubjectSegmenter
from effectpairs.stages.tracking import mask_confidence
from effectpairs.stages.tracking.prompts import SubjectPrompt

FRAMES, HEIGHT, WIDTH, SIDE = 12, 64, 96, 20


@pytest.fixture
def gt() -> np.ndarray:
    """A light textured square slides over a dark textured wall."""
    noise = np.random.default_rng(3).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    smooth = [cv2.GaussianBlur(plane, (0, 0), 2) for plane in noise]
    wall, skin = smooth[0] // 2, 110 + smooth[1][:SIDE, :SIDE] // 2
    clip = np.repeat(wall[None], FRAMES, axis=0)
    for frame in range(FRAMES):
        clip[frame, 20 : 20 + SIDE, 8 + 3 * frame : 8 + 3 * frame + SIDE] = skin
    return clip


@pytest.fixture
def truth() -> np.ndarray:
    mask = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for frame in range(FRAMES):
        mask[frame, 20 : 20 + SIDE, 8 + 3 * frame : 8 + 3 * frame + SIDE] = 255
    return mask


def test_true_masks_come_back_unchanged_and_trusted(gt: np.ndarray, truth: np.ndarray) -> None:
    found = Provided().track(gt, SubjectPrompt(masks=truth))
    np.testing.assert_array_equal(found.mask, truth)
    assert found.mask is not truth
    assert found.confidence.min() > 0.8
    assert found.notes == ()


def test_soft_edges_stay(gt: np.ndarray, truth: np.ndarray) -> None:
    soft = truth // 255 * np.uint8(180)
    np.testing.assert_array_equal(Provided().track(gt, SubjectPrompt(masks=soft)).mask, soft)


def test_a_subject_may_come_late_and_leave_early(gt: np.ndarray, truth: np.ndarray) -> None:
    truth[:3] = truth[-2:] = 0
    found = Provided().track(gt, SubjectPrompt(masks=truth))
    assert found.confidence.min() > 0.8


def test_a_hole_in_time_is_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    truth[5:7] = 0
    found = Provided().track(gt, SubjectPrompt(masks=truth))
    np.testing.assert_array_equal(found.confidence[5:7], 0)
    assert found.confidence[[0, 11]].min() > 0.8
    assert "missing between frames" in found.notes[0]
    assert "In 2 of 12 frames" in found.notes[0]
    assert "first in frame 5" in found.notes[0]


def test_one_mask_of_another_size_is_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    truth[6, 5:60, 10:90] = 255
    found = Provided().track(gt, SubjectPrompt(masks=truth))
    assert found.confidence[6] < 0.5
    assert found.confidence[[0, 1, 2, 10, 11]].min() > 0.8
    assert any("area jumps" in note for note in found.notes)


def test_masks_that_stand_still_while_the_subject_moves_are_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    found = Provided().track(gt, SubjectPrompt(masks=np.repeat(truth[:1], FRAMES, axis=0)))
    assert found.confidence.min() < 0.3
    assert any("does not" in note for note in found.notes)


def test_masks_beside_the_subject_are_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    found = Provided().track(gt, SubjectPrompt(masks=np.roll(truth, (-9, 9), axis=(1, 2))))
    assert found.confidence.mean() < 0.6
    assert any("outline does not follow edges" in note for note in found.notes)


def test_inverted_masks_are_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    found = Provided().track(gt, SubjectPrompt(masks=255 - truth))
    assert found.confidence.max() < 0.3
    assert any("inverted" in note for note in found.notes)


def test_a_mask_that_jumps_to_something_else_is_doubted(gt: np.ndarray, truth: np.ndarray) -> None:
    truth[6:] = np.roll(truth[6:], -25, axis=2)
    found = Provided().track(gt, SubjectPrompt(masks=truth))
    assert found.confidence[5:7].max() < 0.3
    assert any("does not move as the picture does" in note for note in found.notes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "no masks came with the clip"),
        (np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), "empty in every frame"),
        (np.full((FRAMES, HEIGHT, WIDTH), 255, np.uint8), "full in every frame"),
        (np.full((3, HEIGHT, WIDTH), 255, np.uint8), "the masks are 3 frames of 64x96, the clip 12 frames of 64x96"),
        (np.full((FRAMES, 8, 9), 255, np.uint8), "the masks are 12 frames of 8x9"),
    ],
)
def test_useless_masks_are_refused_in_one_sentence(gt: np.ndarray, given: np.ndarray | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Provided().track(gt, SubjectPrompt(masks=given))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"doubt_below=2.0 is not in \[0, 1\]"):
        Provided(doubt_below=2.0)


def test_steadiness_is_the_ratio_to_the_median_area() -> None:
    areas = [10, 10, 40, 10, 0, 10, 5]
    mask = np.zeros((len(areas), 8, 8), np.uint8)
    for frame, area in enumerate(areas):
        mask[frame].flat[:area] = 255
    np.testing.assert_allclose(mask_confidence.steadiness(mask), [1, 1, 0.25, 1, 1, 1, 1 / 1], atol=0.51)
    assert mask_confidence.steadiness(mask)[2] == pytest.approx(0.25)
    assert mask_confidence.steadiness(mask)[4] == 1


def test_overlap_and_area_ratio_by_hand() -> None:
    one, other = np.zeros((2, 4, 4), np.uint8)
    one[:2], other[1:4] = 255, 255
    assert mask_confidence.overlap(one, other) == 4 / 16
    assert mask_confidence.area_ratio(one, other) == 8 / 12
    assert mask_confidence.overlap(one * 0, other * 0) == mask_confidence.area_ratio(one * 0, other * 0) == 1
    assert mask_confidence.overlap(one, other * 0) == mask_confidence.area_ratio(one, other * 0) == 0


def test_backends_are_segmenters() -> None:
    assert isinstance(Provided(), SubjectSegmenter)
    assert isinstance(Propagate(), SubjectSegmenter)


def test_other_subjects_that_a_backend_tracked_are_kept_out_of_the_background():
    """Masks that came with the clip and those tracked beside the subject reach the decomposition as one."""
    from effectpairs.stages import pair
    from effectpairs.stages.decompose import Layers
    from effectpairs.stages.subject import SubjectTrack

    clip = np.zeros((2, 8, 8, 3), np.uint8)
    tracked, known = np.zeros((2, 2, 8, 8), np.uint8)
    tracked[:, 0], known[:, 7] = 255, 255
    prompts = []

    class Segmenter:
        def track(self, gt, prompt):
            prompts.append(prompt)
            return SubjectTrack(mask=tracked, confidence=np.ones(2, np.float32), others=tracked, model={"id": "m"})

    class Decomposer:
        def decompose(self, gt, subject_mask, other_subjects, external):
            assert np.array_equal(other_subjects, (tracked | known) > 127)
            return Layers(background=gt, foreground=gt, alpha=subject_mask)

    other = SubjectPrompt(keys={1: known[0]})
    facts = {"normalise": SubjectPrompt(keys={0: tracked[0]}, others=(other,)).to_json()}
    layers = {"gt": clip, "keys": tracked[:1], "other_keys": known[:1], "others": known}
    output = pair.STAGES["subject"].make(layers, facts, Segmenter())
    assert output.facts["model"] == {"id": "m"}
    assert np.array_equal(prompts[0].others[0].keys[1], known[0])
    pair.STAGES["decompose"].make(layers | output.layers, facts, Decomposer())
    assert {"others", "tracked_others", *pair.GIVEN} == set(pair.STAGES["decompose"].takes), "the flow hands them over"
