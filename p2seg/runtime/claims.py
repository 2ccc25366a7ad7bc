"""One writer at a time: whoever writes an output claims it, and a second one is refused at once."""

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
"""Seconds that the claim of a process that is no more is waited for: its workers are ending."""

_NO_LOCKS = {
    getattr(errno, name)
    for name in ("ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
    if hasattr(errno, name)
}
"""What file systems say that have no locks, as some over a network."""


@contextmanager
def claim(out: Path, *, folder: bool) -> Iterator[None]:
    """Keeps others from writing an output in the block, and removes what the dead have left.

    The system gives a claim back when its process ends, however it does. Of the ranks of a run the
    first one claims, for all. Where a file system has no locks nothing is claimed.

    Args:
        out: what is written.
        folder: it is a folder, which is made; else a file, whose folder is.

    Raises:
        UserError: another process is writing it; or its folder was removed or unmounted while
            the block ran.
        OSError: nothing can be written there.
    """
    if not is_first():
        yield
        return
    target = out.resolve()  # a link and the file it points to have one lock
    home = target if folder else target.parent
    made = [each for each in (home, *home.parents) if not each.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = home / (".lock" if folder else f".{target.name[:80]}.lock")
        with _held(path, out):
            sweep(home, deep=folder)
            yield
    finally:
        for each in made:  # those with nothing in them
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _held(path: Path, out: Path) -> Iterator[None]:
    _check_no_link(path)
    lock = FileLock(path, mode=0o666)  # another user's run must be able to ask for it
    try:
        _acquire(lock, path, out)
        _sign(path)
        mark = _inode(path)
    except (OSError, NotImplementedError) as error:
        # a lock of another user that nobody holds cannot be told from one that somebody does
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
                path.unlink()  # before it is given back, or it might be the next one's
        lock.release()


def _check_no_link(path: Path) -> None:
    """Refuses a lock that is a link: taking it would write into the file behind it.

    Raises:
        UserError: it is one, or no file at all.
    """
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise UserError(
            f"{path} should be a lock of p2seg but is a link or a folder; remove it and start again"
        )


def _sign(path: Path) -> None:
    """Writes into a lock whose it is, unless it has become a link."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        if os.fstat(handle).st_nlink == 1:
            stream.truncate()
            json.dump({"place": place(), "host": platform.node(), "pid": os.getpid()}, stream)


def _acquire(lock: Any, path: Path, out: Path) -> None:
    """Takes the lock, or says who has it."""
    until = time.monotonic() + LINGERING
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # filelock's, where it has to do without flock
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
                    f"{out} is being written by {who}; wait for its end, or give another out=..."
                ) from None
            time.sleep(0.2)


def _holder(path: Path) -> dict[str, Any]:
    """Who has a lock; empty where that cannot be read."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(holder, dict) and isinstance(holder.get("pid"), int)
    return holder if whole and {"place", "host"} <= holder.keys() else {}


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
