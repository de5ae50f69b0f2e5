"""Videos that a method made, one a clip.

`CLIP_ID.mkv` (or .mp4, .mov, .webm, .avi), `CLIP_ID/video.mkv` as `effectpairs generate` leaves it, or a folder
`CLIP_ID` of images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ...datasets.footage.reader import open_frames
from ...datasets.store import codec
from ...stages.normalise import resize, sample_indices
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


def require_names(methods: Sequence[Method]) -> None:
    """Check that no two methods share a name.

    Raises:
        ValueError: two do.
    """
    names = [method.name for method in methods]
    double = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if double is not None:
        raise ValueError(f"two methods are called {double}; methods must have names that differ, as in NAME=FOLDER")


def require_videos(methods: Sequence[Method], clip_ids: Sequence[str]) -> None:
    """Check, before hours of work, that every method has every clip.

    Raises:
        ValueError: there is no method, or one lacks some, with their number and the first.
    """
    require_names(methods)
    if not methods:
        raise ValueError("there is no method to measure; give one as --method NAME=FOLDER")
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


def read_conformed(path: Path, shape: tuple[int, int, int], fps: float) -> Rgb:
    """Read a video of any size and rate as one of a clip's frames, height and width; it may come out shorter.

    Frames: of as many as the clip, one for one, whatever rate the file names. Of another number, the nearest to each of
    the clip's instants by the file's own times, as footage is resampled; images of a folder have no times and come one
    for one. What is over is left out. Size: stretched to the clip's height and width, by area to shrink and bicubic to
    grow; whoever pads or crops takes that back before.

    Raises:
        ValueError: it does not decode to its end.
    """
    num_frames, *size = shape
    times_s, frames = [], []
    for time_s, frame in open_frames(path):
        times_s.append(time_s)
        frames.append(resize(frame, (size[0], size[1])))
    conformed: Rgb = np.stack([frames[index] for index in _frame_order(path, times_s, num_frames, fps)])
    return conformed


def _frame_order(path: Path, times_s: Sequence[float], num_frames: int, fps: float) -> Sequence[int]:
    """Numbers of the frames that stand for a clip's, by the rules of `read_conformed`."""
    one_for_one = len(times_s) == num_frames or path.is_dir()
    order = range(len(times_s)) if one_for_one else sample_indices(np.array(times_s), fps).tolist()
    return order[:num_frames]


def conformed_lengths(
    methods: Sequence[Method], clips: Sequence[Mapping[str, Any]], *, trim: bool
) -> dict[str, dict[str, int]]:
    """Length that each method has of each clip, by method and clip id, after every video was decoded once.

    Args:
        methods: rows of the table.
        clips: rows of a corpus, of which `clip_id`, `num_frames` and `fps` are taken.
        trim: allow videos that end before their clip; all methods are then measured on the shortest.

    Raises:
        ValueError: videos are missing, do not decode or end too soon, in one sentence that names the first of each
            method.
    """
    lengths: dict[str, dict[str, int]] = {}
    refusals = []
    for method in methods:
        lengths[method.name], faults = {}, []
        for clip in clips:
            clip_id, num_frames = clip["clip_id"], clip["num_frames"]
            path = find_video(method.folder, clip_id)
            try:
                times_s = [] if path is None else [time_s for time_s, _ in open_frames(path)]
            except (ValueError, OSError) as error:
                faults.append(f"{clip_id} does not decode ({error})")
                continue
            length = len(_frame_order(path, times_s, num_frames, clip["fps"])) if path and times_s else 0
            lengths[method.name][clip_id] = length
            if path is None:
                faults.append(f"{clip_id} is missing")
            elif not length or (length < num_frames and not trim):
                faults.append(f"{clip_id} has {length} of {num_frames} frames")
        if faults:
            examples = ", ".join(faults[:3]) + (", ..." if len(faults) > 3 else "")
            refusals.append(f"{method.folder} lacks {len(faults)} of {len(clips)} clips: {examples}")
    if refusals:
        raise ValueError(
            f"{'; '.join(refusals)}; make them again, or cut all methods to the shortest with --trim "
            "if they are only too short"
        )
    return lengths


def crop_to_even(frames: Rgb) -> Rgb:
    """Drop an odd last row or column, which H.264 with halved colour does not store."""
    height, width = (side - side % 2 for side in frames.shape[1:3])
    return frames[:, :height, :width]


def pixels_digest(frames: Rgb | Matte | Mask) -> str:
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
