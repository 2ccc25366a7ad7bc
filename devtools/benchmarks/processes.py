"""The memory of processes, as Linux's `/proc` tells it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2seg.errors import UserError

PROC = Path("/proc")


@dataclass(frozen=True)
class Memory:
    """Of one process, MiB.

    Attributes:
        uss: pages that no other process has; they would be free if the process ended.
        pss: the same, and of every shared page a share.
        rss: all pages, shared or not.
    """

    uss: float
    pss: float
    rss: float


def check_proc() -> None:
    """Refuses systems that do not tell.

    Raises:
        UserError: there is no `/proc/PID/smaps_rollup` (Linux has it from 4.14 on).
    """
    if not (PROC / "self/smaps_rollup").is_file():
        raise UserError(
            "the suite memory reads /proc/PID/smaps_rollup, which this system lacks; run it "
            "on Linux"
        )


def memory_of(process: int) -> Memory | None:
    """The memory of a process; None if it has ended, or may not be looked at."""
    sizes = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0.0)
    try:
        text = (PROC / str(process) / "smaps_rollup").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0]) / 1024
    return Memory(sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Pss"], sizes["Rss"])


def family_of(process: int) -> list[int]:
    """A process and all that it started, and these started, in the order of their numbers."""
    parents: dict[int, int] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    family = {process}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family)


def peak_of_this() -> float:
    """The most that this process has ever held, MiB."""
    for line in (PROC / "self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
