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
from p2seg.ops.affinity.inputs import Factors, Pairs, Spread, factors

__all__ = ["Factors", "Pairs", "Spread", "Way", "affinity", "factors", "pair_sum", "refine"]

Results = tuple[Tensor | None, Tensor | None]
Way = Literal["auto", "dense", "tiled", "triton"]


def affinity(
    factors: Factors, pairs: Pairs | None, spread: Spread | None, way: Way = "auto"
) -> Results:
    """The sum over pairs and the spread, of the same matrix, in the same sweeps.

    Args:
        factors: of the logit A.
        pairs: None: no sum is asked for.
        spread: None: no spread is asked for.
        way: which implementation; `auto` takes triton where it runs and tiled elsewhere.

    Raises:
        UserError: triton is asked for where it does not run.

    Returns:
        `[B]`: the sum over all pairs i, j (i = j too) and groupings of `weight * sigmoid(A)`,
        Paper: Eq. 5. And `[B, N, n]`: `W P` with `W = sigmoid(A) ** beta`, times gamma between
        pixels of different groups, every row divided by its sum, Paper: Sec. 3.2,
        `S = A^(o beta) * C`. Both with gradients to left, bias and probabilities.
    """
    return cast(Results, _outside_of_graphs(factors, pairs, spread, way))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # there is nothing to fuse around it
def _outside_of_graphs(
    factors: Factors, pairs: Pairs | None, spread: Spread | None, way: Way
) -> Results:
    device = factors.left.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    with torch.autocast(device, enabled=False):
        if way == "triton" and not (HAS_TRITON and (factors.left.is_cuda or interpreted())):
            raise UserError(
                "ops.affinity=triton needs a CUDA GPU and Triton; auto takes what there is"
            )
        if way == "triton" or (way == "auto" and fused(factors.left)):
            from p2seg.ops.affinity import triton  # not on every machine

            if way == "triton" or factors.left.dtype == torch.float32:
                matrix = torch.bfloat16 if half and device == "cuda" else torch.float32
                return triton.affinity(factors, pairs, spread, matrix)
        if way == "dense":
            return dense.affinity(factors, pairs, spread)
        return tiled.affinity(factors, pairs, spread)


def pair_sum(factors: Factors, pairs: Pairs, way: Way = "auto") -> Tensor:
    """The sum over pairs alone, `[B]`."""
    total, _ = affinity(factors, pairs, None, way)
    assert total is not None
    return total


def refine(factors: Factors, spread: Spread, way: Way = "auto") -> Tensor:
    """The spread alone, `[B, N, n]`."""
    _, refined = affinity(factors, None, spread, way)
    assert refined is not None
    return refined
