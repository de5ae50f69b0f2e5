"""The videos that a method made, one a clip.

`CLIP_ID.mkv` (or .mp4, .mov, .webm, .avi), `CLIP_ID/video.mkv` as `effectpairs generate` leaves it, or a folder
`CLIP_ID` of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from ...arrays import Rgb
from ...datasets.store import codec

SUFFIXES = (".mkv", ".mp4", ".mov", ".webm", ".avi")
IMAGES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table: a name and the folder with what the method made."""

    name: str
    folder: Path


def method_of(given: str) -> Method:
    """The value of `--method NAME=FOLDER`.

    Raises:
        ValueError: it is not of that form, or there is no such folder.
    """
    name, _, folder = given.partition("=")
    if not name or not folder:
        raise ValueError(f"--method {given} is not NAME=FOLDER; write, for instance, ours=outputs/ours")
    if not Path(folder).is_dir():
        raise ValueError(f"--method {given}: there is no folder {folder}; name the folder with the method's videos")
    return Method(name=name, folder=Path(folder))


def find_video(folder: Path, clip_id: str) -> Path | None:
    """Where a method's video of a clip is, whatever its container; None where there is none."""
    whole = folder / clip_id
    stems = (clip_id, f"{clip_id}/video")
    files = [path for stem in stems for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    return files[0] if files else whole if whole.is_dir() else None


def clip_ids(folder: Path) -> tuple[str, ...]:
    """The clips of which a folder has a video, sorted."""
    return tuple(
        sorted({path.name if path.is_dir() else path.stem for path in folder.iterdir()
                if path.is_dir() or path.suffix in SUFFIXES})
    )  # fmt: skip


def require_videos(methods: Sequence[Method], wanted: Sequence[str]) -> None:
    """Look, before hours of work, whether every method has every clip.

    Raises:
        ValueError: a method lacks some, with their number and the first.
    """
    for method in methods:
        gone = [clip_id for clip_id in wanted if find_video(method.folder, clip_id) is None]
        if gone:
            raise ValueError(
                f"{method.folder} has no video of {len(gone)} of {len(wanted)} clips, the first is {gone[0]}; put "
                f"{gone[0]}.mkv or .mp4 there, or evaluate fewer clips with --split"
            )


def read_video(path: Path) -> Rgb:
    """All frames of a video file or a folder of images, sorted by name.

    Raises:
        ValueError: it does not decode, or has no frames.
    """
    try:
        frames = _images(path) if path.is_dir() else codec.decode(path.read_bytes())
    except (av.error.FFmpegError, IndexError) as broken:
        raise ValueError(f"{path} does not decode: {broken}; make it again") from broken
    if not len(frames):
        raise ValueError(f"{path} has no frames; make it again")
    return frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=-1)


def _images(folder: Path) -> Rgb:
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)
    read = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in names]
    if any(image is None or image.shape != read[0].shape for image in read):
        raise ValueError(f"{folder}: its images are damaged or not of one size; make them again")
    return np.stack([image[..., ::-1] for image in read]) if read else np.zeros((0, 1, 1, 3), np.uint8)
