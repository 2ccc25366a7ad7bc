"""The affinity operators: the sum over pairs, its gradient and the spread, beside `dense`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch

from devtools.benchmarks.measure import Row, cost, free_memory, matmul_rate, name_of
from p2seg.ops._kernels import fused
from p2seg.ops.affinity import Pairs, Spread, Way, pair_sum, refine

SIDES = (52, 104, 128, 256)
"""Of the grid, cells; `dense` runs where its memory fits."""
CHANNELS = (64, 256)
"""d, of the embedding."""
CLASSES = 4
GROUPS = 10
DENSE_COPIES = 14
"""Matrices that `dense` holds at once, with its gradients."""


def problem(device: torch.device, side: int, d: int, batch: int) -> Callable[[Way], None]:
    """A piece of work: everything that is asked of one matrix."""
    random = torch.Generator().manual_seed(0)
    n = side * side
    left = (torch.randn(batch, n, d, generator=random) * d**-0.25).to(device).requires_grad_()
    p = torch.rand(batch, n, CLASSES, generator=random).softmax(2).to(device)
    groups = torch.randint(-1, GROUPS, (batch, 1, n), generator=random).to(device)
    weight = torch.rand(batch, 1, GROUPS, GROUPS, generator=random).to(device) / n**2
    pairs, spread = Pairs(groups, weight), Spread(p, 20.0)

    def work(way: Way) -> None:
        torch.autograd.grad(pair_sum(left, pairs, way).sum(), [left])
        refine(left, spread, way)

    return work


def suite(
    device: torch.device,
    repeats: int,
    sides: Sequence[int] = SIDES,
    channels: Sequence[int] = CHANNELS,
) -> list[Row]:
    """Every side and number of channels; in float32 and, on a GPU, under bf16 autocast."""
    rows = []
    for dtype in [torch.float32, *([torch.bfloat16] if device.type == "cuda" else [])]:
        rate = matmul_rate(device, dtype)
        for side in sides:
            for d in channels:
                rows.append(_row(device, dtype, side, d, rate, repeats))
    return rows


def _row(
    device: torch.device, dtype: torch.dtype, side: int, d: int, rate: float, repeats: int
) -> Row:
    batch = 8 if device.type == "cuda" else 1
    work = problem(device, side, d, batch)
    half = torch.autocast(device.type, dtype) if dtype == torch.bfloat16 else nullcontext()
    with half:
        seconds, peak = cost(lambda: work("auto"), device, repeats)
        rival: tuple[float | None, float | None] = None, None
        if DENSE_COPIES * 4 * batch * side**4 < free_memory(device):
            rival = cost(lambda: work("dense"), device, repeats)
    n = side * side
    way = "triton" if fused(torch.empty(0, device=device)) else "tiled"
    return Row(
        name=f"pairs + gradient + spread, {way}",
        device=name_of(device),
        dtype=str(dtype).removeprefix("torch."),
        h=side,
        d=d,
        batch=batch,
        seconds=seconds,
        peak_mb=peak,
        rival="dense",
        rival_seconds=rival[0],
        rival_peak_mb=rival[1],
        limit_seconds=batch * (3 * 2 * n**2 * d + 2 * n**2 * CLASSES) / rate,
    )
