"""Request of a video by a trained model: the files that a user names, checked and read as the pipeline's input.

A request names a composite, or layers that are composited here, and masks of every kind; for a removal a video and
masks of its subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from ..arrays import Matte, Rgb
from ..datasets.footage.images import load_rgb, load_values
from ..datasets.footage.reader import open_frames
from ..datasets.footage.types import SUFFIXES as IMAGE_SUFFIXES
from ..stages.composite import over as composite
from ..stages.normalise import fit_frame, resize
from .base.conditioning import mask_from_keyframes, to_soft_mask
from .base.latent_shapes import Downsample, LatentGrid
from .latents.task import SUBJECT_LEVEL, Task
from .sampling.pipeline import PipelineInput

LAYERS = ("foreground", "mask", "background")


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """Prompt and files of `effectpairs generate`."""

    prompt: str = ""
    """Empty takes that of a model that was trained to remove."""
    negative: str = ""
    over: Path | None = None
    """A composite without effects; or the three that it is made of by Eq. 2:"""
    foreground: Path | None = None
    mask: Path | None = None
    """The subject's coverage, one picture a frame."""
    background: Path | None = None
    """A video, or one image for all frames."""
    video: Path | None = None
    """A video that something is taken out of, by a model that was trained to remove."""
    subject_mask: Path | None = None
    """Masks of its subject, one picture a frame."""
    effect_mask: tuple[str, ...] = ()
    """A video, a folder, one image for all frames, or keyframes FRAME=PNG; none leaves the place to the model."""
    size: tuple[int, int] | None = None
    """Height and width; None takes those that the model was trained at."""
    frames: int = 85
    """Length of a video of text alone."""
    mask_downsample: Downsample | None = None
    """Resize of the effect mask to the latents; None takes max for keyframes and single images, which are drawn and
    may be thin, and the run's own for videos."""

    @property
    def has_files(self) -> bool:
        """Whether it names any file."""
        paths = [getattr(self, name) for name in ("over", "video", "subject_mask", *LAYERS)]
        return bool(self.effect_mask) or any(path is not None for path in paths)


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Lengths, size and masks that a model was trained on, and so takes best."""

    grid: LatentGrid
    size: tuple[int, int]
    mask_downsample: Downsample = "trilinear"
    task: Task = Task()


def read_inputs(request: GenerateRequest, trained_on: TrainedOn) -> tuple[PipelineInput, float]:
    """Read all files of a request; return them with the frames per second of the video.

    Raises:
        ValueError: the options do not go together, or a file cannot be used.
    """
    layers, task = check_request(request), trained_on.task
    _check_task(request, task)
    first, over, effect_mask, fps = request.over or request.foreground or request.video, None, None, 16.0
    size = request.size or trained_on.size
    trained_on.grid.check_shape(trained_on.grid.shortest, *size, label="--size")
    is_drawn = any(Path(mask).suffix.lower() in IMAGE_SUFFIXES for mask in request.effect_mask)
    if first is not None:
        info = open_frames(first).info
        over = _read_rgb(first, size)
        if layers:
            over = _composite(over, request)
        effect_mask = _read_effect_mask(request, over, trained_on.grid)
        if request.video is not None:
            effect_mask = _removal_mask(request, task, over, effect_mask)
        # Matroska counts milliseconds, so 24 is measured as 23.993; 23.976 stays what it is.
        fps = float(round(info.fps)) if abs(info.fps - round(info.fps)) < 0.02 and round(info.fps) else info.fps
    inputs = PipelineInput(
        prompt=request.prompt or task.prompt or "",
        negative=request.negative,
        over=over,
        effect_mask=effect_mask,
        shape=(request.frames, *size) if over is None else None,
        mask_downsample=request.mask_downsample or ("max" if is_drawn else trained_on.mask_downsample),
    )
    return inputs, fps


def check_request(request: GenerateRequest) -> list[str]:
    """Check, before any file is read, that the options go together; return the names of the layers.

    Raises:
        ValueError: they do not.
    """
    layers = [name for name in LAYERS if getattr(request, name) is not None]
    if request.over is not None and layers:
        raise ValueError(f"--over is a finished composite; leave out --{layers[0]}, or --over")
    if layers and len(layers) < 3:
        absent = next(name for name in LAYERS if name not in layers)
        raise ValueError(
            f"--{layers[0]} is there and --{absent} is not; a composite needs both and the third, or --over"
        )
    if request.video is not None and (request.over is not None or layers):
        raise ValueError("--video is for taking out, --over for putting in; leave out one of them")
    if request.subject_mask is not None and request.video is None:
        raise ValueError("--subject-mask is of the subject in --video; give --video as well, or leave it out")
    if request.effect_mask and not layers and request.over is None and request.video is None:
        raise ValueError("--effect-mask needs a composite; give --over, or --foreground, --mask and --background")
    if request.frames < 1:
        raise ValueError(f"--frames {request.frames} is below 1; the model knows 85")
    if len(request.effect_mask) > 1:
        parse_keyframes(request.effect_mask)
    return layers


def parse_size(size: str) -> tuple[int, int]:
    """Parse the value of --size HxW.

    Raises:
        ValueError: it is not of that form.
    """
    height, _, width = size.partition("x")
    if not (height.isdigit() and width.isdigit()) or 0 in (int(height), int(width)):
        raise ValueError(f"--size {size} is not HxW in pixels; write for example --size 384x672")
    return int(height), int(width)


def parse_downsample(name: str | None) -> Downsample | None:
    """Check the value of --mask-downsample.

    Raises:
        ValueError: it is no resize.
    """
    if name is not None and name not in get_args(Downsample):
        raise ValueError(f"--mask-downsample {name} is not one of {', '.join(get_args(Downsample))}")
    return cast("Downsample | None", name)


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


def _check_task(request: GenerateRequest, task: Task) -> None:
    """Refuse a request that is none of what the model was trained for."""
    if task.removes and request.video is None:
        raise ValueError("the model was trained to remove; give --video and --subject-mask instead of a composite")
    if task.target == "background" and request.subject_mask is None:
        raise ValueError("--video needs --subject-mask, a mask of what is to go; give one picture for every frame")
    if not task.removes and request.video is not None:
        raise ValueError("--video needs a model that was trained with task = 'remove'; name it by --trained or --lora")
    if not (request.prompt or task.prompt):
        raise ValueError("--prompt is empty; write what is to be seen, with the effect")


def _removal_mask(request: GenerateRequest, task: Task, video: Rgb, effect_mask: np.ndarray | None) -> np.ndarray:
    """Mask of what changes; where no effect mask is given, the model finds the effects by itself."""
    shape, subject = video.shape[:3], None
    if request.subject_mask is not None:
        subject = _read_masks(request.subject_mask, (shape[1], shape[2]), shape[0]) >= SUBJECT_LEVEL
    mask = task.hint(shape, subject) if effect_mask is None else to_soft_mask(effect_mask)
    if task.target == "background" and subject is not None:
        mask[subject] = 1
    return mask


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


def _read_effect_mask(request: GenerateRequest, over: Rgb, grid: LatentGrid) -> np.ndarray | None:
    """Read the mask of every frame: levels where it is drawn, 0.5 where nothing is known."""
    masks, frames, size = request.effect_mask, len(over), over.shape[1:3]
    if not masks:
        return None
    if len(masks) == 1 and ("=" not in masks[0] or Path(masks[0]).exists()):
        path = Path(masks[0])
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return np.repeat(fit_frame(load_values(path), size)[None], frames, axis=0)
        return _read_masks(path, size, frames)
    keyframes = parse_keyframes(masks).items()
    images = {frame: fit_frame(load_values(path), size).astype(np.float32) / 255 for frame, path in keyframes}
    return mask_from_keyframes(images, frames, grid)


def _read_rgb(path: Path, size: tuple[int, int]) -> Rgb:
    video = open_frames(path)
    return np.stack([fit_frame(resize(frame, video.info.size), size) for _, frame in video])


def _read_masks(path: Path, size: tuple[int, int], frames: int) -> Matte:
    """Read the red channel of a mask video or folder: masks are grey."""
    masks = np.ascontiguousarray(_read_rgb(path, size)[..., 0])
    if len(masks) != frames:
        raise ValueError(f"{path}: has {len(masks)} masks and the video {frames} frames; give a mask for every frame")
    return masks
