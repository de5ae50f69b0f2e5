"""Tracking by a network with a memory, in both directions: passes over the clip, their merging, and signs of drift.

A forward pass goes from a subject's first prompt to the clip's end, a reverse pass from its last prompt to the
beginning. Between two prompts both are there; they are averaged by nearness in time and by the overlap that the network
predicts of itself. Each pass has its own memory, so that where the two agree it is evidence. Before the first and after
the last prompt only one pass saw the subject; there a third one goes back to the prompt from the far end. A mask that
slid on to something else does not find back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32

from ...arrays import Matte, MatteImage, PerFrame, Rgb
from .mask_confidence import overlap
from .prompts import PromptBox, PromptPoint, SubjectPrompt

SEED_AREA = 0.25
"""Least area of a mask that a check starts from, over its pass's median: a subject that leaves ends as a sliver."""
MIN_WEIGHT = 0.05
"""Least weight of a pass, so that two of no predicted overlap still have a mean."""


@dataclass(frozen=True, kw_only=True)
class FrameMask:
    """Answer of a network for one frame."""

    logits: Float32[np.ndarray, "h w"]
    """Above 0 where the subject is, at the network's own resolution, stretched over the whole picture."""
    predicted_iou: float
    """The network's own estimate of the mask's overlap with the truth, 0 to 1; 1 where it sees no subject."""


@runtime_checkable
class ObjectSession(Protocol):
    """One subject's memory in one pass."""

    def add_prompt(
        self, frame: int, mask: MatteImage | None, points: Sequence[PromptPoint], box: PromptBox | None
    ) -> None:
        """Take in what is known of a frame, before the pass: a mask, or points and a box."""
        ...

    def track(self, frames: range) -> Iterator[FrameMask]:
        """Yield the subject in neighbouring frames from a prompted one on, forwards or backwards."""
        ...


@runtime_checkable
class TrackingModel(Protocol):
    """A loaded network."""

    def open_sessions(self, gt: Rgb, count: int) -> Sequence[ObjectSession]:
        """Open sessions on one clip that share its image features, so that each frame is encoded once a pass."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrackedObject:
    """One subject through the clip."""

    matte: Matte
    predicted_iou: PerFrame
    agreement: PerFrame
    """Overlap of two directions, 0 to 1; 1 where there was but one."""


@dataclass(frozen=True, kw_only=True)
class TrackingPass:
    """Subject in the frames of one direction; zero elsewhere."""

    frames: range
    matte: Matte
    predicted_iou: PerFrame


def track_objects(
    model: TrackingModel, gt: Rgb, prompts: Sequence[SubjectPrompt], *, check: bool = True
) -> tuple[TrackedObject, ...]:
    """Track subjects from their prompted frames through the clip; each has at least one.

    Args:
        model: the network.
        gt: the clip.
        prompts: of each subject; masks of key frames stand in the result as they are.
        check: go back from the clip's ends, which takes as long again.
    """
    length = len(gt)
    ends = [(prompt.frames[0], prompt.frames[-1]) for prompt in prompts]
    forwards = run_pass(model, gt, prompts, [range(first, length) for first, _ in ends])
    backwards = run_pass(model, gt, prompts, [range(last, -1, -1) if last else range(0) for _, last in ends])
    agreements = [
        _agreement_between(forward, backward, first, last)
        for forward, backward, (first, last) in zip(forwards, backwards, ends, strict=True)
    ]
    if check:
        for passes, inner, sign in ((forwards, 1, -1), (backwards, 0, 1)):
            seeds = [_find_seed(part, end[inner]) for part, end in zip(passes, ends, strict=True)]
            seeded = [
                SubjectPrompt(keys={} if seed is None else {seed: part.matte[seed]})
                for seed, part in zip(seeds, passes, strict=True)
            ]
            spans = [
                range(0) if seed is None else range(seed, end[inner] + sign, sign)
                for seed, end in zip(seeds, ends, strict=True)
            ]
            for number, back in enumerate(run_pass(model, gt, seeded, spans)):
                _take_worst(agreements[number], passes[number], back, ends[number][inner])
    return tuple(
        _merge(forward, backward, prompt, agreement)
        for forward, backward, prompt, agreement in zip(forwards, backwards, prompts, agreements, strict=True)
    )


def run_pass(
    model: TrackingModel, gt: Rgb, prompts: Sequence[SubjectPrompt], spans: Sequence[range]
) -> tuple[TrackingPass, ...]:
    """Run several subjects through the clip in step; each in its own frames, all in one direction."""
    passes = tuple(
        TrackingPass(frames=span, matte=np.zeros(gt.shape[:3], np.uint8), predicted_iou=np.ones(len(gt), np.float32))
        for span in spans
    )
    runs: list[tuple[TrackingPass, Iterator[FrameMask]]] = []
    tracked = [(part, prompt) for part, prompt in zip(passes, prompts, strict=True) if len(part.frames)]
    sessions = model.open_sessions(gt, len(tracked)) if tracked else ()
    for session, (part, prompt) in zip(sessions, tracked, strict=True):
        for frame in prompt.frames:
            key = prompt.keys.get(frame)
            points, box = ((), None) if key is not None else (prompt.points.get(frame, ()), prompt.boxes.get(frame))
            session.add_prompt(frame, key, points, box)
        runs.append((part, session.track(part.frames)))
    step = next((part.frames.step for part, _ in runs), 1)
    for frame in range(len(gt))[::step]:
        for part, masks in runs:
            if frame in part.frames:
                mask = next(masks)
                part.matte[frame] = to_matte(mask.logits, gt.shape[1:3])
                part.predicted_iou[frame] = mask.predicted_iou
    return passes


def to_matte(logits: Float32[np.ndarray, "h w"], size: tuple[int, int]) -> MatteImage:
    """Stretch logits over a picture (height, width) and turn them into coverage, 0 to 255, by the sigmoid."""
    stretched = cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)
    # Beyond ±30 the sigmoid is 0 or 1 in 8 bits, and exp would overflow on the -1024 of a frame without subject.
    return np.asarray(np.rint(255 / (1 + np.exp(-np.clip(stretched, -30, 30)))), np.uint8)


def _agreement_between(forward: TrackingPass, backward: TrackingPass, first: int, last: int) -> PerFrame:
    """Overlap of both passes in the frames between a subject's first and last prompt, 1 elsewhere."""
    agreement = np.ones(len(forward.matte), np.float32)
    for frame in range(first, last + 1 if len(backward.frames) else first):
        agreement[frame] = overlap(forward.matte[frame], backward.matte[frame])
    return agreement


