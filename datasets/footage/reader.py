"""Frames out of video files and folders of images, as a player would show them: upright, in full-range RGB."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...arrays import Image
from .images import ImageFolder, open_images
from .probe import FootageInfo, need_readable
from .video import VideoFile, open_video


@runtime_checkable
class FrameReader(Protocol):
    """Frames in order, read anew by each loop over it; one frame at a time is in memory."""

    @property
    def info(self) -> FootageInfo:
        """What is known of it before it is read."""
        ...

    def __iter__(self) -> Iterator[tuple[float, Image]]:
        """Yield (seconds since the first frame, frame)."""
        ...

    def thumbnails(self, rows: int) -> Iterator[tuple[float, Image]]:
        """The same at so many rows, quickly: to look for cuts, not to keep."""
        ...


def open_frames(path: Path, *, image_fps: float = 24.0) -> FrameReader:
    """Look at a video file, or a folder of numbered images, and make it ready to read.

    Args:
        path: mp4, mov, mkv, webm, avi or ts, whatever its name says; or a folder of png, jpg, tif, webp or bmp.
        image_fps: frames per second of a folder of images.

    Raises:
        ValueError: in one sentence that names the file and the remedy. A file that turns out to be damaged further
            on raises it when the loop gets there.
    """
    need_readable(path)
    return open_images(path, fps=image_fps) if path.is_dir() else open_video(path)


def count_frames(frames: FrameReader) -> int:
    """How many frames there are: as the file says, or counted where it does not."""
    return sum(1 for _ in frames.thumbnails(16)) if frames.info.frames is None else frames.info.frames


__all__ = ["FootageInfo", "FrameReader", "ImageFolder", "VideoFile", "count_frames", "open_frames"]
