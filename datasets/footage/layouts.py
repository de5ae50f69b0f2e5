"""Layouts of footage in folders: DAVIS, Generative Omnimatte's examples, or videos with masks beside them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..sources.source import FootageSource
from .images import is_palette, load_values
from .types import Footage, SubjectFiles, UnusableFootage, beside, folders, image_files, is_image_folder

VOID = 255
"""DAVIS and its kin mark pixels that no one should judge so, in palette images of several subjects."""


def davis(source: FootageSource, root: Path) -> Iterator[Footage | UnusableFootage]:
    """JPEGImages/RESOLUTION/NAME/*.jpg and Annotations/RESOLUTION/NAME/*.png; each label is a subject."""
    images = _resolution(source, root / "JPEGImages")
    masks = root / "Annotations" / images.relative_to(root / "JPEGImages")
    for video in folders(images):
        annotations = masks / video.name
        if not annotations.is_dir():
            yield _no_mask(video.name, video, annotations)
            continue
        try:
            subjects = tuple(SubjectFiles(masks=annotations, label=label) for label in labels_in(annotations))
        except ValueError as wrong:
            yield UnusableFootage(name=video.name, reason=str(wrong))
            continue
        except OSError:
            yield UnusableFootage(
                name=video.name, reason=f"{annotations}: may not be read; change its permissions (chmod u+rx)"
            )
            continue
        if not subjects:
            yield UnusableFootage(
                name=video.name, reason=f"{annotations}: the masks are empty in all frames; draw the subject"
            )
            continue
        yield Footage(
            name=video.name, video=video, subjects=subjects, caption=source.fixed_caption, image_fps=source.image_fps
        )


def _resolution(source: FootageSource, images: Path) -> Path:
    """The folder that holds the sequences: DAVIS has one per resolution between, its kin has none."""
    if not images.is_dir():
        raise ValueError(f"{images}: is not there; the 'davis' layout has JPEGImages/ and Annotations/ under its root")
    names = [folder.name for folder in folders(images)]
    resolution = source.resolution or ("480p" if "480p" in names else names[0] if len(names) == 1 else None)
    if source.resolution and source.resolution not in names:
        raise ValueError(f"{images}: has no folder {source.resolution!r}; resolution is one of {', '.join(names)}")
    holds_images = any(is_image_folder(images / name) for name in names)
    if resolution is None and not holds_images:
        raise ValueError(f"{images}: has {', '.join(names) or 'nothing'}; choose with --set resolution=NAME")
    return images if holds_images or resolution is None else images / resolution


def labels_in(annotations: Path) -> list[int | None]:
    """The subjects of a folder of mask images: its labels, or [None] for soft masks of one subject."""
    counts = np.zeros(256, np.int64)
    files = image_files(annotations)
    for file in files:
        counts += np.bincount(load_values(file).ravel(), minlength=256)
    values = [int(value) for value in np.flatnonzero(counts) if value]
    labelled = bool(files) and is_palette(files[0])
    if len(values) > 1 and (labelled or max(set(values) - {VOID}) <= 32):
        return [value for value in values if value != VOID]
    return [None] if len(values) > 1 else list(values)


def gen_omnimatte(source: FootageSource, root: Path) -> Iterator[Footage | UnusableFootage]:
    """NAME/input_video.mp4 and NAME/mask_00.mp4, ..., each of one subject; prompt.json is no caption of the clip."""
    clips = [root] if (root / "input_video.mp4").is_file() else folders(root)
    for clip in clips:
        video = clip / "input_video.mp4"
        if not video.is_file():
            yield UnusableFootage(
                name=clip.name, reason=f"{video}: is not there; a clip of this layout has its video so named"
            )
            continue
        masks = sorted(clip.glob("mask_*.mp4"))
        if not masks:
            yield _no_mask(clip.name, video, clip / "mask_00.mp4")
            continue
        subjects = tuple(SubjectFiles(masks=mask) for mask in masks)
        name = clip.resolve().name if clip == root else clip.name
        yield Footage(name=name, video=video, subjects=subjects, caption=source.fixed_caption)


def videos(source: FootageSource, root: Path) -> Iterator[Footage | UnusableFootage]:
    """Whatever the source's pattern matches, with the files that its other patterns find beside each video."""
    patterns = [*source.masks, *filter(None, (source.keys, source.background))]
    shots = sorted(path for path in root.glob(source.video) if not path.name.startswith("."))
    sidecars = {match for video in shots for pattern in patterns for match in beside(video, pattern)}
    for video in shots:
        if video in sidecars or (video.is_dir() and not is_image_folder(video)):
            continue
        name = _name(source, root, video)
        masks = [match for pattern in source.masks for match in beside(video, pattern)]
        keys = beside(video, source.keys) if source.keys else []
        plates = beside(video, source.background) if source.background else []
        missing = [
            (pattern, matches) for pattern, matches in ((source.keys, keys), (source.background, plates)) if pattern
        ]
        missing += [(pattern, beside(video, pattern)) for pattern in source.masks]
        missing_pattern = next((str(pattern) for pattern, matches in missing if not matches), None)
        if missing_pattern is not None:
            yield _no_mask(name, video, video.parent / missing_pattern.format(stem=video.stem))
            continue
        subjects = [SubjectFiles(masks=mask) for mask in masks] + [SubjectFiles(keys=key) for key in keys]
        yield Footage(
            name=name,
            video=video,
            subjects=tuple(subjects) or (SubjectFiles(),),
            background=plates[0] if plates else None,
            caption=source.fixed_caption,
            image_fps=source.image_fps,
        )


def _name(source: FootageSource, root: Path, video: Path) -> str:
    """The path below root; where every video is called the same, its folder's."""
    is_fixed_name = not any(sign in Path(source.video).name for sign in "*?[")
    inside = video.parent.relative_to(root) if is_fixed_name else video.relative_to(root).with_suffix("")
    return "-".join(inside.parts) or (root.resolve().name if is_fixed_name else video.stem)


def _no_mask(name: str, video: Path, expected: Path) -> UnusableFootage:
    return UnusableFootage(
        name=name, reason=f"{video}: has no mask beside it; {expected} is not there, make it or exclude {name!r}"
    )