def _find_seed(part: TrackingPass, prompted: int) -> int | None:
    """Farthest frame from the prompt in which a pass shows its subject whole; None where it has no other frame."""
    if not len(part.frames):
        return None
    areas = np.count_nonzero(part.matte > 127, axis=(1, 2))
    filled = areas[areas > 0]
    large = np.flatnonzero(areas >= SEED_AREA * np.median(filled)) if len(filled) else filled
    large = large[areas[large] > 0] if len(large) else large
    beyond = large[(large - prompted) * part.frames.step > 0]
    if not len(beyond):
        return None
    return int(beyond[-1] if part.frames.step > 0 else beyond[0])


def _take_worst(agreement: PerFrame, part: TrackingPass, back: TrackingPass, prompted: int) -> None:
    """Lower agreement, in place, to the overlap with the way back; no frame is surer than those nearer the prompt."""
    worst = np.float32(1)
    for frame in back.frames[::-1]:
        worst = np.minimum(worst, np.float32(overlap(part.matte[frame], back.matte[frame])))
        if frame != prompted:
            agreement[frame] = min(agreement[frame], worst)


def _merge(forward: TrackingPass, backward: TrackingPass, prompt: SubjectPrompt, agreement: PerFrame) -> TrackedObject:
    frames = prompt.frames
    matte = forward.matte.copy()
    predicted_iou = forward.predicted_iou.copy()
    matte[: frames[0]], predicted_iou[: frames[0]] = backward.matte[: frames[0]], backward.predicted_iou[: frames[0]]
    for earlier, later in pairwise(frames):
        for frame in range(earlier + 1, later):
            nearness = (later - frame) / (later - earlier)
            sides = ((forward, nearness), (backward, 1 - nearness))
            weights = [share * max(float(side.predicted_iou[frame]), MIN_WEIGHT) for side, share in sides]
            share = np.float32(weights[0] / sum(weights))
            mean = share * forward.matte[frame] + (1 - share) * backward.matte[frame].astype(np.float32)
            matte[frame] = np.rint(mean)
            predicted_iou[frame] = share * forward.predicted_iou[frame] + (1 - share) * backward.predicted_iou[frame]
    for frame, key in prompt.keys.items():
        matte[frame] = key
    return TrackedObject(matte=matte, predicted_iou=predicted_iou, agreement=agreement)


def disappearance(matte: Matte) -> PerFrame:
    """0 in the empty frames at either end of a subject that was last seen inside the picture, else 1.

    A subject that leaves goes over the border; one that is gone from the middle of the picture was lost.
    """
    hard = matte > 127
    filled = np.flatnonzero(hard.any(axis=(1, 2)))
    sure = np.ones(len(matte), np.float32)
    if not len(filled):
        return np.zeros_like(sure)
    for frame, absent in ((filled[0], np.s_[: filled[0]]), (filled[-1], np.s_[filled[-1] + 1 :])):
        border = np.concatenate([hard[frame][[0, 1, -2, -1]].ravel(), hard[frame][:, [0, 1, -2, -1]].ravel()])
        if not border.any():
            sure[absent] = 0
    return sure


def overlap_with_others(matte: Matte, others: Matte | None) -> PerFrame:
    """1 - intersection over union with the other subjects: near 0 where two prompts ended on one thing."""
    if others is None:
        return np.ones(len(matte), np.float32)
    shares = [
        1.0 if not (mask > 127).any() else 1 - overlap(mask, other) for mask, other in zip(matte, others, strict=True)
    ]
    return np.array(shares, np.float32)
