"""Masks that come with footage: videos, folders, label images, and masks of a few key frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import MatteImage
from .images import image_size, is_palette, load_values, number_of, numbered_images
from .mask_meaning import MaskMeaning, check_meaning, subject_matte
from .reader import VideoFile, count_frames, open_video
from .types import SUFFIXES, FootageInfo, VideoPrompts, mask_folders, need_readable, read_json

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

    def _read_mattes(self) -> Iterator[MatteImage]:
        if isinstance(self.source, VideoFile):
            for _, frame in self.source:
                grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
                matte = subject_matte(grey, self.meaning) if self.label is None else _marked(grey, self.label)
                yield _stretched(matte, self.video)
        else:
            for files in self.source:
                mattes = [_stretched(_matte(file, self.label, self.meaning), self.video) for file in files]
                yield np.maximum.reduce(mattes)

    def sample_values(self) -> list[MatteImage]:
        """Masks as they are stored, of some frames all over the clip."""
        step = max(1, self.mask_count // SAMPLED_MASKS)
        if isinstance(self.source, VideoFile):
            sampled = islice(self.source, 0, None, step)
            return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, frame in sampled]
        return [_matte(file, None) for files in self.source[::step] for file in files]


def open_masks(
    path: Path, video: FootageInfo, frames: int, *, label: int | None = None, meaning: MaskMeaning | None = None
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
        _need_shape(path, size, video)
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
        check_meaning(str(path), reader.sample_values(), meaning)
    _need_subject(reader)
    return reader


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


def read_keys(path: Path, video: FootageInfo, frames: int, meaning: MaskMeaning | None = None) -> dict[int, MatteImage]:
    """Masks of key frames by source frame, counted from 0.

    Args:
        path: a folder of FRAME.png, or a JSON file {"FRAME": [[[x, y], ...], ...]}: polygons in pixels of the video
            as shown, which are united.
        video: what is known of the video.
        frames: how many frames the video has.
        meaning: of the images' values, as in `open_masks`.

    Raises:
        ValueError: naming the file and the key that is wrong.
    """
    need_readable(path)
    keys = _key_images(path, video, meaning) if path.is_dir() else _key_polygons(path, video)
    for number, mask in keys.items():
        if not 0 <= number < frames:
            raise ValueError(f"{path}: key frame {number} is not in the video, which has frames 0 to {frames - 1}")
        if not (mask >= SUBJECT_THRESHOLD).any():
            raise ValueError(f"{path}: the mask of key frame {number} is empty; draw the subject, or take the key out")
        if (mask >= SUBJECT_THRESHOLD).all():
            raise ValueError(f"{path}: the mask of key frame {number} covers everything; draw the subject alone")
    if not keys:
        raise ValueError(f"{path}: holds no key masks; draw the subject on at least one frame")
    return keys


def masks_of_prompts(
    prompts: VideoPrompts, video: FootageInfo, name: str, meaning: MaskMeaning | None = None
) -> dict[int, MatteImage]:
    """Masks of a subject's prompts by source frame: its outlines filled, its image files read by their meaning.

    Raises:
        ValueError: a file cannot be read or has another shape, or a mask is empty or full.
    """
    masks = {frame: _filled(Path(name), str(frame), prompts.polygons[frame], video) for frame in prompts.polygons}
    for frame, file in prompts.masks.items():
        need_readable(file)
        mask = _key_image(file, video, meaning)
        masks[frame] = np.maximum(mask, masks[frame]) if frame in masks else mask
    for frame, mask in masks.items():
        if not (mask >= SUBJECT_THRESHOLD).any():
            raise ValueError(f"{name}: the mask of frame {frame} is empty; draw the subject, or take it out")
        if (mask >= SUBJECT_THRESHOLD).all():
            raise ValueError(f"{name}: the mask of frame {frame} covers everything; draw the subject alone")
    return masks


def _key_images(folder: Path, video: FootageInfo, meaning: MaskMeaning | None) -> dict[int, MatteImage]:
    keys: dict[int, MatteImage] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        if number_of(file) in keys:
            raise ValueError(f"{file}: is a second mask of frame {number_of(file)}; keep one")
        keys[number_of(file)] = _key_image(file, video, meaning)
    return keys


def _key_image(file: Path, video: FootageInfo, meaning: MaskMeaning | None) -> MatteImage:
    _need_shape(file, image_size(file)[::-1], video)
    values = _matte(file, None)
    check_meaning(str(file), [values], meaning)
    return _stretched(subject_matte(values, meaning), video)


def _key_polygons(path: Path, video: FootageInfo) -> dict[int, MatteImage]:
    polygons_by_key = read_json(path)
    if not isinstance(polygons_by_key, dict) or not all(key.isdecimal() for key in polygons_by_key):
        raise ValueError(
            f'{path}: is not {{"FRAME": [[[x, y], ...], ...]}} with whole frame numbers; see the demo source'
        )
    return {int(key): _filled(path, key, polygons, video) for key, polygons in polygons_by_key.items()}


def _filled(path: Path, key: str, polygons: Any, video: FootageInfo) -> MatteImage:
    """Fill each polygon by itself: filled together, overlaps would become holes."""
    mask = np.zeros(video.size, np.uint8)
    try:
        outlines = [np.array(polygon, np.float64) for polygon in polygons]
        sound = all(outline.ndim == 2 and len(outline) >= 3 and outline.shape[1] == 2 for outline in outlines)
    except (TypeError, ValueError):
        sound = False
    if not sound or not all(np.abs(outline).max() < 1e6 for outline in outlines):
        raise ValueError(f"{path}: frame {key} is not a list of polygons [[x, y], ...] of three points or more")
    for outline in outlines:
        cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return mask


def _matte(file: Path, label: int | None, meaning: MaskMeaning | None = None) -> MatteImage:
    values = load_values(file)
    if label is not None:
        return _marked(values, label)
    if is_palette(file) or values.max() == 1:
        values = np.where(values > 0, np.uint8(255), np.uint8(0))
    return subject_matte(values, meaning)


def _marked(values: MatteImage, label: int) -> MatteImage:
    """Find the pixels of the value that is meant, in masks of several values."""
    return np.where(values < SUBJECT_THRESHOLD // 2 if label == 0 else values == label, np.uint8(255), np.uint8(0))


def _stretched(mask: UInt8[np.ndarray, "h w"], video: FootageInfo) -> MatteImage:
    if mask.shape == video.size:
        return mask
    shrinks = mask.shape[0] > video.height
    return np.asarray(cv2.resize(mask, video.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _need_shape(path: Path, size: tuple[int, int], video: FootageInfo) -> None:
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
