"""A source's footage, listed: `layouts` and `rendered_datasets` find folders, this module decides what may be used."""

import os
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from ..sources.source import FootageSource
from . import layouts, rendered_datasets
from .types import Footage, SubjectFiles, UnusableFootage

__all__ = ["Footage", "SubjectFiles", "UnusableFootage", "expand_root", "list_footage"]


def list_footage(source: FootageSource) -> list[Footage | UnusableFootage]:
    """Find a source's footage, sorted by name; what cannot be used is in the list too, with its reason.

    Raises:
        ValueError: when the root is missing or nothing at all is found there.
    """
    root = expand_root(source)
    listers: dict[str, Callable[[FootageSource, Path], Iterator[Footage | UnusableFootage]]] = {
        "davis": layouts.davis,
        "gen-omnimatte": layouts.gen_omnimatte,
        "videos": layouts.videos,
        "movies": rendered_datasets.movies,
        "kubric-pairs": rendered_datasets.kubric_pairs,
    }
    items = [_kept_inside(root, item) for item in listers[source.layout](source, root)]
    names = {item.name for item in items}
    items += [refusal for refusal in _unreadable(root) if refusal.name not in names]
    if not items:
        raise ValueError(f"{root}: source {source.name!r} finds no footage there in the {source.layout!r} layout; "
                         "check root, or the patterns of the source")  # fmt: skip
    selected = [item for item in items if _is_selected(source, item.name)]
    if not selected:
        raise ValueError(f"{root}: include and exclude of source {source.name!r} leave none of {len(items)} videos")
    return _without_doubles(sorted(selected, key=lambda item: (item.name, str(getattr(item, "video", "")))))


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


def _kept_inside(root: Path, item: Footage | UnusableFootage) -> Footage | UnusableFootage:
    """Refuse footage of which any file lies elsewhere, by a link or by '..'."""
    if isinstance(item, UnusableFootage):
        return item
    try:
        files = item.files()
    except OSError as wrong:
        return UnusableFootage(
            name=item.name, reason=f"{wrong.filename}: may not be read; change its permissions (chmod u+rx)"
        )
    for _, file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            return UnusableFootage(
                name=item.name, reason=f"{file}: leads out of the source's folder {root}; copy it in, or move root up"
            )
    return item


def _without_doubles(items: list[Footage | UnusableFootage]) -> list[Footage | UnusableFootage]:
    first: dict[str, Footage | UnusableFootage] = {}
    unique: list[Footage | UnusableFootage] = []
    for item in items:
        earlier = first.setdefault(item.name, item)
        if earlier is not item and isinstance(item, Footage):
            is_included = getattr(earlier, "video", item.name)
            item = UnusableFootage(
                name=item.name, reason=f"{item.video}: has the same name as {is_included}; rename one of the two"
            )
        unique.append(item)
    return unique


def _unreadable(root: Path) -> Iterator[UnusableFootage]:
    """Folders that may not be looked into, which glob would pass over in silence."""
    refused: list[OSError] = []
    for _ in os.walk(root, onerror=refused.append):
        pass
    for wrong in refused:
        folder = Path(str(wrong.filename))
        yield UnusableFootage(
            name=folder.name, reason=f"{folder}: may not be read; change its permissions (chmod u+rx)"
        )


def _is_selected(source: FootageSource, name: str) -> bool:
    is_included = not source.include or any(fnmatchcase(name, pattern) for pattern in source.include)
    return is_included and not any(fnmatchcase(name, pattern) for pattern in source.exclude)
