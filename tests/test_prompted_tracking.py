"""Two directions, their merging and the signs of drift, on networks whose every answer is known."""

import numpy as np
import pytest
from effectpairs.stages.tracking.prompted_tracking import (
    FrameMask,
    disappearance,
    overlap_with_others,
    run_pass,
    track_objects,
)
from effectpairs.stages.tracking.prompts import PromptPoint, SubjectPrompt

FRAMES, HEIGHT, WIDTH = 20, 32, 64


def square(x: int, y: int = 8, side: int = 12) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + side, max(x, 0) : x + side] = 255
    return mask


class Follower:
    """Answers by a rule for each session: from its prompts, a frame and the one before it to a mask."""

    def __init__(self, follow, iou=lambda frame, step: 0.9):
        self.follow, self.iou = follow, iou
        self.calls: list[tuple[int, int]] = []

    def open_sessions(self, gt, count):
        return [FollowerSession(self) for _ in range(count)]


class FollowerSession:
    def __init__(self, model):
        self.model, self.prompts = model, {}

    def add_prompt(self, frame, mask, points, box):
        self.prompts[frame] = square(int(points[0].x)) if mask is None else mask

    def track(self, frames):
        mask = self.prompts[frames[0]]
        for frame in frames:
            self.model.calls.append((frame, frames.step))
            mask = self.prompts.get(frame, self.model.follow(mask, frame, frames.step))
            iou = 1.0 if frame in self.prompts else self.model.iou(frame, frames.step)
            yield FrameMask(logits=np.where(mask > 127, 12, -12).astype(np.float32), predicted_iou=iou)


GT = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)


def truth(frame: int) -> np.ndarray:
    return square(2 * frame)


def test_a_sound_track_is_sure_in_every_frame():
    model = Follower(lambda mask, frame, step: truth(frame))
    prompt = SubjectPrompt(points={5: (PromptPoint(x=10, y=10),)})
    (tracked,) = track_objects(model, GT, [prompt])
    assert all(np.array_equal(tracked.matte[frame], truth(frame)) for frame in range(FRAMES))
    assert (tracked.agreement == 1).all()
    assert tracked.predicted_iou[0] == pytest.approx(0.9)
    directions = [frames for frames in (0, 19) if (frames, 1) in model.calls and (frames, -1) in model.calls]
    assert directions == [0, 19], "either end is reached and left again"
    few = Follower(lambda mask, frame, step: truth(frame))
    track_objects(few, GT, [prompt], check=False)
    assert len(few.calls) == FRAMES + 1


def test_a_mask_that_slides_on_to_something_else_does_not_find_back():
    """From frame 12 on the pass follows a second thing, which stands still; backwards it stays there."""

    def follow(mask, frame, step):
        stands = square(44)
        lost = frame >= 12 if step > 0 else bool((mask & stands).sum() > 255 * 100)
        return stands if lost else truth(frame)

    (tracked,) = track_objects(Follower(follow), GT, [SubjectPrompt(keys={0: truth(0)})])
    assert tracked.agreement[0] == 1, "the key mask itself is not in doubt"
    assert tracked.agreement[1:].max() == 0, "and all that was tracked from it is"


def test_between_two_prompts_the_nearer_pass_weighs_more():
    def follow(mask, frame, step):
        return square(10) if step > 0 else square(40)

    prompt = SubjectPrompt(keys={4: square(10), 14: square(40)})
    (tracked,) = track_objects(Follower(follow), GT, [prompt])
    left, right = tracked.matte[:, 12, 15] / 255, tracked.matte[:, 12, 45] / 255
    assert np.allclose(left[5:14], np.arange(9, 0, -1) / 10, atol=0.01)
    assert np.allclose(right[5:14], np.arange(1, 10) / 10, atol=0.01)
    assert (tracked.agreement[5:14] == 0).all()
    assert np.array_equal(tracked.matte[4], square(10))
    assert np.array_equal(tracked.matte[14], square(40))
    unsure = Follower(follow, iou=lambda frame, step: 0.1 if step > 0 else 0.9)
    (tracked,) = track_objects(unsure, GT, [prompt])
    assert tracked.matte[9, 12, 15] / 255 == pytest.approx(0.1, abs=0.01), "so does the surer one"


def test_a_check_starts_where_the_subject_is_whole():
    """The subject leaves on the right; the way back begins before it is a sliver."""
    model = Follower(lambda mask, frame, step: square(4 * frame))
    (tracked,) = track_objects(model, GT, [SubjectPrompt(keys={0: square(0)})])
    assert (tracked.agreement == 1).all()
    backwards = [frame for frame, step in model.calls if step < 0]
    assert max(backwards) == 15, "of 12 columns 4 are left"


def test_subjects_with_prompts_at_different_times_go_in_step():
    model = Follower(lambda mask, frame, step: mask)
    prompts = [SubjectPrompt(keys={3: square(0)}), SubjectPrompt(keys={9: square(30)})]
    first, second = run_pass(model, GT, prompts, [range(3, FRAMES), range(9, FRAMES)])
    assert model.calls == sorted(model.calls)
    assert not first.matte[:3].any()
    assert not second.matte[:9].any()
    assert np.array_equal(second.matte[19], square(30))


def test_what_vanishes_inside_the_picture_was_lost():
    inside = np.stack([square(10 + frame) for frame in range(10)])
    inside[6:] = 0
    assert disappearance(inside).tolist() == [1] * 6 + [0] * 4
    leaving = np.stack([square(6 * frame - 24) if frame > 2 else square(0) * 0 for frame in range(10)])
    assert disappearance(leaving[::-1]).tolist() == [1] * 10
    assert disappearance(np.zeros_like(inside)).tolist() == [0] * 10


def test_two_prompts_on_one_thing_are_doubted():
    masks = np.stack([square(10), square(10)])
    others = np.stack([square(10), square(40)])
    assert overlap_with_others(masks, others).tolist() == [0, 1]
    assert overlap_with_others(masks * 0, others * 0).tolist() == [1, 1]
    assert overlap_with_others(masks, None).tolist() == [1, 1]
