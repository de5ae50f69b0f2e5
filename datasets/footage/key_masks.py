"""Masks of a few key frames: images, polygons, and those of prompts; each drawn when asked for: there may be many."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...arrays import MatteImage
from .images import image_size, number_of
from .mask_meaning import MaskMeaning, check_meaning, subject_matte
from .masks import SUBJECT_THRESHOLD, load_matte, need_shape, stretch
from .types import SUFFIXES, FootageInfo, VideoPrompts, need_readable, read_json

KeyMasks = Mapping[int, Callable[[], MatteImage]]
"""Masks of key frames by source frame, counted from 0, each drawn or loaded when it is asked for."""


def read_keys(path: Path, video: FootageInfo, meaning: MaskMeaning | None = None) -> KeyMasks:
    """Masks of key frames.

    Args:
        path: a folder of FRAME.png, or a JSON file {"FRAME": [[[x, y], ...], ...]}: polygons in pixels of the video
            as shown, which are united.
        video: what is known of the video.
        meaning: of the images' values, as in `open_masks`.

    Raises:
        ValueError: naming the file and the key that is wrong, now or when a mask is asked for.
    """
    need_readable(path)
    keys = _key_images(path, video, meaning) if path.is_dir() else _key_polygons(path, video)
    if not keys:
        raise ValueError(f"{path}: holds no key masks; draw the subject on at least one frame")
    return keys


def check_keys(keys: KeyMasks, frames: int, name: str, noun: str = "key frame") -> None:
    """Load each mask and refuse it where it is empty, full, or outside a video of so many frames.

    Raises:
        ValueError: with the name, the number of the frame and the remedy.
    """
    for number, load in keys.items():
        if not 0 <= number < frames:
            raise ValueError(f"{name}: {noun} {number} is not in the video, which has frames 0 to {frames - 1}")
        inside = load() >= SUBJECT_THRESHOLD
        if not inside.any():
            out = "take the key out" if noun == "key frame" else "take it out"
            raise ValueError(f"{name}: the mask of {noun} {number} is empty; draw the subject, or {out}")
        if inside.all():
            raise ValueError(f"{name}: the mask of {noun} {number} covers everything; draw the subject alone")


def masks_of_prompts(
    prompts: VideoPrompts, video: FootageInfo, name: str, meaning: MaskMeaning | None = None
) -> KeyMasks:
    """Masks of a subject's prompts: its outlines filled, its image files read by their meaning.

    Raises:
        ValueError: a file cannot be read or has another shape, when its mask is asked for.
    """

    def load(frame: int) -> MatteImage:
        masks = []
        if frame in prompts.polygons:
            masks.append(_filled(Path(name), str(frame), prompts.polygons[frame], video))
        if frame in prompts.masks:
            need_readable(prompts.masks[frame])
            masks.append(_key_image(prompts.masks[frame], video, meaning))
        return np.asarray(np.maximum.reduce(masks))

    return {frame: partial(load, frame) for frame in (*prompts.polygons, *prompts.masks)}


def _key_images(folder: Path, video: FootageInfo, meaning: MaskMeaning | None) -> KeyMasks:
    keys: dict[int, Callable[[], MatteImage]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        if number_of(file) in keys:
            raise ValueError(f"{file}: is a second mask of frame {number_of(file)}; keep one")
        keys[number_of(file)] = partial(_key_image, file, video, meaning)
    return keys


def _key_image(file: Path, video: FootageInfo, meaning: MaskMeaning | None) -> MatteImage:
    need_shape(file, image_size(file)[::-1], video)
    values = load_matte(file, None)
    check_meaning(str(file), [values], meaning)
    return stretch(subject_matte(values, meaning), video)


def _key_polygons(path: Path, video: FootageInfo) -> KeyMasks:
    polygons_by_key = read_json(path)
    if not isinstance(polygons_by_key, dict) or not all(key.isdecimal() for key in polygons_by_key):
        raise ValueError(
            f'{path}: is not {{"FRAME": [[[x, y], ...], ...]}} with whole frame numbers; see the demo source'
        )
    return {int(key): partial(_filled, path, key, polygons, video) for key, polygons in polygons_by_key.items()}


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
