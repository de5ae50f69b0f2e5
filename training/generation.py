"""Files to a question for the model: composites, or layers that are composited here, and masks of every kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Matte, MatteImage, Rgb
from ..datasets.footage.images import load_rgb, load_values
from ..datasets.footage.reader import open_frames
from ..progress import Pieces
from ..stages.composite import over as composite
from ..stages.geometry import fit_frame, resize

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MULTIPLE = 16
"""Sides of a video, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `effectpairs generate` is asked for."""

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
class Inputs:
    """The request's files, read, of one size and length."""

    over: Rgb | None
    effect_mask: np.ndarray | None
    shape: tuple[int, int, int]
    fps: float


def read_inputs(request: Request) -> Inputs:
    """Read all files of a request.

    Raises:
        ValueError: what is given does not go together, or a file cannot be used, in one sentence.
    """
    given = check_request(request)
    if not given and request.over is None:
        return Inputs(over=None, effect_mask=None, shape=(request.frames, *(request.size or (384, 672))), fps=16.0)
    first = request.over or request.foreground
    assert first is not None
    size, fps = request.size or _whole(open_frames(first).info.size), _rate(open_frames(first).info.fps)
    over = _colour(first, size)
    if given:
        over = _composited(over, request, size)
    return Inputs(over=over, effect_mask=_effect_mask(request.effect_mask, over), shape=over.shape[:3], fps=fps)


def check_request(request: Request) -> list[str]:
    """Look, before any file is read, whether what is given goes together; return the names of the layers.

    Raises:
        ValueError: it does not.
    """
    layers = {name: getattr(request, name) for name in ("foreground", "mask", "background")}
    given = [name for name, path in layers.items() if path is not None]
    if request.over is not None and given:
        raise ValueError(f"--over is a finished composite; leave out --{given[0]}, or --over")
    if given and len(given) < 3:
        gone = next(name for name in layers if name not in given)
        raise ValueError(f"--{given[0]} is there and --{gone} is not; a composite needs both and the third, or --over")
    if request.effect_mask and not given and request.over is None:
        raise ValueError("--effect-mask needs a composite; give --over, or --foreground, --mask and --background")
    if request.frames < 1:
        raise ValueError(f"--frames {request.frames} is below 1; the model knows 85")
    if len(request.effect_mask) > 1:
        keyframes(request.effect_mask)
    return given


def make_video(request: Request, sampling: Any, machine: Any, out: Path) -> Path:
    """Make the video and write all that is shown of it into a folder.

    Raises:
        ValueError: the request's files do not go together.
    """
    inputs = read_inputs(request)
    from .generate import Output, generate, load
    from .sampling.pipeline import PipelineInput

    pipeline = load(machine)
    asked = PipelineInput(
        prompt=request.prompt,
        negative=request.negative,
        over=inputs.over,
        effect_mask=inputs.effect_mask,
        shape=inputs.shape if inputs.over is None else None,
    )
    steps = Pieces("generate", sampling.steps)
    output = Output(folder=out, fps=inputs.fps, record=_record(request, machine))
    generate(pipeline, asked, sampling, output, lambda done, total: steps.one_more())
    return out / "video.mp4"


def read_size(given: str) -> tuple[int, int]:
    """The value of --size HxW.

    Raises:
        ValueError: it is not two whole multiples of 16.
    """
    height, _, width = given.partition("x")
    if not (height.isdigit() and width.isdigit()) or 0 in (int(height), int(width)):
        raise ValueError(f"--size {given} is not HxW in pixels; write for example --size 384x672")
    if int(height) % MULTIPLE or int(width) % MULTIPLE:
        near = "x".join(str(max(MULTIPLE, round(int(side) / MULTIPLE) * MULTIPLE)) for side in (height, width))
        raise ValueError(f"--size {given}: sides are multiples of {MULTIPLE}; take {near}")
    return int(height), int(width)


def keyframes(given: Sequence[str]) -> dict[int, Path]:
    """FRAME=PNG each, as files by frame.

    Raises:
        ValueError: one is not of that form, or names a frame twice.
    """
    found: dict[int, Path] = {}
    for one in given:
        frame, equals, file = one.partition("=")
        if not (frame.isdigit() and equals and file):
            raise ValueError(f"--effect-mask {one} is not FRAME=PNG; several masks are keyframes, each with its frame")
        if int(frame) in found:
            raise ValueError(f"--effect-mask {one}: frame {frame} is given twice; unite the two masks in one image")
        found[int(frame)] = Path(file)
    return found


def _composited(foreground: Rgb, request: Request, size: tuple[int, int]) -> Rgb:
    """Eq. 2, with an image as a background that stands still."""
    assert request.mask is not None
    assert request.background is not None
    mask = _grey(request.mask, size, len(foreground))
    if request.background.suffix.lower() in IMAGES:
        image = load_rgb(request.background)
        background = np.repeat(fit_frame(image, size)[None], len(foreground), axis=0)
    else:
        background = _colour(request.background, size)
    if len(background) != len(foreground):
        raise ValueError(
            f"{request.background}: has {len(background)} frames and the foreground {len(foreground)}; cut them alike"
        )
    return composite(foreground, background, mask)


def _effect_mask(given: Sequence[str], over: Rgb) -> np.ndarray | None:
    """The mask of every frame: levels where it is drawn, 0.5 where nothing is known."""
    frames, size = len(over), over.shape[1:3]
    if not given:
        return None
    if len(given) == 1 and ("=" not in given[0] or Path(given[0]).exists()):
        path = Path(given[0])
        if path.suffix.lower() in IMAGES:
            return np.repeat(_fitted_mask(path, size)[None], frames, axis=0)
        return _grey(path, size, frames)
    keys = {frame: _fitted_mask(path, size).astype(np.float32) / 255 for frame, path in keyframes(given).items()}
    from .base.conditioning import mask_from_keyframes

    return mask_from_keyframes(keys, frames)


def _fitted_mask(path: Path, size: tuple[int, int]) -> MatteImage:
    return fit_frame(load_values(path), size)


def _colour(path: Path, size: tuple[int, int]) -> Rgb:
    video = open_frames(path)
    return np.stack([fit_frame(resize(frame, video.info.size), size) for _, frame in video])


def _grey(path: Path, size: tuple[int, int], frames: int) -> Matte:
    """A mask video or folder, its red channel: masks are grey."""
    found = np.ascontiguousarray(_colour(path, size)[..., 0])
    if len(found) != frames:
        raise ValueError(f"{path}: has {len(found)} masks and the video {frames} frames; give a mask for every frame")
    return found


def _whole(size: tuple[int, int]) -> tuple[int, int]:
    """The largest sides in sixteens that fit into a size."""
    height, width = (max(MULTIPLE, side - side % MULTIPLE) for side in size)
    return height, width


def _rate(fps: float) -> float:
    """Matroska counts milliseconds, so 24 is measured as 23.993; 23.976 stays what it is."""
    return float(round(fps)) if abs(fps - round(fps)) < 0.02 and round(fps) else fps


def _record(request: Request, machine: Any) -> dict[str, Any]:
    names = ("over", "foreground", "mask", "background")
    files = {name: str(path) for name in names if (path := getattr(request, name)) is not None}
    model = {"trained": str(machine.trained) if machine.trained else None, "base": machine.base}
    return {"inputs": files | {"effect_mask": list(request.effect_mask)}, "model": model}
