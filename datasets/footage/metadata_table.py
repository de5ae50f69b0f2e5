"""Layout of footage that a table lists, as DiffSynth-Studio and other trainers read it.

A CSV, JSON or JSON Lines file in the root (setting `metadata`), one row a clip, whose columns name files below the
root. The settings `video`, `masks`, `background`, `foreground` and `alpha` are here names of columns, and
`caption_column` is that of the words, where these describe the video.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...untrusted_input import parse_json
from ..sources.source import FootageSource
from .types import MAX_JSON_BYTES, Footage, SubjectFiles, need_readable

Rows = Mapping[Path, Mapping[str, Any]]
"""Rows by the path of their video."""


def find_listed(source: FootageSource, root: Path) -> Iterator[tuple[str, Path]]:
    """Find the video of each row, named by its path below the root.

    Raises:
        ValueError: the table is not there, is none, or lacks a column that the settings name.
    """
    for video in _read_rows(source, root):
        inside = video.relative_to(root) if video.is_relative_to(root) else Path(video.name)
        yield "-".join(inside.with_suffix("").parts), video


def read_listed(source: FootageSource, root: Path, name: str, video: Path) -> Footage:
    """List the files of the row that names a video; layers whose cell is empty are left out."""
    row = _read_rows(source, root)[video]
    masks = [root / file for file in (_text(row, column) for column in source.masks) if file]
    layers = (source.background, source.foreground, source.alpha)
    files = [_text(row, column) if column else "" for column in layers]
    background, foreground, alpha = (root / file if file else None for file in files)
    return Footage(
        name=name,
        video=video,
        subjects=tuple(SubjectFiles(masks=mask, meaning=source.mask_meaning) for mask in masks) or (SubjectFiles(),),
        caption=_text(row, source.caption_column) or None if source.caption_column else None,
        background=background,
        foreground=foreground,
        alpha=alpha,
    )


def _read_rows(source: FootageSource, root: Path) -> Rows:
    path = root / source.metadata
    need_readable(path)
    stat = path.stat()
    if stat.st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path}: has {stat.st_size >> 20} MiB, above the limit of {MAX_JSON_BYTES >> 20}; divide it")
    rows = _parse(path, stat.st_mtime_ns)
    columns = (source.video, *source.masks, source.background, source.foreground, source.alpha, source.caption_column)
    names = {name for row in rows for name in row}
    if missing := [column for column in columns if column and column not in names]:
        present = ", ".join(sorted(map(str, names))[:12])
        raise ValueError(f"{path}: has no column {missing[0]!r}; it has {present or 'none'}; name one in the settings")
    return {root / _text(row, source.video): row for row in rows if _text(row, source.video)}


@lru_cache(maxsize=2)
def _parse(path: Path, mtime_ns: int) -> tuple[Mapping[str, Any], ...]:
    """Rows of a table; asked for once a clip, and parsed once."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return tuple(csv.DictReader(io.StringIO(text, newline="")))
        if path.suffix == ".jsonl":
            rows = [parse_json(line) for line in text.splitlines() if line.strip()]
        else:
            rows = parse_json(text)
        if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
            raise ValueError("it is no list of objects")
    except (ValueError, csv.Error) as wrong:
        raise ValueError(
            f"{path}: is no table of clips ({wrong}); mend it, or name another by --set metadata"
        ) from wrong
    return tuple(rows)


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""
