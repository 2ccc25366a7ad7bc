"""Versions, machine and commit, which are recorded with each result."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that affect results, and the commit of p2seg."""
    names = ("p2seg", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")
    result = {"python": platform.python_version()}
    for name in names:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    result["commit"] = commit()
    return result


def machine() -> dict[str, str | int | list[str]]:
    """Host, operating system, number of processors, threads of torch, and names of the GPUs."""
    gpus = range(torch.cuda.device_count())
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processors": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
    }


def commit() -> str:
    """The git commit of this package, with `-dirty` after changes; "" without a checkout."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return ""
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
