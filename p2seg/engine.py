"""The training loop. It knows losses and steps, and nothing of the paper."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from p2seg.checkpoint import load_checkpoint, refuse_other_run, save_checkpoint
from p2seg.errors import UserError
from p2seg.optim import Factor, WeightAverage
from p2seg.progress import TrainingBar, console
from p2seg.ranks import mean_over_ranks
from p2seg.structures import to_device

LossesOf = Callable[[nn.Module, Any, int], dict[str, Tensor]]
"""(model, batch, step) -> named losses, already weighted; their sum is minimised."""

Validation = Callable[[nn.Module], Mapping[str, float]]
"""Model in evaluation mode -> scores by name; the more of the first one, the better."""

PicturesOf = Callable[[nn.Module, Any, int], Mapping[str, Any]]
"""(model, batch, step) -> uint8 images `[H, W, 3]` by name, for TensorBoard."""


@dataclass(frozen=True)
class Trainer:
    """How long and how a model is trained, whichever it is.

    Attributes:
        max_steps: optimizer steps.
        batch_size: images a step of this process.
        precision: Fabric's: `32-true`, `bf16-mixed` or `16-mixed`.
        accelerator: Fabric's: `auto`, `cpu` or `cuda`.
        devices: processes on this machine that Fabric starts; torchrun's count wins.
        clip_norm: gradients are scaled down to this norm; None leaves them.
        ema: keeps an average of the weights.
        log_every: steps between scalars.
        picture_every: steps between pictures; 0: none.
        checkpoint_every: steps between checkpoints; one is always written at the end.
        snapshots: steps after which the weights alone are kept, each in a file of its own; 0 are
            those it starts from.
        resume: go on from `last.pt` where there is one.
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
    snapshots: tuple[int, ...] = ()
    resume: bool = True
    channels_last: bool | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)}; it must be at least 1")
        if min([0, *self.snapshots]) < 0:
            raise UserError(f"trainer.snapshots={list(self.snapshots)}; steps are from 0 up")

    def fabric(self) -> Fabric:
        """Starts Fabric for one process or many (its own or torchrun's).

        Raises:
            UserError: this machine has no such accelerator, or Fabric no such precision.
        """
        try:
            fabric = Fabric(
                accelerator=self.accelerator,
                devices=int(os.environ.get("LOCAL_WORLD_SIZE", self.devices)),
                num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
                precision=cast(Any, self.precision),
            )
        except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
            raise UserError(
                f"training cannot start with trainer.accelerator={self.accelerator} "
                f"trainer.devices={self.devices} trainer.precision={self.precision}: "
                f"{' '.join(str(error).split())}"
            ) from error
        fabric.launch()
        return fabric

    def fit(
        self,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        factor: Factor,
        batches_from: Callable[[int], Iterable[Any]],
        losses_of: LossesOf,
        *,
        out: Path,
        content: dict[str, Any],
        pictures_of: PicturesOf | None = None,
        validation: Validation | None = None,
        validate_every: int = 0,
    ) -> Path:
        """Trains to `max_steps`, from the last checkpoint in `out` where there is one.

        Args:
            fabric: of this run.
            module: the model, with its losses outside.
            optimizer: over the model's parameters; each group's learning rate is its peak.
            factor: of the learning rate, by step.
            batches_from: endless batches from a step on; a batch has `names`.
            losses_of: the objective.
            out: folder of checkpoints and TensorBoard's files.
            content: what the checkpoint holds besides the weights: its `kind`, and `config`,
                `inputs` and `categories`, which must be the same for a run to go on; and
                `validated_on`, what `validation` compares with.
            pictures_of: what TensorBoard shows.
            validation: scores the model during training, the averaged weights where there are any;
                the best by its first score is kept in `best.pt`. Every process calls it.
            validate_every: steps between validations, and one at the end; 0: none.

        Returns:
            The last checkpoint.

        Raises:
            UserError: a loss that is not finite, with the names of the batch's images; or a
                checkpoint of a run with other settings.
        """
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            convert_sync_batchnorm(module)  # keeps the parameters that the optimizer holds
        rates = [group["lr"] for group in optimizer.param_groups]
        run = _Run(fabric, module, optimizer, WeightAverage(module) if self.ema else None, content)
        path = out / "last.pt"
        step = run.restore(path) if self.resume and path.is_file() else 0
        if step and fabric.global_rank == 0:
            left = "goes on" if step < self.max_steps else "there is nothing left to do"
            console.print(f"{path} is at step {step} of {self.max_steps}: {left}", markup=False)
        if step >= self.max_steps:
            return path
        beyond = [each for each in self.snapshots if each > self.max_steps]
        if beyond and fabric.global_rank == 0:
            told = f"trainer.snapshots={beyond}: there are {self.max_steps} steps, so none is kept"
            console.print(told, markup=False)
        on_gpu = fabric.device.type == "cuda"
        if on_gpu if self.channels_last is None else self.channels_last:
            module.to(memory_format=cast(Any, torch.channels_last))
        if self.compile:
            module.compile()
        model, optimizer = fabric.setup(module, optimizer)
        run.optimizer = optimizer
        run.average_to(fabric.device)
        shown = fabric.global_rank == 0
        writer = SummaryWriter(out) if shown else None
        images = self.batch_size * fabric.world_size
        model.train()
        if step == 0 and shown:  # those of an earlier training are not this one's
            for old in (*(out / "snapshots").glob("step_*.pt"), out / "best.pt"):
                old.unlink(missing_ok=True)
        if step in self.snapshots:
            run.snapshot(out, step)
        with TrainingBar(step, self.max_steps, images, self.log_every, shown) as progress:
            for batch in batches_from(step):
                batch = to_device(batch, fabric.device)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor(step)
                losses = losses_of(model, batch, step)
                total = torch.stack(list(losses.values())).sum()
                _check_finite(total, losses, batch.names, step)
                optimizer.zero_grad()
                fabric.backward(total)
                if self.clip_norm is not None:
                    fabric.clip_gradients(
                        model, optimizer, max_norm=self.clip_norm, error_if_nonfinite=False
                    )
                optimizer.step()
                step += 1
                if run.average is not None:
                    run.average.update(module)
                due = step == self.max_steps
                logged = due or step % self.log_every == 0
                values = mean_over_ranks(losses) if logged else {}
                if writer is not None:
                    if logged:
                        progress.update(step, values)
                        _write_scalars(writer, values, optimizer, step)
                    if pictures_of is not None and (due or self._pictured(step)):
                        # not the wrapped model: the other ranks take no part in this
                        _write_pictures(writer, pictures_of(module, batch, step), step)
                validated = bool(validation and validate_every) and (
                    due or step % validate_every == 0
                )
                if validation and validated:
                    scores = run.validate(out / "best.pt", step, validation)
                    if writer is not None:
                        progress.say(step, scores)
                        _write_scores(writer, scores, step)
                # the last is never before the best: what goes on from it knows of that
                if due or validated or step % self.checkpoint_every == 0:
                    run.save(path, step)
                if step in self.snapshots:
                    run.snapshot(out, step)
                if due:
                    break
        if writer is not None:
            writer.close()
        return path

    def _pictured(self, step: int) -> bool:
        return self.picture_every > 0 and (step == 1 or step % self.picture_every == 0)


