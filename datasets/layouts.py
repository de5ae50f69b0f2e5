"""How footage lies in folders: DAVIS, Generative Omnimatte's examples, or plain videos with masks beside them."""

import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from .images import SUFFIXES, is_palette, load_values
from .source import FootageSource

VOID = 255
"""DAVIS and its kin mark pixels that no one should judge so, in palette images of several subjects."""


@dataclass(frozen=True, kw_only=True)
class SubjectFiles:
    """What is known of one subject beforehand; nothing at all where settings alone say where it is."""

    masks: Path | None = None
    """A mask video or a folder of mask images, one for each frame."""
    label: int | None = None
    """Which value of the mask images is this subject; None where the masks are of it alone."""
    keys: Path | None = None
    """Masks of key frames: a polygons JSON or a folder of FRAME.png."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """One video and what came with it."""

    name: str
    video: Path
    """A file, or a folder of images."""
    subjects: tuple[SubjectFiles, ...] = (SubjectFiles(),)
    background: Path | None = None
    """A clean plate that another tool made."""
    caption: str | None = None
    image_fps: float = 24.0
    """Frames per second, where the video is a folder of images."""

    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file that matters, with its role, in an order that never changes: for hashing content."""
        places = [("video", self.video)]
        for number, subject in enumerate(self.subjects):
            places += [(f"masks-{number}", subject.masks)] if subject.masks else []
            places += [(f"keys-{number}", subject.keys)] if subject.keys else []
        places += [("background", self.background)] if self.background else []
        return tuple((role, file) for role, place in places for file in _files_in(place))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Footage that cannot be used, and why, in a sentence with the file and the remedy."""

    name: str
    reason: str


def list_footage(source: FootageSource) -> list[Footage | Refusal]:
    """Find a source's footage, sorted by name; what cannot be used is in the list too, with its reason.

    Raises:
        ValueError: when the root is missing or nothing at all is found there.
    """
    root = expand_root(source)
    listers: dict[str, Callable[[FootageSource, Path], Iterator[Footage | Refusal]]] = {
        "davis": _davis,
        "gen-omnimatte": _gen_omnimatte,
        "videos": _videos,
    }
    found = [*_unreadable(root), *(_kept_inside(root, item) for item in listers[source.layout](source, root))]
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


def _davis(source: FootageSource, root: Path) -> Iterator[Footage | Refusal]:
    images = _resolution(source, root / "JPEGImages")
    masks = root / "Annotations" / images.relative_to(root / "JPEGImages")
    for video in _folders(images):
        annotations = masks / video.name
        if not annotations.is_dir():
            yield _no_mask(video.name, video, annotations)
            continue
        try:
            subjects = tuple(SubjectFiles(masks=annotations, label=label) for label in labels_in(annotations))
        except ValueError as wrong:
            yield Refusal(name=video.name, reason=str(wrong))
            continue
        if not subjects:
            yield Refusal(name=video.name, reason=f"{annotations}: the masks are empty in all frames; draw the subject")
            continue
        yield Footage(
            name=video.name, video=video, subjects=subjects, caption=source.caption, image_fps=source.image_fps
        )


def _resolution(source: FootageSource, images: Path) -> Path:
    """The folder that holds the sequences: DAVIS has one per resolution between, its kin has none."""
    if not images.is_dir():
        raise ValueError(f"{images}: is not there; the 'davis' layout has JPEGImages/ and Annotations/ under its root")
    names = [folder.name for folder in _folders(images)]
    chosen = source.resolution or ("480p" if "480p" in names else names[0] if len(names) == 1 else None)
    if source.resolution and source.resolution not in names:
        raise ValueError(f"{images}: has no folder {source.resolution!r}; resolution is one of {', '.join(names)}")
    holds_images = any(_image_files(images / name) for name in names)
    if chosen is None and not holds_images:
        raise ValueError(f"{images}: has {', '.join(names) or 'nothing'}; choose with --set resolution=NAME")
    return images if holds_images or chosen is None else images / chosen


def labels_in(annotations: Path) -> list[int | None]:
    """The subjects of a folder of mask images: its labels, or [None] for soft masks of one subject."""
    seen = np.zeros(256, np.int64)
    files = _image_files(annotations)
    for file in files:
        seen += np.bincount(load_values(file).ravel(), minlength=256)
    values = [int(value) for value in np.flatnonzero(seen) if value]
    labelled = bool(files) and is_palette(files[0])
    if len(values) > 1 and (labelled or max(set(values) - {VOID}) <= 32):
        return [value for value in values if value != VOID]
    return [None] if len(values) > 1 else list(values)


def _gen_omnimatte(source: FootageSource, root: Path) -> Iterator[Footage | Refusal]:
    clips = [root] if (root / "input_video.mp4").is_file() else _folders(root)
    for clip in clips:
        video = clip / "input_video.mp4"
        if not video.is_file():
            yield Refusal(name=clip.name, reason=f"{video}: is not there; a clip of this layout has its video so named")
            continue
        masks = sorted(clip.glob("mask_*.mp4"))
        if not masks:
            yield _no_mask(clip.name, video, clip / "mask_00.mp4")
            continue
        subjects = tuple(SubjectFiles(masks=mask) for mask in masks)
        yield Footage(name=clip.resolve().name, video=video, subjects=subjects, caption=source.caption)


def _videos(source: FootageSource, root: Path) -> Iterator[Footage | Refusal]:
    beside = [*source.masks, *filter(None, (source.keys, source.background))]
    videos = sorted(path for path in root.glob(source.video) if not path.name.startswith("."))
    taken = {match for video in videos for pattern in beside for match in _beside(video, pattern)}
    for video in videos:
        if video in taken or (video.is_dir() and not _image_files(video)):
            continue
        name = _name(source, root, video)
        masks = [match for pattern in source.masks for match in _beside(video, pattern)]
        keys = _beside(video, source.keys) if source.keys else []
        plates = _beside(video, source.background) if source.background else []
        missing = [(pattern, found) for pattern, found in ((source.keys, keys), (source.background, plates)) if pattern]
        missing += [(pattern, _beside(video, pattern)) for pattern in source.masks]
        gone = next((str(pattern) for pattern, found in missing if not found), None)
        if gone is not None:
            yield _no_mask(name, video, video.parent / gone.format(stem=video.stem))
            continue
        subjects = [SubjectFiles(masks=mask) for mask in masks] + [SubjectFiles(keys=key) for key in keys]
        yield Footage(
            name=name,
            video=video,
            subjects=tuple(subjects) or (SubjectFiles(),),
            background=plates[0] if plates else None,
            caption=source.caption,
            image_fps=source.image_fps,
        )


def _name(source: FootageSource, root: Path, video: Path) -> str:
    """The path below root; where every video is called the same, its folder's."""
    fixed = not any(sign in Path(source.video).name for sign in "*?[")
    inside = video.parent.relative_to(root) if fixed else video.relative_to(root).with_suffix("")
    return "-".join(inside.parts) or (root.resolve().name if fixed else video.stem)


