"""A source's footage, listed: `layouts` finds the files of each clip, this module decides what may be used."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from ...untrusted_input import expand_variables
from ..sources.source import FootageSource
from .layouts import LAYOUTS, VIDEOS
from .types import Footage, SubjectFiles, UnusableFootage, need_plain, readable

__all__ = ["Footage", "SubjectFiles", "UnusableFootage", "expand_root", "list_footage"]

CLOSED = "may not be read; change its permissions (chmod u+rx)"


def list_footage(source: FootageSource) -> list[Footage | UnusableFootage]:
    """Find a source's footage, sorted by name; what cannot be used is in the list too, with its reason.

    Raises:
        ValueError: when the root is missing or nothing at all is found there.
    """
    root = expand_root(source)
    clips = list(LAYOUTS[source.layout][0](source, root))
    resolve = cache(Path.resolve)  # of folders: a hundred thousand files lie in few
    items = [_read_clip(source, root, name, path, resolve) for name, path in clips]
    names, paths = {item.name for item in items}, {path for _, path in clips}
    for place, reason in _unusable_places(root):
        if place.name not in names and (reason == CLOSED or paths.isdisjoint((place, *place.parents))):
            items.append(UnusableFootage(name=readable(place.name), reason=readable(f"{place}: {reason}")))
    if not items:
        raise ValueError(f"{root}: source {source.name!r} finds no footage there in the {source.layout!r} layout; "
                         "check root, or the patterns of the source")  # fmt: skip
    selected = [
        item
        for item in items
        if any(fnmatchcase(item.name, pattern) for pattern in source.include or ("*",))
        and not any(fnmatchcase(item.name, pattern) for pattern in source.exclude)
    ]
    if not selected:
        raise ValueError(f"{root}: include and exclude of source {source.name!r} leave none of {len(items)} videos")
    selected.sort(key=lambda item: (item.name, str(getattr(item, "video", ""))))
    first: dict[str, Footage | UnusableFootage] = {}
    for index, item in enumerate(selected):
        earlier = first.setdefault(item.name, item)
        if earlier is not item and isinstance(item, Footage):
            path = getattr(earlier, "video", item.name)
            reason = f"{item.video}: has the same name as {path}; rename one of the two"
            selected[index] = UnusableFootage(name=item.name, reason=reason)
    return selected


def expand_root(source: FootageSource) -> Path:
    """The source's root on this machine.

    Raises:
        ValueError: when it names an environment variable that is not set, or a folder that is not there.
    """
    try:
        root = Path(expand_variables(source.root))
    except ValueError as problem:
        raise ValueError(f"source {source.name!r}: root={source.root!r} {problem} by --set root=FOLDER") from problem
    if not root.is_dir():
        raise ValueError(
            f"source {source.name!r}: root {root} is no folder; put the footage there or --set root=FOLDER"
        )
    return root


def _unusable_places(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield what the layouts pass over in silence, and why it is of no use: closed and empty folders, broken links."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield folder, CLOSED
            continue
        if not inside and folder != root:
            yield folder, "is an empty folder; put footage there, or delete it"
        for entry in inside:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_symlink() and path.suffix.lower() in {"", *VIDEOS} and not path.exists():
                yield path, "is a link to nothing, or in a circle; delete it, or link to footage"


def _read_clip(
    source: FootageSource, root: Path, name: str, path: Path, resolve: Callable[[Path], Path]
) -> Footage | UnusableFootage:
    """Footage of one clip; refused where it cannot be used, or any file of it lies elsewhere, by a link or by '..'."""
    plain_name = readable(name)
    try:
        footage = LAYOUTS[source.layout][1](source, root, name, path)
        files = list(dict.fromkeys((footage.video, *(file for _, file in footage.files()))))
        for file in files:
            need_plain(file)
        places = {file: file.resolve() if file.is_symlink() else resolve(file.parent) for file in files}
        strangers = [file for file, place in places.items() if not place.is_relative_to(resolve(root))]
    except ValueError as wrong:
        return UnusableFootage(name=plain_name, reason=readable(wrong))
    except OSError as wrong:
        return UnusableFootage(name=plain_name, reason=readable(f"{wrong.filename}: {CLOSED}"))
    if strangers:
        reason = f"{strangers[0]}: leads out of the source's folder {root}; copy it in, or move root up"
        return UnusableFootage(name=plain_name, reason=readable(reason))
    if odd := next((file for file in files if readable(file) != str(file)), None):
        reason = f"{readable(odd)}: its name is no UTF-8, which no table can hold; rename it (convmv -f latin1 -t utf8)"
        return UnusableFootage(name=plain_name, reason=reason)
    return replace(footage, caption=source.fixed_caption or footage.caption, image_fps=source.image_fps)
