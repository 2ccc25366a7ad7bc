"""The processes of a run: one, several on this machine, torchrun's, or tasks of SLURM's srun."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from p2seg.errors import UserError
from p2seg.runtime.lifetime import naming_parent
from p2seg.runtime.rank_env import is_task, tasks

_PORTS = range(15_000, 25_000)


def start_processes(accelerator: str, devices: int, precision: str) -> Fabric:
    """Starts Fabric for one process or many.

    torchrun's processes are ranks of one run, and so are the tasks of an `srun`; their number is
    what they were started with. Everywhere else, in the shell of a batch job too, Fabric starts
    `devices` processes on this machine.

    Args:
        accelerator: Fabric's: `auto`, `cpu` or `cuda`.
        devices: processes, where neither torchrun nor srun has started them.
        precision: Fabric's: `32-true`, `bf16-mixed` or `16-mixed`.

    Returns:
        Fabric, whose processes have met.

    Raises:
        UserError: this machine has no such accelerator, or fewer than processes; or Fabric has no
            such precision.
    """
    try:
        fabric = Fabric(
            accelerator=accelerator, precision=cast(Any, precision), **_layout(accelerator, devices)
        )
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        raise UserError(
            f"training cannot start with trainer.accelerator={accelerator} "
            f"trainer.devices={devices} trainer.precision={precision}: "
            f"{' '.join(str(error).split())}"
        ) from error
    with naming_parent():  # Fabric's processes get this environment
        fabric.launch()
    return fabric


def _layout(accelerator: str, devices: int) -> dict[str, Any]:
    """Fabric's words for who takes part."""
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun, which srun may have started in its turn
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        return {"devices": int(os.environ["LOCAL_WORLD_SIZE"]), "num_nodes": nodes}
    if is_task(os.environ):
        task = Task()
        return {
            "devices": _own_device(accelerator, int(os.environ["SLURM_LOCALID"])),
            "num_nodes": task.world_size(),
            "plugins": [task],
        }
    if "SLURM_JOB_ID" in os.environ or shutil.which("srun"):
        # or Fabric takes a batch script for one of many tasks and waits for the others, and warns
        # of everything that srun has not started
        return {"devices": devices, "plugins": [LightningEnvironment()]}
    return {"devices": devices}


def _own_device(accelerator: str, local: int) -> int | list[int]:
    """The device of the `local`-th task of a node, as Fabric wants it."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return 1
    count = torch.cuda.device_count()
    if count == 1:
        return [0]  # the one that SLURM has bound to the task
    if local >= count:
        raise UserError(
            f"srun has started {local + 1} tasks or more on a node with {count} GPUs; give "
            f"--ntasks-per-node={count}"
        )
    return [local]


class Task(SLURMEnvironment):
    """A task of srun as Fabric sees it: alone on its node, with one device.

    So it does not matter whether SLURM shows a task all GPUs of its node or its own alone, nor
    whether nodes have the same number of tasks.
    """

    def __init__(self) -> None:  # the checks of the class above are of its own layout
        self.auto_requeue, self.requeue_signal = False, None

    @property
    def main_address(self) -> str:
        """The node of the first task."""
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "")
        first = self.resolve_root_node_address(nodes) or "127.0.0.1"
        return os.environ.setdefault("MASTER_ADDR", first)

    @property
    def main_port(self) -> int:
        """The same for all tasks of a step, and another for other steps and jobs."""
        job, step = int(os.environ.get("SLURM_JOB_ID", "0")), int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.setdefault("MASTER_PORT", str(_PORTS[(job * 37 + step) % 10_000])))

    def world_size(self) -> int:
        """Tasks of the step."""
        return tasks(os.environ)

    def global_rank(self) -> int:
        """The task's number."""
        return int(os.environ["SLURM_PROCID"])

    def local_rank(self) -> int:
        """0: see the class."""
        return 0

    def node_rank(self) -> int:
        """The task's number: see the class."""
        return self.global_rank()

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Nothing to compare: the settings come from here."""
