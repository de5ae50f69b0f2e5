"""Videos by a trained model: the pipeline on this machine's device, and its results as files."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ..arrays import Rgb
from ..datasets.gallery.thumbnails import encode_mp4
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, explain_os_errors, json_bytes
from ..extras import require
from .base.models import BaseModelRef
from .fitting.step_log import RECORD
from .generate_request import GenerateInputs, GenerateRequest, read_inputs
from .sampling.decode import CRF
from .sampling.pipeline import EffectPipeline, PipelineInput
from .sampling.sample import SamplingSettings

torch = require("torch", extra="train")


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """The model, and the device that it runs on."""

    trained: Path | None = None
    """A run's `trained` folder or a checkpoint; None takes the base model as it is."""
    base: str | None = None
    """Folder or hub name; None takes the one that `trained` records, or the default."""
    device: str = "auto"
    cpu_offload: bool = False
    """Keep on the GPU only the part that works: slower, for small cards."""


def load_pipeline(settings: DeviceSettings) -> EffectPipeline:
    """Load the pipeline onto its device: float32 without a GPU, bfloat16 on one.

    Raises:
        BaseModelNotFound: the base model is not on this machine.
        ValueError: the trained weights are missing, or of another model.
    """
    device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # more threads than the system grants are many times slower than one
    if settings.cpu_offload and device == "cpu":
        raise ValueError("cpu_offload moves parts between GPU and memory, and there is no GPU; leave it out")
    model = BaseModelRef() if settings.base is None else BaseModelRef(id=settings.base)
    if settings.trained is not None and settings.base is None:
        model = _recorded_base_model(settings.trained)
    pipeline = EffectPipeline.load(model, settings.trained, dtype="float32" if device == "cpu" else "bfloat16")
    pipeline.set_progress_bar_config(disable=True)
    if settings.cpu_offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


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
    inputs = read_inputs(request)
    pipeline = load_pipeline(device)
    pipeline_input = PipelineInput(
        prompt=request.prompt,
        negative=request.negative,
        over=inputs.over,
        effect_mask=inputs.effect_mask,
        shape=inputs.shape if inputs.over is None else None,
    )
    result = pipeline(pipeline_input, sampling, report=report)
    with explain_os_errors(folder, within=folder):
        folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "video.mkv", codec.encode(result, fps=inputs.fps))
    for name, frames in _preview_videos(inputs, result).items():
        atomic_write(folder / f"{name}.mp4", encode_mp4(frames, fps=inputs.fps, crf=CRF))
    atomic_write(folder / "generate.json", json_bytes(_record(request, inputs, sampling, device)))
    return folder / "video.mp4"


def difference_map(result: Rgb, over: Rgb) -> Rgb:
    """Colour each pixel by its change from the composite: black for none, through red to pale yellow for 128 levels."""
    colours = np.empty_like(result)
    for number, (new, old) in enumerate(zip(result, over, strict=True)):
        change = cv2.convertScaleAbs(cv2.absdiff(new, old).max(axis=2), alpha=2)
        colours[number] = cv2.applyColorMap(change, cv2.COLORMAP_INFERNO)[..., ::-1]
    return colours


def _recorded_base_model(trained: Path) -> BaseModelRef:
    try:
        base = json.loads((trained / RECORD).read_text())["base"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{trained}: has no {RECORD} of a finished run; give a run's folder `trained`, or name the base model"
        ) from error
    return BaseModelRef(id=base["id"], revision=base["revision"])


def _preview_videos(inputs: GenerateInputs, result: Rgb) -> dict[str, UInt8[np.ndarray, "T H W 3"]]:
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


def _record(
    request: GenerateRequest, inputs: GenerateInputs, sampling: SamplingSettings, device: DeviceSettings
) -> dict[str, Any]:
    names = ("over", "foreground", "mask", "background")
    files = {name: str(path) for name in names if (path := getattr(request, name)) is not None}
    return dict(zip(("num_frames", "height", "width"), inputs.shape, strict=True)) | {
        "fps": inputs.fps,
        "prompt": request.prompt,
        "negative": request.negative,
        "sampling": asdict(sampling),
        "inputs": files | {"effect_mask": list(request.effect_mask)},
        "model": {"trained": str(device.trained) if device.trained else None, "base": device.base},
    }
