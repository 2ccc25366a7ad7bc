"""File locks on outputs, so that two commands never write the same output at the same time."""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from p2seg.errors import UserError
from p2seg.runtime.rank_env import is_first
from p2seg.runtime.temporary import is_running, place, sweep

LINGERING = 30.0
"""Seconds to wait for a lock whose process has ended, because its workers may still be ending."""

_NO_LOCKS = {
    getattr(errno, name)
    for name in ("ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
    if hasattr(errno, name)
}
"""Error numbers of file systems without locks, such as some network file systems."""


@contextmanager
def claim(out: Path, *, folder: bool) -> Iterator[None]:
    """Locks an output within the block, and removes temporary files of killed processes.

    The operating system releases the lock when the process ends. In a distributed run only rank 0
    locks. On a file system without locks the block runs without one.

    Args:
        out: the file or folder to write.
        folder: whether `out` is a folder. The folder of the output is created.

    Raises:
        UserError: another process is writing `out`, or its folder was removed or unmounted while
            the block ran.
        OSError: the folder is not writable.
    """
    if not is_first():
        yield
        return
    target = out.resolve()  # a link and the file it points to have one lock
    home = target if folder else target.parent
    missing = [each for each in (home, *home.parents) if not each.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = home / (".lock" if folder else f".{target.name[:80]}.lock")
        with _held(path, out):
            sweep(home, deep=folder)
            yield
    finally:
        for each in missing:  # rmdir removes only the empty ones
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _held(path: Path, out: Path) -> Iterator[None]:
    _check_no_link(path)
    lock = FileLock(path, mode=0o666)  # so that other users can test the lock
    try:
        _acquire(lock, path, out)
        _sign(path)
        mark = _inode(path)
    except (OSError, NotImplementedError) as error:  # the latter: Python has no file locks here
        # without access to a lock file of another user, its state is unknown
        foreign = isinstance(error, PermissionError) and path.exists()
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS and not foreign:
            with suppress(OSError):
                path.unlink()
            lock.release()
            raise OSError(error.errno, error.strerror, str(path.parent)) from error
        yield
        return
    try:
        yield
        if _inode(path) != mark:
            raise UserError(
                f"{path.parent} was removed or unmounted while {out} was written; bring it back "
                "and start again"
            )
    finally:
        with suppress(OSError):
            if _inode(path) == mark:
                path.unlink()  # after the release it might be the lock of the next process
        lock.release()


def _check_no_link(path: Path) -> None:
    """Refuses a lock file that is a link, because locking would write into its target.

    Raises:
        UserError: the path is a link or not a regular file.
    """
    try:
        state = path.lstat()
    except OSError:
        return
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        raise UserError(
            f"{path} should be a lock file of p2seg but is a link or a folder; remove it and "
            "start again"
        )


def _sign(path: Path) -> None:
    """Writes the owner into the lock file, unless it has become a link."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        if os.fstat(handle).st_nlink == 1:
            stream.truncate()
            json.dump({"place": place(), "host": platform.node(), "pid": os.getpid()}, stream)


def _acquire(lock: Any, path: Path, out: Path) -> None:
    """Acquires the lock, or raises `UserError` with the process that holds it."""
    until = time.monotonic() + LINGERING
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # filelock warns if the system has no flock
                lock.acquire(timeout=0)
            return
        except Timeout:
            holder = _holder(path)
            ours = holder.get("place") == place()
            gone = ours and not is_running(holder["pid"])
            if not gone or time.monotonic() > until:
                who = (
                    f"process {holder['pid']} on {holder['host']}" if holder else "another process"
                )
                raise UserError(
                    f"{out} is being written by {who}; wait until it ends, or set another out=..."
                ) from None
            time.sleep(0.2)


def _holder(path: Path) -> dict[str, Any]:
    """The owner written in a lock file; empty if it cannot be read."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(holder, dict) and isinstance(holder.get("pid"), int)
    return holder if whole and {"place", "host"} <= holder.keys() else {}


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
