"""A run of many processes says a thing once, and a process whose peers have died says so last."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

from p2seg.runtime.rank_env import is_task

PEER_LOST = (
    "another process of this run has ended without a word, killed for want of memory or by a "
    "scheduler; what was written is whole, and the same command goes on"
)
_LOST = re.compile(
    r"connection (closed|reset|refused)|broken pipe|gloo|nccl|socket timeout|recv.*failed", re.I
)


def is_of_a_lost_peer(error: BaseException) -> bool:
    """Whether an error is only the echo of another process's end."""
    seen: BaseException | None = error
    while seen is not None:
        if _is_of_torch(seen) or (
            isinstance(seen, RuntimeError) and _several() and _LOST.search(str(seen))
        ):
            return True
        seen = seen.__cause__
    return False


def _is_of_torch(error: BaseException) -> bool:
    """Whether an error is one of torch's processes; without torch there is none."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and isinstance(error, distributed.DistError)


def is_new(sentence: str) -> bool:
    """Whether no process of this run on this machine has said it before."""
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
    """Whether a process of this run on this machine has said why it ends."""
    folder = _folder()
    return folder is not None and any(folder.glob("said-*"))


def is_started_by_another() -> bool:
    """Whether this is one of the processes that the command itself has started
    (`trainer.devices`): its exit code goes to nobody but the command."""
    started = int(os.environ.get("LOCAL_RANK", "0")) > 0
    return started and "TORCHELASTIC_RUN_ID" not in os.environ and not is_task(os.environ)


def _several() -> bool:
    return _folder() is not None


def _folder() -> Path | None:
    """A folder that the processes of a run on one machine share; None for one alone."""
    errors = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if errors and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Path(errors).parent.parent  # of this attempt; torchrun removes it
    if is_task(os.environ):
        keys = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        return _temporary(*(os.environ.get(key, "") for key in keys))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_PORT" in os.environ:
        first = os.getppid() if is_started_by_another() else os.getpid()
        return _temporary(str(first), _start_of(first), os.environ["MASTER_PORT"])
    return None


def _start_of(pid: int) -> str:
    """When a process began, in the system's count; numbers of processes come again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _temporary(*keys: str) -> Path:
    return Path(tempfile.gettempdir()) / "-".join(
        ("p2seg", str(getattr(os, "getuid", int)()), *keys)
    )
