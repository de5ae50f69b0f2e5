"""Footage from disk to normalised clips with the prompts of their subjects, one clip in memory at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from ...arrays import Image, Matte, Rgb
from ...datasets.footage.images import ImageFolder, load_alpha
from ...datasets.footage.listing import Footage
from ...datasets.footage.reader import FrameReader, count_frames, open_frames
from ...stages.alignment.frame_matching import match_frames
from ...stages.normalise import (
    AnyImage,
    ClipPlan,
    Normalise,
    UnusableShot,
    find_cuts,
    fit_frame,
    plan_clips,
    resize,
)
from ...stages.tracking.prompts import SubjectPrompt
from .subject_prompts import SubjectMasks

THUMBNAIL_HEIGHT_PX = 64
MAX_MISSING = 0.2
"""Largest share of a video's frames that a clean plate made from it may lack."""
T = TypeVar("T")
ExternalClip = Mapping[str, UInt8[np.ndarray, "T h w *c"]]
"""Layers that another tool made, each of its own size, by the names of `stages.pair.GIVEN`."""
ClipLayers = tuple[Rgb, dict[int, Matte], ExternalClip]
"""Frames of a clip, its masks by the number of their subject, and the layers of another tool."""


@dataclass(frozen=True, kw_only=True)
class NormalizedClip:
    """One clip of the working size, ready for stage 2."""

    index: int
    """Number among the clips planned for the video, from 0; a clip without any subject leaves a gap."""
    start_s: float
    fps: float
    source_frames: tuple[int, ...]
    """Index in the video of each frame of the clip."""
    gt: Rgb
    prompts: tuple[tuple[int, SubjectPrompt], ...]
    """Number and prompt of each subject that the clip shows."""
    external: ExternalClip = field(default_factory=dict)
    """Layers that another tool made, as many frames."""
    missing_share: float | None = None
    """Share of the clip's frames that those layers lack; None without any."""
    notes: tuple[str, ...] = ()
    """Sentences for the person who reviews the clip."""

    def prompts_with_others(self) -> Iterator[tuple[int, SubjectPrompt]]:
        """Yield number and prompt of each subject, with the prompts of the others that have no mask for every frame."""
        for number, prompt in self.prompts:
            others = tuple(other for index, other in self.prompts if index != number and other.masks is None)
            yield number, replace(prompt, others=tuple(other for other in others if other.frames or other.text))


@dataclass(frozen=True, kw_only=True)
class ExternalFootage:
    """Layers that another tool made, matched with their video frame by frame."""

    layers: Mapping[str, FrameReader]
    """Readers by the names of ExternalClip."""
    indices: Int64[np.ndarray, "N"]
    """Index in the layers of each frame of the video; a frame that they lack has that of the frame before."""
    missing: Bool[np.ndarray, "N"]
    usable: int
    """Number of the video's frames up to the last that they show."""
    notes: tuple[str, ...]

    @classmethod
    def open(cls, footage: Footage, background: Path, thumbnails: Sequence[Image]) -> "ExternalFootage":
        """Open the layers and find which frame of the clean plate shows what each frame of the video shows.

        Raises:
            ValueError: the clean plate lacks too many of the video's frames, or another layer has not as many as it.
        """
        paths = {"given": background, "given_foreground": footage.foreground, "given_alpha": footage.alpha}
        layers = {name: open_frames(path, image_fps=footage.image_fps) for name, path in paths.items() if path}
        clip = np.stack(thumbnails)
        plate = [thumbnail for _, thumbnail in layers["given"].thumbnails(THUMBNAIL_HEIGHT_PX)]
        for name, layer in layers.items():
            if (length := count_frames(layer)) != len(plate):
                raise ValueError(
                    f"{paths[name]}: has {length} frames, but {background.name} has {len(plate)}; "
                    "give layers that one run of the tool wrote"
                )
        match = match_frames(clip, plate, np.zeros(clip.shape[:3], np.uint8))
        missing = int(match.missing.sum())
        if missing > MAX_MISSING * len(clip):
            raise ValueError(
                f"{background}: lacks {missing} of the video's {len(clip)} frames; "
                "give a background made from this video"
            )
        usable = int(np.flatnonzero(~match.missing)[-1]) + 1
        notes = []
        if short := len(clip) - usable:
            frames = f"{short} frame{'s' * (short > 1)}"
            notes.append(f"{background.name} ends {frames} before the video; clips end with it.")
        if between := missing - short:
            notes.append(
                f"{background.name} lacks {between} more frames of the video; their neighbours stand for them."
            )
        indices = np.maximum.accumulate(match.indices)
        return cls(layers=layers, indices=indices, missing=match.missing, usable=usable, notes=tuple(notes))

    def read(self, frames: Sequence[int]) -> dict[str, Iterator[AnyImage]]:
        """Read the frames of each layer that belong to these frames of the video, which do not decrease."""
        indices = self.indices[list(frames)].tolist()
        images: dict[str, Iterator[AnyImage]] = {}
        for name, layer in self.layers.items():
            if name == "given_alpha" and isinstance(layer, ImageFolder):
                images[name] = take_at(map(load_alpha, layer.files), indices)
            else:
                colours = (frame for _, frame in take_at(layer, indices))
                is_matte = name == "given_alpha"
                images[name] = (cv2.cvtColor(c, cv2.COLOR_RGB2GRAY) for c in colours) if is_matte else colours
        return images