def _beside(video: Path, pattern: str) -> list[Path]:
    return sorted(video.parent.glob(pattern.replace("{stem}", glob.escape(video.stem))))


def _kept_inside(root: Path, item: Footage | Refusal) -> Footage | Refusal:
    """Refuse footage of which any file lies elsewhere, by a link or by '..'."""
    if isinstance(item, Refusal):
        return item
    try:
        files = item.files()
    except OSError as wrong:
        return Refusal(name=item.name, reason=f"{wrong.filename}: may not be read; change its permissions")
    for _, file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            return Refusal(
                name=item.name, reason=f"{file}: leads out of the source's folder {root}; copy it in, or move root up"
            )
    return item


def _without_doubles(items: list[Footage | Refusal]) -> list[Footage | Refusal]:
    first: dict[str, Footage | Refusal] = {}
    listed: list[Footage | Refusal] = []
    for item in items:
        other = first.setdefault(item.name, item)
        if other is not item and isinstance(item, Footage):
            taken = getattr(other, "video", item.name)
            item = Refusal(name=item.name, reason=f"{item.video}: has the same name as {taken}; rename one of the two")
        listed.append(item)
    return listed


def _unreadable(root: Path) -> Iterator[Refusal]:
    """Folders that may not be looked into, which glob would pass over in silence."""
    refused: list[OSError] = []
    for _ in os.walk(root, onerror=refused.append):
        pass
    for wrong in refused:
        folder = Path(str(wrong.filename))
        yield Refusal(name=folder.name, reason=f"{folder}: may not be read; change its permissions (chmod u+rx)")


def _wanted(source: FootageSource, name: str) -> bool:
    taken = not source.include or any(fnmatchcase(name, pattern) for pattern in source.include)
    return taken and not any(fnmatchcase(name, pattern) for pattern in source.exclude)


def _no_mask(name: str, video: Path, expected: Path) -> Refusal:
    return Refusal(
        name=name, reason=f"{video}: has no mask beside it; {expected} is not there, make it or exclude {name!r}"
    )


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except PermissionError:
        return []  # listed as unreadable already


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def _files_in(place: Path) -> list[Path]:
    return _image_files(place) if place.is_dir() else [place]
