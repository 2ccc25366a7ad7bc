"""The launcher, rank and number of processes of a run, from environment variables only."""

from __future__ import annotations

import os
from collections.abc import Mapping

_NO_STEPS = 0xFFFF_FFF0
"""Step IDs of SLURM from here on belong to batch scripts and interactive shells."""


def is_one_of_many() -> bool:
    """Whether torchrun, srun or Fabric has started this process together with others."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 or is_task(os.environ)


def is_task(environment: Mapping[str, str]) -> bool:
    """Whether a process is one of several tasks of an `srun`.

    False in the shells of `sbatch`, `salloc` and `srun --pty bash`, although they have SLURM's
    variables too.
    """
    step = environment.get("SLURM_STEP_ID", "")
    shell = not step.isdecimal() or int(step) >= _NO_STEPS
    return not shell and "SLURM_PROCID" in environment and tasks(environment) > 1


def number_of_processes(devices: int) -> int:
    """Number of processes of this run: that of the launcher if there is one, else `devices`."""
    if "WORLD_SIZE" in os.environ:
        return int(os.environ["WORLD_SIZE"] or 1)
    return tasks(os.environ) if is_task(os.environ) else devices


def is_first() -> bool:
    """Whether this process is rank 0 of its run."""
    if is_task(os.environ) and "RANK" not in os.environ:
        return os.environ["SLURM_PROCID"] == "0"
    # torchrun sets these in all processes, Fabric in all but the first
    ranks = (os.environ.get(name, "0") for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))
    return all(rank == "0" for rank in ranks)


def tasks(environment: Mapping[str, str]) -> int:
    """Number of tasks in the step of a task; `SLURM_NTASKS` may count those of the whole job."""
    own = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or "1"
    return int(own)