class _Run:
    """What a checkpoint of a running training holds."""

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        content: dict[str, Any],
    ) -> None:
        self.fabric = fabric
        self.module = module
        self.optimizer = optimizer
        self.average = average
        self.content = content
        self.best: float | None = None

    @property
    def scaler(self) -> Any:
        """Of 16-mixed precision; None otherwise."""
        return getattr(self.fabric._precision, "scaler", None)

    def average_to(self, device: torch.device) -> None:
        if self.average is not None:
            self.average.state = to_device(self.average.state, device)

    def save(self, path: Path, step: int) -> None:
        """Writes everything needed to go on; every rank takes part, the first one writes."""
        random, random_gpu = map(self._gathered, _random_states(self.fabric.device))
        if self.fabric.global_rank != 0:
            return
        average = self.average
        save_checkpoint(
            path,
            {
                **self.content,
                "step": step,
                "model": self.module.state_dict(),
                "average": None if average is None else average.state,
                "average_updates": 0 if average is None else average.updates,
                "optimizer": self.optimizer.state_dict(),
                "scaler": None if self.scaler is None else self.scaler.state_dict(),
                "best": self.best,
                "random": random,
                "random_gpu": random_gpu,
            },
        )

    def validate(self, path: Path, step: int, validation: Validation) -> dict[str, float]:
        """The scores of the weights that prediction takes; the best so far are written."""
        with self._averaged():
            scores = dict(validation(self.module.eval()))
        self.module.train()
        scores = self.fabric.broadcast(scores)
        score = next(iter(scores.values()))
        if self.best is None or score > self.best:
            self.best = score
            self.save(path, step)
        return scores

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module with the averaged weights, where there are any."""
        if self.average is None:
            yield
            return
        own = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.state)
        yield
        self.module.load_state_dict(own)

    def snapshot(self, out: Path, step: int) -> None:
        """Writes the weights that export takes: the averaged ones where there are any."""
        if self.fabric.global_rank == 0:
            path = out / "snapshots" / f"step_{step:06d}.pt"
            state = self.module.state_dict() if self.average is None else self.average.state
            save_checkpoint(path, {**self.content, "step": step, "model": state, "average": None})

    def _gathered(self, state: Tensor) -> Tensor:
        """The states of all ranks, `[ranks, bytes]`."""
        states = cast(Tensor, self.fabric.all_gather(state))
        return states.reshape(self.fabric.world_size, -1).cpu()

    def restore(self, path: Path) -> int:
        """Loads a checkpoint and gives the step it was written after."""
        saved = load_checkpoint(path, self.content["kind"])
        refuse_other_run(path, saved, self.content)
        self.module.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None and saved["average"] is not None:
            self.average.state = saved["average"]
            self.average.updates = saved["average_updates"]
        if self.scaler is not None and saved["scaler"] is not None:
            self.scaler.load_state_dict(saved["scaler"])
        if len(saved["random"]) == self.fabric.world_size:
            rank, device = self.fabric.global_rank, self.fabric.device
            # a copy: torch reads past a view that begins within its storage
            torch.set_rng_state(saved["random"][rank].clone())
            if device.type == "cuda" and saved["random_gpu"][rank].numel():
                torch.cuda.set_rng_state(saved["random_gpu"][rank], device)
        # scores of other images are not compared
        if saved.get("validated_on") == self.content.get("validated_on"):
            self.best = saved.get("best")
        return int(saved["step"])


def _random_states(device: torch.device) -> tuple[Tensor, Tensor]:
    """States of the CPU's generator and of the GPU's (empty without one), uint8."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0).byte()
    return torch.get_rng_state(), gpu


def _check_finite(total: Tensor, losses: dict[str, Tensor], names: list[str], step: int) -> None:
    if not bool(torch.isfinite(total)):
        values = ", ".join(f"{name} {float(loss.detach())}" for name, loss in losses.items())
        raise UserError(
            f"the loss of step {step} is not finite ({values}) on {', '.join(names)}; look at "
            "these images, or lower the learning rate"
        )


def _write_scalars(
    writer: SummaryWriter, values: dict[str, float], optimizer: Any, step: int
) -> None:
    for name, value in values.items():
        writer.add_scalar(f"loss/{name}", value, step)
    for index, group in enumerate(optimizer.param_groups):
        writer.add_scalar(f"lr/{index}", group["lr"], step)


def _write_scores(writer: SummaryWriter, scores: Mapping[str, float], step: int) -> None:
    for name, score in scores.items():
        writer.add_scalar(f"val/{name}", score, step)


def _write_pictures(writer: SummaryWriter, pictures: Mapping[str, Any], step: int) -> None:
    for name, picture in pictures.items():
        writer.add_image(name, picture, step, dataformats="HWC")
