"""Training of any model with any losses on one or several devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import nn

from p2seg.engine.checkpoint import CheckpointFolder
from p2seg.engine.gradients import GradientCheck
from p2seg.engine.log import TrainingLog
from p2seg.engine.loop import BatchesFrom, LossesOf, PicturesOf, TrainingLoop, Validation
from p2seg.engine.optim import Factor, WeightAverage
from p2seg.engine.state import TrainingState
from p2seg.errors import UserError
from p2seg.runtime.preemption import noticing
from p2seg.runtime.progress import TrainingBar, console
from p2seg.runtime.ranks import Ranks

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Trainer:
    """The settings of a training.

    Attributes:
        max_steps: number of optimizer steps.
        batch_size: images per step over all processes.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        accelerator: `auto`, `cpu` or `cuda`.
        devices: number of processes on this machine; ignored under torchrun and srun.
        clip_norm: maximum norm of the gradient; None: no clipping. A step with a non-finite
            gradient is never taken.
        ema: whether to keep an exponential moving average of the weights.
        log_every: steps between scalars in TensorBoard.
        picture_every: steps between pictures in TensorBoard; 0: none.
        checkpoint_every: steps between checkpoints; the last step always writes one.
        keep: number of checkpoints to keep, including the last one.
        snapshots: steps after which the weights are written to a separate file; 0: the initial
            weights.
        resume: `auto` resumes from the last checkpoint if there is one; `changed` does so even with
            other settings; `never` starts over.
        channels_last: memory format of convolutions; None: channels last on a GPU.
        compile: whether to use `torch.compile`, with which the first steps take minutes. The
            affinity operators and the computation of labels are not compiled.

    Raises:
        UserError: a number is below its minimum.
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
                raise UserError(f"trainer.{name}={getattr(self, name)}: must be an integer >= 1")
        if min([0, *self.snapshots]) < 0:
            raise UserError(f"trainer.snapshots={list(self.snapshots)}: must be integers >= 0")

    def fabric(self) -> Fabric:
        """Starts Fabric with one or several processes; see `start_processes`.

        Raises:
            UserError: the machine lacks these devices, or Fabric rejects the precision.
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
        """Trains to `max_steps`, and resumes from the last checkpoint in `out` if there is one.

        SIGTERM, SIGUSR1, SIGHUP and Ctrl-C stop the training after a step, with a checkpoint.

        Args:
            fabric: returned by `fabric`.
            module: the model, without losses.
            optimizer: optimizer of the model's parameters; the learning rate of each group is its
                peak.
            factor: factor on the learning rates by step.
            batches_from: the data.
            losses_of: the objective.
            out: folder for checkpoints and TensorBoard files.
            content: further entries of the checkpoint: `kind`; `config`, `inputs` and `categories`,
                which must be equal to resume; `settings`, of which differences are printed; and
                `validated_on`, the fingerprint of the validation data.
            pictures_of: pictures for TensorBoard.
            validation: scores the model, or its averaged weights if `ema`; the weights with the
                best first score are written to `best.pt`. Called in every process.
            validate_every: steps between validations; the last step is always validated. 0: none.

        Returns:
            Path of the last checkpoint.

        Raises:
            UserError: a loss, gradient or weight is NaN or infinite, or the checkpoint belongs to a
                run with other settings.
            Stopped: a stop signal was received and a checkpoint was written.
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
            self._print_plan(folder.last, step, factor)
        if step >= self.max_steps and not state.unvalidated:
            return folder.last
        model, state.optimizer = self._set_up(fabric, state)
        if step == 0 and first:  # remove files of an earlier training
            for old in (*(out / "snapshots").glob("step_*.pt"), out / "best.pt"):
                old.unlink(missing_ok=True)
        bar = TrainingBar(step, self.max_steps, self.batch_size, self.log_every, first)
        with TrainingLog(out, bar, step, first) as log, noticing() as notice:
            loop = TrainingLoop(
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

    def _print_plan(self, last: Path, step: int, factor: Factor) -> None:
        """Prints where the training resumes, and settings that will have no effect."""
        messages = []
        highest = max(map(factor, range(self.max_steps)))
        if highest < 1 and step < self.max_steps:
            messages.append(
                f"the learning rate reaches only {highest:.0%} of its peak because the warm-up is "
                f"too long for {self.max_steps} steps; set fewer steps with optim.warmup_steps "
                "(segmentation model: segmentor.schedule.warmup_steps) or train longer"
            )
        if step:
            state = "resumed" if step < self.max_steps else "nothing left to do"
            messages.append(f"{last} is at step {step} of {self.max_steps}: {state}")
        beyond = [each for each in self.snapshots if each > self.max_steps]
        if beyond:
            messages.append(
                f"trainer.snapshots={beyond}: not written, the training has {self.max_steps} steps"
            )
        for message in messages:
            console.print(message, markup=False)

    def _set_up(
        self, fabric: Fabric, state: TrainingState
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model and the optimizer wrapped by Fabric, on their device."""
        on_gpu = fabric.device.type == "cuda"
        if on_gpu if self.channels_last is None else self.channels_last:
            state.module.to(memory_format=cast(Any, torch.channels_last))
        if self.compile:
            state.module.compile()
        if state.scaler is not None:
            # a fused step would unscale the gradients itself, after the clipping
            cast(Any, state.optimizer)._step_supports_amp_scaling = False
        model, optimizer = fabric.setup(state.module, state.optimizer)
        state.average_to(fabric.device)
        return model, optimizer
