"""Masks that come with footage for every frame: videos, folders, label images."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import MatteImage
from .images import ImageFolder, image_size, is_palette, load_values, numbered_images
from .mask_meaning import MaskMeaning, check_meaning, subject_matte
from .reader import VideoFile, count_frames, describe, open_video, reopen
from .runs import FrameLog
from .types import FootageInfo, mask_folders, need_readable

SUBJECT_THRESHOLD = 128
"""A soft mask's value from which a pixel counts as the subject."""
ASPECT_TOLERANCE = 0.01
SAMPLED_MASKS = 48
"""Masks of a clip by which their form is recognised: what a subject affects may begin late."""


@dataclass(frozen=True, kw_only=True)
class MaskReader:
    """One subject's mask for every frame of a video, at the video's shown size, read anew by each loop over it."""

    path: Path
    source: VideoFile | tuple[tuple[Path, ...], ...]
    """A video, or for each frame the images that are united."""
    label: int | None
    meaning: MaskMeaning | None
    video: FootageInfo
    frames: int
    """Number of masks that a loop gives: that of the video's frames."""
    mask_count: int
    """Number of masks that there are."""
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[MatteImage]:
        last = None
        for last in islice(self._read_mattes(), self.frames):
            yield last
        # One frame short is an encoder's rounding; open_masks refused all else.
        missing = self.frames - self.mask_count
        if last is not None and missing > 0:
            yield from repeat(last, missing)

    def matte(self, frame: UInt8[np.ndarray, "h w 3"]) -> MatteImage:
        """Mask that a frame of a mask video shows."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        return stretch(
            subject_matte(grey, self.meaning) if self.label is None else _marked(grey, self.label), self.video
        )

    def load(self, index: int) -> MatteImage:
        """Mask of one frame, of images."""
        assert not isinstance(self.source, VideoFile)
        files = self.source[index]
        return np.asarray(
            np.maximum.reduce([stretch(load_matte(file, self.label, self.meaning), self.video) for file in files])
        )

    def indices(self, frames: Sequence[int]) -> list[int]:
        """Index of the mask of each frame: the last one serves for a frame behind it."""
        return [min(frame, self.mask_count - 1) for frame in frames]

    def _read_mattes(self) -> Iterator[MatteImage]:
        if isinstance(self.source, VideoFile):
            yield from (self.matte(frame) for _, frame in self.source)
        else:
            yield from map(self.load, range(len(self.source)))

    def sample_values(self, log: FrameLog | None = None) -> list[MatteImage]:
        """Masks as they are stored, of some frames all over the clip; a log notes every frame of a video."""
        step = max(1, self.mask_count // SAMPLED_MASKS)
        if isinstance(self.source, VideoFile):
            return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, frame in self.source.frames(log, step=step)]
        return [load_matte(file, None) for files in self.source[::step] for file in files]

    def describe(self) -> dict[str, Any]:
        """Facts by which `reopen_masks` makes the reader again without looking into the file."""
        source = describe(self.source) if isinstance(self.source, VideoFile) else None
        return {"source": source, "mask_count": self.mask_count}


def open_masks(
    path: Path,
    video: FootageInfo,
    frames: int,
    *,
    label: int | None = None,
    meaning: MaskMeaning | None = None,
    log: FrameLog | None = None,
) -> MaskReader:
    """Check one subject's masks against the video they belong to, and make them ready to read.

    Args:
        path: a mask video (its grey levels are kept, so that edges stay soft), a folder of mask images, or a folder
            of such folders, whose masks are united.
        video: what is known of the video.
        frames: how many frames the video has.
        label: which value of the masks is the subject; 0 takes what is nearer to it than to 128, because videos and
            resized images have levels between. None takes palette images as 0 and the rest, and others as soft masks.
        meaning: of the values, where no label says it; None takes the subject in white, and refuses what looks like
            another form.
        log: notes every frame of a mask video.

    Raises:
        ValueError: for another length or shape, for masks that are empty in all frames or full in all, and for those
            of another form than they are read as.
    """
    need_readable(path)
    source = _united(path) if path.is_dir() else open_video(path)
    if isinstance(source, VideoFile):
        sizes, mask_count = [source.info.size], count_frames(source)
    else:
        sizes, mask_count = [image_size(file)[::-1] for files in source for file in files], len(source)
    for size in sizes:
        need_shape(path, size, video)
    off = mask_count - frames
    if abs(off) > isinstance(source, VideoFile):
        raise ValueError(
            f"{path}: has {mask_count} masks, but the video has {frames} frames; give one mask for each frame"
        )
    notes = []
    if off:
        notes.append(f"{path.name} is one frame {'longer' if off > 0 else 'shorter'} than the video: its last mask is "
                     f"{'left out' if off > 0 else 'repeated'}.")  # fmt: skip
    if sizes[0] != video.size:
        notes.append(f"{path.name} is {sizes[0][1]}x{sizes[0][0]} pixels; it was resized to the video's "
                     f"{video.width}x{video.height}.")  # fmt: skip
    reader = MaskReader(
        path=path,
        source=source,
        label=label,
        meaning=meaning,
        video=video,
        frames=frames,
        mask_count=mask_count,
        notes=tuple(notes),
    )
    if label is None:
        check_meaning(str(path), reader.sample_values(log), meaning)
    elif log is not None and isinstance(source, VideoFile):
        deque(source.thumbnails(16, log), maxlen=0)
    _need_subject(reader)
    return reader


def reopen_masks(
    path: Path, video: FootageInfo, label: int | None, meaning: MaskMeaning | None, facts: Mapping[str, Any]
) -> MaskReader:
    """Reader of masks that were checked before, by what `MaskReader.describe` kept of them."""
    source = _united(path) if facts["source"] is None else reopen(path, facts["source"])
    assert not isinstance(source, ImageFolder), path
    return MaskReader(
        path=path, source=source, label=label, meaning=meaning, video=video, frames=0, mask_count=facts["mask_count"]
    )


def _united(path: Path) -> tuple[tuple[Path, ...], ...]:
    """The mask images of each frame."""
    images_by_folder = [numbered_images(folder) for folder in mask_folders(path)]
    first = images_by_folder[0]
    for images in images_by_folder[1:]:
        if len(images) != len(first):
            raise ValueError(
                f"{images[0].parent}: has {len(images)} masks, but {first[0].parent.name} has {len(first)}; "
                "give each object one mask for each frame"
            )
    return tuple(zip(*images_by_folder, strict=True))


def load_matte(file: Path, label: int | None, meaning: MaskMeaning | None = None) -> MatteImage:
    """Mask that an image file shows, at its own size."""
    values = load_values(file)
    if label is not None:
        return _marked(values, label)
    if is_palette(file) or values.max() == 1:
        values = np.where(values > 0, np.uint8(255), np.uint8(0))
    return subject_matte(values, meaning)


def _marked(values: MatteImage, label: int) -> MatteImage:
    """Find the pixels of the value that is meant, in masks of several values."""
    return np.where(values < SUBJECT_THRESHOLD // 2 if label == 0 else values == label, np.uint8(255), np.uint8(0))


def stretch(mask: UInt8[np.ndarray, "h w"], video: FootageInfo) -> MatteImage:
    """Scale a mask to its video's size."""
    if mask.shape == video.size:
        return mask
    shrinks = mask.shape[0] > video.height
    return np.asarray(cv2.resize(mask, video.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def need_shape(path: Path, size: tuple[int, int], video: FootageInfo) -> None:
    """Raise ValueError unless a mask of this height and width has its video's shape."""
    if abs(size[1] * video.height / (size[0] * video.width) - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"{path}: is {size[1]}x{size[0]} pixels, another shape than the video's {video.width}x{video.height}; "
            "make the masks from the same frames"
        )


def _need_subject(masks: MaskReader) -> None:
    empty = full = True
    for mask in masks:
        inside = mask >= SUBJECT_THRESHOLD
        empty, full = empty and not inside.any(), full and bool(inside.all())
        if not empty and not full:
            return
    of = "" if masks.label is None else f" for label {masks.label}"
    of = " for 0, the value of what was removed" if masks.label == 0 else of
    if empty:
        raise ValueError(f"{masks.path}: the mask is empty in all frames{of}; draw the subject, or leave the video out")
    raise ValueError(f"{masks.path}: the mask covers every frame whole{of}; draw the subject alone")
