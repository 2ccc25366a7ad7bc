"""The steps of a training, with logging, checkpoints and validations between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from p2seg.engine.checkpoint import CheckpointFolder
from p2seg.engine.gradients import GradientCheck
from p2seg.engine.log import TrainingLog
from p2seg.engine.optim import Factor
from p2seg.engine.state import TrainingState
from p2seg.runtime.preemption import Notice, Stopped
from p2seg.runtime.progress import console
from p2seg.runtime.ranks import mean_over_ranks
from p2seg.runtime.workers import WorkerLost
from p2seg.structures import to_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from p2seg.engine.trainer import Trainer

LossesOf = Callable[[nn.Module, Any, int], dict[str, Tensor]]
"""(model, batch, step) -> weighted losses by name; their sum is minimized."""

Validation = Callable[[nn.Module], Mapping[str, float]]
"""Model in evaluation mode -> scores by name; a higher first score is better."""

BatchesFrom = Callable[[int], Generator[Any, None, None]]
"""Step -> infinite batches from this step on; a batch has the attribute `names`."""

PicturesOf = Callable[[nn.Module, Any, int], Mapping[str, Any]]
"""(model, batch, step) -> uint8 images `[H, W, 3]` by name, for TensorBoard."""


@dataclass(frozen=True)
class TrainingLoop:
    """Runs the steps of a training; see `Trainer.fit` for the attributes."""

    trainer: Trainer
    fabric: Fabric
    model: nn.Module
    state: TrainingState
    check: GradientCheck
    folder: CheckpointFolder
    log: TrainingLog
    notice: Notice
    rates: list[float]
    factor: Factor
    losses_of: LossesOf
    pictures_of: PicturesOf | None
    validation: Validation | None
    validate_every: int

    def run(self, batches_from: BatchesFrom, step: int) -> None:
        """Runs all steps from `step` on."""
        if self.state.unvalidated and self.validation is not None:
            self._write(step)  # best.pt may become a link to last.pt, which may be damaged
            self._validate(self.validation, step)
        self._snapshot(step)
        if step >= self.trainer.max_steps:
            return
        with closing(batches_from(step)) as batches:  # ends the data workers
            while True:
                batch = self._next(batches, step)
                moved = to_device(batch, self.fabric.device)
                losses = self._learn(moved, step)
                step += 1
                self._log(moved, losses, step)
                self._keep(step)
                if step == self.trainer.max_steps:
                    return

    def _next(self, batches: Iterator[Any], step: int) -> Any:
        """The next batch; a signal or a lost worker first writes a checkpoint."""
        if self.fabric.world_size > 1:  # the other ranks may have begun the next step
            return next(batches)
        try:
            with self.notice.at_once():
                return next(batches)
        except (Stopped, WorkerLost):
            if step:
                self._write(step)
                self._print_how_to_resume(step)
            raise

    def _learn(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Runs one optimizer step and returns its losses."""
        optimizer, clip_norm = self.state.optimizer, self.trainer.clip_norm
        most = math.inf if clip_norm is None else clip_norm
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.factor(step)
        losses = self.losses_of(self.model, batch, step)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        self.fabric.backward(total)
        norm = self.fabric.clip_gradients(
            self.model, optimizer, max_norm=most, error_if_nonfinite=False
        )
        if self.check.allows(losses, total, cast(Tensor, norm), batch.names, step):
            optimizer.step()
        if self.state.average is not None:
            self.state.average.update(self.state.module)
        return losses

    def _log(self, batch: Any, losses: dict[str, Tensor], step: int) -> None:
        """Logs the mean losses over all processes, and pictures, if they are due."""
        due, every = step == self.trainer.max_steps, self.trainer.picture_every
        if due or step % self.trainer.log_every == 0:
            self.log.losses(step, mean_over_ranks(losses), self.state.optimizer)
            if self.state.scaler is not None:
                self.log.scaling(step, self.state.scaler.get_scale(), self.check.counted())
        pictured = every > 0 and (due or step == 1 or step % every == 0)
        if pictured and self.pictures_of is not None and self.fabric.global_rank == 0:
            # not the DDP model, whose forward pass would wait for the other ranks
            self.log.pictures(step, self.pictures_of(self.state.module, batch, step))

    def _keep(self, step: int) -> None:
        """Writes the checkpoint and snapshot and runs the validation that are due after a step.

        Raises:
            Stopped: a process has received a stop signal.
        """
        due, signal = step == self.trainer.max_steps, self._signal()
        validation = self.validation if due or self._divides(self.validate_every, step) else None
        if due or signal or validation or step % self.trainer.checkpoint_every == 0:
            # before the validation, so that stopping a long validation loses no step
            self.state.unvalidated = validation is not None
            self._write(step)
        self._snapshot(step)
        if signal:
            self._print_how_to_resume(step)
            raise Stopped(signal)
        if validation is not None:
            self._validate(validation, step)

    def _print_how_to_resume(self, step: int) -> None:
        if self.trainer.resume == "never":
            message = f"{self.folder.last} is at step {step}: remove resume=never to resume"
            console.print(message, markup=False)

    @staticmethod
    def _divides(every: int, step: int) -> bool:
        return every > 0 and step % every == 0

    def _signal(self) -> int:
        """The number of the stop signal that any process has received; 0 for none."""
        if self.fabric.world_size == 1:
            return self.notice.number
        own = torch.tensor(self.notice.number, device=self.fabric.device)
        return int(cast(Tensor, self.fabric.all_reduce(own, reduce_op="max")))

    def _write(self, step: int) -> None:
        content = self.state.collected(step)
        if self.fabric.global_rank == 0:
            self.log.flush()  # so that curves and checkpoint end at the same step
            self.folder.write(content)
        self.fabric.barrier()  # the end of one process would end the others while they write

    def _snapshot(self, step: int) -> None:
        if step in self.trainer.snapshots and self.fabric.global_rank == 0:
            folder = self.folder.last.parent / "snapshots"
            self.state.snapshot(folder / f"step_{step:06d}.pt", step)

    def _validate(self, validation: Validation, step: int) -> None:
        """Scores the weights that prediction uses, and writes them if they are the best so far."""
        with self.notice.at_once():
            # a resumed run has skipped earlier validations, so these must not change the RNG state
            with _same_rng_state(self.fabric.device), self.state.averaged() as module:
                scores = self.fabric.broadcast(dict(validation(module)))
            (name, score), *_ = scores.items()
            best = self.state.best
            is_best = math.isfinite(score) and (best is None or score > best)
            if is_best:
                self.state.best = score
            self.state.unvalidated = False
            self.log.scores(step, scores)
            if not math.isfinite(score):
                message = f"{name} of step {step} is {score}, so this step cannot become best.pt"
                console.print(message, markup=False)
            if self.fabric.global_rank == 0:
                self.folder.note_validation(step, self.state.best, is_best=is_best)
            self.fabric.barrier()


def _same_rng_state(device: torch.device) -> AbstractContextManager[None]:
    """Restores the state of torch's random generators after the block."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
