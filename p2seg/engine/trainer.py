"""The training loop. It knows losses and steps, and nothing of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from p2seg.engine.checkpoint import CheckpointFolder
from p2seg.engine.gradients import GradientCheck
from p2seg.engine.log import TrainingLog
from p2seg.engine.optim import Factor, WeightAverage
from p2seg.engine.state import TrainingState
from p2seg.errors import UserError
from p2seg.runtime.preemption import Notice, Stopped, noticing
from p2seg.runtime.progress import TrainingBar, console
from p2seg.runtime.ranks import Ranks, mean_over_ranks
from p2seg.runtime.workers import WorkerLost
from p2seg.structures import to_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LossesOf = Callable[[nn.Module, Any, int], dict[str, Tensor]]
"""(model, batch, step) -> named losses, already weighted; their sum is minimized."""

Validation = Callable[[nn.Module], Mapping[str, float]]
"""Model in evaluation mode -> scores by name; the more of the first one, the better."""

BatchesFrom = Callable[[int], Generator[Any, None, None]]
"""Endless batches from a step on; a batch has `names`."""

PicturesOf = Callable[[nn.Module, Any, int], Mapping[str, Any]]
"""(model, batch, step) -> uint8 images `[H, W, 3]` by name, for TensorBoard."""


@dataclass(frozen=True)
class Trainer:
    """How long and how a model is trained, whichever it is.

    Attributes:
        max_steps: optimizer steps.
        batch_size: images per step, of all processes together.
        precision: Fabric's: `32-true`, `bf16-mixed` or `16-mixed`.
        accelerator: Fabric's: `auto`, `cpu` or `cuda`.
        devices: processes on this machine that Fabric starts; torchrun's and srun's count wins.
        clip_norm: gradients are scaled down to this norm; None leaves them. A step whose gradient
            is not finite is never taken.
        ema: keeps an average of the weights.
        log_every: steps between scalars.
        picture_every: steps between pictures; 0: none.
        checkpoint_every: steps between checkpoints; one is always written at the end.
        keep: checkpoints that are kept, the last one among them.
        snapshots: steps after which the weights alone are kept, each in a file of its own; 0 are
            those it starts from.
        resume: `auto` goes on from the last checkpoint where there is one, `changed` also with
            other settings, `never` starts over.
        channels_last: how convolutions see their maps in memory; None: channels last on a GPU.
        compile: through `torch.compile`; the first steps then take minutes. The affinity operators
            and the labels stay outside of it.

    Raises:
        UserError: a count below 1.
    """

    max_steps: int
    batch_size: int
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    clip_norm: float | None = 10.0
    ema: bool = True
    log_every: int = 20
    picture_every: int = 500
    checkpoint_every: int = 1000
    keep: int = 2
    snapshots: tuple[int, ...] = ()
    resume: Literal["auto", "changed", "never"] = "auto"
    channels_last: bool | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "log_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)}; it must be at least 1")
        if min([0, *self.snapshots]) < 0:
            raise UserError(f"trainer.snapshots={list(self.snapshots)}; steps are from 0 up")

    def fabric(self) -> Fabric:
        """Starts Fabric for one process or many (its own, torchrun's or srun's).

        Raises:
            UserError: this machine has no such accelerator, or Fabric no such precision.
        """
        from p2seg.runtime.processes import start_processes  # imports Fabric

        return start_processes(self.accelerator, self.devices, self.precision)

    def fit(
        self,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        factor: Factor,
        batches_from: BatchesFrom,
        losses_of: LossesOf,
        *,
        out: Path,
        content: dict[str, Any],
        pictures_of: PicturesOf | None = None,
        validation: Validation | None = None,
        validate_every: int = 0,
    ) -> Path:
        """Trains to `max_steps`, from the last checkpoint in `out` where there is one.

        SIGTERM, SIGUSR1, SIGHUP and the keyboard end it after a step, with a checkpoint.

        Args:
            fabric: of this run.
            module: the model, with its losses outside.
            optimizer: over the model's parameters; each group's learning rate is its peak.
            factor: of the learning rate, by step.
            batches_from: the data.
            losses_of: the objective.
            out: folder of checkpoints and TensorBoard's files.
            content: what the checkpoint holds besides the weights: its `kind`; `config`, `inputs`
                and `categories`, which must be the same for a run to go on; `settings`, which are
                only told where they are not; and `validated_on`, what `validation` compares with.
            pictures_of: what TensorBoard shows.
            validation: scores the model during training, the averaged weights where there are any;
                the best by its first score is kept in `best.pt`. Every process calls it.
            validate_every: steps between validations, and one at the end; 0: none.

        Returns:
            The last checkpoint.

        Raises:
            UserError: a loss or a gradient that is not finite, with the names of the batch's
                images; weights that are not finite at a checkpoint; or a checkpoint of a run with
                other settings.
            Stopped: the process was asked to stop, and a checkpoint is written.
        """
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            from timm.layers.norm_act import convert_sync_batchnorm

            convert_sync_batchnorm(module)  # keeps the parameters that the optimizer holds
        rates = [group["lr"] for group in optimizer.param_groups]
        average = WeightAverage(module) if self.ema else None
        state = TrainingState(fabric, module, optimizer, average, content)
        folder = CheckpointFolder(out, content["kind"], self.keep)
        changed = self.resume == "changed"
        step = 0 if self.resume == "never" else state.restore(folder, changed=changed)
        state.unvalidated = state.unvalidated and validation is not None and validate_every > 0
        first = fabric.global_rank == 0
        if first:
            self._tell(folder.last, step, factor)
        if step >= self.max_steps and not state.unvalidated:
            return folder.last
        model, state.optimizer = self._set_up(fabric, state)
        if step == 0 and first:  # those of an earlier training are not this one's
            for old in (*(out / "snapshots").glob("step_*.pt"), out / "best.pt"):
                old.unlink(missing_ok=True)
        bar = TrainingBar(step, self.max_steps, self.batch_size, self.log_every, first)
        with TrainingLog(out, bar, step, first) as log, noticing() as notice:
            loop = _Loop(
                trainer=self,
                fabric=fabric,
                model=model.train(),
                state=state,
                check=GradientCheck(state.scaler, Ranks.started()),
                folder=folder,
                log=log,
                notice=notice,
                rates=rates,
                factor=factor,
                losses_of=losses_of,
                pictures_of=pictures_of,
                validation=validation if validate_every else None,
                validate_every=validate_every,
            )
            loop.run(batches_from, step)
        return folder.last

    def _tell(self, last: Path, step: int, factor: Factor) -> None:
        """What is there already, and what will not be."""
        highest = max(map(factor, range(self.max_steps)))
        if highest < 1 and step < self.max_steps:
            told = (
                f"the learning rate reaches only {highest:.0%} of its peak: the warm-up is "
                f"too long for {self.max_steps} steps; set fewer steps with optim.warmup_steps "
                "(of a segmentor, segmentor.schedule.warmup_steps) or train longer"
            )
            console.print(told, markup=False)
        if step:
            left = "goes on" if step < self.max_steps else "there is nothing left to do"
            told = f"{last} is at step {step} of {self.max_steps}: {left}"
            console.print(told, markup=False)
        beyond = [each for each in self.snapshots if each > self.max_steps]
        if beyond:
            told = f"trainer.snapshots={beyond}: there are {self.max_steps} steps, so none is kept"
            console.print(told, markup=False)

    def _set_up(
        self, fabric: Fabric, state: TrainingState
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model as it is trained, on its device."""
        on_gpu = fabric.device.type == "cuda"
        if on_gpu if self.channels_last is None else self.channels_last:
            state.module.to(memory_format=cast(Any, torch.channels_last))
        if self.compile:
            state.module.compile()
        if state.scaler is not None:
            # a fused step would unscale the gradients itself, and then they cannot be clipped
            cast(Any, state.optimizer)._step_supports_amp_scaling = False
        model, optimizer = fabric.setup(state.module, state.optimizer)
        state.average_to(fabric.device)
        return model, optimizer


