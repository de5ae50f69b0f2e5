"""What a search for footage finds: one video and its files, or why not."""

from dataclasses import dataclass
from pathlib import Path

from .images import SUFFIXES


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


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def _files_in(place: Path) -> list[Path]:
    return image_files(place) if place.is_dir() else [place]
