"""How long something takes, how much memory it needs, and what this machine can do."""

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
    """One figure of a benchmark.

    Attributes:
        name: of what was measured.
        device: `cpu` or the GPU's name.
        dtype: of the products or of the data.
        h: side of the grid or image, pixels; 0 where there is none.
        d: channels; 0 where there are none.
        batch: images.
        seconds: median of the runs.
        peak_mb: MiB beyond what was held before; None where the system does not tell.
        rival: the other way to the same result.
        rival_seconds: its median; None where it cannot run here.
        rival_peak_mb: its memory.
        limit_seconds: what the plain count of operations takes at the machine's measured rates
            (three whole products for the affinity, of which symmetry saves one); None: not known.
        parameters: of the model; None where there is none.
        macs: products with an addition; None where they are not counted.
        gained_mb: MiB gained over the run by a process that was warm; None of other figures.
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
    """Median seconds of a piece of work after a warm-up, and the MiB it needs at its peak."""
    work()  # libraries take memory once
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
    """The row of a piece of work beside its rival's.

    Args:
        work: ours.
        other: the rival's.
        device: of ours.
        repeats: timed runs of each.
        other_device: of the rival, where it is another.
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
    """Sets the precision of products and convolutions for a block of code.

    Args:
        precision: `tf32` is float32 with products in TF32, `bf16` is autocast.
        device: where the block runs.
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
    """Floating-point operations a second of a square matrix product, the best of several."""
    a = torch.randn(side, side, device=device).to(dtype)
    seconds = min(_seconds(lambda: a @ a, device) for _ in range(6))
    return 2 * side**3 / seconds


def bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Bytes a second that a copy reads and writes, the best of several."""
    a = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() / min(_seconds(lambda: b.copy_(a), device) for _ in range(6))


def name_of(device: torch.device) -> str:
    """`cpu` or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def free_memory(device: torch.device) -> int:
    """Bytes that are still available."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil  # a machine with a GPU may lack it

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
    """Bytes in use, from which on the peak is taken."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is not held any more
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now
        return status("VmRSS")
    return None


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        return status("VmHWM")
    return None


def status(key: str) -> int:
    """Bytes that Linux reports of this process, such as `VmHWM`, its peak.

    Raises:
        OSError: the system is another one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")
