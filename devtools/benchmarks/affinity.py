"""Benchmarks the affinity operators (pair sum, its gradient, spread) next to `dense`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from devtools.benchmarks.measure import Row, cost, free_memory, matmul_rate, name_of
from p2seg.ops._kernels import fused
from p2seg.ops.affinity import Pairs, Spread, Way, pair_sum, refine

SIDES = (52, 104, 128, 256)
"""Side of the grid in cells; `dense` runs only if its memory fits."""
CHANNELS = (64, 256)
"""Channels d of the embedding."""
CLASSES = 4
GROUPS = 10
DENSE_COPIES = 14
"""Number of matrices that `dense` holds at once, with gradients."""


@dataclass(frozen=True)
class Problem:
    """The inputs of all computations with one affinity matrix.

    Attributes:
        factors: `[B, N, d]` float32, with a gradient.
        pairs: inputs of the pair sum.
        spread: inputs of the spread of probabilities.
    """

    factors: Tensor
    pairs: Pairs
    spread: Spread

    def solve(self, way: Way) -> None:
        """Computes the pair sum, its gradient and the spread."""
        torch.autograd.grad(pair_sum(self.factors, self.pairs, way).sum(), [self.factors])
        refine(self.factors, self.spread, way)


def problem(device: torch.device, side: int, d: int, batch: int) -> Problem:
    """Returns a random problem on a grid of `side` x `side` cells."""
    random = torch.Generator().manual_seed(0)
    n = side * side
    left = (torch.randn(batch, n, d, generator=random) * d**-0.25).to(device).requires_grad_()
    p = torch.rand(batch, n, CLASSES, generator=random).softmax(2).to(device)
    groups = torch.randint(-1, GROUPS, (batch, 1, n), generator=random).to(device)
    weight = torch.rand(batch, 1, GROUPS, GROUPS, generator=random).to(device) / n**2
    return Problem(left, Pairs(groups, weight), Spread(p, 20.0))


def fits_dense(device: torch.device, side: int, batch: int) -> bool:
    """Returns whether the matrices of `dense` fit into memory."""
    return DENSE_COPIES * 4 * batch * side**4 < free_memory(device)


def limit_of(batch: int, side: int, d: int, rate: float) -> float:
    """Returns the seconds of the operation count at a rate of operations per second."""
    n = side * side
    return batch * (3 * 2 * n**2 * d + 2 * n**2 * CLASSES) / rate


def suite(
    device: torch.device,
    repeats: int,
    sides: Sequence[int] = SIDES,
    channels: Sequence[int] = CHANNELS,
) -> list[Row]:
    """Yields a row per side and number of channels; on a GPU also under bf16 autocast."""
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
        seconds, peak = cost(lambda: work.solve("auto"), device, repeats)
        rival: tuple[float | None, float | None] = None, None
        if fits_dense(device, side, batch):
            rival = cost(lambda: work.solve("dense"), device, repeats)
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
        limit_seconds=limit_of(batch, side, d, rate),
    )
