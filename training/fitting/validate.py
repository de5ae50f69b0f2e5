"""Validation: the same few clips sampled again and again while training, so that progress can be watched.

The training process makes latents alone; a process of its own turns them into videos (see `sampling/pipeline`), for the
video autoencoder would not fit beside the optimiser.
"""

import sys
import warnings
from typing import Any

from ...extras import require
from ...processes import ChildProcess
from ..base.conditioning import concat_conditioning, empty_conditioning, encode_mask_channel
from ..base.tensors import Latents
from ..latents.cache import CachedRow
from ..sampling.sample import SamplingSettings, WindowSettings, denoise
from .context import TrainingContext

torch = require("torch", extra="train")


def validation_rows(context: TrainingContext) -> list[dict[str, Any]]:
    """The rows that are sampled: those named, or the first of the validation split.

    Raises:
        ValueError: a clip is named that the cache does not have.
    """
    settings, rows = context.settings.validation, context.cache.rows
    by_id = {row["clip_id"]: row for row in reversed(rows)}
    unknown = [clip_id for clip_id in settings.clips if clip_id not in by_id]
    if unknown:
        examples = ", ".join(sorted(by_id)[:3])
        raise ValueError(f"validation.clips names '{unknown[0]}', which the cache does not have; it has {examples}")
    if settings.clips:
        return [by_id[clip_id] for clip_id in settings.clips]
    paired = [row for row in rows if row["kind"] != "unpaired"]
    return ([row for row in paired if row["split"] == "validation"] or paired or rows)[: settings.count]


def sample_validation_clips(context: TrainingContext, step: int) -> None:
    """Write latents of the validation clips after so many steps, and have them decoded."""
    folder = context.settings.output_path / "validation" / f"step-{step:08d}"
    accelerator, rows = context.accelerator, validation_rows(context)
    share = rows if context.sharded else rows[accelerator.process_index :: accelerator.num_processes]
    model = context.transformer if context.sharded else accelerator.unwrap_model(context.transformer)
    model.eval()
    for row in share:
        latents = _sample_row(context, model, context.cache.read(row["key"]))
        if accelerator.is_main_process or not context.sharded:
            folder.mkdir(parents=True, exist_ok=True)
            writer = require("safetensors.torch", extra="train")
            tensors = {"latents": latents.float().cpu().contiguous()}
            writer.save_file(tensors, folder / f"{row['clip_id']}.safetensors", {"key": row["key"]})
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and rows and context.settings.validation.decode_on:
        # Not waited for: a full card fails the video, never the training; the decoder ends with this process.
        arguments = [folder, context.cache.folder, context.model_folder, context.settings.validation.decode_on]
        command = [sys.executable, "-m", "effectpairs.training", "decode", "--end-with-stdin", *map(str, arguments)]
        context.decoders.append(ChildProcess(command, folder / "decoding.log"))


def wait_for_decoding(context: TrainingContext) -> None:
    """Let the decoding end, and warn of videos that could not be made."""
    for decoder in context.decoders:
        if decoder.process.wait() != 0:
            warnings.warn(f"no video of validation samples was made; see {decoder.log}", stacklevel=2)
        decoder.end()


def _sample_row(context: TrainingContext, model: Any, row: CachedRow) -> Latents:
    """Sample a row without chance in its conditioning: its whole mask and the mean of its latents."""
    settings, device, scale = context.settings.validation, context.accelerator.device, context.samples.scale
    windows = WindowSettings(length=row.gt[0].shape[0], overlap=0)
    sampling = SamplingSettings(steps=settings.steps, guidance=settings.guidance, seed=settings.seed, windows=windows)
    prompt, empty = (torch.from_numpy(rows)[None].to(device) for rows in (row.text, context.cache.no_caption()))
    conditioning = empty_conditioning(torch.from_numpy(row.gt[0])[None])
    if row.over is not None and row.mask is not None:
        channel = encode_mask_channel(torch.from_numpy(row.mask).float()[None], scale=scale)
        conditioning = concat_conditioning(channel, torch.from_numpy(row.over[0])[None] * scale)
    with context.accelerator.autocast():
        return denoise(model, context.scheduler, conditioning.to(device), (prompt, empty), sampling)
