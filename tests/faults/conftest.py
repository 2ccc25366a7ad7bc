"""Fixtures of the tests of disks that fail: a small disk that can be filled."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = 4096


class Disk:
    """A small file system in memory.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, free: int) -> None:
        """Leaves so many pages free."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(PAGE))
        with filler.open("rb+") as stream:
            stream.truncate(max(0, filler.stat().st_size - free * PAGE))

    def empty(self) -> None:
        """Makes room again."""
        (self.path / "filler").unlink()

    def remount(self, options: str) -> None:
        """Changes its options, such as `ro`."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)

    def unmount(self) -> None:
        """Takes it away, also from those who have files open there."""
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB; the test is skipped where none may be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no disk can be mounted here ({error})")
    if done.returncode or sys.platform != "linux":
        pytest.skip(f"no disk can be mounted here ({done.stderr.strip()})")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)
