"""Random seeds and deterministic operations."""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def seed_everything(seed: int, *, deterministic: bool = False, one_size: bool = False) -> None:
    """Seeds the global generators of Python, NumPy and torch, which libraries use.

    p2seg itself uses its own generators, seeded by the same number and the index of the sample.

    Args:
        seed: integer >= 0.
        deterministic: torch uses bitwise reproducible operations, or raises if there is none for
            an operation. Some are slower.
        one_size: all images have the same size, so cuDNN may benchmark its convolutions once.
            Ignored if `deterministic`, because the fastest one may differ between runs.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries use the global generator
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # the call imports torch's compiler, which takes some seconds
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = one_size and not deterministic