def normalize_footage(footage: Footage, settings: Normalise) -> Iterator[NormalizedClip | UnusableShot]:
    """Yield a video's clips, and what had to be left out, in the order of the video.

    The video is read twice: once small, to find cuts and damage before anything is made, and once in full. A clip
    that shows none of the subjects is not yielded, only the rejection of each of them.

    Raises:
        ValueError: when the video, a mask or the background cannot be used, in one sentence with file and remedy.
    """
    video = open_frames(footage.video, image_fps=footage.image_fps)
    times_s, cuts, thumbnails = read_times_and_cuts(video, settings, keep_thumbnails=footage.background is not None)
    subjects = [SubjectMasks.open(files, video, len(times_s), footage.video) for files in footage.subjects]
    external = ExternalFootage.open(footage, footage.background, thumbnails) if footage.background else None
    usable = len(times_s) if external is None else external.usable
    plans = list(plan_clips(times_s[:usable], [cut for cut in cuts if cut < usable], settings))
    usable_plans = [clip_plan for clip_plan in plans if isinstance(clip_plan, ClipPlan)]
    layers = _read_layers(usable_plans, video, subjects, external, settings)
    mask_notes = (note for subject in subjects if subject.masks for note in subject.masks.notes)
    notes = (*video.info.notes, *(external.notes if external else ()), *mask_notes)
    index = 0
    for clip_plan in plans:
        if isinstance(clip_plan, UnusableShot):
            yield clip_plan
        else:
            for part in _build_clip(clip_plan, index, subjects, next(layers), settings, notes):
                if external is not None and isinstance(part, NormalizedClip):
                    part = replace(part, missing_share=float(external.missing[list(part.source_frames)].mean()))
                yield part
            index += 1


def read_times_and_cuts(
    video: FrameReader, settings: Normalise, *, keep_thumbnails: bool = False
) -> tuple[Float64[np.ndarray, "N"], list[int], list[Image]]:
    """Decode a video once, small: time of each frame in seconds, first frames of new shots, and thumbnails if asked.

    Raises:
        ValueError: when any frame of it cannot be decoded.
    """
    times_s: list[float] = []
    thumbnails: list[Image] = []

    def frames() -> Iterator[Image]:
        for time_s, frame in video.thumbnails(THUMBNAIL_HEIGHT_PX):
            times_s.append(time_s)
            if keep_thumbnails:
                thumbnails.append(frame)
            yield frame

    cuts = list(find_cuts(frames(), settings.cut_threshold)) if settings.split_shots else []
    if not settings.split_shots:
        deque(frames(), maxlen=0)
    return np.array(times_s), cuts, thumbnails


def take_at(items: Iterable[T], indices: Iterable[int]) -> Iterator[T]:
    """Yield the items at indices, which must not decrease and may repeat."""
    source, position = iter(items), -1
    for index in indices:
        for _ in range(index - position):
            item = next(source)
        position = index
        yield item


def _build_clip(
    clip_plan: ClipPlan,
    index: int,
    subjects: Iterable[SubjectMasks],
    layers: ClipLayers,
    settings: Normalise,
    notes: tuple[str, ...],
) -> Iterator[NormalizedClip | UnusableShot]:
    """Yield a clip, after the rejections of subjects that it does not show."""
    gt, mattes, external = layers
    prompts = []
    for number, subject in enumerate(subjects):
        prompt = subject.prompt(mattes.get(number), clip_plan.source_frames, settings)
        if isinstance(prompt, str):
            yield UnusableShot(where=f"clip {index}, subject {number}", reason=prompt)
        else:
            prompts.append((number, prompt))
    if prompts:
        yield NormalizedClip(
            index=index,
            start_s=clip_plan.start_s,
            fps=settings.fps,
            source_frames=clip_plan.source_frames,
            gt=gt,
            prompts=tuple(prompts),
            external=external,
            notes=notes + clip_plan.notes,
        )


def _read_layers(
    plans: Sequence[ClipPlan],
    video: FrameReader,
    subjects: Iterable[SubjectMasks],
    external: ExternalFootage | None,
    settings: Normalise,
) -> Iterator[ClipLayers]:
    """Yield frames and masks at the working size, and layers of another tool, of each clip, read in step."""
    indices = [frame for clip_plan in plans for frame in clip_plan.source_frames]

    def fitted(images: Iterable[AnyImage]) -> Iterator[AnyImage]:
        return (fit_frame(resize(image, video.info.size), settings.size, settings.fit) for image in images)

    frames = fitted(frame for _, frame in take_at(video, indices))
    masks = {
        number: fitted(take_at(subject.masks, indices))
        for number, subject in enumerate(subjects)
        if subject.masks is not None
    }
    external_images = external.read(indices) if external else {}
    for clip_plan in plans:
        length = len(clip_plan.source_frames)
        gt, mattes = _stack(frames, length), {number: _stack(images, length) for number, images in masks.items()}
        yield gt, mattes, {name: _stack(images, length) for name, images in external_images.items()}


def _stack(images: Iterator[AnyImage], length: int) -> UInt8[np.ndarray, "T h w *c"]:
    """Fill a clip frame by frame, so that no second copy of it is ever in memory."""
    first = next(images)
    clip = np.empty((length, *first.shape), np.uint8)
    clip[0] = first
    for number in range(1, length):
        clip[number] = next(images)
    return clip
