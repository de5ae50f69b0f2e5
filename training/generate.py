"""Videos by a trained model: the model on this machine's device, and what it makes of a request as files."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..arrays import Rgb
from ..datasets.gallery.thumbnails import encode_mp4
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, explain_os_errors, json_bytes
from .base.families import family_of_model, family_of_record, transformer_config, transformer_shapes
from .base.family import Family
from .base.lora import read_origin
from .base.memory import block_numbers, check_memory, estimate_sampling, free_memory_bytes
from .base.models import BaseModelRef, LocalBase, locate_model, read_config, select_device
from .base.published import open_weights
from .fitting.step_log import RECORD_FILE
from .generate_request import LAYERS, GenerateRequest, TrainedOn, read_inputs
from .latents.task import Task
from .sampling.pipeline import CRF, EffectPipeline, LoraRequest, PipelineInput
from .sampling.sample import SamplingSettings, trained_windows


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
    check_memory: bool = True
    """Refuse a video that does not fit the device by the estimate of `base/memory.py`, before weights are loaded."""


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
        ValueError: the request's files do not go together, or the video's size or length cannot be made, or does not
            fit into memory.
        CannotWrite: the disk is full.
    """
    inputs, fps = read_inputs(request, read_training(device))
    result = load_pipeline(device, inputs.size, sampling)(inputs, sampling, report=report)
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


def load_pipeline(
    settings: DeviceSettings,
    shape: tuple[int, int, int] | None = None,
    sampling: SamplingSettings = SamplingSettings(),
) -> EffectPipeline:
    """Load the pipeline onto its device: float32 without a GPU, bfloat16 on one.

    Args:
        settings: model and device.
        shape: frames, height and width of the largest video, so that too little memory is refused before that.
        sampling: settings of that video.

    Raises:
        WeightsNotFound: the base model is not on this machine.
        ValueError: the trained weights are missing, or of another model, or the video does not fit into memory.
    """
    device = select_device(settings.device)
    if settings.cpu_offload and device == "cpu":
        raise ValueError("cpu_offload moves parts between GPU and memory, and there is no GPU; leave it out")
    model = base_model(settings)
    record = read_record(settings)
    family = family_of_record(record["family"]) if record else None
    if shape is not None and settings.check_memory:
        needed_bytes = estimate_video(settings, locate_model(model), family, shape, sampling)
        check_memory(needed_bytes, free_memory_bytes(device), device, work="sampling")
    dtype = "float32" if device == "cpu" else "bfloat16"
    pipeline = EffectPipeline.load(model, settings.trained, family=family, lora=settings.lora, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.conditioning_noise = record["settings"]["cache"]["conditioning_noise"] if record else "from_config"
    if settings.cpu_offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


def estimate_video(
    settings: DeviceSettings,
    model: LocalBase,
    family: Family | None,
    shape: tuple[int, int, int],
    sampling: SamplingSettings,
) -> float:
    """Estimate the bytes that a video of so many frames, rows and columns takes of the device, from shapes alone."""
    family, config = family or family_of_model(model), transformer_config(model)
    weights = {"transformer": sum(map(math.prod, transformer_shapes(family, config).values()))}
    for part in ("text_encoder", "vae"):
        if list((model.path / part).glob("*.safetensors")):
            weights[part] = open_weights(model.path / part).numbers
    frames, rows, columns = family.grid.latent_shape(family.grid.padded_length(shape[0]), *shape[1:])
    latents = min(frames, (sampling.windows or trained_windows(family)).length), rows, columns
    at_once = 1 if sampling.guidance == 1 or sampling.sequential_cfg else 2
    work = {"transformer": at_once * block_numbers(config, latents), "vae": 0}
    if (model.path / "vae").is_dir():
        work["vae"] = family.decoding_numbers(read_config(model.path / "vae")) * shape[1] * shape[2]
    item = 4 if select_device(settings.device) == "cpu" else 2
    return estimate_sampling(weights, work, item, offload=settings.cpu_offload)


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


def base_model(settings: DeviceSettings) -> BaseModelRef:
    """The base model that is named, else the one that the run records, else the default."""
    record = {} if settings.base is not None else read_record(settings)
    if not record:
        return BaseModelRef(id=settings.base or BaseModelRef.id, weights=str(settings.weights or ""))
    return BaseModelRef(id=record["base"]["id"], revision=record["base"]["revision"])


def difference_map(result: Rgb, over: Rgb) -> Rgb:
    """Colour each pixel by its change from the composite: black for none, through red to pale yellow for 128 levels."""
    colours = np.empty_like(result)
    for number, (new, old) in enumerate(zip(result, over, strict=True)):
        change = cv2.convertScaleAbs(cv2.absdiff(new, old).max(axis=2), alpha=2)
        colours[number] = cv2.applyColorMap(change, cv2.COLORMAP_INFERNO)[..., ::-1]
    return colours


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
