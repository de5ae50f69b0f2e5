"""Types of footage: one video with the files beside it, its size and rate, or why it cannot be read."""

import contextlib
import errno
import glob
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...untrusted_input import fill_pattern, parse_json
from .mask_meaning import MaskMeaning

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
MAX_SIDE_PX = 16384
MAX_PIXELS = 150_000_000
MAX_JSON_BYTES = 32 << 20
"""An outline of 1,000 points for each of 1,000 frames takes 16 MB, and 145 MB as Python's values."""


@dataclass(frozen=True, kw_only=True)
class FootageInfo:
    """Facts of footage that are known before it is read."""

    width: int
    """Pixels across as shown: after rotation and sample aspect ratio."""
    height: int
    fps: float
    """Frames per second, on average where the rate varies."""
    variable: bool = False
    """Whether frames are shown for different times."""
    bit_depth: int = 8
    full_range: bool = True
    """Whether colour was stored in all of its numbers (0 to 255) or in the studio range (16 to 235)."""
    frames: int | None = None
    duration_s: float | None = None
    notes: tuple[str, ...] = ()
    """Sentences about the source for the person who reviews its clips."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def need_readable(path: Path) -> None:
    """Raise ValueError unless path is a file or folder that is there and may be read."""
    need_plain(path)
    try:
        with os.scandir(path) if path.is_dir() else path.open("rb"):
            pass
    except OSError as wrong:
        how = f"change its permissions (chmod u+r{'x' * path.is_dir()})"
        raise ValueError(f"{path}: may not be read ({wrong.strerror}); {how}") from wrong
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"{path}: is an empty file; copy or download it again")


def need_plain(path: Path) -> None:
    """Raise ValueError unless path is a file or a folder: a pipe would be waited for, a device read without end."""
    try:
        mode = path.stat().st_mode
    except OSError as wrong:
        if wrong.errno == errno.ELOOP:
            raise ValueError(f"{path}: is a link that leads in a circle; delete it, or link to a file") from wrong
        if wrong.errno == errno.EACCES:
            raise ValueError(f"{path}: may not be read ({wrong.strerror}); change its folder's permissions") from wrong
        if os.path.lexists(path):
            raise ValueError(f"{path}: is a link to nothing; delete it, or link to a file") from wrong
        raise ValueError(f"{path}: is not there; check the path") from wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path}: is a pipe, socket or device and no file; copy what it gives into a file")


def need_sane_size(path: Path, width: int, height: int) -> None:
    """Raise ValueError when a header claims a picture that no clip needs and no memory holds."""
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise ValueError(
            f"{path}: claims frames of {width}x{height} pixels, above the limit of {MAX_SIDE_PX} a side and "
            f"{MAX_PIXELS // 1_000_000} million in all; scale it down, or make it anew if the header lies"
        )


Point = tuple[float | int, float | int]
"""x and y in pixels; the centre of the top left pixel is (0, 0)."""
Box = tuple[float | int, float | int, float | int, float | int]
"""x and y of the top left corner, width and height in pixels."""


@dataclass(frozen=True, kw_only=True)
class VideoPrompts:
    """Prompts of one subject, by frame of its video."""

    points: Mapping[int, tuple[Point, ...]] = field(default_factory=dict)
    """Points on the subject."""
    not_points: Mapping[int, tuple[Point, ...]] = field(default_factory=dict)
    """Points beside it."""
    boxes: Mapping[int, Box] = field(default_factory=dict)
    polygons: Mapping[int, tuple[tuple[Point, ...], ...]] = field(default_factory=dict)
    """Outlines of it, which are united and filled."""
    masks: Mapping[int, Path] = field(default_factory=dict)
    """Image files of its mask."""
    text: str = ""
    """Noun for it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing says where the subject is."""
        return not any(getattr(self, part.name) for part in fields(self))

    @property
    def frames(self) -> frozenset[int]:
        """Frames that have a prompt."""
        return frozenset(self.points).union(self.not_points, self.boxes, self.polygons, self.masks)

    def check(self, video: FootageInfo, num_frames: int, name: str) -> None:
        """Refuse prompts that the video has no place for; name begins the sentences.

        Raises:
            ValueError: a frame or a point outside the video, a box beside it, points with nothing on the subject, or a
                mask and points for one frame.
        """
        width, height = video.width, video.height
        outside = f"lies outside the picture of {width}x{height}; give pixels of the video as shown"
        for frame in sorted(self.frames):
            if not 0 <= frame < num_frames:
                raise ValueError(f"{name}: frame {frame} is not in the video, which has frames 0 to {num_frames - 1}")
            for x, y in (*self.points.get(frame, ()), *self.not_points.get(frame, ())):
                if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
                    raise ValueError(f"{name}: the point {x:g},{y:g} of frame {frame} {outside}")
            has_mask = frame in self.masks or frame in self.polygons
            if has_mask and (frame in self.points or frame in self.not_points or frame in self.boxes):
                raise ValueError(f"{name}: frame {frame} has a mask, and points or a box too; keep one of the two")
            if not (has_mask or frame in self.points or frame in self.boxes):
                raise ValueError(f"{name}: frame {frame} has points beside the subject alone; give one on it")
        for frame, (x, y, box_width, box_height) in self.boxes.items():
            inside = min(x + box_width, width) - max(x, 0), min(y + box_height, height) - max(y, 0)
            if min(*inside, box_width, box_height) <= 0:
                raise ValueError(f"{name}: the box {x:g},{y:g},{box_width:g},{box_height:g} of frame {frame} {outside}")


@dataclass(frozen=True, kw_only=True)
class SubjectFiles:
    """Facts of one subject that are known beforehand; none at all where settings alone say where it is."""

    masks: Path | None = None
    """A mask video, a folder of mask images, one for each frame, or a folder of such folders, which are united."""
    label: int | None = None
    """Value of this subject in the masks (0: the part that a rendered plate lacks); None where they show it alone."""
    meaning: MaskMeaning | None = None
    """Meaning of the masks' values where there is no label; None: the subject in white, unless it looks otherwise."""
    keys: Path | None = None
    """Masks of key frames: a polygons JSON or a folder of FRAME.png."""
    prompts: VideoPrompts = VideoPrompts()
    """Points, boxes, outlines, masks and a noun, for segmenters that take such."""
    prompts_file: Path | None = None
    """The JSON that they were read from."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """One video and what came with it."""

    name: str
    video: Path
    """A file, or a folder of images."""
    subjects: tuple[SubjectFiles, ...] = (SubjectFiles(),)
    background: Path | None = None
    """A clean plate that another tool made."""
    foreground: Path | None = None
    """The subject with its effects, straight colour, by that tool."""
    alpha: Path | None = None
    """The matte of it: a video of grey levels, or a folder of images, whose alpha counts where they have one."""
    caption: str | None = None
    image_fps: float = 24.0
    """Frames per second, where the video is a folder of images."""

    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file that matters, with its role, in an order that never changes: for hashing content."""
        paths = [("video", self.video)]
        for number, subject in enumerate(self.subjects):
            paths += [(f"masks-{number}", subject.masks)] if subject.masks else []
            paths += [(f"keys-{number}", subject.keys)] if subject.keys else []
            paths += [(f"prompts-{number}", subject.prompts_file)] if subject.prompts_file else []
            paths += [(f"prompts-{number}", subject.prompts.masks[frame]) for frame in sorted(subject.prompts.masks)]
        for role in ("background", "foreground", "alpha"):
            paths += [(role, path)] if (path := getattr(self, role)) else []
        files = []
        for role, path in paths:
            folders = mask_folders(path) if path.is_dir() else []
            images = [file for folder in folders for file in image_files(folder)]
            files += [(role, file) for file in (images if path.is_dir() else [path])]
        return tuple(files)


