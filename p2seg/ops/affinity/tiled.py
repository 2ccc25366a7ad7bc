"""The affinity operators computed tile by tile in plain PyTorch, on any device.

A is symmetric, so only the tiles on and above the diagonal are computed, and each is used for its
rows and its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops.affinity.inputs import Pairs, Spread, symmetric

LEAST = -60.0
"""Lower bound of a weight's logarithm relative to the largest weight of its row."""

TILE = 512
"""Rows and columns of a tile, which is 1 MiB in float32 and fits in the CPU cache."""


def pair_sum(factors: Tensor, pairs: Pairs) -> Tensor:
    """See `p2seg.ops.affinity.pair_sum`."""
    pairs = symmetric(pairs)
    count = pairs.weight.shape[-1]
    totals = []
    for left, groups, weight in zip(factors, pairs.groups, pairs.weight, strict=True):
        used = (groups >= 0).any(0)  # all other pixels are excluded from all pairs
        if not bool(used.all()):
            left, groups = left[used], groups[:, used]
        hot = F.one_hot(groups.clamp(min=0), count).to(left.dtype) * (groups >= 0)[..., None]
        rows = (hot @ weight.to(left.dtype)).transpose(0, 1).flatten(1)
        totals.append(_PairSum.apply(left, rows, hot.transpose(0, 1).flatten(1)))
    return torch.stack(totals)


class _PairSum(torch.autograd.Function):
    """The sum over the pairs of one image; the forward pass also computes the gradient.

    `left` are the factors `[M, d]`. `rows` `[M, R G]` are the weights of pixel i's pairs by the
    group of pixel j, and `member` `[M, R G]` are one-hot groups, so that the weight of the pair is
    `rows_i . member_j`.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, rows: Tensor, member: Tensor) -> Tensor:
        total, slope = left.new_zeros(()), torch.zeros_like(left)
        for i, j in _tiles(len(left)):
            sigma = (left[i] @ left[j].T).sigmoid_()
            part = ((sigma @ member[j]) * rows[i]).sum()
            total += part if i == j else 2 * part
            # derivative of the terms of A[i, j] and A[j, i] together
            by_logit = (rows[i] @ member[j].T) * sigma * (2 - 2 * sigma)
            slope[i] += by_logit @ left[j]
            if i != j:
                slope[j] += by_logit.T @ left[i]
        ctx.save_for_backward(slope)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> Any:
        [slope] = ctx.saved_tensors
        return slope * d_total, None, None


def refine(factors: Tensor, spread: Spread) -> Tensor:
    """See `p2seg.ops.affinity.refine`."""
    refined = []
    for b, left in enumerate(factors):
        p = spread.probabilities[b].to(left.dtype)
        valid = None if spread.valid is None else spread.valid[b]
        if valid is None or bool(valid.all()):
            refined.append(_spread_of_one(left, p, spread.beta))
        else:
            at = valid.nonzero()[:, 0]
            refined.append(p.index_copy(0, at, _spread_of_one(left[at], p[at], spread.beta)))
    return torch.stack(refined)


def _spread_of_one(left: Tensor, p: Tensor, beta: float) -> Tensor:
    """`W P` `[M, n]` for M pixels, as a streaming softmax with a running maximum per row."""
    extended = torch.cat([p, torch.ones_like(p[:, :1])], 1)  # the last column sums the weights
    sums = torch.zeros_like(extended)
    top = p.new_full((len(p), 1), torch.finfo(p.dtype).min)

    def add(log_weight: Tensor, rows: slice, columns: slice) -> None:
        higher = torch.maximum(top[rows], log_weight.amax(1, keepdim=True))
        sums[rows] *= (top[rows] - higher).exp()
        # the clamp avoids subnormal results, which CPUs compute ten times slower
        sums[rows] += (log_weight - higher).clamp_(min=LEAST).exp_() @ extended[columns]
        top[rows] = higher

    for rows, columns in _tiles(len(left)):
        log_weight = F.logsigmoid(left[rows] @ left[columns].T) * beta
        add(log_weight, rows, columns)
        if rows != columns:
            add(log_weight.T, columns, rows)
    return sums[:, :-1] / sums[:, -1:]


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal."""
    sides = [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]
    return ((rows, columns) for at, rows in enumerate(sides) for columns in sides[at:])
