"""One seed for everything that draws numbers, and operations that add in one order."""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def seed_everything(seed: int, *, deterministic: bool = False, one_size: bool = False) -> None:
    """Seeds Python's, NumPy's and torch's global generators.

    What p2seg draws for itself comes from generators of its own, seeded by the same number and the
    place of the sample; these are for libraries.

    Args:
        seed: from 0 up.
        deterministic: torch takes operations that give the same bits every time, or refuses; some
            are slower.
        one_size: all images have one size, so cuDNN may search for its fastest convolutions once;
            with `deterministic` it does not, for its choice may differ each time.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global one, which libraries draw from
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at cuBLAS's start
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        # the call imports torch's compiler, which takes some seconds
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = one_size and not deterministic
