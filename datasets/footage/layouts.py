"""Layouts of footage in folders: videos with masks, and rendered sets that others published with their clean plates.

DAVIS: JPEGImages/RESOLUTION/NAME/*.jpg and Annotations/RESOLUTION/NAME/*.png; each label is a subject.

Generative Omnimatte's examples: NAME/input_video.mp4 and NAME/mask_00.mp4, ..., each of one subject; prompt.json is no
caption of the clip.

Videos: whatever the source's pattern matches, with the files that its other patterns find beside each video.

Kubric pairs, as Generative Omnimatte's generator writes them and its trainer reads them; one folder a clip:
    rgb_full.mp4      everything; 16 fps, square (256x256 unless set otherwise), H.264
    rgb_removed.mp4   the same scene rendered without the removed objects and what they cast: the clean plate
    mask.mp4          0 the removed objects, 255 objects that stay, 128 the rest ("trimask"), or 255 for all that is
                      not removed ("binary"); drawn with one sample a pixel, so edges are stairs
    (tuple.mp4        the three side by side; not read)
Instead of each video there may be a folder of images of its name (rgb_full/00000.png), as the generator writes on
demand, or the folders input, bg and trimask of the same meaning, which the trainer knows too. Which objects are removed
is drawn with replacement, one or several of up to five; the plate lacks all of them at once, so all pixels of 0 are one
subject and a clip is one row. Objects that stay are in the video and in the plate.

Movies, of OmnimatteRF; one folder a clip:
    rgb_1x/0000.png               everything
    masks/mask/00/00000.png, 01/  a coarse mask per object, white above one half; where two meet, the first is in front;
                                  a single object's images may lie in masks/mask itself
    (poses.json, flow/, depth/    cameras and the like; not read)
Its code says nothing of where the clean plate lies, nor that there is one: the setting `background` names it, relative
to the clip's folder, with {stem} for the clip's name ("bg", "../{stem}_bg/rgb_1x"). A plate lacks every object of the
scene, so here too all masks together are one subject; a plate without one object alone is a clip of its own.

VOID, one folder a clip: pairs as Kubric pairs, but for the mask, which is a quadmask (`mask_meaning.py`); or clips
without a plate, input_video.mp4 with quadmask_0.mp4, quadmask_1.mp4, ..., each of one subject. prompt.json, the depth
and the warped noise are not read: the prompt describes the scene without the subject. A plate shows what happens where
the subject never was, so things may fall in it that did not in the video.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...untrusted_input import fill_pattern
from ..sources.source import FootageSource
from .images import is_palette, load_values
from .metadata_table import find_listed, read_listed
from .prompts import is_prompts_file, read_prompts
from .types import Footage, SubjectFiles, beside, folders, image_files, is_image_folder

VOID = 255
"""DAVIS and its kin mark pixels that no one should judge so, in palette images of several subjects."""
REMOVED = 0
"""The value of a trimask's pixels that the plate was rendered without."""
VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi"}
PARTS = (("rgb_full", "rgb_removed", "mask"), ("input", "bg", "trimask"))
Clips = Iterator[tuple[str, Path]]
"""Name of each clip, and its folder or video."""


def find_davis(source: FootageSource, root: Path) -> Clips:
    """Find a folder of images for each video."""
    return ((video.name, video) for video in folders(_resolution(source, root / "JPEGImages")))


def read_davis(source: FootageSource, root: Path, name: str, video: Path) -> Footage:
    """List the subjects of one video, or raise ValueError with the reason why it cannot be used, as all readers do."""
    annotations = root / "Annotations" / video.relative_to(root / "JPEGImages")
    if not annotations.is_dir():
        raise ValueError(_no_mask(name, video, annotations))
    labels = _labels_in(annotations) if source.mask_meaning is None else [None]
    subjects = tuple(SubjectFiles(masks=annotations, label=label, meaning=source.mask_meaning) for label in labels)
    if not subjects:
        raise ValueError(f"{annotations}: the masks are empty in all frames; draw the subject")
    return Footage(name=name, video=video, subjects=subjects)


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


