"""Folders of numbered images as footage."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from ...arrays import Image, MatteImage
from ...heartbeat import beat
from .runs import FrameLog
from .types import MAX_PIXELS, FootageInfo, image_files, need_readable, need_sane_size

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM")
"""Formats that are read, whatever a name says: Pillow would start Ghostscript for a PostScript file named .png."""
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error)
"""Exceptions that Pillow's readers raise on damaged files."""


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """A sequence of images, one a frame."""

    files: tuple[Path, ...]
    info: FootageInfo

    def __iter__(self) -> Iterator[tuple[float, Image]]:
        for number, file in enumerate(self.files):
            yield number / self.info.fps, load_rgb(file)

    def thumbnails(self, rows: int, log: FrameLog | None = None) -> Iterator[tuple[float, Image]]:
        """The same at so many rows; any image can be read alone, so there is nothing to log."""
        width = max(16, round(self.info.width * rows / self.info.height))
        for number, file in enumerate(self.files):
            small = Pillow.fromarray(load_rgb(file)).resize((width, rows), Pillow.Resampling.BOX)
            yield number / self.info.fps, np.asarray(small)


def open_images(folder: Path, *, fps: float) -> ImageFolder:
    """List a folder's images by number and check their headers.

    Raises:
        ValueError: for no images, a missing or doubled number, an image of another size, or one that is no image.
    """
    files = numbered_images(folder)
    sizes = [image_size(file) for file in files]
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"{file}: is {size[0]}x{size[1]} pixels, but {files[0].name} is {sizes[0][0]}x{sizes[0][1]}; "
                "every image of a sequence has one size"
            )
    width, height = sizes[0]
    info = FootageInfo(width=width, height=height, fps=fps, frames=len(files), duration_s=len(files) / fps)
    return ImageFolder(files=tuple(files), info=info)


def numbered_images(folder: Path) -> list[Path]:
    """Images of a folder in the order of the last number in their names, which has no gaps and no doubles."""
    files = image_files(folder)
    if not files:
        raise ValueError(f"{folder}: holds no images; put the sequence there as 00000.png, 00001.png and so on")
    files = sorted(files, key=number_of)
    for previous, next_one in pairwise(files):
        step = number_of(next_one) - number_of(previous)
        if step == 0:
            raise ValueError(f"{next_one}: has the same number as {previous.name}; keep one sequence in one folder")
        if step > 1:
            raise ValueError(
                f"{folder}: image {number_of(previous) + 1} is missing between {previous.name} and {next_one.name}; "
                "restore it, or number the images without gaps"
            )
    return files


def number_of(file: Path) -> int:
    """The last whole number in a file's name.

    Raises:
        ValueError: when there is none.
    """
    numbers = re.findall(r"\d+", file.stem)
    if not numbers:
        raise ValueError(
            f"{file}: has no number in its name; name the images 00000{file.suffix}, 00001{file.suffix}, ..."
        )
    return int(numbers[-1])


def image_size(file: Path) -> tuple[int, int]:
    """Width and height as shown, out of the header alone."""
    with _opened(file) as picture:
        need_sane_size(file, *picture.size)
        turned = picture.getexif().get(0x0112, 1) >= 5  # the camera lay on its side
        return (picture.height, picture.width) if turned else (picture.width, picture.height)


def load_rgb(file: Path) -> Image:
    """An image as shown: upright, 8-bit RGB, without its alpha."""
    with _opened(file) as picture:
        upright = _upright(picture)
        if _is_deep(upright):
            return np.repeat(_eight_bit(upright)[..., None], 3, axis=2)
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def load_alpha(file: Path) -> MatteImage:
    """A matte image, upright and of 8 bits: the alpha of an image that has one, else its grey."""
    with _opened(file) as picture:
        upright = _upright(picture)
        if _is_deep(upright):
            return _eight_bit(upright)
        has_alpha = "A" in upright.getbands() or "transparency" in upright.info
        return np.array(upright.convert("RGBA").getchannel("A") if has_alpha else upright.convert("L"))


def load_values(file: Path) -> MatteImage:
    """A mask image's own numbers: palette indices or grey levels; of a coloured image the grey of it."""
    with _opened(file) as picture:
        if _is_deep(picture):
            return _eight_bit(picture)
        return np.array(picture if picture.mode in {"P", "L"} else picture.convert("RGB").convert("L"))


def is_palette(file: Path) -> bool:
    """Whether an image's numbers are labels rather than levels."""
    with _opened(file) as picture:
        return picture.mode == "P"


@contextmanager
def _opened(file: Path) -> Iterator[Pillow.Image]:
    """Open an image; whatever Pillow finds wrong with it, now or inside the block, becomes one sentence."""
    beat()
    need_readable(file)
    limit = f"{MAX_PIXELS // 1_000_000} million pixels"
    try:
        picture = Pillow.open(file, formats=FORMATS)
    except Pillow.DecompressionBombError as wrong:
        raise ValueError(f"{file}: claims a picture above the limit of {limit}; make the file anew") from wrong
    except UnidentifiedImageError as wrong:
        raise ValueError(f"{file}: is not an image, whatever its name says; replace it") from wrong
    except DAMAGE as wrong:
        raise ValueError(f"{file}: is damaged ({wrong}); copy or make it again") from wrong
    with picture:
        need_sane_size(file, *picture.size)
        if picture.mode == "F":
            raise ValueError(f"{file}: holds floating-point pixels; save it with 8 or 16 bits")
        try:
            yield picture
        except DAMAGE as wrong:
            raise ValueError(f"{file}: is damaged ({wrong}); copy or make it again") from wrong


def _upright(picture: Pillow.Image) -> Pillow.Image:
    """Turn a picture as its camera says; one that is not turned is not copied: the largest has 450 MB."""
    return ImageOps.exif_transpose(picture) if picture.getexif().get(0x0112, 1) > 1 else picture


def _is_deep(picture: Pillow.Image) -> bool:
    """Whether the image is one channel of more than 8 bits, which Pillow would clip rather than scale."""
    return picture.mode[0] == "I"


def _eight_bit(picture: Pillow.Image) -> MatteImage:
    return np.array(np.asarray(picture) / 257 + 0.5, np.uint8)
