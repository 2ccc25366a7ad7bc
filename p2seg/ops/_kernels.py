"""Whether Triton's kernels can be used."""

from __future__ import annotations

import os
from importlib.util import find_spec

from torch import Tensor

HAS_TRITON = find_spec("triton") is not None


def fused(tensor: Tensor) -> bool:
    """Whether work on this tensor goes to a Triton kernel: it is on a GPU and Triton is there."""
    return HAS_TRITON and tensor.is_cuda


def interpreted() -> bool:
    """Whether kernels run on the CPU, for tests; Triton decides when they are imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"