@dataclass(frozen=True)
class _Loop:
    """The steps of a training, and what is done between them."""

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
        """All steps from `step` on."""
        if self.state.unvalidated and self.validation is not None:
            self._write(step)  # last.pt may be damaged, and the best is a link to it
            self._validate(self.validation, step)
        self._snapshot(step)
        if step >= self.trainer.max_steps:
            return
        with closing(batches_from(step)) as batches:  # its workers end here
            while True:
                batch = self._next(batches, step)
                moved = to_device(batch, self.fabric.device)
                losses = self._learn(moved, step)
                step += 1
                self._tell(moved, losses, step)
                self._keep(step)
                if step == self.trainer.max_steps:
                    return

    def _next(self, batches: Iterator[Any], step: int) -> Any:
        """The next batch. What ends the wait for it loses no step."""
        if self.fabric.world_size > 1:  # the others may be in their step already
            return next(batches)
        try:
            with self.notice.at_once():
                return next(batches)
        except (Stopped, WorkerLost):
            if step:
                self._write(step)
                self._tell_how_to_resume(step)
            raise

    def _learn(self, batch: Any, step: int) -> dict[str, Tensor]:
        """One step; gives its losses."""
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

    def _tell(self, batch: Any, losses: dict[str, Tensor], step: int) -> None:
        """Losses, their mean over all processes, and pictures."""
        due, every = step == self.trainer.max_steps, self.trainer.picture_every
        if due or step % self.trainer.log_every == 0:
            self.log.losses(step, mean_over_ranks(losses), self.state.optimizer)
            if self.state.scaler is not None:
                self.log.scaling(step, self.state.scaler.get_scale(), self.check.counted())
        pictured = every > 0 and (due or step == 1 or step % every == 0)
        if pictured and self.pictures_of is not None and self.fabric.global_rank == 0:
            # not the wrapped model: the other ranks take no part in this
            self.log.pictures(step, self.pictures_of(self.state.module, batch, step))

    def _keep(self, step: int) -> None:
        """Checkpoints, snapshots and validations that are due after a step.

        Raises:
            Stopped: a process was asked to stop.
        """
        due, asked = step == self.trainer.max_steps, self._asked()
        validation = self.validation if due or self._divides(self.validate_every, step) else None
        if due or asked or validation or step % self.trainer.checkpoint_every == 0:
            # before the validation, which may take long: what stops it loses no step
            self.state.unvalidated = validation is not None
            self._write(step)
        self._snapshot(step)
        if asked:
            self._tell_how_to_resume(step)
            raise Stopped(asked)
        if validation is not None:
            self._validate(validation, step)

    def _tell_how_to_resume(self, step: int) -> None:
        if self.trainer.resume == "never":
            told = f"{self.folder.last} is at step {step}: leave resume=never out to go on"
            console.print(told, markup=False)

    @staticmethod
    def _divides(every: int, step: int) -> bool:
        return every > 0 and step % every == 0

    def _asked(self) -> int:
        """The signal that one of the processes was sent; 0 for none."""
        if self.fabric.world_size == 1:
            return self.notice.number
        own = torch.tensor(self.notice.number, device=self.fabric.device)
        return int(cast(Tensor, self.fabric.all_reduce(own, reduce_op="max")))

    def _write(self, step: int) -> None:
        content = self.state.collected(step)
        if self.fabric.global_rank == 0:
            self.log.flush()  # curves and checkpoint are of the same steps, whatever comes
            self.folder.write(content)
        self.fabric.barrier()  # a process that ends takes the others with it

    def _snapshot(self, step: int) -> None:
        if step in self.trainer.snapshots and self.fabric.global_rank == 0:
            folder = self.folder.last.parent / "snapshots"
            self.state.snapshot(folder / f"step_{step:06d}.pt", step)

    def _validate(self, validation: Validation, step: int) -> None:
        """Scores the weights that prediction takes; the best so far are written."""
        with self.notice.at_once():
            # a resumed run has drawn nothing for the validations before it
            with _same_draws(self.fabric.device), self.state.averaged() as module:
                scores = self.fabric.broadcast(dict(validation(module)))
            (name, score), *_ = scores.items()
            best = self.state.best
            is_best = math.isfinite(score) and (best is None or score > best)
            if is_best:
                self.state.best = score
            self.state.unvalidated = False
            self.log.scores(step, scores)
            if not math.isfinite(score):
                told = f"{name} of step {step} is {score}, so this step cannot become best.pt"
                console.print(told, markup=False)
            if self.fabric.global_rank == 0:
                self.folder.note_validation(step, self.state.best, is_best=is_best)
            self.fabric.barrier()


def _same_draws(device: torch.device) -> AbstractContextManager[None]:
    """Puts torch's generators back to where they were."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
