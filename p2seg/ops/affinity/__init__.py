"""The two operators of the affinity matrix `A` `[N, N]`, N = h w, without storing the matrix.

`pair_sum` sums over pairs of pixels (Eq. 5). `refine` spreads class probabilities along affinities
(I2S). Three implementations give the same result: `dense` stores the matrix (reference), `tiled` is
plain PyTorch, and `triton` is a fused CUDA kernel.

Each call is one graph break under `torch.compile`. Under autocast all computations stay in float32,
except the matrix products of `triton`, which use bfloat16 under bfloat16 autocast.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from p2seg.errors import UserError
from p2seg.ops._kernels import HAS_TRITON, fused, interpreted
from p2seg.ops.affinity import dense, tiled
from p2seg.ops.affinity.inputs import Pairs, Spread, factors

__all__ = ["Pairs", "Spread", "Way", "factors", "pair_sum", "refine"]

Way = Literal["auto", "dense", "tiled", "triton"]


def pair_sum(factors: Tensor, pairs: Pairs, way: Way = "auto") -> Tensor:
    """`sum_r sum_ij w_r[g_r(i), g_r(j)] sigmoid(A_ij)` over groupings r and all pairs, also i = j.

    Paper: Eq. 5.

    Args:
        factors: `[B, N, d]`, F of the logit `A = F F^T`, see `factors`.
        pairs: the groups g and weights w.
        way: implementation; `auto` uses `triton` if it is available and else `tiled`.

    Returns:
        `[B]`, differentiable with respect to the factors.

    Raises:
        UserError: `way` is `triton` and triton is not available.
    """
    return cast(Tensor, _outside_of_graphs("pair_sum", factors, pairs, way))


def refine(factors: Tensor, spread: Spread, way: Way = "auto") -> Tensor:
    """`W P` with `W = sigmoid(A)^beta` (elementwise), each row normalized to sum 1.

    Paper: Sec. 3.2, `S = A^(o beta) * C`.

    Args:
        factors: `[B, N, d]`, F of the logit `A = F F^T`, see `factors`.
        spread: P, beta and the valid pixels.
        way: see `pair_sum`.

    Returns:
        `[B, N, n]` without gradient, because no loss depends on the refined map directly.

    Raises:
        UserError: `way` is `triton` and triton is not available.
    """
    with torch.no_grad():
        return cast(Tensor, _outside_of_graphs("refine", factors, spread, way))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the compiler could fuse nothing here
def _outside_of_graphs(
    what: Literal["pair_sum", "refine"], factors: Tensor, asked: Pairs | Spread, way: Way
) -> Tensor:
    device = factors.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    with torch.autocast(device, enabled=False):
        if way == "triton" and not (HAS_TRITON and (factors.is_cuda or interpreted())):
            raise UserError(
                "ops.affinity=triton needs a CUDA GPU and Triton; set ops.affinity=auto"
            )
        if way == "triton" or (way == "auto" and fused(factors)):
            from p2seg.ops.affinity import triton  # Triton is not installed on every machine

            if way == "triton" or factors.dtype == torch.float32:
                matrix = torch.bfloat16 if half and device == "cuda" else torch.float32
                return cast(Tensor, getattr(triton, what)(factors, asked, matrix))
        return cast(Tensor, getattr(dense if way == "dense" else tiled, what)(factors, asked))
