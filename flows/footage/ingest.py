"""Clips of a scanned video, each made alone: frames and masks at the working size, with the prompts of its subjects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import Image, Matte, Rgb
from ...datasets.footage.images import ImageFolder, load_alpha
from ...datasets.footage.masks import MaskReader
from ...datasets.footage.reader import VideoFile, reopen
from ...datasets.footage.run_reader import RunReader, open_runs
from ...datasets.footage.runs import FrameRun
from ...datasets.footage.types import Footage
from ...stages.normalise import AnyImage, Normalise, Resized, UnusableShot, fit_frame, resize
from ...stages.tracking.prompts import SubjectPrompt
from .scan import PATHS, PlannedClip, scan_footage
from .subject_prompts import SubjectMasks

ExternalClip = Mapping[str, UInt8[np.ndarray, "T h w *c"]]
"""Layers that another tool made, each of its own size, by the names of `stages.pair.GIVEN`."""


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


class ClipReader:
    """Reads the clips of one scanned video, one at a time; one that follows another is read on from there."""

    def __init__(self, footage: Footage, readers: Mapping[str, Mapping[str, Any]], settings: Normalise) -> None:
        """Open the files of a video that was scanned, by what `FootageScan.readers` tells of them.

        Raises:
            ValueError: a file cannot be read any more.
        """
        self._settings = settings
        self._video = reopen(footage.video, readers["video"])
        self._subjects = [
            SubjectMasks.reopen(files, self._video, footage.video, readers.get(f"masks-{number}"))
            for number, files in enumerate(footage.subjects)
        ]
        self._frames = open_runs(self._video, self._fit)
        masks = {number: subject.masks for number, subject in enumerate(self._subjects) if subject.masks is not None}
        self._masks = {number: (reader, self._open_masks(reader)) for number, reader in masks.items()}
        paths = {name: getattr(footage, role) for name, role in PATHS.items() if name in readers}
        self._layers = {name: _open_layer(name, reopen(path, readers[name])) for name, path in paths.items()}

    def read(self, clip: PlannedClip) -> Iterator[NormalizedClip | UnusableShot]:
        """Yield a clip, after the rejections of subjects that it does not show; those alone where it shows none.

        Raises:
            ValueError: a frame or a mask cannot be read, in one sentence with file and remedy.
        """
        frames, settings = clip.source_frames, self._settings
        prompts, mattes = [], self._read_mattes(clip)
        for number, subject in enumerate(self._subjects):
            prompt = subject.prompt(mattes.get(number), frames, settings)
            if isinstance(prompt, str):
                yield UnusableShot(where=f"clip {clip.index}, subject {number}", reason=prompt)
            else:
                prompts.append((number, prompt))
        if prompts:
            yield NormalizedClip(
                index=clip.index,
                start_s=clip.start_s,
                fps=settings.fps,
                source_frames=frames,
                gt=self._frames.stack(frames, clip.runs.get("video", FrameRun())),
                prompts=tuple(prompts),
                external={
                    name: layer.stack(clip.layer_frames, clip.runs.get(name, FrameRun()))
                    for name, layer in self._layers.items()
                },
                missing_share=clip.missing_share,
                notes=clip.notes,
            )

    def _read_mattes(self, clip: PlannedClip) -> dict[int, Matte]:
        return {
            number: frames.stack(masks.indices(clip.source_frames), clip.runs.get(f"masks-{number}", FrameRun()))
            for number, (masks, frames) in self._masks.items()
        }

    def _open_masks(self, masks: MaskReader) -> RunReader:
        if isinstance(masks.source, VideoFile):
            return RunReader(masks.source, lambda frame: self._fit(masks.matte(frame)))
        return RunReader(masks.load, self._fit)

    def _fit(self, image: AnyImage) -> Resized:
        return fit_frame(resize(image, self._video.info.size), self._settings.size, self._settings.fit)


def normalize_footage(footage: Footage, settings: Normalise) -> Iterator[NormalizedClip | UnusableShot]:
    """Yield a video's clips, and what had to be left out, in the order of the video, one clip in memory at a time.

    The video is read twice: once small, to find cuts and damage before anything is made, and once in full. A clip
    that shows none of the subjects is not yielded, only the rejection of each of them.

    Raises:
        ValueError: when the video, a mask or the background cannot be used, in one sentence with file and remedy.
    """
    scan = scan_footage(footage, settings)
    reader = ClipReader(footage, scan.readers, settings)
    for part in scan.parts:
        if isinstance(part, PlannedClip):
            yield from reader.read(part)
        else:
            yield part


def _open_layer(name: str, layer: VideoFile | ImageFolder) -> RunReader:
    """Frames of a layer of another tool; of a matte its alpha, or its grey."""
    if name != "given_alpha":
        return open_runs(layer, lambda image: image)
    if isinstance(layer, ImageFolder):
        return RunReader(lambda index: load_alpha(layer.files[index]), lambda image: image)
    return RunReader(layer, _grey)


def _grey(image: Image) -> AnyImage:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
