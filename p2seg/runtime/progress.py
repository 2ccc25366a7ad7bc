"""Progress display: bars on a terminal, and a line every n steps in a log."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from p2seg.runtime.rank_env import is_first
from p2seg.runtime.terminal import Terminal

console = Terminal(soft_wrap=True, highlight=False, emoji=False, quiet=not is_first())
"""The console of rank 0; it prints nothing in other ranks."""
T = TypeVar("T")


@contextmanager
def bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[Progress]:
    """A progress bar with count, elapsed time, remaining time and a note.

    Args:
        what: text before the bar.
        total: number of items; None if unknown.
        shown: whether the bar is displayed.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not shown) as progress:
        progress.add_task(what, total=total, note="")
        yield progress


def track(
    items: Iterable[T], what: str, total: int | None, *, shown: bool = True
) -> Generator[T, None, None]:
    """Yields the items, and displays how many are done and the rate in images/s."""
    start = time.perf_counter()
    with bar(what, total, shown=shown) as progress:
        for done, item in enumerate(items, 1):
            yield item
            rate = done / (time.perf_counter() - start)
            progress.update(TaskID(0), completed=done, note=f"{rate:.1f} images/s")


class TrainingBar:
    """The progress of a training: step, losses, images/s, remaining time.

    If the output is not a terminal, a line is printed every `every` steps instead of a bar.

    Args:
        start: first step of this run; larger than 0 if the run was resumed.
        total: number of steps of the training.
        images: images per step, over all processes.
        every: steps between lines.
        shown: False in all ranks except 0.
    """

    def __init__(self, start: int, total: int, images: int, every: int, shown: bool) -> None:
        self.first = start
        self.total = total
        self.images = images
        self.every = every
        self.shown = shown
        self.began = time.perf_counter()
        self._context = bar("train", total, shown=shown and console.is_terminal)

    def __enter__(self) -> TrainingBar:
        self._bar = self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)  # type: ignore[arg-type]

    def say(self, step: int, scores: Mapping[str, float]) -> None:
        """Prints the scores of a validation."""
        text = " ".join(f"{name} {score:.3f}" for name, score in scores.items())
        console.print(f"step {step}/{self.total}  validation: {text}")

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        """Displays the number of finished steps and the latest losses."""
        elapsed = time.perf_counter() - self.began
        rate = (step - self.first) / max(elapsed, 1e-9)
        note = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        note += f"  {rate * self.images:.1f} images/s"
        self._bar.update(TaskID(0), completed=step, note=note)
        if (
            self.shown
            and not console.is_terminal
            and (step % self.every == 0 or step == self.total)
        ):
            left = (self.total - step) / max(rate, 1e-9)
            console.print(f"step {step}/{self.total}  {note}  {left:.0f} s left")
