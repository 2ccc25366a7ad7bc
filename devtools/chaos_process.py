"""Runs and disturbs commands with all their child processes, and provides disks that fill up."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

GRACE = 20.0
"""Most seconds for a child to end after its parent; it may be importing libraries."""

MARK = "P2SEG_CHAOS"
"""Environment variable that marks all processes of a disturbed command."""


class Process:
    """A command in its own process group.

    Args:
        command: the program and its arguments.
        limit: largest file in bytes that it may write; None for the limit of the system.

    Attributes:
        said: its stderr, after it has ended.
    """

    def __init__(self, command: list[str], limit: int | None = None) -> None:
        self.output = ""
        self._mark = secrets.token_hex(8)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `end`
        self._popen = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", MARK: self._mark},
            start_new_session=True,
            preexec_fn=lambda: _prepare(limit),
        )

    @property
    def is_running(self) -> bool:
        """Whether it is running."""
        return self._popen.poll() is None

    @property
    def children(self) -> list[int]:
        """Returns the processes that it has started."""
        return [each.pid for each in psutil.Process(self._popen.pid).children()]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process only."""
        self._popen.send_signal(number)

    def end(self, seconds: float = 600.0) -> int:
        """Waits for the end and returns the exit code; kills the process after `seconds`."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            raise
        finally:
            with self._errors:
                self._errors.seek(0)
                self.output = self._errors.read()

    def outlived(self) -> list[str]:
        """Kills child processes that are still running and returns their command lines."""
        end = time.monotonic() + GRACE
        while (left := self._family()) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"process {pid}: {words}" for pid, words in left.items()]

    def _family(self) -> dict[int, str]:
        """Returns the command lines of all processes below it, at any depth."""
        family = {}
        for each in psutil.process_iter():
            with suppress(psutil.Error):  # the process has ended, or belongs to another user
                if each.environ().get(MARK) == self._mark:
                    family[each.pid] = " ".join(each.cmdline())[:200]
        return family

    def wait(self, seconds: float, out: Path | None) -> bool:
        """Waits, and then until the process writes a file below `out`.

        Returns:
            Whether a write was seen.
        """
        end = time.monotonic() + seconds
        while self.is_running and time.monotonic() < end:
            time.sleep(0.02)
        end = time.monotonic() + 3
        while out is not None and self.is_running and time.monotonic() < end:
            if _is_written(out):
                return True
        return False


class Disk:
    """A small file system, or a limit on the file size if mounting is not possible."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        options = ("-t", "tmpfs", "-o", "size=1m", "p2seg", str(folder))
        done = subprocess.run(("mount", *options), capture_output=True, check=False)
        self.is_mounted = done.returncode == 0

    def resize(self, size: int | None) -> None:
        """Sets the size in bytes; None for a size that is large enough."""
        if not self.is_mounted:
            self.limit = size
            return
        option = f"remount,size={1 << 30 if size is None else size}"
        subprocess.run(("mount", "-o", option, str(self.folder)), check=True)

    def close(self) -> None:
        """Unmounts it."""
        if self.is_mounted:
            subprocess.run(("umount", str(self.folder)), check=True)


def _prepare(limit: int | None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would make the child ignore it
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write error instead of a kill
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _is_written(out: Path) -> bool:
    """Returns whether the folder of the output has a temporary file."""
    home = out if out.is_dir() else out.parent
    try:
        return any("~" in each.name for each in home.iterdir())
    except OSError:
        return False
