"""Prompts beside a video: points, boxes, outlines, masks and nouns that say where each of its subjects is.

A prompts file is JSON; numbers of frames count from 0, and coordinates are pixels of the video as shown:

    {"subjects": [{"points": {"0": [[312, 190]]}, "not_points": {"0": [[400, 60]]},
                   "boxes": {"40": [250, 120, 180, 200]}, "polygons": {"80": [[[250, 120], [430, 120], [340, 320]]]},
                   "masks": {"120": "camel_120.png"}, "text": "camel"}]}

Each subject needs one of the keys; `masks` names image files beside the JSON, `text` serves every frame.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...untrusted_input import path_within
from .types import Box, Point, VideoPrompts, read_json


def is_prompts_file(path: Path) -> bool:
    """Whether a file is of this form, rather than polygons by frame; one that cannot be read is neither."""
    try:
        content = None if path.is_dir() else read_json(path)
    except ValueError:
        return False
    return isinstance(content, dict) and "subjects" in content


def read_prompts(path: Path) -> tuple[VideoPrompts, ...]:
    """Read the prompts of each subject of a video.

    Raises:
        ValueError: naming the file, the subject and what is wrong.
    """
    subjects = read_json(path)["subjects"]
    if not isinstance(subjects, list) or not subjects:
        raise ValueError(f'{path}: names no subject; "subjects" is a list with one entry a subject')
    return tuple(_read_subject(path, number, entry) for number, entry in enumerate(subjects))


def _read_subject(path: Path, number: int, entry: Any) -> VideoPrompts:
    keys = [part.name for part in fields(VideoPrompts)]
    if not isinstance(entry, dict) or not set(entry) <= set(keys):
        raise ValueError(f"{path}: subject {number} has more than {', '.join(keys)}; see datasets/footage/prompts.py")
    try:
        prompts = VideoPrompts(
            points=_by_frame(entry, "points", lambda points: tuple(map(_point, points))),
            not_points=_by_frame(entry, "not_points", lambda points: tuple(map(_point, points))),
            boxes=_by_frame(entry, "boxes", _box),
            polygons=_by_frame(entry, "polygons", lambda outlines: tuple(map(_outline, outlines))),
            masks=_by_frame(entry, "masks", lambda name: _mask(path.parent, name)),
            text=str(entry.get("text", "")).strip(),
        )
    except (TypeError, ValueError, AttributeError) as wrong:
        reason = str(wrong) if isinstance(wrong, _WrongForm) else "its frames or coordinates are no numbers"
        raise ValueError(f"{path}: subject {number}: {reason}; see datasets/footage/prompts.py for the form") from wrong
    if prompts.is_empty:
        raise ValueError(f"{path}: subject {number} has no prompt; give points, boxes, polygons, masks or text")
    return prompts


class _WrongForm(ValueError):
    """A value of another form; the message says which."""


def _mask(folder: Path, name: Any) -> Path:
    try:
        return path_within(folder, str(name))
    except ValueError as wrong:
        raise _WrongForm(str(wrong)) from wrong


def _by_frame(entry: Mapping[str, Any], key: str, convert: Any) -> dict[int, Any]:
    values = {int(frame): convert(value) for frame, value in entry.get(key, {}).items()}
    empty = next((frame for frame, value in values.items() if value == ()), None)
    if empty is not None:
        raise _WrongForm(f"{key} of frame {empty} is empty")
    return values


def _numbers(values: Iterable[Any], count: int, form: str) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
        raise _WrongForm(f"{list(numbers)} is not {form}")
    return numbers


def _point(values: Iterable[Any]) -> Point:
    x, y = _numbers(values, 2, "a point [x, y]")
    return x, y


def _box(values: Iterable[Any]) -> Box:
    x, y, width, height = _numbers(values, 4, "a box [x, y, width, height]")
    return x, y, width, height


def _outline(points: Iterable[Any]) -> tuple[Point, ...]:
    outline = tuple(map(_point, points))
    if len(outline) < 3:
        raise _WrongForm("a polygon has fewer than three points")
    return outline
