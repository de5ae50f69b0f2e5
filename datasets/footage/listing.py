"""A source's footage, listed: in what folders it lies is in finders and rendered, whether it may be used is here."""

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
    found = [_kept_inside(root, item) for item in listers[source.layout](source, root)]
    names = {item.name for item in found}
    found += [refusal for refusal in _unreadable(root) if refusal.name not in names]
    if not found:
        raise ValueError(f"{root}: source {source.name!r} finds no footage there in the {source.layout!r} layout; "
                         "check root, or the patterns of the source")  # fmt: skip
    wanted = [item for item in found if _wanted(source, item.name)]
    if not wanted:
        raise ValueError(f"{root}: include and exclude of source {source.name!r} leave none of {len(found)} videos")
    return _without_doubles(sorted(wanted, key=lambda item: (item.name, str(getattr(item, "video", "")))))


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
    listed: list[Footage | UnusableFootage] = []
    for item in items:
        other = first.setdefault(item.name, item)
        if other is not item and isinstance(item, Footage):
            taken = getattr(other, "video", item.name)
            item = UnusableFootage(
                name=item.name, reason=f"{item.video}: has the same name as {taken}; rename one of the two"
            )
        listed.append(item)
    return listed


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


def _wanted(source: FootageSource, name: str) -> bool:
    taken = not source.include or any(fnmatchcase(name, pattern) for pattern in source.include)
    return taken and not any(fnmatchcase(name, pattern) for pattern in source.exclude)
