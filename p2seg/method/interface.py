"""What a method is: P2Seg (`p2seg.method.p2seg`) and its rival BESTIE (`p2seg.method.bestie`)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import Decode
from p2seg.structures import Batch, Labels, Outputs


class Method(Protocol):
    """The objective of a training, and what labels images after it."""

    @property
    def mdm(self) -> MutualDistillation | None:
        """The rounds, also at export; None: the method has none."""
        ...

    @property
    def decode(self) -> Decode:
        """How S2I reads offsets."""
        ...

    def objective(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted losses of a training step.

        Args:
            model: the network, in training mode.
            batch: of this step.
            step: steps before this one.

        Returns:
            Losses by name, each `[]`; the objective is their sum.
        """
        ...

    def labels(self, outputs: Outputs, batch: Batch) -> list[Labels]:
        """The labels of a batch: the seed's first, then those of each round.

        Args:
            outputs: of the network on the batch.
            batch: with its first semantic map, seed and points.

        Returns:
            Labels of `[B, H, W]`, without gradient.
        """
        ...
