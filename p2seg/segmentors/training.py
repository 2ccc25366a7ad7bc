"""Training schedule and objective of segmentation models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from p2seg.engine.optim import Factor, steps
from p2seg.segmentors.data import InstanceBatch


@dataclass(frozen=True)
class EpochSchedule:
    """The usual schedule of detectors, in epochs. Paper: Sec. 4.1.

    Attributes:
        epochs: number of passes over the images.
        milestones: epochs after which the learning rate is divided by 10; None: 2/3 and 11/12 of
            `epochs`, such as 8 and 11 of 12.
        warmup_steps: number of warm-up steps.
        lr: learning rate at `lr_batch` images per step; it is scaled linearly with the batch size.
        lr_batch: images per step for `lr`.
    """

    epochs: float = 12
    milestones: Sequence[float] | None = None
    warmup_steps: int = 500
    lr: float = 0.02
    lr_batch: int = 16

    def steps(self, images: int, batch: int) -> int:
        """Number of steps for `images` images at `batch` images per step over all processes."""
        return max(1, math.ceil(self.epochs * images / batch))

    def steps_of(self, epochs: float | None, images: int, batch: int) -> int:
        """Number of steps of a number of epochs, at least 1; 0 for None."""
        return 0 if epochs is None else max(1, round(epochs * images / batch))

    def peak(self, batch: int) -> float:
        """The peak learning rate at `batch` images per step over all processes."""
        return self.lr * batch / self.lr_batch

    def said(self, images: int, batch: int) -> str:
        """A description of the schedule in one line."""
        falls = " and ".join(f"{epoch:.4g}" for epoch in self.falls)
        return (
            f"{self.steps(images, batch)} steps of {batch} images; "
            f"learning rate {self.peak(batch):g} = {self.lr:g} x {batch} / {self.lr_batch}"
            + (f", a tenth of it after epoch {falls} of {self.epochs:g}" if falls else "")
        )

    @property
    def falls(self) -> Sequence[float]:
        """Epochs after which the learning rate is divided by 10."""
        if self.milestones is not None:
            return self.milestones
        return self.epochs * 2 / 3, self.epochs * 11 / 12

    def factor(self, images: int, batch: int) -> Factor:
        """The factor on the peak learning rate by step."""
        milestones = [round(epoch * images / batch) for epoch in self.falls]
        return steps(milestones, self.warmup_steps)


def segmentor_losses(model: nn.Module, batch: InstanceBatch, step: int) -> dict[str, Tensor]:
    """The objective for `Trainer.fit`: the losses of a `Segmentor`.

    Args:
        model: a `Segmentor`, possibly wrapped by Fabric.
        batch: a batch of the data set.
        step: not used.

    Returns:
        Losses by name, each `[]`.
    """
    del step
    losses: dict[str, Tensor] = model(lambda: batch)
    return losses
