"""Processes that end with their parent, even if the parent is killed by SIGKILL.

On every system except Windows, a process whose parent ends gets another parent at once. The parent
passes its process ID to the child, and the child compares it with its current parent. So a child
also ends if its parent was killed before the first comparison.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STARTED_BY = "P2SEG_STARTED_BY"
"""Environment variable with the process ID of the command that started this command."""

PAUSE = 0.5
"""Seconds between two checks of the parent."""


@contextmanager
def naming_parent() -> Iterator[None]:
    """Within the block, commands started by this process get its ID in their environment."""
    os.environ[STARTED_BY] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[STARTED_BY]


def end_with_parent() -> None:
    """Ends this command together with torchrun, or with the command that started it.

    The starting command calls `naming_parent`. Does nothing for a command started by a user.
    """
    parent = os.environ.pop(STARTED_BY, "")  # children of this command have another parent
    if parent.isdecimal():
        end_with(int(parent))
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        # torchrun does not pass its ID; if it has ended before, this rank fails to connect anyway
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Starts a thread that ends this process by SIGKILL when its parent has ended.

    A worker whose parent was killed might otherwise wait forever to send a result. It would keep
    its memory and inherited locks of outputs. Files are written atomically, so SIGKILL damages
    none; a training loses the steps since its last checkpoint.

    Args:
        parent: process ID of the parent.
    """
    if os.name == "nt":
        return  # Windows keeps the ID of a dead parent

    done = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            if done.wait(PAUSE):
                return
        os.kill(os.getpid(), signal.SIGKILL)

    def end() -> None:  # a thread that runs while Python shuts down can abort the process
        done.set()
        thread.join(1)

    thread = threading.Thread(target=watch, name="parent", daemon=True)
    thread.start()
    atexit.register(end)
