"""Measures time and memory of a piece of work, and the speed of this machine."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

Work = Callable[[], object]
Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class Row:
    """One result of a benchmark.

    Attributes:
        name: what was measured.
        device: `cpu` or the GPU's name.
        dtype: type of the products or of the data.
        h: side of the grid or image in pixels; 0 if there is none.
        d: channels; 0 if there are none.
        batch: number of images.
        seconds: median of the runs.
        peak_mb: peak MiB above the memory in use before; None if the system does not report it.
        rival: name of the reference.
        rival_seconds: median of the reference; None if it cannot run here.
        rival_peak_mb: its memory.
        limit_seconds: time of the operation count at the measured speed of the machine; None if not
            known. For the affinity, three full products count, although symmetry saves one.
        parameters: of the model; None if there is none.
        macs: multiply-add operations; None if not counted.
        gained_mb: MiB that a warm process gained during the run; None for other results.
    """

    name: str
    device: str
    dtype: str
    h: int
    d: int
    batch: int
    seconds: float
    peak_mb: float | None
    rival: str = ""
    rival_seconds: float | None = None
    rival_peak_mb: float | None = None
    limit_seconds: float | None = None
    parameters: int | None = None
    macs: float | None = None
    gained_mb: float | None = None


def cost(work: Work, device: torch.device, repeats: int) -> tuple[float, float | None]:
    """Returns the median seconds of some work after a warm-up, and its peak MiB."""
    work()  # libraries allocate memory in the first run
    before = _start_of_peak(device)
    work()
    _finish(device)
    peak = _peak(device)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        _finish(device)
        times.append(time.perf_counter() - start)
    extra = None if peak is None or before is None else max(0.0, peak - before) / 2**20
    return statistics.median(times), extra


def compared(
    work: Work,
    other: Work,
    device: torch.device,
    repeats: int,
    *,
    other_device: torch.device | None = None,
    **figures: Any,
) -> Row:
    """Measures some work and a reference, and returns the row.

    Args:
        work: the work of p2seg.
        other: the reference.
        device: device of the work.
        repeats: timed runs of each.
        other_device: device of the reference, if it differs.
        figures: the other fields of the row.
    """
    seconds, peak = cost(work, device, repeats)
    rival_seconds, rival_peak = cost(other, other_device or device, repeats)
    return Row(
        device=name_of(device),
        seconds=seconds,
        peak_mb=peak,
        rival_seconds=rival_seconds,
        rival_peak_mb=rival_peak,
        **figures,
    )


@contextmanager
def with_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Sets the precision of products and convolutions inside the block.

    Args:
        precision: `tf32` is float32 with products in TF32; `bf16` is autocast.
        device: device of the block.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int = 2048) -> float:
    """Returns the operations per second of a square matrix product, the best of several runs."""
    a = torch.randn(side, side, device=device).to(dtype)
    seconds = min(_seconds(lambda: a @ a, device) for _ in range(6))
    return 2 * side**3 / seconds


def bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Returns the bytes per second that a copy reads and writes, the best of several runs."""
    a = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() / min(_seconds(lambda: b.copy_(a), device) for _ in range(6))


def name_of(device: torch.device) -> str:
    """Returns `cpu` or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def free_memory(device: torch.device) -> int:
    """Returns the available memory in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # optional on a machine with a GPU

    return int(psutil.virtual_memory().available)


def _seconds(work: Work, device: torch.device) -> float:
    _finish(device)
    start = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _start_of_peak(device: torch.device) -> int | None:
    """Returns the bytes in use at the start of a peak measurement."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # returns freed memory to the system
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        return status("VmRSS")
    return None


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        return status("VmHWM")
    return None


def status(key: str) -> int:
    """Returns a value in bytes from Linux's process status, such as `VmHWM`, the peak.

    Raises:
        OSError: the system is not Linux.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")
