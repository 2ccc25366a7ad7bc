"""Being asked to stop: SIGTERM, SLURM's SIGUSR1 before a time limit, SIGHUP of a lost connection.

Outside of a training the signal stops the program where it is, as the keyboard does: what is
written is whole, and the same command goes on from there. A training first ends its step and writes
a checkpoint.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

RETRY = 75
"""Exit code of a run that was asked to stop and goes on with the same command (EX_TEMPFAIL)."""

ASKED: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
"""What schedulers send, and what a terminal sends when it closes. `nohup` ignores SIGHUP from the
start, and a signal that is ignored stays ignored."""

Handler = Callable[[int, FrameType | None], None]


class Stopped(BaseException):
    """The program was asked to stop. No `Exception`: nothing that mends mistakes may catch it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def code(self) -> int:
        """Exit code: 130 for the keyboard, as shells have it, else `RETRY`."""
        return 130 if self.number == signal.SIGINT else RETRY


@contextmanager
def stopping() -> Iterator[None]:
    """Within the block, the first signal of `ASKED` raises `Stopped`; later ones do nothing.

    Schedulers send a signal more than once, and the second must not break off what cleans up after
    the first.
    """
    heard: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if not heard:
            heard.append(number)
            raise Stopped(number)

    with handled(handle, ASKED):
        yield


class Notice:
    """Whether a training was asked to stop, by a scheduler or the keyboard.

    Attributes:
        number: of the signal; 0 while there was none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block nothing would be lost: a signal raises `Stopped` where it comes."""
        if self.number:
            raise Stopped(self.number)
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self.number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: not even the step is ended
        first, self.number = not self.number, self.number or number
        if first and self._at_once:
            raise Stopped(number)


@contextmanager
def noticing() -> Iterator[Notice]:
    """Within the block signals are kept in a notice, and nothing is broken off."""
    notice = Notice()
    with handled(notice._handle, (*ASKED, signal.SIGINT)):
        yield notice


def outlive_the_signal() -> None:
    """Of a process that prepares samples: what is sent to the whole job is for the training.

    The training asks its workers to end by an event of their own. A second signal, some seconds
    later, ends this process.
    """
    began: list[float] = []

    def handle(number: int, _: FrameType | None) -> None:
        began.append(time.monotonic())
        if began[-1] - began[0] > _PATIENCE:
            raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


_PATIENCE = 3.0
"""Seconds in which signals to a worker count as one."""


@contextmanager
def handled(handler: Handler, numbers: tuple[int, ...]) -> Iterator[None]:
    """Sets a handler and puts the old ones back; signals that are ignored stay so.

    Only the main thread can; elsewhere the block runs without.
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
