"""What a training tells of itself: a bar or lines, and TensorBoard's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from p2seg.progress import TrainingBar


class TrainingLog:
    """Of the first process; the others write and print nothing.

    Args:
        folder: of TensorBoard's files.
        bar: of the training.
        start: the step that the training starts from; what an interrupted one wrote of later
            steps is hidden.
        shown: False on all ranks but the first.
    """

    def __init__(self, folder: Path, bar: TrainingBar, start: int, shown: bool) -> None:
        self.bar = bar
        purge = start + 1 if start else None
        self.writer = SummaryWriter(folder, purge_step=purge) if shown else None

    def __enter__(self) -> TrainingLog:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__(*error)
        if self.writer is not None:
            self.writer.close()

    def losses(
        self, step: int, values: Mapping[str, float], optimizer: torch.optim.Optimizer
    ) -> None:
        """After `step` steps: the losses, and the learning rates they were made with."""
        if self.writer is None:
            return
        self.bar.update(step, values)
        for name, value in values.items():
            self.writer.add_scalar(f"loss/{name}", value, step)
        for index, group in enumerate(optimizer.param_groups):
            self.writer.add_scalar(f"lr/{index}", group["lr"], step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """What a validation gave."""
        if self.writer is None:
            return
        self.bar.say(step, scores)
        for name, score in scores.items():
            self.writer.add_scalar(f"val/{name}", score, step)

    def pictures(self, step: int, pictures: Mapping[str, Any]) -> None:
        """uint8 images `[H, W, 3]` by name."""
        if self.writer is not None:
            for name, picture in pictures.items():
                self.writer.add_image(name, picture, step, dataformats="HWC")
