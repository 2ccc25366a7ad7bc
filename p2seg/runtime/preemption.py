"""Handling of SIGTERM, of SLURM's SIGUSR1 before a time limit, and of SIGHUP.

Outside of a training, the first signal stops the program at once, like Ctrl-C. Files are written
atomically, so the same command resumes. A training first finishes its step and writes a checkpoint.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

RETRY = 75
"""Exit code of a run that was stopped by a signal and can be resumed (EX_TEMPFAIL)."""

ASKED: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
"""Stop signals of schedulers and closing terminals. An ignored signal stays ignored, such as SIGHUP
under `nohup`."""

Handler = Callable[[int, FrameType | None], None]


class Stopped(BaseException):
    """The program was stopped by a signal. Not an `Exception`, so error handling never catches it.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def code(self) -> int:
        """Exit code: 130 for Ctrl-C, as in shells, else `RETRY`."""
        return 130 if self.number == signal.SIGINT else RETRY


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block, the first signal of `ASKED` raises `Stopped`; later ones do nothing.

    Schedulers may send a signal twice. The second one must not interrupt the cleanup.
    """
    signals: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if not signals:
            signals.append(number)
            raise Stopped(number)

    with handled(handle, ASKED):
        yield


class Notice:
    """The stop signal that a training has received from a scheduler or by Ctrl-C.

    Attributes:
        number: number of the first signal; 0 before it.
    """

    def __init__(self) -> None:
        self.number = 0
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block, a signal raises `Stopped` at once, because no work would be lost."""
        if self.number:
            raise Stopped(self.number)
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait for the end of the step
        first, self.number = not self.number, self.number or number
        if first and self._at_once:
            raise Stopped(number)


@contextmanager
def noticing() -> Iterator[Notice]:
    """Within the block, a signal is recorded in the notice and interrupts nothing."""
    notice = Notice()
    with handled(notice._handle, (*ASKED, signal.SIGINT)):
        yield notice


def outlive_the_signal() -> None:
    """Makes a data worker ignore stop signals, which schedulers send to all processes of a job.

    The training process handles the signal and closes its workers. A signal more than 3 seconds
    after the first one ends the worker.
    """
    times: list[float] = []

    def handle(number: int, _: FrameType | None) -> None:
        times.append(time.monotonic())
        if times[-1] - times[0] > _PATIENCE:
            raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


_PATIENCE = 3.0
"""Seconds in which signals to a worker count as one."""


@contextmanager
def handled(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    """Within the block, sets a handler for signals; ignored signals stay ignored.

    Python allows this in the main thread only. In another thread nothing is set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    for number in old:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
