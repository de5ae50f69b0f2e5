"""Videos that a method made, one a clip.

`CLIP_ID.mkv` (or .mp4, .mov, .webm, .avi), `CLIP_ID/video.mkv` as `effectpairs generate` leaves it, or a folder
`CLIP_ID` of images.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from ...arrays import Rgb
from ...datasets.store import codec
from ...untrusted_input import path_within

SUFFIXES = (".mkv", ".mp4", ".mov", ".webm", ".avi")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table: a name and the folder with what the method made."""

    name: str
    folder: Path


def parse_method(option: str) -> Method:
    """Parse the value of `--method NAME=FOLDER`.

    Raises:
        ValueError: it is not of that form, or there is no such folder.
    """
    name, _, folder = option.partition("=")
    if not name or not folder:
        raise ValueError(f"--method {option} is not NAME=FOLDER; write, for instance, ours=outputs/ours")
    if not Path(folder).is_dir():
        raise ValueError(f"--method {option}: there is no folder {folder}; name the folder with the method's videos")
    return Method(name=name, folder=Path(folder))


def find_video(folder: Path, clip_id: str) -> Path | None:
    """Path to a method's video of a clip, whatever its container; None where there is none."""
    images, stems = path_within(folder, clip_id), (clip_id, f"{clip_id}/video")
    files = [
        path for stem in stems for suffix in SUFFIXES if (path := path_within(folder, f"{stem}{suffix}")).is_file()
    ]
    return files[0] if files else images if images.is_dir() else None


def list_clip_ids(folder: Path) -> tuple[str, ...]:
    """Ids of the clips that a folder has a video of, sorted."""
    paths = [path for path in folder.iterdir() if path.is_dir() or path.suffix in SUFFIXES]
    return tuple(sorted({path.name if path.is_dir() else path.stem for path in paths}))


def require_videos(methods: Sequence[Method], clip_ids: Sequence[str]) -> None:
    """Check, before hours of work, that every method has every clip.

    Raises:
        ValueError: a method lacks some, with their number and the first.
    """
    for method in methods:
        missing = [clip_id for clip_id in clip_ids if find_video(method.folder, clip_id) is None]
        if missing:
            raise ValueError(
                f"{method.folder} has no video of {len(missing)} of {len(clip_ids)} clips, the first is {missing[0]}; "
                f"put {missing[0]}.mkv or .mp4 there, or evaluate fewer clips with --split"
            )


def read_video(path: Path) -> Rgb:
    """Read all frames of a video file or a folder of images, sorted by name.

    Raises:
        ValueError: it does not decode, or has no frames.
    """
    try:
        frames = _read_images(path) if path.is_dir() else codec.decode(path.read_bytes())
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} does not decode: {error}; make it again") from error
    if not len(frames):
        raise ValueError(f"{path} has no frames; make it again")
    return frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=-1)


def crop_to_even(frames: Rgb) -> Rgb:
    """Drop an odd last row or column, which H.264 with halved colour does not store."""
    height, width = (side - side % 2 for side in frames.shape[1:3])
    return frames[:, :height, :width]


def pixels_digest(frames: Rgb) -> str:
    """SHA-256 of a video's shape and pixels."""
    digest = hashlib.sha256(str(frames.shape).encode())
    for frame in frames:
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _read_images(folder: Path) -> Rgb:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths]
    if any(image is None or image.shape != images[0].shape for image in images):
        raise ValueError(f"{folder}: its images are damaged or not of one size; make them again")
    return np.stack([image[..., ::-1] for image in images]) if images else np.zeros((0, 1, 1, 3), np.uint8)
