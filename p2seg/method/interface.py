"""The interface of methods: P2Seg (`p2seg.method.p2seg`) and BESTIE (`p2seg.method.bestie`)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import Decode
from p2seg.structures import Batch, Labels, Outputs


class Method(Protocol):
    """A method: the objective of the training, and the labels that the network learns from."""

    @property
    def mdm(self) -> MutualDistillation | None:
        """The mutual distillation module (MDM), also used at export; None: no rounds."""
        ...

    @property
    def decode(self) -> Decode:
        """How semantic-to-instance conversion (S2I) uses offsets."""
        ...

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted losses of a training step.

        Args:
            model: the network, in training mode.
            batch: the batch of this step.
            step: index of this step, from 0.

        Returns:
            Losses by name, each `[]`; the objective is their sum.
        """
        ...

    def labels(self, outputs: Outputs, batch: Batch) -> list[Labels]:
        """The labels of a batch: first the seed labels, then those of each round.

        Args:
            outputs: the network's outputs on the batch.
            batch: the batch with its initial semantic map, seed labels and points.

        Returns:
            Labels of `[B, H, W]`, without gradient.
        """
        ...
