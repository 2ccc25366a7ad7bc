"""Where things run that do not train; a training's devices are Fabric's."""

from __future__ import annotations

import torch

from p2seg.errors import UserError, check_choice

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")


def device_of(accelerator: str) -> torch.device:
    """The device of `trainer.accelerator`; of several GPUs the current one.

    Args:
        accelerator: one of `ACCELERATORS`; `auto` takes a CUDA device where there is one.

    Raises:
        UserError: it is not on this machine.
    """
    check_choice("trainer.accelerator", accelerator, ACCELERATORS)
    wanted = "cuda" if accelerator == "gpu" else accelerator
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(wanted, True):
        raise UserError(
            f"trainer.accelerator={accelerator} is not on this machine; auto takes what is"
        )
    if wanted == "auto":
        wanted = "cuda" if there["cuda"] else "cpu"
    return torch.device(wanted)
