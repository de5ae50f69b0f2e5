"""What footage is, and whether it can be read at all, before any frame is."""

import os
from dataclasses import dataclass
from pathlib import Path

MAX_SIDE_PX = 16384
MAX_PIXELS = 150_000_000


@dataclass(frozen=True, kw_only=True)
class FootageInfo:
    """What is known of footage before it is read."""

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
    """What a person should know of the source, in sentences."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def need_readable(path: Path) -> None:
    """Raise ValueError unless path is there and may be read."""
    if not os.path.lexists(path):
        raise ValueError(f"{path}: is not there; check the path")
    try:
        with os.scandir(path) if path.is_dir() else path.open("rb"):
            pass
    except OSError as wrong:
        how = f"change its permissions (chmod u+r{'x' * path.is_dir()})"
        raise ValueError(f"{path}: may not be read ({wrong.strerror}); {how}") from wrong
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"{path}: is an empty file; copy or download it again")


def need_sane_size(path: Path, width: int, height: int) -> None:
    """Raise ValueError when a header claims a picture that no clip needs and no memory holds."""
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX or width * height > MAX_PIXELS:
        raise ValueError(
            f"{path}: claims frames of {width}x{height} pixels, above the limit of {MAX_SIDE_PX} a side and "
            f"{MAX_PIXELS // 1_000_000} million in all; scale it down, or make it anew if the header lies"
        )
