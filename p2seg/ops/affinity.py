"""The two things done with the h w x h w affinity matrix, which is never held.

Both work on factors: the affinity logit of pixels i and j is `left_i . right_j - bias`. Rows are
taken in tiles, and a tile is computed again in the backward pass, so that memory grows with N and
not with N squared. Float32 throughout: autocast is off.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

TILE_ELEMENTS = 1 << 22
"""Entries of the affinity matrix that are held at a time (16 MiB in float32)."""


def factors(
    embedding: Tensor, votes: Tensor | None = None, scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The two factors whose inner product is the affinity logit without its bias.

    With votes, `||v_i - v_j||^2 / (2 s^2)` is subtracted between pixels that both vote; it folds
    into the inner product as four more channels.

    Args:
        embedding: `[B, d, h, w]`.
        votes: `[B, 3, h, w]`, the pixel each one points to (y, x) and 1 where it votes, else 0.
        scale: `[]`, the spread s in pixels; needed with votes.

    Returns:
        left and right, `[B, h w, d]` or `[B, h w, d + 4]`, float32.
    """
    flat = embedding.float().flatten(2).transpose(1, 2) * embedding.shape[1] ** -0.25
    if votes is None:
        return flat, flat
    assert scale is not None, "votes need a scale"
    position, voter = votes.float().flatten(2).transpose(1, 2).split([2, 1], 2)
    # about the middle of the voters, or float32 would lose the difference of large squares
    middle = (position * voter).sum(1, keepdim=True) / voter.sum(1, keepdim=True).clamp(min=1)
    near = (position - middle) / scale * voter
    square = -0.5 * near.square().sum(2, keepdim=True)
    left = torch.cat([flat, near, square, voter], 2)
    right = torch.cat([flat, near, voter, square], 2)
    return left, right


def pair_sums(left: Tensor, right: Tensor, bias: Tensor, groups: Tensor, count: int) -> Tensor:
    """Sums of the sigmoid of the affinity over every pair of groups, pixels with themselves too.

    Args:
        left: `[N, D]` float32.
        right: `[N, D]` float32.
        bias: `[]`.
        groups: `[N]` int64 in 0..count-1; -1 is in no pair.
        count: G.

    Returns:
        `[G, G]` float32: the sum over i in the row's group and j in the column's.
    """
    labelled = (groups >= 0).nonzero()[:, 0]
    groups, left, right = groups[labelled], left[labelled], right[labelled]
    member = F.one_hot(groups, count).to(left.dtype)

    def tile(left: Tensor, right: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
        return rows.T @ ((left @ right.T - bias).sigmoid() @ member)

    total = left.new_zeros(count, count)
    with torch.autocast(left.device.type, enabled=False):
        for at in _tiles(len(groups)):
            total = total + _again(tile, left[at], right, bias, member[at])
    return total


def refine(
    left: Tensor,
    right: Tensor,
    bias: Tensor,
    probabilities: Tensor,
    beta: float,
    groups: Tensor | None = None,
    gamma: float = 1.0,
    valid: Tensor | None = None,
) -> Tensor:
    """Spreads class probabilities along the affinity.

    `W P` with `W = sigmoid(A) ** beta`, times gamma between pixels of different groups, every row
    divided by its sum. Paper: Sec. 3.2, S = A^(o beta) * C.

    Args:
        left: `[N, D]` float32.
        right: `[N, D]` float32.
        bias: `[]`.
        probabilities: `[N, n]`, rows sum to 1.
        beta: the Hadamard power, > 0.
        groups: `[N]` int64; None: one group.
        gamma: what a pair of different groups counts, 0..1.
        valid: `[N]` bool; an invalid pixel is neither row nor column and keeps its probabilities.

    Returns:
        `[N, n]` float32, rows sum to 1.
    """
    keep = None if valid is None else valid.nonzero()[:, 0]
    p = probabilities.to(left.dtype)
    if keep is not None:
        left, right, inner = left[keep], right[keep], p[keep]
        groups = None if groups is None else groups[keep]
    else:
        inner = p
    log_gamma = math.log(gamma) if gamma > 0 else -math.inf

    def tile(
        left: Tensor, right: Tensor, bias: Tensor, inner: Tensor, rows: Tensor | None
    ) -> Tensor:
        log_weight = beta * F.logsigmoid(left @ right.T - bias)
        if rows is not None:
            assert groups is not None
            log_weight = log_weight + torch.where(rows[:, None] == groups[None], 0.0, log_gamma)
        return log_weight.softmax(1) @ inner  # softmax takes the row's maximum out

    gate = groups if gamma != 1.0 else None
    rows: list[Tensor] = []
    with torch.autocast(left.device.type, enabled=False):
        for at in _tiles(len(left)):
            own = None if gate is None else gate[at]
            rows.append(_again(tile, left[at], right, bias, inner, own))
    refined = torch.cat(rows) if rows else inner
    return refined if keep is None else p.index_copy(0, keep, refined)


def _tiles(n: int) -> list[slice]:
    rows = max(1, TILE_ELEMENTS // max(1, n))
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def _again(function: Any, *arguments: Any) -> Tensor:
    """Calls a function that the backward pass will call again instead of keeping its insides."""
    if not torch.is_grad_enabled():
        return function(*arguments)  # type: ignore[no-any-return]
    return checkpoint(function, *arguments, use_reentrant=False)  # type: ignore[no-any-return]
