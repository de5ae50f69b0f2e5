"""The same few clips sampled again and again while training, so that progress can be watched.

The training process makes latents alone; a process of its own turns them into videos (see `decode`), for the video
autoencoder would not fit beside the optimiser.
"""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from ...extras import require
from ..base.conditioning import empty_conditioning, encode_mask_channel, join
from ..base.tensors import Conditioning
from ..latents.cache import CachedRow
from ..sampling.sample import SamplingSettings, denoise
from ..sampling.windows import WindowSettings
from .setup import TrainingContext

torch = require("torch", extra="train")


def validation_rows(ready: TrainingContext) -> list[dict[str, Any]]:
    """The rows that are sampled: those named, or the first of the validation split.

    Raises:
        ValueError: a clip is named that the cache does not have.
    """
    wanted, rows = ready.settings.validation, ready.cache.rows
    by_id = {row["clip_id"]: row for row in reversed(rows)}
    strange = [clip_id for clip_id in wanted.clips if clip_id not in by_id]
    if strange:
        some = ", ".join(sorted(by_id)[:3])
        raise ValueError(f"validation.clips names '{strange[0]}', which the cache does not have; it has {some}")
    if wanted.clips:
        return [by_id[clip_id] for clip_id in wanted.clips]
    held_back = [row for row in rows if row["split"] == "validation" and row["kind"] != "unpaired"]
    return (held_back or [row for row in rows if row["kind"] != "unpaired"] or rows)[: wanted.count]


def row_conditioning(row: CachedRow, scale: float) -> Conditioning:
    """A row's conditioning without chance: its whole mask and the mean of its latents."""
    if row.over is None or row.mask is None:
        return empty_conditioning(torch.from_numpy(row.gt[0])[None])
    mask = encode_mask_channel(torch.from_numpy(row.mask).float()[None], scale=scale)
    return join(mask, torch.from_numpy(row.over[0])[None] * scale)


def sample_validation_clips(ready: TrainingContext, done: int) -> None:
    """Write latents of the fixed clips after so many steps, and have them decoded."""
    folder = Path(ready.settings.output).expanduser() / "validation" / f"step-{done:08d}"
    accelerator, rows = ready.accelerator, validation_rows(ready)
    mine = rows if ready.sharded else rows[accelerator.process_index :: accelerator.num_processes]
    model = ready.transformer if ready.sharded else accelerator.unwrap_model(ready.transformer)
    model.eval()
    for row in mine:
        latents = _sampled(ready, model, ready.cache.read(row["key"]))
        if accelerator.is_main_process or not ready.sharded:
            folder.mkdir(parents=True, exist_ok=True)
            writer = require("safetensors.torch", extra="train")
            content = {"latents": latents.float().cpu().contiguous()}
            writer.save_file(content, folder / f"{row['clip_id']}.safetensors", {"key": row["key"]})
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and rows and ready.settings.validation.decode_on:
        _start_decoding(ready, folder)


def wait_for_decoding(ready: TrainingContext) -> None:
    """Let the decoding end, and say which did not succeed."""
    for process in ready.decoding:
        if process.wait() != 0:
            warnings.warn(f"no video of validation samples was made; see {process.args[-4]}/decoding.log", stacklevel=2)


def _sampled(ready: TrainingContext, model: Any, row: CachedRow) -> Any:
    wanted, device = ready.settings.validation, ready.accelerator.device
    windows = WindowSettings(length=row.gt[0].shape[0], overlap=0)
    sampling = SamplingSettings(steps=wanted.steps, guidance=wanted.guidance, seed=wanted.seed, windows=windows)
    texts = tuple(torch.from_numpy(rows)[None].to(device) for rows in (row.text, ready.cache.no_caption()))
    given = row_conditioning(row, ready.samples.scale).to(device)
    with ready.accelerator.autocast():
        return denoise(model, ready.scheduler, given, (texts[0], texts[1]), sampling)


def _start_decoding(ready: TrainingContext, folder: Path) -> None:
    """Not waited for: a card that is full fails the video, never the training."""
    asked = [str(folder), str(ready.cache.folder), str(ready.model_folder), ready.settings.validation.decode_on]
    with (folder / "decoding.log").open("wb") as log:
        ready.decoding.append(
            subprocess.Popen(
                [sys.executable, "-m", "effectpairs.training.sampling.decode", *asked], stdout=log, stderr=log
            )
        )
