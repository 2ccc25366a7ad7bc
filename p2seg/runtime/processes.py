"""Start of the processes of a run: on this machine, by torchrun, or by SLURM's srun."""

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
    """Starts Fabric with one process or several.

    Processes started by torchrun, or as tasks of one `srun`, become the ranks of one run. Otherwise
    Fabric starts `devices` processes on this machine, also in a SLURM batch script.

    Args:
        accelerator: `auto`, `cpu` or `cuda`.
        devices: number of processes; ignored under torchrun and srun.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.

    Returns:
        Fabric with connected processes.

    Raises:
        UserError: the machine has too few of these devices, or Fabric rejects a value.
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
    """The arguments of Fabric that describe devices, nodes and launcher."""
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun, possibly started by srun
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
        # Fabric would treat a batch script as one of several tasks and wait for the others. It
        # would also warn whenever srun is installed but not used.
        return {"devices": devices, "plugins": [LightningEnvironment()]}
    return {"devices": devices}


def _own_device(accelerator: str, local: int) -> int | list[int]:
    """Fabric's `devices` argument for the `local`-th task of a node."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return 1
    count = torch.cuda.device_count()
    if count == 1:
        return [0]  # SLURM has bound one GPU to the task
    if local >= count:
        raise UserError(
            f"srun has started {local + 1} tasks or more on a node with {count} GPUs; start it "
            f"with --ntasks-per-node={count}"
        )
    return [local]


class Task(SLURMEnvironment):
    """Presents each task of srun to Fabric as a node of its own with one device.

    This works whether SLURM shows a task all GPUs of the node or only its own, and with different
    numbers of tasks per node.
    """

    def __init__(self) -> None:  # the parent's constructor checks for another layout
        self.auto_requeue, self.requeue_signal = False, None

    @property
    def main_address(self) -> str:
        """Host name of the node of the first task."""
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "")
        first = self.resolve_root_node_address(nodes) or "127.0.0.1"
        return os.environ.setdefault("MASTER_ADDR", first)

    @property
    def main_port(self) -> int:
        """A port that is equal for all tasks of a step and differs between steps and jobs."""
        job, step = int(os.environ.get("SLURM_JOB_ID", "0")), int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.setdefault("MASTER_PORT", str(_PORTS[(job * 37 + step) % 10_000])))

    def world_size(self) -> int:
        """Number of tasks of the step."""
        return tasks(os.environ)

    def global_rank(self) -> int:
        """Index of the task."""
        return int(os.environ["SLURM_PROCID"])

    def local_rank(self) -> int:
        """Always 0, because each task has its own node."""
        return 0

    def node_rank(self) -> int:
        """Index of the task, because each task has its own node."""
        return self.global_rank()

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Does nothing, because `_layout` has derived the settings from this task."""
