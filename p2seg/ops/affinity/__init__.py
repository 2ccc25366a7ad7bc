"""The two things done with the h w x h w affinity matrix, which is never held: a sum over pairs of
pixels (Eq. 5) and the spread of class probabilities along it (I2S). Three ways, one result.

Under `torch.compile` a call is one graph break; under autocast it stays in float32, but for the
products of the Triton way, which are bf16 where autocast is.

`dense` holds the matrix; `tiled` is plain PyTorch; `triton` is fused for CUDA.
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
    """The sum over all pairs i, j (i = j too) and groupings of `weight * sigmoid(A)`.

    Paper: Eq. 5.

    Args:
        factors: `[B, N, d]` of the logit A, see `factors`.
        pairs: what each pair counts.
        way: which implementation; `auto` takes triton where it runs and tiled elsewhere.

    Raises:
        UserError: triton is asked for where it does not run.

    Returns:
        `[B]`, with a gradient to the factors.
    """
    return cast(Tensor, _outside_of_graphs("pair_sum", factors, pairs, way))


def refine(factors: Tensor, spread: Spread, way: Way = "auto") -> Tensor:
    """The spread `W P`: `W = sigmoid(A) ** beta`, every row divided by its sum.

    Paper: Sec. 3.2, `S = A^(o beta) * C`.

    Args:
        factors: `[B, N, d]` of the logit A, see `factors`.
        spread: the probabilities P, and how they are spread.
        way: as of `pair_sum`.

    Raises:
        UserError: triton is asked for where it does not run.

    Returns:
        `[B, N, n]`, without a gradient: no loss looks at the refined map itself.
    """
    with torch.no_grad():
        return cast(Tensor, _outside_of_graphs("refine", factors, spread, way))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # there is nothing to fuse around it
def _outside_of_graphs(
    what: Literal["pair_sum", "refine"], factors: Tensor, asked: Pairs | Spread, way: Way
) -> Tensor:
    device = factors.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    with torch.autocast(device, enabled=False):
        if way == "triton" and not (HAS_TRITON and (factors.is_cuda or interpreted())):
            raise UserError(
                "ops.affinity=triton needs a CUDA GPU and Triton; auto takes what there is"
            )
        if way == "triton" or (way == "auto" and fused(factors)):
            from p2seg.ops.affinity import triton  # not on every machine

            if way == "triton" or factors.dtype == torch.float32:
                matrix = torch.bfloat16 if half and device == "cuda" else torch.float32
                return cast(Tensor, getattr(triton, what)(factors, asked, matrix))
        return cast(Tensor, getattr(dense if way == "dense" else tiled, what)(factors, asked))
