"""Where things run that do not train; a training's devices are Fabric's."""

from __future__ import annotations

import re

import torch

from p2seg.errors import UserError, check_choice

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")


NUMBERED = re.compile(r"(cuda|mps):(\d+)")


def device_of(accelerator: str, setting: str = "trainer.accelerator") -> torch.device:
    """The device of `trainer.accelerator`; of several GPUs the current one.

    Args:
        accelerator: one of `ACCELERATORS`, or a GPU by its number, `cuda:1`; `auto` takes a CUDA
            device where there is one.
        setting: what errors call it.

    Raises:
        UserError: it is not on this machine.
    """
    numbered = NUMBERED.fullmatch(str(accelerator))
    if numbered is None:
        check_choice(setting, accelerator, ACCELERATORS)
    wanted = "cuda" if accelerator == "gpu" else accelerator
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if numbered is not None:
        kind, number = numbered.groups()
        count = torch.cuda.device_count() if kind == "cuda" else 1
        there[wanted] = there[kind] and int(number) < count
    if not there.get(wanted, True):
        raise UserError(f"{setting}={accelerator} is not on this machine; auto takes what is")
    if wanted == "auto":
        wanted = "cuda" if there["cuda"] else "cpu"
    return torch.device(wanted)
