"""Fine-tuning on a latent cache: one process or many, as `accelerate launch` says, resumable bit for bit.

The loss is the family's, a plain mean squared error. Trainable weights are 32-bit; the rest is frozen and, under
bf16, 16-bit. A step is a pure function of weights, optimiser and the step's number, so a run that was killed and
resumed from its checkpoint ends in the very weights of one that was not.

The same few clips are sampled again and again, so that progress can be watched. The training process makes latents
alone; a process of its own turns them into videos (see `sampling/pipeline`), for the video autoencoder would not fit
beside the optimiser.
"""

import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...extras import require
from ...processes import ChildProcess
from ...untrusted_input import path_within
from ..base.conditioning import empty_conditioning
from ..base.network import Latents, TrainingBatch
from ..configs.config import TrainingConfig
from ..latents.cache import CachedRow
from ..latents.data import load_batches, sample_numbers
from ..latents.sampler import KINDS, count_unpaired, describe_unpaired
from ..sampling.sample import SamplingSettings, WindowSettings, denoise
from .context import TrainingContext, build_context, save_state
from .export import export_weights
from .step_log import StepLog, TrainingStopped

torch = require("torch", extra="train")


class NonFiniteLoss(TrainingStopped):
    """The loss or the gradient is not finite any more; the message names the clips of the batch."""


class LoaderDied(TrainingStopped):
    """A process that reads samples was killed."""


def train(settings: TrainingConfig) -> Path:
    """Train to the last step, from the newest checkpoint where there is one; return the folder of the trained weights.

    Raises:
        ValueError: cache, corpus, checkpoint, model and settings do not belong together.
        WeightsNotFound: the base model is not on this machine.
        NonFiniteLoss: training diverged.
        CannotWrite: a checkpoint could not be written; older ones stay.
    """
    context = build_context(settings)
    if context.accelerator.is_main_process and not context.samples.task.removes:
        counts = count_unpaired(context.samples.cache.rows, settings.data)
        print(describe_unpaired(counts, settings.data), flush=True)
    loop = _TrainingLoop(context)
    loop.run()
    trained = export_weights(context)
    context.accelerator.trackers = []  # they still wait for the last videos
    context.accelerator.end_training()  # the processes part here
    loop.log_strips(settings.steps, wait=True)
    loop.log.finish()
    return trained


