"""Processes that end with their parent, even if the parent is killed by SIGKILL.

A process whose parent ends gets another parent at once, on every system but Windows. A child knows
the number of its parent from the parent itself and compares it, so no moment is too early: a child
that finds another parent at its first look ends then.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STARTED_BY = "P2SEG_STARTED_BY"
"""Environment variable: the parent of a command that another command has started."""

PAUSE = 0.5
"""Seconds between two looks at the parent."""


@contextmanager
def naming_parent() -> Iterator[None]:
    """Within the block, commands that this process starts find its number in their environment."""
    os.environ[STARTED_BY] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[STARTED_BY]


def end_with_parent() -> None:
    """Ends this command with the one that started it within `naming_parent`, or with torchrun.

    For a command that a user has started this does nothing.
    """
    named = os.environ.pop(STARTED_BY, "")  # what this command starts has another parent
    if named.isdecimal():
        end_with(int(named))
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun does not say its number; a rank without it cannot meet the others, and ends
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Ends this process by SIGKILL when its parent has ended.

    A worker whose parent was killed may otherwise wait for ever to hand on a result. It keeps its
    memory, and what it has inherited, such as the claim on an output. Files are always whole, so a
    sudden end loses no more than a kill does: of a training, the steps since its last checkpoint.

    Args:
        parent: the number of the process that started this one.
    """
    if os.name == "nt":
        return  # a process keeps the number of a dead parent there

    done = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            if done.wait(PAUSE):
                return
        os.kill(os.getpid(), signal.SIGKILL)

    def end() -> None:  # a thread that wakes while Python shuts down can abort the process
        done.set()
        thread.join(1)

    thread = threading.Thread(target=watch, name="parent", daemon=True)
    thread.start()
    atexit.register(end)
