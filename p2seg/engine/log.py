"""Logs of a training: progress bar or lines on the console, and TensorBoard files."""

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
    """The logs of a training, written by rank 0 only.

    Args:
        folder: folder for TensorBoard files.
        bar: progress bar of the training.
        start: first step of this run; entries of an interrupted run after this step are hidden.
        shown: False in all ranks except 0.
    """

    def __init__(self, folder: Path, bar: TrainingBar, start: int, shown: bool) -> None:
        self.bar = bar
        self.folder = folder
        self.shown = shown
        # also at step 0, because a run killed before its first checkpoint has written entries
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
        """Ignores an OSError in TensorBoard's thread, which the next call of the writer repeats."""
        own = type(args.thread).__module__.startswith("tensorboard.")
        if not (own and isinstance(args.exc_value, OSError)):
            self._outer(args)

    @contextmanager
    def _written(self) -> Iterator[SummaryWriter | None]:
        """The writer; after a failed write None, because a full disk must not end a training."""
        try:
            yield self.writer
        except OSError as error:
            self.writer = None
            where = OSError(error.errno, error.strerror, str(self.folder))
            console.print(f"TensorBoard logging stopped: {refusal(where)}", markup=False)

    def losses(
        self, step: int, values: Mapping[str, float], optimizer: torch.optim.Optimizer
    ) -> None:
        """Logs the losses of step `step` and its learning rates."""
        if not self.shown:
            return
        self.bar.update(step, values)
        rates = {f"lr/{k}": group["lr"] for k, group in enumerate(optimizer.param_groups)}
        self._scalars(step, {f"loss/{name}": value for name, value in values.items()} | rates)

    def scaling(self, step: int, scale: float, skipped: int) -> None:
        """Logs the loss scale of 16-mixed precision and the steps skipped since the last call."""
        if not self.shown:
            return
        if skipped:
            message = (
                f"step {step}: {skipped} step{'s' * (skipped > 1)} skipped, because gradients "
                f"overflow in half precision; the loss is now scaled by {scale:g}"
            )
            console.print(message, markup=False)
        self._scalars(step, {"scaler/scale": scale, "scaler/skipped": skipped})

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Logs the scores of a validation."""
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
        """Writes buffered entries, so that a checkpoint is never newer than the log."""
        with self._written() as writer:
            if writer is not None:
                writer.flush()

    def pictures(self, step: int, pictures: Mapping[str, Any]) -> None:
        """Logs uint8 RGB images `[H, W, 3]` by name."""
        with self._written() as writer:
            if writer is not None:
                for name, picture in pictures.items():
                    writer.add_image(name, picture, step, dataformats="HWC")


def _writer(folder: Path, step: int) -> SummaryWriter:
    """A TensorBoard writer that hides existing entries from `step` on."""
    from torch.utils.tensorboard import SummaryWriter  # the import takes half a second

    return SummaryWriter(folder, purge_step=step)
