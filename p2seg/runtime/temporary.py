"""Temporary files, named after their process so that those of killed processes can be removed."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

ELSEWHERE = 24 * 3600.0
"""Seconds without a change after which a temporary file of another machine is removed."""

_FIRST_SPACE = "4026531836"
"""Inode of Linux's initial PID namespace, the one outside of containers."""

_TEMPORARY = re.compile(r"\..*~(?P<place>[\w-]+)~(?P<pid>\d+)~[0-9a-f]{8}(\..*)?\Z", re.DOTALL)


def temporary_name(path: Path) -> Path:
    """A unique hidden path next to `path`, with its suffix and the host and process ID."""
    stem = path.stem.encode()[:80].decode(errors="ignore")
    owner = f"{place()}~{os.getpid()}~{secrets.token_hex(4)}"
    return path.with_name(f".{stem}~{owner}{path.suffix[:40]}")


@lru_cache(maxsize=1)
def place() -> str:
    """Identifies the set of processes that share process IDs: host, boot and container.

    The boot ID is included because two machines can have the same host name.
    """
    host = re.sub(r"[^\w-]", "-", platform.node())[:40] or "unknown"
    with suppress(OSError):  # /proc exists on Linux only
        host += "-" + Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    with suppress(OSError):
        space = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
        host += "" if space == _FIRST_SPACE else f"-{space}"
    return host


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Removes temporary files of processes that were killed.

    A file is removed if its process has ended, or if it belongs to another machine and is unchanged
    for a day. Takes about a second per 100,000 files, so call it once per command.

    Args:
        folder: folder to search.
        deep: whether to search subfolders too; links are not followed.
    """
    here = place()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.match(entry.name) if "~" in entry.name else None
            if match:
                with suppress(OSError):
                    if _is_dead(entry, match, here):
                        _remove(Path(entry.path))
            elif deep and entry.is_dir(follow_symlinks=False):
                sweep(Path(entry.path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _is_dead(entry: os.DirEntry[str], match: re.Match[str], here: str) -> bool:
    if match["place"] != here:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ELSEWHERE
    return not is_running(int(match["pid"]))


def is_running(pid: int) -> bool:
    """Whether a process of this machine is running; True if unknown."""
    if os.name == "nt":
        return True  # on Windows, os.kill with signal 0 would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
