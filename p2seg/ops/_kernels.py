"""How compiled loops are had: Triton's on a GPU, Numba's on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import numba
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])
HAS_TRITON = find_spec("triton") is not None


def fused(tensor: Tensor) -> bool:
    """Whether work on this tensor goes to a Triton kernel: it is on a GPU and Triton is there."""
    return HAS_TRITON and tensor.is_cuda


def interpreted() -> bool:
    """Whether kernels run on the CPU, for tests; Triton decides when they are imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def compiled(function: F) -> F:
    """Numba's machine code of a function, kept on disk where there is a place to write it.

    Of one thread: Numba's own would not survive the fork of a data loader. It holds no lock, so
    that images can each have a thread where that is worth it.
    """
    try:
        made: F = numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # neither the package's folder nor a home can be written to
        made = numba.njit(function, nogil=True)
    return made
