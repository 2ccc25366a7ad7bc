"""The affinity operators in tiles of the matrix, in plain PyTorch, on any device.

A is symmetric, so that a sweep computes the tiles on and above the diagonal alone and uses each for
its rows and for its columns: half a product forward (and the row sums of the spread as running
maxima and sums), half a product again and one for the gradient backward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops.affinity.inputs import Factors, Pairs, Spread, exchanged, symmetric

LEAST = -60.0
"""Log of the least weight that counts beside the largest of its row, or beside their sum."""

TILE = 512
"""Rows and columns of a tile; 1 MiB in float32, so that it stays in the cache."""


def affinity(
    factors: Factors, pairs: Pairs | None, spread: Spread | None
) -> tuple[Tensor | None, Tensor | None]:
    """As `p2seg.ops.affinity.affinity`."""
    pairs = None if pairs is None else symmetric(pairs)
    totals: list[Tensor] = []
    refined: list[Tensor] = []
    for b, left in enumerate(factors.left):
        asked = _Asked.of(left, pairs, spread, b)
        p = None if spread is None else spread.probabilities[b]
        total, out = _affinity_of_one(left, factors.bias, factors.votes, p, asked)
        totals += [] if total is None else [total]
        refined += [] if out is None else [out]
    return (
        torch.stack(totals) if totals else None,
        torch.stack(refined) if refined else None,
    )


@dataclass(frozen=True)
class _Asked:
    """What is asked of one image, on the pixels that take part in anything.

    Attributes:
        active: `[M]` int64, those pixels; None: all N.
        rows: `[M, R G]` weights of a row pixel's pairs, by the group of the other pixel.
        member: `[M, R G]` one-hot groups; `rows_i . member_j` is what the pair counts.
        beta: of the spread; None where there is no spread.
        log_gamma: of the spread.
        groups: `[M]`, for gamma.
        valid: `[M]` bool; None: all.
    """

    active: Tensor | None
    rows: Tensor | None
    member: Tensor | None
    beta: float | None
    log_gamma: float
    groups: Tensor | None
    valid: Tensor | None

    @staticmethod
    def of(left: Tensor, pairs: Pairs | None, spread: Spread | None, b: int) -> _Asked:
        """What is asked of image b."""
        used = torch.zeros(len(left), dtype=torch.bool, device=left.device)
        rows = member = groups = valid = None
        if pairs is not None:
            used |= (pairs.groups[b] >= 0).any(0)
            count = pairs.weight.shape[-1]
            hot = F.one_hot(pairs.groups[b].clamp(min=0), count).to(left.dtype)
            hot *= (pairs.groups[b] >= 0)[..., None]
            member = hot.transpose(0, 1).flatten(1)
            rows = (hot @ pairs.weight[b].to(left.dtype)).transpose(0, 1).flatten(1)
        if spread is not None:
            used |= True if spread.valid is None else spread.valid[b]
            valid = None if spread.valid is None else spread.valid[b]
            groups = None if spread.groups is None or spread.gamma == 1 else spread.groups[b]
        active = None if bool(used.all()) else used.nonzero()[:, 0]
        if active is not None:
            rows, member, groups, valid = (
                None if each is None else each[active] for each in (rows, member, groups, valid)
            )
        if valid is not None and bool(valid.all()):
            valid = None
        gamma = 1.0 if spread is None else spread.gamma
        log_gamma = math.log(gamma) if gamma > 0 else -math.inf
        beta = None if spread is None else spread.beta
        return _Asked(active, rows, member, beta, log_gamma, groups, valid)

    def pair_sum(self, sigma: Tensor, rows: slice, columns: slice) -> Tensor:
        """The sum over a tile's pairs, one way round."""
        assert self.rows is not None
        assert self.member is not None
        return ((sigma @ self.member[columns]) * self.rows[rows]).sum()

    def pair_slope(self, sigma: Tensor, rows: slice, columns: slice) -> Tensor:
        """Derivative of the sum over pairs, both ways round, by the logits of a tile."""
        assert self.rows is not None
        assert self.member is not None
        return (self.rows[rows] @ self.member[columns].T) * sigma * (2 - 2 * sigma)

    def log_weight(self, log_sigmoid: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Log of a tile's weights before the division, once for its rows' sums over its columns
        and once the other way round; an invalid pixel is in no sum."""
        assert self.beta is not None
        weight = log_sigmoid * self.beta
        if self.groups is not None:
            other = self.groups[rows, None] != self.groups[None, columns]
            weight = torch.where(other, weight + self.log_gamma, weight)
        if self.valid is None:
            return weight, weight
        shut = torch.where(self.valid, 0.0, -math.inf).to(weight.dtype)
        return weight + shut[None, columns], weight + shut[rows, None]


def _affinity_of_one(
    left: Tensor, bias: Tensor, votes: bool, p: Tensor | None, asked: _Asked
) -> tuple[Tensor | None, Tensor | None]:
    spread = None if p is None else p.to(left.dtype)
    inner = spread
    if asked.active is not None:
        left = left[asked.active]
        inner = None if spread is None else spread[asked.active]
    total, refined = _Sweep.apply(left, bias.to(left.dtype), inner, votes, asked)
    if spread is None or inner is None:
        return total, None
    if asked.valid is not None:
        refined = torch.where(asked.valid[:, None], refined, inner)
    if asked.active is not None:
        refined = spread.index_copy(0, asked.active, refined)
    return total, refined


class _Sweep(torch.autograd.Function):
    """The sum over pairs and the spread of one image, with one sweep of the matrix each way.

    Without a spread the gradient needs nothing from later, and is made in the forward sweep.
    """

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, bias: Tensor, p: Tensor | None, votes: bool, asked: _Asked
    ) -> tuple[Tensor | None, Tensor | None]:
        right = exchanged(left) if votes else left
        total = None if asked.member is None else left.new_zeros(())
        running = None if p is None else _Running(p, asked.valid)
        early = _Gradient(left, right) if p is None and any(ctx.needs_input_grad) else None
        for rows, columns in _tiles(len(left)):
            logit = torch.addmm(-bias, left[rows], right[columns].T)
            if running is None:
                sigma = logit.sigmoid_()
            else:
                log_sigma = F.logsigmoid(logit)
                sigma = log_sigma if total is None else log_sigma.exp()
                to_rows, to_columns = asked.log_weight(log_sigma, rows, columns)
                running.add(to_rows, rows, columns)
                if rows != columns:
                    running.add(to_columns.T, columns, rows)
            if total is not None:
                part = asked.pair_sum(sigma, rows, columns)
                total += part if rows == columns else 2 * part
            if early is not None:
                early.add(asked.pair_slope(sigma, rows, columns), rows, columns)
        refined, log_sum = (None, None) if running is None else running.result()
        made = () if early is None else early.result()
        ctx.save_for_backward(left, bias, p, refined, log_sum, *made)
        ctx.votes, ctx.asked = votes, asked
        return total, refined

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_total: Tensor | None, d_refined: Tensor | None) -> Any:
        left, bias, p, refined, log_sum, *made = ctx.saved_tensors
        asked: _Asked = ctx.asked
        if made:
            assert d_total is not None
            return made[0] * d_total, made[1] * d_total, None, None, None
        assert d_refined is not None
        assert asked.beta is not None
        right = exchanged(left) if ctx.votes else left
        gradient = _Gradient(left, right)
        d_p = torch.zeros_like(p)
        own = (d_refined * refined).sum(1)
        for rows, columns in _tiles(len(left)):
            log_sigma = F.logsigmoid(torch.addmm(-bias, left[rows], right[columns].T))
            sigma = log_sigma.exp()
            to_rows, to_columns = asked.log_weight(log_sigma, rows, columns)
            share = _weights(to_rows - log_sum[rows, None])
            slope = share * torch.addmm(-own[rows, None], d_refined[rows], p[columns].T)
            d_p[columns] += share.T @ d_refined[rows]
            share = _weights(to_columns - log_sum[None, columns])
            slope += share * torch.addmm(-own[None, columns], p[rows], d_refined[columns].T)
            if rows != columns:
                d_p[rows] += share @ d_refined[columns]
            slope *= (1 - sigma) * asked.beta
            if d_total is not None and asked.member is not None:
                slope += asked.pair_slope(sigma, rows, columns) * d_total
            gradient.add(slope, rows, columns)
        return *gradient.result(), d_p, None, None


def _weights(log_weight: Tensor) -> Tensor:
    """Their exponentials, in place. What is nothing beside 1 stays just that: a processor needs ten
    times as long for exponentials that are subnormal or 0."""
    return log_weight.clamp_(min=LEAST).exp_()


class _Running:
    """`W P` and the row sums of W over the tiles seen, in units of each row's maximum so far."""

    def __init__(self, p: Tensor, valid: Tensor | None) -> None:
        self.p = torch.cat([p, torch.ones_like(p[:, :1])], 1)
        if valid is not None:
            self.p *= valid[:, None]
        self.sums = torch.zeros_like(self.p)
        self.top = p.new_full((len(p), 1), torch.finfo(p.dtype).min)

    def add(self, log_weight: Tensor, rows: slice, columns: slice) -> None:
        top = torch.maximum(self.top[rows], log_weight.amax(1, keepdim=True))
        self.sums[rows] *= (self.top[rows] - top).exp()
        self.sums[rows] += _weights(log_weight - top) @ self.p[columns]
        self.top[rows] = top

    def result(self) -> tuple[Tensor, Tensor]:
        """The spread `[M, n]` and the log of the row sums `[M]`."""
        sums = self.sums[:, -1:]
        sums = torch.where(sums > 0, sums, 1)  # an invalid row that no valid column reaches
        return self.sums[:, :-1] / sums, (self.top + sums.log())[:, 0]


class _Gradient:
    """Gradients of the left factor and of the bias, over the tiles seen."""

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.right = right
        self.left = torch.zeros_like(left)
        self.bias = left.new_zeros(())

    def add(self, slope: Tensor, rows: slice, columns: slice) -> None:
        """Adds a tile of the derivative by `A[i, j]` and `A[j, i]` together."""
        self.left[rows] += slope @ self.right[columns]
        if rows != columns:
            self.left[columns] += slope.T @ self.right[rows]
        self.bias -= slope.sum() / (2 if rows == columns else 1)

    def result(self) -> tuple[Tensor, Tensor]:
        return self.left, self.bias


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """The tiles on and above the diagonal."""
    sides = [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]
    return ((rows, columns) for at, rows in enumerate(sides) for columns in sides[at:])
