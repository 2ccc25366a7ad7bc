"""Commands that chaos.py disturbs, with all processes that they start; disks that fill up."""

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
"""Seconds in which a child must have ended after its parent, also one that imports libraries."""

MARK = "P2SEG_CHAOS"
"""Environment variable that all processes of a disturbed command have in common."""


class Process:
    """A command in a group of its own.

    Args:
        command: its words.
        limit: bytes of the largest file that it may write; None: as the system has it.

    Attributes:
        said: what it wrote to stderr, once it has ended.
    """

    def __init__(self, command: list[str], limit: int | None = None) -> None:
        self.said = ""
        self._mark = secrets.token_hex(8)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the end
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
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def children(self) -> list[int]:
        """The processes that it has started."""
        return [each.pid for each in psutil.Process(self._popen.pid).children()]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to it alone."""
        self._popen.send_signal(number)

    def end(self, seconds: float = 600.0) -> int:
        """Waits for it and gives its exit code; what is not done after so long is killed."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            raise
        finally:
            with self._errors:
                self._errors.seek(0)
                self.said = self._errors.read()

    def outlived(self) -> list[str]:
        """Kills what still runs some time after the end, and gives its command lines."""
        end = time.monotonic() + GRACE
        while (left := self._family()) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"process {pid}: {words}" for pid, words in left.items()]

    def _family(self) -> dict[int, str]:
        """The command lines of all processes that it has started, however far below it."""
        found = {}
        for each in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or is somebody else's
                if each.environ().get(MARK) == self._mark:
                    found[each.pid] = " ".join(each.cmdline())[:200]
        return found

    def wait(self, seconds: float, out: Path | None) -> bool:
        """Lets it run for so long, and then until it writes a file below `out`.

        Returns:
            Whether it was seen writing.
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
    """A small file system, or a limit on the size of files where none can be mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        options = ("-t", "tmpfs", "-o", "size=1m", "p2seg", str(folder))
        done = subprocess.run(("mount", *options), capture_output=True, check=False)
        self.is_mounted = done.returncode == 0

    def resize(self, size: int | None) -> None:
        """Makes it so many bytes large; None: large enough."""
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
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this script may run under nohup
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, not the end
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _is_written(out: Path) -> bool:
    """Whether a temporary file lies in the output's folder."""
    home = out if out.is_dir() else out.parent
    try:
        return any("~" in each.name for each in home.iterdir())
    except OSError:
        return False
