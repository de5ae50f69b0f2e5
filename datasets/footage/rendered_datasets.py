"""Rendered sets that others published: video, clean plate and masks lie side by side, so nothing has to be removed.

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
"""

from collections.abc import Iterator
from pathlib import Path

from ..sources.source import FootageSource
from .types import Footage, SubjectFiles, UnusableFootage, beside, folders, is_image_folder

REMOVED = 0
"""The value of a trimask's pixels that the plate was rendered without."""
VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi"}
PARTS = (("rgb_full", "rgb_removed", "mask"), ("input", "bg", "trimask"))


def kubric_pairs(source: FootageSource, root: Path) -> Iterator[Footage | UnusableFootage]:
    """CLIP/rgb_full.mp4, rgb_removed.mp4 and mask.mp4, or folders of images so named, anywhere under root."""
    for clip in _clips(root, ("rgb_full", "rgb_removed", "trimask")):
        name = _name(root, clip)
        parts = PARTS[1] if _part(clip, "trimask") else PARTS[0]
        paths = [_part(clip, part) for part in parts]
        missing_part = next((part for part, path in zip(parts, paths, strict=True) if path is None), None)
        video, plate, mask = paths
        if video is None or plate is None or mask is None:
            yield UnusableFootage(
                name=name,
                reason=f"{clip}: lacks {missing_part} ({missing_part}.mp4 or a folder {missing_part} of images); "
                f"fetch the clip again, or exclude {name!r}",
            )
            continue
        yield Footage(
            name=name,
            video=video,
            subjects=(SubjectFiles(masks=mask, label=REMOVED),),
            background=plate,
            caption=source.fixed_caption,
            image_fps=source.image_fps,
        )


def movies(source: FootageSource, root: Path) -> Iterator[Footage | UnusableFootage]:
    """CLIP/rgb_1x, CLIP/masks/mask, and the clean plate where `background` says."""
    for clip in _clips(root, ("rgb_1x", "masks")):
        name, video, masks = _name(root, clip), clip / "rgb_1x", clip / "masks" / "mask"
        if not is_image_folder(video):
            yield UnusableFootage(name=name, reason=f"{video}: holds no images; put the video's frames there")
            continue
        if not any(is_image_folder(path) for path in (masks, *folders(masks))):
            yield UnusableFootage(
                name=name, reason=f"{masks}: holds no mask images; put them there, or in a folder 00, 01, ... an object"
            )
            continue
        if source.background is None:
            yield UnusableFootage(
                name=name,
                reason=f"{clip}: where its clean plate lies is not set; give --set background=FOLDER, below the clip's",
            )
            continue
        plates = beside(video, source.background.replace("{stem}", clip.name))
        if not plates:
            yield UnusableFootage(
                name=name,
                reason=f"{clip}: has no clean plate {source.background!r}; render or fetch it, or name it with "
                "--set background=FOLDER",
            )
            continue
        yield Footage(
            name=name,
            video=video,
            subjects=(SubjectFiles(masks=masks),),
            background=plates[0],
            caption=source.fixed_caption,
            image_fps=source.image_fps,
        )


def _clips(root: Path, signs: tuple[str, ...]) -> Iterator[Path]:
    """The folders at or under root, by path, in which anything bears one of the names."""
    if any(_part(root, sign) or (root / sign).is_dir() for sign in signs):
        yield root
        return
    for folder in folders(root):
        yield from _clips(folder, signs)


def _part(clip: Path, name: str) -> Path | None:
    """A part of a clip: a video file of that name, or else a folder of images."""
    files = [file for file in sorted(clip.glob(f"{name}.*")) if file.suffix.lower() in VIDEOS and file.is_file()]
    return files[0] if files else clip / name if is_image_folder(clip / name) else None


def _name(root: Path, clip: Path) -> str:
    return "-".join(clip.relative_to(root).parts) or root.resolve().name
