"""Error messages of a distributed run: each is printed once, and consequential errors last."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

from p2seg.runtime.rank_env import is_task

PEER_LOST = (
    "another process of this run has ended without a message, probably killed by the system "
    "(out of memory) or by a scheduler; no file is damaged; start the same command again to resume"
)
_LOST = re.compile(
    r"connection (closed|reset|refused)|broken pipe|gloo|nccl|socket timeout|recv.*failed", re.I
)


def is_of_a_lost_peer(error: BaseException) -> bool:
    """Whether an error was caused by the end of another process of the run."""
    cause: BaseException | None = error
    while cause is not None:
        if _is_of_torch(cause) or (
            isinstance(cause, RuntimeError) and _folder() is not None and _LOST.search(str(cause))
        ):
            return True
        cause = cause.__cause__
    return False


def _is_of_torch(error: BaseException) -> bool:
    """Whether an error is from torch.distributed, without importing torch."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and isinstance(error, distributed.DistError)


def is_new(sentence: str) -> bool:
    """Whether no process of this run on this machine has printed the sentence; registers it."""
    folder = _folder()
    if folder is None:
        return True
    name = f"said-{hashlib.sha256(sentence.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def anything_was_said() -> bool:
    """Whether a process of this run on this machine has printed an error message."""
    folder = _folder()
    return folder is not None and any(folder.glob("said-*"))


def is_started_by_another() -> bool:
    """Whether the command itself has started this process (`trainer.devices`).

    Only that command sees the exit code of the process.
    """
    child = int(os.environ.get("LOCAL_RANK", "0")) > 0
    return child and "TORCHELASTIC_RUN_ID" not in os.environ and not is_task(os.environ)


def _folder() -> Path | None:
    """A folder shared by the processes of a run on one machine; None for a single process."""
    errors = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if errors and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Path(errors).parent.parent  # torchrun creates and removes it for each attempt
    if is_task(os.environ):
        keys = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        return _temporary(*(os.environ.get(key, "") for key in keys))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_PORT" in os.environ:
        first = os.getppid() if is_started_by_another() else os.getpid()
        return _temporary(str(first), _start_of(first), os.environ["MASTER_PORT"])
    return None


def _start_of(pid: int) -> str:
    """Start time of a process in clock ticks; process IDs are reused, the pair is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _temporary(*keys: str) -> Path:
    return Path(tempfile.gettempdir()) / "-".join(
        ("p2seg", str(getattr(os, "getuid", int)()), *keys)
    )
