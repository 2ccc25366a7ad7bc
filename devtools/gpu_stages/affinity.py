"""Compares the implementations of the affinity operators: time, memory, and share of the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from devtools.benchmarks.affinity import Problem, fits_dense, limit_of, problem
from devtools.benchmarks.measure import Precision, cost, matmul_rate, with_precision
from devtools.gpu_stages import Row, Setup, attempt
from p2seg.ops import affinity
from p2seg.ops.affinity import dense, tiled

PRECISIONS: tuple[Precision, ...] = ("bf16", "tf32", "float32")
LARGE_TILE = 4096
"""Tile rows that keep a GPU busy; the tiles of `tiled` fit the cache of a CPU."""

PLAIN = ("triton", "dense", "tiled", f"tiled by {LARGE_TILE}")
COMPILED = f"tiled by {LARGE_TILE}, compiled"
Work = Callable[[Problem, torch.dtype], object]


def rows(setup: Setup) -> Iterator[Row]:
    """Yields a row per size, precision and implementation: pair sum, gradient and spread."""
    ways = _ways(setup.rehearse)
    for side, channels, batch, precision, names in _plan(setup.rehearse):
        inputs = problem(setup.device, side, channels, batch)
        limit = limit_of(batch, side, channels, _rate(setup, precision))
        for name in names:
            if name == "dense" and not fits_dense(setup.device, side, batch):
                continue
            what = f"{name}, {side} x {side}, d {channels}, batch {batch}, {precision}"
            yield attempt(what, partial(_cost, setup, inputs, ways[name], precision, limit))


def _plan(rehearse: bool) -> Iterator[tuple[int, int, int, Precision, tuple[str, ...]]]:
    """Yields grid side, channels, images, precision and implementations."""
    if rehearse:
        yield 8, 16, 1, "float32", (*PLAIN, COMPILED)
        return
    yield 104, 256, 8, "bf16", PLAIN
    yield 104, 256, 1, "bf16", ("triton", COMPILED)
    for precision in PRECISIONS[1:]:
        yield 104, 256, 8, precision, PLAIN
    for side, channels in ((52, 256), (128, 256), (104, 64), (256, 256)):
        for precision in PRECISIONS:
            # 8,000 small tiles would take minutes on a GPU
            yield side, channels, 8, precision, PLAIN if side < 200 else (PLAIN[0], PLAIN[3])
    for precision in PRECISIONS[1:]:
        yield 104, 256, 1, precision, ("triton", COMPILED)


def _ways(rehearse: bool) -> dict[str, Work]:
    # a rehearsal compiles to PyTorch's operators, because a C++ compiler takes a minute
    compiled = partial(torch.compile, dynamic=False, backend="eager" if rehearse else "inductor")

    def by_triton(inputs: Problem, _: torch.dtype) -> None:
        total = affinity.pair_sum(inputs.factors, inputs.pairs, "triton")
        torch.autograd.grad(total.sum(), [inputs.factors])
        affinity.refine(inputs.factors, inputs.spread, "triton")

    return {
        "triton": by_triton,
        "dense": _plain(dense.pair_sum, dense.refine),
        "tiled": _plain(tiled.pair_sum, tiled.refine),
        PLAIN[3]: _plain(tiled.pair_sum, tiled.refine, tile=LARGE_TILE),
        COMPILED: _plain(compiled(tiled.pair_sum), compiled(tiled.refine), tile=LARGE_TILE),
    }


def _plain(
    pair_sum: Callable[..., Tensor], refine: Callable[..., Tensor], tile: int = tiled.TILE
) -> Work:
    """Returns the work with plain PyTorch functions, which use the type of the factors."""

    def work(inputs: Problem, dtype: torch.dtype) -> None:
        with _tiles(tiled, tile), torch.autocast(inputs.factors.device.type, enabled=False):
            total = pair_sum(inputs.factors.to(dtype), inputs.pairs)
            torch.autograd.grad(total.sum(), [inputs.factors])
            with torch.no_grad():
                refine(inputs.factors.to(dtype), inputs.spread)

    return work


class _tiles:
    """Sets the side of the tiles inside a block of code."""

    def __init__(self, module: ModuleType, tile: int) -> None:
        self.module, self.tile, self.before = module, tile, module.TILE

    def __enter__(self) -> None:
        self.module.TILE = self.tile  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        self.module.TILE = self.before  # type: ignore[attr-defined]


def _rate(setup: Setup, precision: Precision) -> float:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with with_precision("float32" if precision == "bf16" else precision, setup.device):
        return matmul_rate(setup.device, dtype, 256 if setup.rehearse else 8192)


def _cost(setup: Setup, inputs: Problem, work: Work, precision: Precision, limit: float) -> Row:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with with_precision(precision, setup.device):
        seconds, peak = cost(lambda: work(inputs, dtype), setup.device, setup.repeats)
    return {"ms": seconds * 1000, "MiB": peak, "times the limit": seconds / limit}
