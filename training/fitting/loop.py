"""Fine-tuning on a latent cache: one process or many, as `accelerate launch` says, resumable bit for bit.

The loss is the plain mean squared error of the velocity. What learns is kept in 32 bits; the rest is frozen and, under
bf16, held in 16. A step is a pure function of weights, optimiser and the step's number, so a run that was killed and
goes on from its checkpoint ends in the very weights of one that was not.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...extras import require
from ..base.network import Batch, rotary_embedding, velocity_loss
from ..configs.config import TrainingConfig
from ..latents.data import loader, sample_numbers
from ..latents.sampler import KINDS
from .setup import TrainingContext, build_context
from .state import export, resume, save
from .step_log import StepLog, StepRecord, TrainingStopped
from .validate import sample_validation_clips, validation_rows, wait_for_decoding

torch = require("torch", extra="train")


class NonFiniteLoss(TrainingStopped):
    """The loss or the gradient is no number any more; the message names the clips of the batch."""


class LoaderDied(TrainingStopped):
    """A process that reads samples was killed."""


def train(settings: TrainingConfig) -> Path:
    """Train to the last step, from the newest checkpoint where there is one; return the folder of the trained weights.

    Raises:
        ValueError: cache, corpus, checkpoint, model and settings do not belong together.
        BaseModelNotFound: the base model is not on this machine.
        NotFinite: training went astray.
        CannotWrite: a checkpoint could not be written; older ones stay.
    """
    ready = build_context(settings)
    first = resume(ready)
    _Loop(ready, first).run()
    trained = export(ready)
    ready.accelerator.end_training()  # the processes part here
    wait_for_decoding(ready)
    return trained


class _Loop:
    """The steps from `first` on."""

    def __init__(self, ready: TrainingContext, first: int) -> None:
        self.ready, self.first = ready, first
        self.accelerator, self.settings = ready.accelerator, ready.settings
        self.accumulate = self.accelerator.gradient_accumulation_steps
        self.where: dict[tuple[int, ...], Any] = {}
        self.kinds: Counter[str] = Counter()
        self.wait_s = 0.0

    def run(self) -> None:
        """Take the steps that are left."""
        self.ready.transformer.train()
        output = Path(self.settings.output).expanduser()
        validation_rows(self.ready)  # a clip that is not there is said now, not at the first validation
        said, after = {"settings": str(self.settings)}, {"tensorboard": {"purge_step": self.first + 1}}
        self.accelerator.init_trackers("logs", config=said, init_kwargs=after)
        journal = StepLog(self.accelerator, output, first_step=self.first)
        batches = self._batches()
        for step in range(self.first, self.settings.steps):
            journal.log(*self._step(step, batches))
            self._after(step + 1)

    def _batches(self) -> Iterator[dict[str, Any]]:
        numbers = sample_numbers(
            range(self.first, self.settings.steps),
            batch=self.settings.batch,
            accumulate=self.accumulate,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        return loader(self.ready.samples, numbers)

    def _step(self, step: int, batches: Iterator[dict[str, Any]]) -> tuple[StepRecord, dict[str, int]]:
        """One step of the optimiser."""
        began, self.wait_s, self.kinds = time.perf_counter(), 0.0, Counter()
        learning_rate = self.settings.optimiser.learning_rate_at(step)
        for group in self.ready.optimiser.param_groups:
            group["lr"] = learning_rate
        losses, norm, clips = [], math.nan, []
        for _ in range(self.accumulate):
            given = self._next(batches)
            clips += given["clip_id"]
            with self.accelerator.accumulate(self.ready.transformer):
                losses.append(self._learn(given))
                _check_finite(step, losses[-1], 0.0, given["clip_id"])
                if self.accelerator.sync_gradients:
                    norm = self._clipped_norm()
                    _check_finite(step, losses[-1], norm, clips)
                self.ready.optimiser.step()
                self.ready.optimiser.zero_grad()
        if self.ready.mean is not None:
            self.ready.mean.update(self.ready.weights)
        told, seen = self._over_all(sum(losses) / len(losses))
        numbers = StepRecord(
            step=step + 1,
            loss=told[0],
            grad_norm=norm,
            learning_rate=learning_rate,
            wait_s=told[1],
            step_s=time.perf_counter() - began,
        )
        return numbers, seen

    def _next(self, batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            given = next(batches)
        except RuntimeError as ended:
            if "DataLoader worker" not in str(ended):
                raise
            raise LoaderDied(
                f"a loader process ended ({ended}); start again, the last checkpoint is gone on from; if memory ran "
                "short, lower data.workers"
            ) from ended
        self.wait_s += time.perf_counter() - began
        self.kinds.update(given["kind"])
        return given

    def _learn(self, given: dict[str, Any]) -> float:
        """Add a batch's gradient; return its loss."""
        batch = Batch(*(given[name].to(self.accelerator.device, non_blocking=True) for name in Batch._fields))
        frames, _, height, width = batch.latents.shape[1:]
        if (frames, height, width) not in self.where:
            found = rotary_embedding(self.ready.config, frames, height, width, self.accelerator.device)
            self.where[frames, height, width] = found
        loss = velocity_loss(
            self.ready.transformer, batch, self.ready.scheduler.alphas_cumprod, where=self.where[frames, height, width]
        )
        self.accelerator.backward(loss)
        return float(loss.detach())

    def _clipped_norm(self) -> float:
        norm = self.accelerator.clip_grad_norm_(
            self.ready.transformer.parameters(), self.settings.optimiser.max_grad_norm
        )
        return float(norm) if norm is not None else math.nan

    def _over_all(self, loss: float) -> tuple[list[float], dict[str, int]]:
        """Loss and waiting as means over the processes, the kinds as sums."""
        mine = [loss, self.wait_s, *(float(self.kinds[kind]) for kind in KINDS)]
        total = self.accelerator.reduce(torch.tensor(mine, device=self.accelerator.device), "sum").tolist()
        means = [value / self.accelerator.num_processes for value in total[:2]]
        return means, {kind: int(count) for kind, count in zip(KINDS, total[2:], strict=True)}

    def _after(self, done: int) -> None:
        last = done == self.settings.steps
        if last or done % self.settings.checkpoint_every == 0:
            save(self.ready, done)
        every = self.settings.validation.every_steps
        if every and (last or done % every == 0):
            sample_validation_clips(self.ready, done)
            self.ready.transformer.train()


def _check_finite(step: int, loss: float, norm: float, clips: list[str]) -> None:
    if math.isfinite(loss) and (math.isfinite(norm) or math.isnan(norm)):
        return
    raise NonFiniteLoss(
        f"step {step + 1}: the loss is {loss} and the gradient's norm {norm} on clips {', '.join(clips)}; "
        "look at those clips, or lower optimiser.learning_rate, and go on from the last checkpoint"
    )
