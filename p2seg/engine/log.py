"""What a training tells of itself: a bar or lines, and TensorBoard's files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from p2seg.errors import refusal
from p2seg.runtime.progress import TrainingBar, console

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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
        self.folder = folder
        self.shown = shown
        # also from step 0 on: a run that was killed before its first checkpoint has curves, too
        self.writer = _writer(folder, start + 1) if shown else None
        self._outer = threading.excepthook

    def __enter__(self) -> TrainingLog:
        threading.excepthook = self._of_a_thread
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__(*error)
        with self._written() as writer:
            if writer is not None:
                writer.close()
        threading.excepthook = self._outer

    def _of_a_thread(self, args: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread dies of a full disk; its error comes again at the next call."""
        own = type(args.thread).__module__.startswith("tensorboard.")
        if not (own and isinstance(args.exc_value, OSError)):
            self._outer(args)

    @contextmanager
    def _written(self) -> Iterator[SummaryWriter | None]:
        """The writer, until it cannot write: curves are no reason to lose a training."""
        try:
            yield self.writer
        except OSError as error:
            self.writer = None
            where = OSError(error.errno, error.strerror, str(self.folder))
            console.print(f"no more curves for TensorBoard: {refusal(where)}", markup=False)

    def losses(
        self, step: int, values: Mapping[str, float], optimizer: torch.optim.Optimizer
    ) -> None:
        """After `step` steps: the losses, and the learning rates they were made with."""
        if not self.shown:
            return
        self.bar.update(step, values)
        rates = {f"lr/{k}": group["lr"] for k, group in enumerate(optimizer.param_groups)}
        self._scalars(step, {f"loss/{name}": value for name, value in values.items()} | rates)

    def scaling(self, step: int, scale: float, skipped: int) -> None:
        """In 16-mixed precision: the loss's scale, and steps skipped since the last call."""
        if not self.shown:
            return
        if skipped:
            told = (
                f"step {step}: {skipped} step{'s' * (skipped > 1)} skipped, because gradients "
                f"overflow in half precision; the loss is now scaled by {scale:g}"
            )
            console.print(told, markup=False)
        self._scalars(step, {"scaler/scale": scale, "scaler/skipped": skipped})

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """What a validation gave."""
        if not self.shown:
            return
        self.bar.say(step, scores)
        self._scalars(step, {f"val/{name}": score for name, score in scores.items()})

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        with self._written() as writer:
            if writer is not None:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Writes what waits to be written: before a checkpoint that it belongs to."""
        with self._written() as writer:
            if writer is not None:
                writer.flush()

    def pictures(self, step: int, pictures: Mapping[str, Any]) -> None:
        """uint8 images `[H, W, 3]` by name."""
        with self._written() as writer:
            if writer is not None:
                for name, picture in pictures.items():
                    writer.add_image(name, picture, step, dataformats="HWC")


def _writer(folder: Path, step: int) -> SummaryWriter:
    """The writer of TensorBoard's files, which hides what earlier ones have from a step on."""
    from torch.utils.tensorboard import SummaryWriter  # costs half a second

    return SummaryWriter(folder, purge_step=step)