def _labels_in(annotations: Path) -> list[int | None]:
    """The subjects of a folder of mask images: its labels, or [None] for soft masks of one subject."""
    counts = np.zeros(256, np.int64)
    files = image_files(annotations)
    for file in files:
        counts += np.bincount(load_values(file).ravel(), minlength=256)
    values = [int(value) for value in np.flatnonzero(counts) if value]
    labelled = bool(files) and is_palette(files[0])
    if len(values) > 1 and (labelled or max(set(values) - {VOID}) <= 32):
        return [value for value in values if value != VOID]
    is_soft = len(values) > 1 or (not labelled and values in ([127], [128]))  # 0 and 128 alone may be a trimask
    return [None] if is_soft else list(values)


def find_gen_omnimatte(source: FootageSource, root: Path) -> Clips:
    """Find a folder for each clip, or the root where it is the only one."""
    if (root / "input_video.mp4").is_file():
        return iter([(root.resolve().name, root)])
    return ((clip.name, clip) for clip in folders(root))


def read_gen_omnimatte(source: FootageSource, root: Path, name: str, clip: Path) -> Footage:
    """List the mask videos of one clip."""
    video = clip / "input_video.mp4"
    if not video.is_file():
        raise ValueError(f"{video}: is not there; a clip of this layout has its video so named")
    masks = sorted(clip.glob("mask_*.mp4"))
    if not masks:
        raise ValueError(_no_mask(name, video, clip / "mask_00.mp4"))
    subjects = tuple(SubjectFiles(masks=mask, meaning=source.mask_meaning) for mask in masks)
    return Footage(name=name, video=video, subjects=subjects)


def find_videos(source: FootageSource, root: Path) -> Clips:
    """Find the videos that are no other video's mask or background."""
    patterns = [*source.masks, *filter(None, (source.keys, source.background, source.foreground, source.alpha))]
    shots = sorted(path for path in root.glob(source.video) if not path.name.startswith("."))
    sidecars = {match for video in shots for pattern in patterns for match in beside(video, pattern)}
    for video in shots:
        if video not in sidecars and (not video.is_dir() or is_image_folder(video)):
            yield _name(source, root, video), video


def read_video(source: FootageSource, root: Path, name: str, video: Path) -> Footage:
    """List the masks, keys and layers of another tool beside one video."""
    external = {role: getattr(source, role) for role in ("background", "foreground", "alpha")}
    patterns = [*filter(None, (source.keys, *external.values())), *source.masks]
    files = {pattern: beside(video, pattern) for pattern in patterns}
    missing_pattern = next((pattern for pattern in patterns if not files[pattern]), None)
    if missing_pattern is not None:
        raise ValueError(_no_mask(name, video, video.parent / fill_pattern(missing_pattern, stem=video.stem)))
    meaning = source.mask_meaning
    subjects = [SubjectFiles(masks=mask, meaning=meaning) for pattern in source.masks for mask in files[pattern]]
    for key in files.get(source.keys or "", ()):
        if is_prompts_file(key):
            subjects += [
                SubjectFiles(prompts=prompts, prompts_file=key, meaning=meaning) for prompts in read_prompts(key)
            ]
        else:
            subjects.append(SubjectFiles(keys=key, meaning=meaning))
    background, foreground, alpha = (files[pattern][0] if pattern else None for pattern in external.values())
    return Footage(
        name=name,
        video=video,
        subjects=tuple(subjects) or (SubjectFiles(),),
        background=background,
        foreground=foreground,
        alpha=alpha,
    )


def _name(source: FootageSource, root: Path, video: Path) -> str:
    """The path below root; where every video is called the same, its folder's."""
    is_fixed_name = not any(sign in Path(source.video).name for sign in "*?[")
    inside = video.parent.relative_to(root) if is_fixed_name else video.relative_to(root).with_suffix("")
    return "-".join(inside.parts) or (root.resolve().name if is_fixed_name else video.stem)


def _no_mask(name: str, video: Path, expected: Path) -> str:
    return f"{video}: has no mask beside it; {expected} is not there, make it or exclude {name!r}"


