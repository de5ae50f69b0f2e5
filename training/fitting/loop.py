"""Fine-tuning on a latent cache: one process or many, as `accelerate launch` says, resumable bit for bit.

The loss is the plain mean squared error of the velocity. Trainable weights are 32-bit; the rest is frozen and, under
bf16, 16-bit. A step is a pure function of weights, optimiser and the step's number, so a run that was killed and
resumed from its checkpoint ends in the very weights of one that was not.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...extras import require
from ..base.network import Rotary, TrainingBatch, rotary_embedding, velocity_loss
from ..configs.config import TrainingConfig
from ..latents.data import load_batches, sample_numbers
from ..latents.sampler import KINDS
from .context import TrainingContext, build_context, export_weights, save_state
from .step_log import StepLog, TrainingStopped
from .validate import sample_validation_clips, validation_rows, wait_for_decoding

torch = require("torch", extra="train")


class NonFiniteLoss(TrainingStopped):
    """The loss or the gradient is not finite any more; the message names the clips of the batch."""


class LoaderDied(TrainingStopped):
    """A process that reads samples was killed."""


def train(settings: TrainingConfig) -> Path:
    """Train to the last step, from the newest checkpoint where there is one; return the folder of the trained weights.

    Raises:
        ValueError: cache, corpus, checkpoint, model and settings do not belong together.
        BaseModelNotFound: the base model is not on this machine.
        NonFiniteLoss: training diverged.
        CannotWrite: a checkpoint could not be written; older ones stay.
    """
    context = build_context(settings)
    _TrainingLoop(context).run()
    trained = export_weights(context)
    context.accelerator.end_training()  # the processes part here
    wait_for_decoding(context)
    return trained


class _TrainingLoop:
    """The steps that a checkpoint leaves to be taken."""

    def __init__(self, context: TrainingContext) -> None:
        self.context, self.settings, self.accelerator = context, context.settings, context.accelerator
        self.accumulate = self.accelerator.gradient_accumulation_steps
        self.rotary: dict[tuple[int, ...], Rotary] = {}
        self.kinds: Counter[str] = Counter()
        self.wait_s = 0.0

    def run(self) -> None:
        """Take the remaining steps."""
        first = self.context.first_step
        self.context.transformer.train()
        validation_rows(self.context)  # a clip that is not there is said now, not at the first validation
        tracked, tensorboard = {"settings": str(self.settings)}, {"purge_step": first + 1}
        self.accelerator.init_trackers("logs", config=tracked, init_kwargs={"tensorboard": tensorboard})
        log = StepLog(self.accelerator, self.settings.output_path, first_step=first)
        numbers = sample_numbers(
            range(first, self.settings.steps),
            batch=self.settings.batch,
            accumulate=self.accumulate,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        batches = load_batches(self.context.samples, numbers)
        for step in range(first, self.settings.steps):
            log.log(*self._train_step(step, batches))
            is_last, done = step + 1 == self.settings.steps, step + 1
            if is_last or done % self.settings.checkpoint_every == 0:
                save_state(self.context, done)
            every_steps = self.settings.validation.every_steps
            if every_steps and (is_last or done % every_steps == 0):
                sample_validation_clips(self.context, done)
                self.context.transformer.train()

    def _train_step(self, step: int, batches: Iterator[dict[str, Any]]) -> tuple[dict[str, float], dict[str, int]]:
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
        loss, wait_s, kinds = self._reduce(sum(losses) / len(losses))
        record = {
            "step": step + 1,
            "loss": loss,
            "grad_norm": norm,  # before clipping
            "learning_rate": learning_rate,
            "wait_s": wait_s,
            "step_s": time.perf_counter() - started,
        }
        return record, kinds

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
        frames, _, height, width = shape = tuple(batch.latents.shape[1:])
        if shape not in self.rotary:
            self.rotary[shape] = rotary_embedding(self.context.config, frames, height, width, device)
        alphas = self.context.scheduler.alphas_cumprod
        loss = velocity_loss(self.context.transformer, batch, alphas, rotary=self.rotary[shape])
        self.accelerator.backward(loss)
        return float(loss.detach())

    def _reduce(self, loss: float) -> tuple[float, float, dict[str, int]]:
        """Means of loss and waiting time over the processes, and sums of the kinds."""
        values = [loss, self.wait_s, *(float(self.kinds[kind]) for kind in KINDS)]
        total = self.accelerator.reduce(torch.tensor(values, device=self.accelerator.device), "sum").tolist()
        mean_loss, mean_wait_s = (value / self.accelerator.num_processes for value in total[:2])
        return mean_loss, mean_wait_s, {kind: int(count) for kind, count in zip(KINDS, total[2:], strict=True)}


def _check_finite(step: int, loss: float, norm: float, clips: list[str]) -> None:
    if not math.isfinite(loss) or math.isinf(norm):
        raise NonFiniteLoss(
            f"step {step + 1}: the loss is {loss} and the gradient's norm {norm} on clips {', '.join(clips)}; "
            "look at those clips, or lower optimiser.learning_rate, and go on from the last checkpoint"
        )
