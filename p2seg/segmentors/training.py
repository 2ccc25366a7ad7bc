"""How a segmentor is trained: epochs, steps of the learning rate, and the sum of its losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from p2seg.engine.optim import Factor, steps
from p2seg.segmentors.data import InstanceBatch


@dataclass(frozen=True)
class EpochSchedule:
    """The detectors' common schedule, in epochs. Paper: Sec. 4.1.

    Attributes:
        epochs: passes over the images.
        milestones: epochs after which the learning rate falls to a tenth; None: two thirds and
            eleven twelfths of `epochs`, 8 and 11 of 12.
        warmup_steps: steps over which it rises.
        lr: at `lr_batch` images per step; it is linear in the batch.
        lr_batch: images per step that `lr` is meant for.
    """

    epochs: float = 12
    milestones: Sequence[float] | None = None
    warmup_steps: int = 500
    lr: float = 0.02
    lr_batch: int = 16

    def steps(self, images: int, batch: int) -> int:
        """Optimizer steps for a set of `images` at `batch` images per step of all processes."""
        return max(1, math.ceil(self.epochs * images / batch))

    def steps_of(self, epochs: float | None, images: int, batch: int) -> int:
        """Steps of some epochs, at least one; 0 for None."""
        return 0 if epochs is None else max(1, round(epochs * images / batch))

    def peak(self, batch: int) -> float:
        """The highest learning rate, at `batch` images per step of all processes."""
        return self.lr * batch / self.lr_batch

    def said(self, images: int, batch: int) -> str:
        """The schedule in one line for the log."""
        falls = " and ".join(f"{epoch:.4g}" for epoch in self.falls)
        return (
            f"{self.steps(images, batch)} steps of {batch} images; "
            f"learning rate {self.peak(batch):g} = {self.lr:g} x {batch} / {self.lr_batch}"
            + (f", a tenth of it after epoch {falls} of {self.epochs:g}" if falls else "")
        )

    @property
    def falls(self) -> Sequence[float]:
        """Epochs after which the learning rate falls to a tenth."""
        if self.milestones is not None:
            return self.milestones
        return self.epochs * 2 / 3, self.epochs * 11 / 12

    def factor(self, images: int, batch: int) -> Factor:
        """What the peak is multiplied by at each step."""
        milestones = [round(epoch * images / batch) for epoch in self.falls]
        return steps(milestones, self.warmup_steps)


def segmentor_losses(model: nn.Module, batch: InstanceBatch, step: int) -> dict[str, Tensor]:
    """The losses that the segmentor itself computes, for `Trainer.fit`.

    Args:
        model: a `Segmentor`, or what wraps it.
        batch: of the data set.
        step: the same at every step.

    Returns:
        The losses by name, `[]` each.
    """
    del step
    losses: dict[str, Tensor] = model(lambda: batch)
    return losses
