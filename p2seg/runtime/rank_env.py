"""Who has started this process, and as which one of a run, by its environment alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

_NO_STEPS = 0xFFFF_FFF0
"""From here on SLURM's step ids stand for shells: of a batch script, of `salloc`."""


def is_one_of_many() -> bool:
    """Whether torchrun, srun or Fabric has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 or is_task(os.environ)


def is_task(environment: Mapping[str, str]) -> bool:
    """Whether a process is one of several that an `srun` has started.

    The shells of `sbatch`, `salloc` and `srun --pty bash` are none, though they know of a job.
    """
    step = environment.get("SLURM_STEP_ID", "")
    shell = not step.isdecimal() or int(step) >= _NO_STEPS
    return not shell and "SLURM_PROCID" in environment and tasks(environment) > 1


def number_of_processes(devices: int) -> int:
    """Of this run: as a launcher says, else `devices`."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"] or 1)
    return tasks(os.environ) if is_task(os.environ) else devices


def is_first() -> bool:
    """Whether this process is the first of its run, as far as its environment tells."""
    if is_task(os.environ) and "RANK" not in os.environ:
        return os.environ["SLURM_PROCID"] == "0"
    # of torchrun; and of the processes that Fabric starts, all but the first
    ranks = (os.environ.get(name, "0") for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))
    return all(rank == "0" for rank in ranks)


def tasks(environment: Mapping[str, str]) -> int:
    """How many tasks the step of a task has; `SLURM_NTASKS` may be of the whole job."""
    own = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or "1"
    return int(own)
