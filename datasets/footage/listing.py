"""A source's footage, listed: `layouts` finds the files of each clip, this module decides what may be used."""

import os
import re
from collections import deque
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..sources.source import FootageSource
from .layouts import LAYOUTS
from .types import Footage, SubjectFiles, UnusableFootage

__all__ = ["Footage", "SubjectFiles", "UnusableFootage", "expand_root", "list_footage"]

CLOSED = "may not be read; change its permissions (chmod u+rx)"


def list_footage(source: FootageSource) -> list[Footage | UnusableFootage]:
    """Find a source's footage, sorted by name; what cannot be used is in the list too, with its reason.

    Raises:
        ValueError: when the root is missing or nothing at all is found there.
    """
    root = expand_root(source)
    items = [_read_clip(source, root, name, path) for name, path in LAYOUTS[source.layout][0](source, root)]
    names = {item.name for item in items}
    # Folders that may not be looked into, which glob would pass over in silence.
    refused: list[OSError] = []
    deque(os.walk(root, onerror=refused.append), maxlen=0)
    for folder in (Path(str(wrong.filename)) for wrong in refused):
        if folder.name not in names:
            items.append(UnusableFootage(name=folder.name, reason=f"{folder}: {CLOSED}"))
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
    text = os.path.expandvars(source.root)
    unset = re.search(r"\$\{?(\w+)", text)
    if unset:
        raise ValueError(
            f"source {source.name!r}: root={source.root!r} needs the environment variable {unset[1]}; "
            f"export {unset[1]}=FOLDER, or give --set root=FOLDER"
        )
    root = Path(text).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"source {source.name!r}: root {root} is no folder; put the footage there or --set root=FOLDER"
        )
    return root


def _read_clip(source: FootageSource, root: Path, name: str, path: Path) -> Footage | UnusableFootage:
    """Footage of one clip; refused where it cannot be used, or any file of it lies elsewhere, by a link or by '..'."""
    try:
        footage = LAYOUTS[source.layout][1](source, root, name, path)
        strangers = [file for _, file in footage.files() if not file.resolve().is_relative_to(root.resolve())]
    except ValueError as wrong:
        return UnusableFootage(name=name, reason=str(wrong))
    except OSError as wrong:
        return UnusableFootage(name=name, reason=f"{wrong.filename}: {CLOSED}")
    if strangers:
        return UnusableFootage(
            name=name, reason=f"{strangers[0]}: leads out of the source's folder {root}; copy it in, or move root up"
        )
    return replace(footage, caption=source.fixed_caption, image_fps=source.image_fps)
