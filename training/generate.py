"""A trained model put to work: the pipeline on this machine's device, and its videos as files."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from ..arrays import Rgb
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, explain_os_errors, json_bytes, partial_beside
from ..extras import require
from .base.models import BaseModelRef
from .fitting.step_log import RECORD
from .sampling.decode import write_mp4
from .sampling.pipeline import EffectPipeline, PipelineInput
from .sampling.sample import SamplingSettings

torch = require("torch", extra="train")
Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """Which model, and how it is fitted into this machine."""

    trained: Path | None = None
    """A run's `trained` folder or a checkpoint; None asks the base model as it is."""
    base: str | None = None
    """Folder or hub name; None takes the one that `trained` records, or the default."""
    device: str = "auto"
    offload: bool = False
    """Keep on the card only the part that works: slower, for small cards."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What was made, and where it goes."""

    folder: Path
    fps: float = 16.0
    record: dict[str, Any] = field(default_factory=dict)
    """What is noted beside the videos."""


def load(machine: DeviceSettings) -> EffectPipeline:
    """The pipeline, on its device: float32 without a GPU, bfloat16 on one.

    Raises:
        BaseModelNotFound: the base model is not on this machine.
        ValueError: the trained weights are not there, or of another model.
    """
    device = machine.device if machine.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # more threads than the system grants are many times slower than one
    if machine.offload and device == "cpu":
        raise ValueError("offload moves parts between GPU and memory, and there is no GPU; leave it out")
    model = BaseModelRef() if machine.base is None else BaseModelRef(id=machine.base)
    if machine.trained is not None and machine.base is None:
        model = recorded_base(machine.trained)
    pipeline = EffectPipeline.load(model, machine.trained, dtype="float32" if device == "cpu" else "bfloat16")
    pipeline.set_progress_bar_config(disable=True)
    if machine.offload:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


def recorded_base(trained: Path) -> BaseModelRef:
    """The base model that a run was started from.

    Raises:
        ValueError: the folder holds no trained weights.
    """
    try:
        said = json.loads((trained / RECORD).read_text())["base"]
    except (OSError, ValueError, KeyError) as missing:
        raise ValueError(
            f"{trained}: has no {RECORD} of a finished run; give a run's folder `trained`, or name the base model"
        ) from missing
    return BaseModelRef(id=said["id"], revision=said["revision"])


def generate(
    pipeline: EffectPipeline, asked: PipelineInput, sampling: SamplingSettings, output: Output, report: Report
) -> Rgb:
    """Make one video and write it: `video.mkv` (every bit), `video.mp4`, with a composite also `difference.mp4` and
    `side_by_side.mp4` (composite, mask where one was given, result), and `generate.json`.

    Raises:
        ValueError: the video's size or length cannot be made.
        CannotWrite: the disk is full.
    """
    made = pipeline(asked, sampling, report=report)
    with explain_os_errors(output.folder, within=output.folder):
        output.folder.mkdir(parents=True, exist_ok=True)
    atomic_write(output.folder / "video.mkv", codec.encode(made, fps=output.fps))
    shown = {"video": made}
    if asked.over is not None:
        shown |= {"difference": difference_map(made, asked.over), "side_by_side": side_by_side(made, asked)}
    for name, frames in shown.items():
        _write_mp4(output.folder / f"{name}.mp4", frames, output.fps)
    shape = dict(zip(("num_frames", "height", "width"), asked.size, strict=True)) | {"fps": output.fps}
    said = {"prompt": asked.prompt, "negative": asked.negative, "sampling": asdict(sampling)}
    atomic_write(output.folder / "generate.json", json_bytes(shape | said | output.record))
    return made


def difference_map(made: Rgb, over: Rgb) -> Rgb:
    """How far each pixel moved from the composite: black for not at all, through red to pale yellow for 128 levels."""
    shown = np.empty_like(made)
    for number, (new, old) in enumerate(zip(made, over, strict=True)):
        moved = cv2.convertScaleAbs(cv2.absdiff(new, old).max(axis=2), alpha=2)
        shown[number] = cv2.applyColorMap(moved, cv2.COLORMAP_INFERNO)[..., ::-1]
    return shown


def side_by_side(made: Rgb, asked: PipelineInput) -> UInt8[np.ndarray, "T H wide 3"]:
    """The composite, the effect mask where there is one (white: effect, grey: not known), and the result."""
    parts = [made] if asked.over is None else [asked.over, made]
    if asked.effect_mask is not None:
        mask = asked.effect_mask
        grey = mask if mask.dtype == np.uint8 else np.rint(mask.astype(np.float32) * 255).astype(np.uint8)
        parts.insert(1, np.repeat(grey[..., None], 3, axis=3))
    return np.concatenate(parts, axis=2)


def _write_mp4(path: Path, frames: Rgb, fps: float) -> None:
    partial = Path(f"{partial_beside(path)}.mp4")  # the writer goes by the ending
    try:
        with explain_os_errors(path):
            write_mp4(partial, frames, fps=fps).replace(path)
    finally:
        partial.unlink(missing_ok=True)
