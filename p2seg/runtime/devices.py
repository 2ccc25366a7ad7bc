"""The torch device of commands that do not train; Fabric selects the devices of a training."""

from __future__ import annotations

import re

import torch

from p2seg.errors import UserError, check_choice

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")

NUMBERED = re.compile(r"(cuda|mps):(\d+)")


def device_of(accelerator: str, setting: str = "trainer.accelerator") -> torch.device:
    """The device for a value of `trainer.accelerator`; the current one of several GPUs.

    Args:
        accelerator: one of `ACCELERATORS`, or a GPU by its number, `cuda:1`. `auto` selects CUDA
            if it is available, else the CPU.
        setting: name of the setting, for error messages.

    Raises:
        UserError: the device is not available on this machine.
    """
    numbered = NUMBERED.fullmatch(str(accelerator))
    if numbered is None:
        check_choice(setting, accelerator, ACCELERATORS)
    wanted = "cuda" if accelerator == "gpu" else accelerator
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if numbered is not None:
        kind, number = numbered.groups()
        count = torch.cuda.device_count() if kind == "cuda" else 1
        available[wanted] = available[kind] and int(number) < count
    if not available.get(wanted, True):
        raise UserError(
            f"{setting}={accelerator} is not available on this machine; {setting}=auto selects "
            "an available device"
        )
    if wanted == "auto":
        wanted = "cuda" if available["cuda"] else "cpu"
    return torch.device(wanted)