@dataclass(frozen=True, kw_only=True)
class UnusableFootage:
    """Footage that cannot be used, and why, in a sentence with the file and the remedy."""

    name: str
    reason: str


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def mask_folders(path: Path) -> list[Path]:
    """The folders whose images together are one subject's masks: the folder itself, or those in it."""
    inside = [] if image_files(path) else [folder for folder in folders(path) if image_files(folder)]
    return inside or [path]


def is_image_folder(folder: Path) -> bool:
    """Does it hold images, or refuse to be looked into (and is then refused by name when its files are listed)?"""
    try:
        return folder.is_dir() and bool(image_files(folder))
    except PermissionError:
        return True


def folders(parent: Path) -> list[Path]:
    """The folders in a folder, by name; none where there is no such folder or it is closed (that is listed apart)."""
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return []


def read_json(path: Path) -> Any:
    """Value of a JSON file beside footage.

    Raises:
        ValueError: it cannot be read, is no JSON, is nested without end, or is too large to be drawn by hand.
    """
    need_readable(path)
    if (size_bytes := path.stat().st_size) > MAX_JSON_BYTES:
        raise ValueError(
            f"{path}: is a JSON file of {size_bytes >> 20} MiB, above the limit of {MAX_JSON_BYTES >> 20}; "
            "give masks as images or as a video"
        )
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise ValueError(f"{path}: is not valid JSON ({wrong}); mend it") from wrong


def readable(text: object) -> str:
    r"""Text with whatever is no UTF-8 in it (names of files may hold any bytes) written as \xNN."""
    return os.fsencode(str(text)).decode(errors="backslashreplace")


def beside(video: Path, pattern: str, stem: str = "") -> list[Path]:
    """Return the paths that a glob pattern finds in a video's folder; {stem} is the video's name, or the one given."""
    name = fill_pattern(pattern, stem=glob.escape(stem or video.stem))
    if not glob.has_magic(name):  # nothing to search for
        with contextlib.suppress(PermissionError):
            return [path] if (path := video.parent / name).exists() else []
    return sorted(video.parent.glob(name))
