"""Temporary files: their names say whose they are, so those of killed processes can be removed."""

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
"""Seconds without a change after which a temporary file of another machine is dead."""

_FIRST_SPACE = "4026531836"
"""Linux's name for the numbers of processes outside of containers."""

_TEMPORARY = re.compile(r"\..*~(?P<place>[\w-]+)~(?P<pid>\d+)~[0-9a-f]{8}(\..*)?\Z", re.DOTALL)


def temporary_name(path: Path) -> Path:
    """A name beside `path`, with its suffix, that tells whose it is and is nobody else's."""
    stem = path.stem.encode()[:80].decode(errors="ignore")
    owner = f"{place()}~{os.getpid()}~{secrets.token_hex(4)}"
    return path.with_name(f".{stem}~{owner}{path.suffix[:40]}")


@lru_cache(maxsize=1)
def place() -> str:
    """Where the numbers of processes mean the same: this machine since its start, and container.

    Two machines may have one name, so the identity of the start is part of it.
    """
    host = re.sub(r"[^\w-]", "-", platform.node())[:40] or "unknown"
    with suppress(OSError):  # other systems than Linux do not have it
        host += "-" + Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    with suppress(OSError):
        space = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
        host += "" if space == _FIRST_SPACE else f"-{space}"
    return host


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Removes temporary files that killed processes have left, and no others.

    One is dead when its process is, or when it is of another machine and was not touched for a
    day. It takes a second for some 100,000 files: once at the start of a tool, not at each write.

    Args:
        folder: where to look.
        deep: also in the folders below; links are not followed.
    """
    here = place()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.match(entry.name) if "~" in entry.name else None
            if match:
                with suppress(OSError):
                    if _is_dead(entry, match, here):
                        _removed(Path(entry.path))
            elif deep and entry.is_dir(follow_symlinks=False):
                sweep(Path(entry.path))


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _is_dead(entry: os.DirEntry[str], match: re.Match[str], here: str) -> bool:
    if match["place"] != here:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ELSEWHERE
    return not is_running(int(match["pid"]))


def is_running(pid: int) -> bool:
    """Whether a process of this machine is there; True where nobody can say."""
    if os.name == "nt":
        return True  # a signal 0 would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
