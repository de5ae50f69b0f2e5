"""Videos by a trained model: the files of a request, the pipeline on this machine's device, and its results as files.

A request names a composite, or layers that are composited here, and masks of every kind.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import cv2
import numpy as np

from ..arrays import Matte, Rgb
from ..datasets.footage.images import load_rgb, load_values
from ..datasets.footage.reader import open_frames
from ..datasets.footage.types import SUFFIXES as IMAGE_SUFFIXES
from ..datasets.gallery.thumbnails import encode_mp4
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, explain_os_errors, json_bytes
from ..stages.composite import over as composite
from ..stages.normalise import fit_frame, resize
from .base.conditioning import mask_from_keyframes, to_soft_mask
from .base.families import family_of_model, family_of_record
from .base.latent_shapes import Downsample, LatentGrid
from .base.lora import read_origin
from .base.models import BaseModelRef, locate_model, select_device
from .fitting.step_log import RECORD_FILE
from .latents.task import SUBJECT_LEVEL, Task
from .sampling.pipeline import CRF, EffectPipeline, LoraRequest, PipelineInput
from .sampling.sample import SamplingSettings

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


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """The model, and the device that it runs on."""

    trained: Path | None = None
    """A run's `trained` folder or a checkpoint; None takes the base model as it is."""
    base: str | None = None
    """Folder or hub name; None takes the one that `trained` records, or the default."""
    weights: Path | None = None
    """File of a published transformer in place of the base's own (see `BaseModelRef`)."""
    device: str = "auto"
    lora: LoraRequest | None = None
    """On top of the model; it names the base where neither `trained` nor `base` does."""
    cpu_offload: bool = False
    """Keep on the GPU only the part that works: slower, for small cards."""


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Lengths, size and masks that a model was trained on, and so takes best."""

    grid: LatentGrid
    size: tuple[int, int]
    mask_downsample: Downsample = "trilinear"
    task: Task = Task()


def generate(
    request: GenerateRequest,
    sampling: SamplingSettings,
    device: DeviceSettings,
    folder: Path,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Make one video; return its `video.mp4`.

    The folder gets `video.mkv` (every bit) and `video.mp4`, with a composite also `difference.mp4` and
    `side_by_side.mp4` (composite, mask where one was given, result), and `generate.json`.

    Raises:
        ValueError: the request's files do not go together, or the video's size or length cannot be made.
        CannotWrite: the disk is full.
    """
    inputs, fps = read_inputs(request, read_training(device))
    result = load_pipeline(device)(inputs, sampling, report=report)
    with explain_os_errors(folder, within=folder):
        folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "video.mkv", codec.encode(result, fps=fps))
    for name, frames in _preview_videos(inputs, result).items():
        atomic_write(folder / f"{name}.mp4", encode_mp4(frames, fps=fps, crf=CRF))
    files = {
        name: str(path)
        for name in ("over", "video", "subject_mask", *LAYERS)
        if (path := getattr(request, name)) is not None
    }
    record = dict(zip(("num_frames", "height", "width"), inputs.size, strict=True)) | {
        "fps": fps,
        "prompt": inputs.prompt,
        "negative": request.negative,
        "sampling": asdict(sampling) | {"mask_downsample": inputs.mask_downsample},
        "inputs": files | {"effect_mask": list(request.effect_mask)},
        "model": {"trained": str(device.trained) if device.trained else None, "base": device.base}
        | ({} if device.lora is None else {"lora": asdict(device.lora) | {"path": str(device.lora.path)}}),
    }
    atomic_write(folder / "generate.json", json_bytes(record))
    return folder / "video.mp4"


def load_pipeline(settings: DeviceSettings) -> EffectPipeline:
    """Load the pipeline onto its device: float32 without a GPU, bfloat16 on one.

    Raises:
        WeightsNotFound: the base model is not on this machine.
        ValueError: the trained weights are missing, or of another model.
    """
    device = select_device(settings.device)
    if settings.cpu_offload and device == "cpu":
        raise ValueError("cpu_offload moves parts between GPU and memory, and there is no GPU; leave it out")
    model = base_model(settings)
    record = read_record(settings)
    family = family_of_record(record["family"]) if record else None
    dtype = "float32" if device == "cpu" else "bfloat16"
    pipeline = EffectPipeline.load(model, settings.trained, family=family, lora=settings.lora, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.conditioning_noise = record["settings"]["cache"]["conditioning_noise"] if record else "from_config"
    if settings.cpu_offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


def read_training(settings: DeviceSettings) -> TrainedOn:
    """Read from the records of model and run what it was trained on; no weight is loaded.

    Raises:
        WeightsNotFound: the base model is not on this machine.
        ValueError: it is of no family that is here.
    """
    record = read_record(settings)
    if not record:
        family = family_of_model(locate_model(base_model(settings)))
        return TrainedOn(grid=family.grid, size=family.trained_shape[1:])
    return TrainedOn(
        grid=family_of_record(record["family"]).grid,
        size=tuple(record["latents"]["size"]),
        mask_downsample=record["settings"]["data"]["mask_downsample"],
        task=Task(**(record["task"] or {})),
    )


def read_record(settings: DeviceSettings) -> dict[str, Any]:
    """Record of the run that trained a model: of its folder, else in its LoRA; empty where there is none.

    Raises:
        ValueError: `trained` has none, and no base is named.
    """
    if settings.trained is None:
        return {} if settings.lora is None else read_origin(settings.lora.path)
    try:
        record: dict[str, Any] = json.loads((settings.trained / RECORD_FILE).read_text())
        record = {name: record[name] for name in ("base", "family", "latents", "settings")} | {
            "task": record.get("task")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        if settings.base is not None:
            return {}
        raise ValueError(
            f"{settings.trained}: has no {RECORD_FILE} of a finished run; give a run's folder `trained`, or name the "
            "base model"
        ) from error
    return record


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


def difference_map(result: Rgb, over: Rgb) -> Rgb:
    """Colour each pixel by its change from the composite: black for none, through red to pale yellow for 128 levels."""
    colours = np.empty_like(result)
    for number, (new, old) in enumerate(zip(result, over, strict=True)):
        change = cv2.convertScaleAbs(cv2.absdiff(new, old).max(axis=2), alpha=2)
        colours[number] = cv2.applyColorMap(change, cv2.COLORMAP_INFERNO)[..., ::-1]
    return colours


def base_model(settings: DeviceSettings) -> BaseModelRef:
    """The base model that is named, else the one that the run records, else the default."""
    record = {} if settings.base is not None else read_record(settings)
    if not record:
        return BaseModelRef(id=settings.base or BaseModelRef.id, weights=str(settings.weights or ""))
    return BaseModelRef(id=record["base"]["id"], revision=record["base"]["revision"])


def _preview_videos(inputs: PipelineInput, result: Rgb) -> dict[str, Any]:
    """The result; with a composite also the map of changes, and composite, grey mask (if any) and result in a row."""
    if inputs.over is None:
        return {"video": result}
    columns = [inputs.over, result]
    mask = inputs.effect_mask
    if mask is not None:
        grey = mask if mask.dtype == np.uint8 else np.rint(mask.astype(np.float32) * 255).astype(np.uint8)
        columns.insert(1, np.repeat(grey[..., None], 3, axis=3))
    difference = difference_map(result, inputs.over)
    return {"video": result, "difference": difference, "side_by_side": np.concatenate(columns, axis=2)}


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
