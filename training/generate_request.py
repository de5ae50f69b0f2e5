"""Request for a video, and its files: composites, or layers that are composited here, and masks of every kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Matte, MatteImage, Rgb
from ..datasets.footage.images import load_rgb, load_values
from ..datasets.footage.reader import open_frames
from ..datasets.footage.types import SUFFIXES as IMAGE_SUFFIXES
from ..stages.composite import over as composite
from ..stages.normalise import fit_frame, resize

SIDE_MULTIPLE = 16
"""Sides of a video are multiples of this, in pixels."""


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """Prompt and files of `effectpairs generate`."""

    prompt: str
    negative: str = ""
    over: Path | None = None
    """A composite without effects; or the three that it is made of by Eq. 2:"""
    foreground: Path | None = None
    mask: Path | None = None
    """The subject's coverage, one picture a frame."""
    background: Path | None = None
    """A video, or one image for all frames."""
    effect_mask: tuple[str, ...] = ()
    """A video, a folder, one image for all frames, or keyframes FRAME=PNG; none leaves the place to the model."""
    size: tuple[int, int] | None = None
    """Height and width; None keeps the input's, cropped to sixteens."""
    frames: int = 85
    """Length of a video of text alone."""


@dataclass(frozen=True, kw_only=True)
class GenerateInputs:
    """The files of a request, read, of one size and length."""

    over: Rgb | None
    effect_mask: np.ndarray | None
    shape: tuple[int, int, int]
    fps: float


def read_inputs(request: GenerateRequest) -> GenerateInputs:
    """Read all files of a request.

    Raises:
        ValueError: the options do not go together, or a file cannot be used.
    """
    layers = check_request(request)
    first = request.over or request.foreground
    if first is None:
        return GenerateInputs(
            over=None, effect_mask=None, shape=(request.frames, *(request.size or (384, 672))), fps=16.0
        )
    info = open_frames(first).info
    height, width = request.size or (max(SIDE_MULTIPLE, side - side % SIDE_MULTIPLE) for side in info.size)
    over = _read_rgb(first, (height, width))
    if layers:
        over = _composite(over, request)
    # Matroska counts milliseconds, so 24 is measured as 23.993; 23.976 stays what it is.
    fps = float(round(info.fps)) if abs(info.fps - round(info.fps)) < 0.02 and round(info.fps) else info.fps
    return GenerateInputs(over=over, effect_mask=_read_effect_mask(request, over), shape=over.shape[:3], fps=fps)


def check_request(request: GenerateRequest) -> list[str]:
    """Check, before any file is read, that the options go together; return the names of the layers.

    Raises:
        ValueError: they do not.
    """
    paths = {name: getattr(request, name) for name in ("foreground", "mask", "background")}
    layers = [name for name, path in paths.items() if path is not None]
    if request.over is not None and layers:
        raise ValueError(f"--over is a finished composite; leave out --{layers[0]}, or --over")
    if layers and len(layers) < 3:
        absent = next(name for name in paths if name not in layers)
        raise ValueError(
            f"--{layers[0]} is there and --{absent} is not; a composite needs both and the third, or --over"
        )
    if request.effect_mask and not layers and request.over is None:
        raise ValueError("--effect-mask needs a composite; give --over, or --foreground, --mask and --background")
    if request.frames < 1:
        raise ValueError(f"--frames {request.frames} is below 1; the model knows 85")
    if len(request.effect_mask) > 1:
        parse_keyframes(request.effect_mask)
    return layers


def parse_size(size: str) -> tuple[int, int]:
    """Parse the value of --size HxW.

    Raises:
        ValueError: it is not two multiples of 16.
    """
    height, _, width = size.partition("x")
    if not (height.isdigit() and width.isdigit()) or 0 in (int(height), int(width)):
        raise ValueError(f"--size {size} is not HxW in pixels; write for example --size 384x672")
    sides = int(height), int(width)
    nearest = [max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in sides]
    if [*sides] != nearest:
        raise ValueError(f"--size {size}: sides are multiples of {SIDE_MULTIPLE}; take {nearest[0]}x{nearest[1]}")
    return sides


def parse_keyframes(masks: Sequence[str]) -> dict[int, Path]:
    """Parse FRAME=PNG each into files by frame.

    Raises:
        ValueError: one is not of that form, or names a frame twice.
    """
    paths: dict[int, Path] = {}
    for mask in masks:
        frame, equals, path = mask.partition("=")
        if not (frame.isdigit() and equals and path):
            raise ValueError(f"--effect-mask {mask} is not FRAME=PNG; several masks are keyframes, each with its frame")
        if int(frame) in paths:
            raise ValueError(f"--effect-mask {mask}: frame {frame} is given twice; unite the two masks in one image")
        paths[int(frame)] = Path(path)
    return paths


def _composite(foreground: Rgb, request: GenerateRequest) -> Rgb:
    """Apply Eq. 2; an image as a background stands still."""
    assert request.mask is not None
    assert request.background is not None
    frames, size = len(foreground), foreground.shape[1:3]
    mask = _read_masks(request.mask, size, frames)
    if request.background.suffix.lower() in IMAGE_SUFFIXES:
        background = np.repeat(fit_frame(load_rgb(request.background), size)[None], frames, axis=0)
    else:
        background = _read_rgb(request.background, size)
    if len(background) != frames:
        raise ValueError(
            f"{request.background}: has {len(background)} frames and the foreground {frames}; cut them alike"
        )
    return composite(foreground, background, mask)


def _read_effect_mask(request: GenerateRequest, over: Rgb) -> np.ndarray | None:
    """Read the mask of every frame: levels where it is drawn, 0.5 where nothing is known."""
    masks, frames, size = request.effect_mask, len(over), over.shape[1:3]
    if not masks:
        return None
    if len(masks) == 1 and ("=" not in masks[0] or Path(masks[0]).exists()):
        path = Path(masks[0])
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return np.repeat(_read_mask_image(path, size)[None], frames, axis=0)
        return _read_masks(path, size, frames)
    keyframes = parse_keyframes(masks)
    images = {frame: _read_mask_image(path, size).astype(np.float32) / 255 for frame, path in keyframes.items()}
    from .base.conditioning import mask_from_keyframes

    return mask_from_keyframes(images, frames)


def _read_mask_image(path: Path, size: tuple[int, int]) -> MatteImage:
    return fit_frame(load_values(path), size)


def _read_rgb(path: Path, size: tuple[int, int]) -> Rgb:
    video = open_frames(path)
    return np.stack([fit_frame(resize(frame, video.info.size), size) for _, frame in video])


def _read_masks(path: Path, size: tuple[int, int], frames: int) -> Matte:
    """Read the red channel of a mask video or folder: masks are grey."""
    masks = np.ascontiguousarray(_read_rgb(path, size)[..., 0])
    if len(masks) != frames:
        raise ValueError(f"{path}: has {len(masks)} masks and the video {frames} frames; give a mask for every frame")
    return masks