def find_folders(source: FootageSource, root: Path, signs: tuple[str, ...]) -> Clips:
    """Find the folders at or under root, by path, in which anything bears one of the names; named by their path."""
    waiting = [root]
    while waiting:
        folder = waiting.pop(0)
        if any(_part(folder, sign) or (folder / sign).is_dir() for sign in signs):
            yield "-".join(folder.relative_to(root).parts) or root.resolve().name, folder
        else:
            # A link to a folder that it lies in would be followed without end.
            above = {parent.resolve() for parent in (folder, *folder.parents)}
            waiting[:0] = [inner for inner in folders(folder) if inner.resolve() not in above]


def read_kubric_pair(source: FootageSource, root: Path, name: str, clip: Path) -> Footage:
    """List video, clean plate and mask of one clip: videos, or folders of images so named."""
    paths: list[Path] = []
    for part in PARTS[1] if _part(clip, "trimask") else PARTS[0]:
        path = _part(clip, part)
        if path is None:
            raise ValueError(
                f"{clip}: lacks {part} ({part}.mp4 or a folder {part} of images); "
                f"fetch the clip again, or exclude {name!r}"
            )
        paths.append(path)
    video, plate, mask = paths
    label = REMOVED if source.mask_meaning is None else None
    subject = SubjectFiles(masks=mask, label=label, meaning=source.mask_meaning)
    return Footage(name=name, video=video, subjects=(subject,), background=plate)


def read_void(source: FootageSource, root: Path, name: str, clip: Path) -> Footage:
    """List video, quadmask and, where there is one, clean plate of one clip."""
    meaning, video = source.mask_meaning or "quadmask", _part(clip, "input_video")
    if video is None:
        return read_kubric_pair(replace(source, mask_meaning=meaning), root, name, clip)
    masks = sorted(path for path in clip.glob("quadmask_*.*") if path.suffix.lower() in VIDEOS)
    if not masks:
        raise ValueError(_no_mask(name, video, clip / "quadmask_0.mp4"))
    return Footage(name=name, video=video, subjects=tuple(SubjectFiles(masks=mask, meaning=meaning) for mask in masks))


def read_movie(source: FootageSource, root: Path, name: str, clip: Path) -> Footage:
    """List CLIP/rgb_1x, CLIP/masks/mask, and the clean plate where `background` says."""
    video, masks = clip / "rgb_1x", clip / "masks" / "mask"
    if not is_image_folder(video):
        raise ValueError(f"{video}: holds no images; put the video's frames there")
    if not any(is_image_folder(path) for path in (masks, *folders(masks))):
        raise ValueError(f"{masks}: holds no mask images; put them there, or in a folder 00, 01, ... an object")
    if source.background is None:
        raise ValueError(
            f"{clip}: where its clean plate lies is not set; give --set background=FOLDER, below the clip's"
        )
    plates = beside(video, source.background, clip.name)
    if not plates:
        raise ValueError(
            f"{clip}: has no clean plate {source.background!r}; render or fetch it, or name it with "
            "--set background=FOLDER"
        )
    subject = SubjectFiles(masks=masks, meaning=source.mask_meaning)
    return Footage(name=name, video=video, subjects=(subject,), background=plates[0])


def _part(clip: Path, name: str) -> Path | None:
    """A part of a clip: a video file of that name, or else a folder of images."""
    files = [file for file in sorted(clip.glob(f"{name}.*")) if file.suffix.lower() in VIDEOS and file.is_file()]
    return files[0] if files else clip / name if is_image_folder(clip / name) else None


LAYOUTS: dict[
    str, tuple[Callable[[FootageSource, Path], Clips], Callable[[FootageSource, Path, str, Path], Footage]]
] = {
    "davis": (find_davis, read_davis),
    "gen-omnimatte": (find_gen_omnimatte, read_gen_omnimatte),
    "videos": (find_videos, read_video),
    "movies": (partial(find_folders, signs=("rgb_1x", "masks")), read_movie),
    "kubric-pairs": (partial(find_folders, signs=("rgb_full", "rgb_removed", "trimask")), read_kubric_pair),
    "void": (partial(find_folders, signs=("rgb_full", "rgb_removed", "input_video", "quadmask_0")), read_void),
    "metadata": (find_listed, read_listed),
}
"""Functions of each layout: one finds the clips under a root, one lists the files of a clip."""
