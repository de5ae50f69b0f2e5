"""Prompts of a video's subjects, from disk to one clip: in its frames, and in its pixels after scaling and cropping."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Matte
from ...datasets.footage.key_masks import KeyMasks, check_keys, masks_of_prompts, read_keys
from ...datasets.footage.masks import SUBJECT_THRESHOLD, MaskReader, open_masks, reopen_masks
from ...datasets.footage.reader import FrameReader
from ...datasets.footage.runs import FrameLog
from ...datasets.footage.types import SubjectFiles, VideoPrompts
from ...stages.normalise import Normalise, fit_frame, fit_point
from ...stages.tracking.prompts import PromptBox, PromptPoint, SubjectPrompt


@dataclass(frozen=True, kw_only=True)
class SubjectMasks:
    """Masks and other prompts of one subject on disk, checked against its video."""

    masks: MaskReader | None
    keys: KeyMasks
    """Masks drawn for a few frames, by the index of the frame in the video."""
    prompts: VideoPrompts
    picture: tuple[int, int]
    """Height and width of the video."""

    @classmethod
    def open(
        cls, files: SubjectFiles, video: FrameReader, num_frames: int, path: Path, log: FrameLog
    ) -> "SubjectMasks":
        """Open and check a subject's files against a video of so many frames; path is the video's.

        The log notes the frames of a mask video.
        """
        form: dict[str, Any] = {"label": files.label, "meaning": files.meaning, "log": log}
        masks = open_masks(files.masks, video.info, num_frames, **form) if files.masks else None
        keys = read_keys(files.keys, video.info, files.meaning) if files.keys else {}
        check_keys(keys, num_frames, str(files.keys))
        name = str(files.prompts_file or path)
        files.prompts.check(video.info, num_frames, name)
        prompt_masks = masks_of_prompts(files.prompts, video.info, name, files.meaning)
        check_keys(prompt_masks, num_frames, name, "frame")
        return cls(masks=masks, keys={**keys, **prompt_masks}, prompts=files.prompts, picture=video.info.size)

    @classmethod
    def reopen(
        cls, files: SubjectFiles, video: FrameReader, path: Path, facts: Mapping[str, Any] | None
    ) -> "SubjectMasks":
        """Open a subject's files that were checked before; facts are those of its masks."""
        info, meaning = video.info, files.meaning
        keys = read_keys(files.keys, info, meaning) if files.keys else {}
        prompt_masks = masks_of_prompts(files.prompts, info, str(files.prompts_file or path), meaning)
        masks = reopen_masks(files.masks, info, files.label, meaning, facts) if files.masks and facts else None
        return cls(masks=masks, keys={**keys, **prompt_masks}, prompts=files.prompts, picture=info.size)

    def prompt(self, matte: Matte | None, source_frames: tuple[int, ...], settings: Normalise) -> SubjectPrompt | str:
        """Prompt of the subject in one clip, or why it has none there."""
        if matte is not None and not (matte >= SUBJECT_THRESHOLD).any():
            return (
                "the subject is in no frame of this clip, absent or cropped away; set normalise.fit='pad' to show all"
            )
        if matte is not None and (matte >= SUBJECT_THRESHOLD).all():
            return "the subject covers every frame of this clip whole, so nothing is left to compare; exclude it"
        keys = {
            frame: fit_frame(self.keys[key](), settings.size, settings.fit)
            for frame, key in match_key_frames(self.keys, source_frames).items()
        }
        boxes = self._fit_boxes(source_frames, settings)
        points = {
            frame: marks
            for frame, marks in self._fit_points(source_frames, settings).items()
            if frame in boxes or any(mark.is_subject for mark in marks)
        }
        frames, first, last = self.prompts.frames.union(self.keys), source_frames[0], source_frames[-1]
        if frames and not (keys or points or boxes or self.prompts.text):
            if any(first <= frame <= last for frame in frames):
                return "its prompts lie where the picture is cropped away; set normalise.fit='pad' to show all"
            kind, verb = ("prompt", "give") if self.prompts.frames else ("key mask", "draw")
            return f"no {kind} lies in this clip; {verb} a {kind} between frames {first} and {last}"
        return SubjectPrompt(masks=matte, keys=keys, points=points, boxes=boxes, text=self.prompts.text)

    def _fit_points(self, source_frames: tuple[int, ...], settings: Normalise) -> dict[int, tuple[PromptPoint, ...]]:
        """Points in pixels of the clip, without those that are cropped away."""
        fitted: dict[int, tuple[PromptPoint, ...]] = {}
        by_frame = ((True, self.prompts.points), (False, self.prompts.not_points))
        frames = {*self.prompts.points, *self.prompts.not_points}
        for frame, source in match_key_frames(frames, source_frames).items():
            points = []
            for is_subject, points_of in by_frame:
                for x, y in points_of.get(source, ()):
                    x, y = fit_point((x + 0.5, y + 0.5), self.picture, settings.size, settings.fit)
                    if 0 <= x < settings.size[1] and 0 <= y < settings.size[0]:
                        points.append(PromptPoint(x=x - 0.5, y=y - 0.5, is_subject=is_subject))
            fitted[frame] = tuple(points)
        return fitted

    def _fit_boxes(self, source_frames: tuple[int, ...], settings: Normalise) -> dict[int, PromptBox]:
        """Boxes in pixels of the clip, cut to its picture; those of which less than a pixel is left are dropped."""
        fitted: dict[int, PromptBox] = {}
        height, width = settings.size
        for frame, source in match_key_frames(self.prompts.boxes, source_frames).items():
            x, y, box_width, box_height = self.prompts.boxes[source]
            corners = [(x, y), (x + box_width, y + box_height)]
            (left, top), (right, bottom) = (
                fit_point(corner, self.picture, settings.size, settings.fit) for corner in corners
            )
            left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
            if right - left >= 1 and bottom - top >= 1:
                fitted[frame] = (left, top, right - left, bottom - top)
        return fitted


def match_key_frames(keys: Iterable[int], source_frames: tuple[int, ...]) -> dict[int, int]:
    """Map the frame of a clip nearest to each key frame to that key frame; of two for one frame, the nearer stays."""
    frames = np.array(source_frames)
    key_at: dict[int, int] = {}
    for key in sorted(keys):
        if frames[0] <= key <= frames[-1]:
            nearest = int(np.argmin(np.abs(frames - key)))
            current = key_at.setdefault(nearest, key)
            if abs(frames[nearest] - key) < abs(frames[nearest] - current):
                key_at[nearest] = key
    return key_at