class _TrainingLoop:
    """The steps that a checkpoint leaves to be taken."""

    def __init__(self, context: TrainingContext) -> None:
        self.context, self.settings, self.accelerator = context, context.settings, context.accelerator
        self.accumulate = self.accelerator.gradient_accumulation_steps
        self.kinds: Counter[str] = Counter()
        self.wait_s = 0.0
        self.validation_rows = validation_rows(context)
        self.log = StepLog(
            self.accelerator,
            self.settings.output_path,
            str(self.settings),
            first_step=context.first_step,
            steps=self.settings.steps,
        )
        self.decoders: dict[int, ChildProcess] = {}
        """Processes that make videos of validation samples, by the step that these were sampled after."""

    def run(self) -> None:
        """Take the remaining steps."""
        first = self.context.first_step
        self.context.transformer.train()
        numbers = sample_numbers(
            range(first, self.settings.steps),
            batch=self.settings.batch,
            accumulate=self.accumulate,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        batches = load_batches(self.context.samples, numbers)
        for step in range(first, self.settings.steps):
            self.log.log(*self._train_step(step, batches))
            self.log_strips(step + 1)
            is_last, done = step + 1 == self.settings.steps, step + 1
            if is_last or done % self.settings.checkpoint_every == 0:
                save_state(self.context, done)
            every_steps = self.settings.validation.every_steps
            if every_steps and (is_last or done % every_steps == 0):
                self._validate(done)
                self.context.transformer.train()

    def log_strips(self, step: int, *, wait: bool = False) -> None:
        """Hand the validation videos that are ready to the trackers; or wait for all of them."""
        for sampled_at, decoder in list(self.decoders.items()):
            status = decoder.process.wait() if wait else decoder.returncode
            if status is None:
                continue
            decoder.end()
            del self.decoders[sampled_at]
            if status != 0:
                warnings.warn(f"no video of validation samples was made; see {decoder.log}", stacklevel=2)
            self.log.log_strips(decoder.log.parent, sampled_at=sampled_at, step=step)

    def _train_step(self, step: int, batches: Iterator[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, int]]:
        """Take one step of the optimiser; return its numbers over all processes, and its clips of each kind."""
        started, self.wait_s, self.kinds = time.perf_counter(), 0.0, Counter()
        learning_rate = self.settings.optimiser.learning_rate_at(step)
        for group in self.context.optimiser.param_groups:
            group["lr"] = learning_rate
        losses, norm, clips = [], math.nan, []
        for _ in range(self.accumulate):
            samples = self._next_batch(batches)
            clips += samples["clip_id"]
            with self.accelerator.accumulate(self.context.transformer):
                losses.append(self._backward(samples))
                _check_finite(step, losses[-1], 0.0, samples["clip_id"])
                if self.accelerator.sync_gradients:
                    parameters = self.context.transformer.parameters()
                    clipped = self.accelerator.clip_grad_norm_(parameters, self.settings.optimiser.max_grad_norm)
                    norm = math.nan if clipped is None else float(clipped)  # DeepSpeed may not give it
                    _check_finite(step, losses[-1], norm, clips)
                self.context.optimiser.step()
                self.context.optimiser.zero_grad()
        if self.context.ema is not None:
            self.context.ema.update(self.context.weights)
        # Over the processes, loss and waiting time are means, and clips of each kind are sums.
        values = [sum(losses) / len(losses), self.wait_s, *(float(self.kinds[kind]) for kind in KINDS)]
        total = self.accelerator.reduce(torch.tensor(values, device=self.accelerator.device), "sum").tolist()
        loss, wait_s = (value / self.accelerator.num_processes for value in total[:2])
        record = {
            "step": step + 1,
            "loss": loss,
            "grad_norm": norm,  # before clipping
            "learning_rate": learning_rate,
            "wait_s": wait_s,
            "step_s": time.perf_counter() - started,
        }
        return record, {kind: int(count) for kind, count in zip(KINDS, total[2:], strict=True)}

    def _next_batch(self, batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            samples = next(batches)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise LoaderDied(
                f"a loader process ended ({error}); start again, the last checkpoint is resumed; if memory ran "
                "short, lower data.workers"
            ) from error
        self.wait_s += time.perf_counter() - started
        self.kinds.update(samples["kind"])
        return samples

    def _backward(self, samples: dict[str, Any]) -> float:
        """Add a batch's gradient; return its loss."""
        device = self.accelerator.device
        batch = TrainingBatch(*(samples[name].to(device, non_blocking=True) for name in TrainingBatch._fields))
        loss = self.context.family.loss(self.context.transformer, batch, self.context.scheduler)
        self.accelerator.backward(loss)
        return float(loss.detach())

    def _validate(self, step: int) -> None:
        """Write latents of the validation clips after so many steps, and have them decoded."""
        context, accelerator, rows = self.context, self.accelerator, self.validation_rows
        folder = self.settings.output_path / "validation" / f"step-{step:08d}"
        share = rows if context.sharded else rows[accelerator.process_index :: accelerator.num_processes]
        model = context.transformer if context.sharded else accelerator.unwrap_model(context.transformer)
        model.eval()
        for row in share:
            latents = _sample_row(context, model, context.samples.cache.read(row["key"]))
            if accelerator.is_main_process or not context.sharded:
                folder.mkdir(parents=True, exist_ok=True)
                writer = require("safetensors.torch", extra="train")
                tensors = {"latents": latents.float().cpu().contiguous()}
                path = path_within(folder, f"{row['clip_id']}.safetensors")
                writer.save_file(tensors, path, {"key": row["key"]})
        accelerator.wait_for_everyone()
        if accelerator.is_main_process and rows and self.settings.validation.decode_on:
            # Not waited for: a full card fails the video, never the training; the decoder ends with this process.
            arguments = [folder, context.samples.cache.folder, context.model_folder, self.settings.validation.decode_on]
            command = [sys.executable, "-m", "effectpairs.training", "decode", "--end-with-stdin", *map(str, arguments)]
            self.decoders[step] = ChildProcess(command, folder / "decoding.log")


def validation_rows(context: TrainingContext) -> list[dict[str, Any]]:
    """The rows that are sampled: those named, or the first of the validation split.

    Raises:
        ValueError: a clip is named that the cache does not have.
    """
    settings, rows = context.settings.validation, context.samples.cache.rows
    by_id = {row["clip_id"]: row for row in reversed(rows)}
    unknown = [clip_id for clip_id in settings.clips if clip_id not in by_id]
    if unknown:
        examples = ", ".join(sorted(by_id)[:3])
        raise ValueError(f"validation.clips names '{unknown[0]}', which the cache does not have; it has {examples}")
    if settings.clips:
        return [by_id[clip_id] for clip_id in settings.clips]
    paired = [row for row in rows if row["kind"] != "unpaired"]
    return ([row for row in paired if row["split"] == "validation"] or paired or rows)[: settings.count]


def _sample_row(context: TrainingContext, model: Any, row: CachedRow) -> Latents:
    """Sample a row without chance in its conditioning: its whole mask and the mean of its latents."""
    settings, family = context.settings.validation, context.family
    windows = WindowSettings(length=len(row.target.mean), overlap=0)
    sampling = SamplingSettings(steps=settings.steps, guidance=settings.guidance, seed=settings.seed, windows=windows)
    device, empty = context.accelerator.device, context.samples.cache.no_caption()
    texts = tuple(torch.from_numpy(rows)[None].to(device) for rows in (row.text, empty))
    conditioning = empty_conditioning(torch.from_numpy(row.target.mean)[None], family.conditioning_channels)
    if row.mask is not None:
        layers = {name: torch.from_numpy(layer.mean)[None] for name, layer in row.conditions.items()}
        mask, visible = torch.from_numpy(row.mask).float()[None], torch.ones(len(row.target.mean), dtype=torch.bool)
        conditioning = family.condition(layers, mask, visible, context.settings.data.mask_downsample)
    with context.accelerator.autocast():
        return denoise(family, model, context.scheduler, conditioning.to(device), texts, sampling)


def _check_finite(step: int, loss: float, norm: float, clips: list[str]) -> None:
    if not math.isfinite(loss) or math.isinf(norm):
        raise NonFiniteLoss(
            f"step {step + 1}: the loss is {loss} and the gradient's norm {norm} on clips {', '.join(clips)}; "
            "look at those clips, or lower optimiser.learning_rate, and go on from the last checkpoint"
        )
