"""Selection of compiled code: Triton on a GPU, Numba on the CPU."""

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
    """Whether to use a Triton kernel: the tensor is on a GPU and Triton is installed."""
    return HAS_TRITON and tensor.is_cuda


def interpreted() -> bool:
    """Whether Triton kernels run on the CPU, for tests; Triton reads the variable on import."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def compiled(function: F) -> F:
    """Compiles a function with Numba, and caches the code on disk if a folder is writable.

    The code is single-threaded, because Numba's threads do not survive the fork of a data loader.
    It releases the GIL, so callers can use one Python thread per image.
    """
    try:
        machine_code: F = numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # neither the package's folder nor the home folder is writable
        machine_code = numba.njit(function, nogil=True)
    return machine_code
