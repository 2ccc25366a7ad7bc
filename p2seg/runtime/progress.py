"""What a person sees while something runs: bars on a terminal, a line now and then in a log."""

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
"""Of the first process of a run; the others say nothing there."""
T = TypeVar("T")


@contextmanager
def bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[Progress]:
    """A rich progress bar with count, elapsed and remaining time and a note behind.

    Args:
        what: text before it.
        total: items; None where nobody knows how many come.
        shown: False for none.
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
    """Yields the items and shows how many are done and how many images/s that makes."""
    start = time.perf_counter()
    with bar(what, total, shown=shown) as progress:
        for done, item in enumerate(items, 1):
            yield item
            rate = done / (time.perf_counter() - start)
            progress.update(TaskID(0), completed=done, note=f"{rate:.1f} images/s")


class TrainingBar:
    """The bar of a training: step, losses, images/s, time left.

    Away from a terminal a line is printed every `every` steps instead.

    Args:
        start: step that the run starts from.
        total: steps of the whole run.
        images: images of one step, over all processes.
        every: steps between lines.
        shown: False on all ranks but the first.
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
        """Prints what a validation gave."""
        said = " ".join(f"{name} {score:.3f}" for name, score in scores.items())
        console.print(f"step {step}/{self.total}  validation: {said}")

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        """Shows that `step` steps are done, with the latest losses."""
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
