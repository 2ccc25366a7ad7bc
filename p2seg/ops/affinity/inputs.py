"""What the affinity operators are asked: factors of the affinity logit, pairs, a spread."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """The affinity logit in factors: `A[i, j] = left_i . right_j - bias`, which is symmetric.

    Attributes:
        left: `[B, N, D]` floating point.
        bias: `[]`.
        votes: the last four channels of `left` are where a pixel points to (y, x), a square and the
            1 it is multiplied by; `right` has the last two the other way round. Otherwise `right`
            is `left`.
    """

    left: Tensor
    bias: Tensor
    votes: bool = False

    @property
    def right(self) -> Tensor:
        """`[B, N, D]`."""
        return exchanged(self.left) if self.votes else self.left


@dataclass(frozen=True)
class Pairs:
    """What every pair of pixels counts in a sum of `sigmoid(A)` over pairs.

    Attributes:
        groups: `[B, R, N]` int64, the group of every pixel in each of R groupings; -1: in no pair.
        weight: `[B, R, G, G]` floating point, by the two groups of a pair.
    """

    groups: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Spread:
    """Probabilities to be spread along the affinity, and how.

    Attributes:
        probabilities: `[B, N, n]` floating point.
        beta: the Hadamard power, > 0.
        valid: `[B, N]` bool; an invalid pixel is neither row nor column and keeps its
            probabilities. None: all are valid.
        groups: `[B, N]` int64, with `gamma`; None: one group.
        gamma: what a pair of different groups counts, 0..1.
    """

    probabilities: Tensor
    beta: float
    valid: Tensor | None = None
    groups: Tensor | None = None
    gamma: float = 1.0


def factors(
    embedding: Tensor, bias: Tensor, votes: Tensor | None = None, scale: Tensor | None = None
) -> Factors:
    """The factors of the affinity logit `f_i . f_j / sqrt(d) - bias`.

    With votes, `||v_i - v_j||^2 / (2 s^2)` is subtracted between pixels that both vote; it folds
    into the inner product as four more channels.

    Args:
        embedding: `[B, d, h, w]`.
        bias: `[]`.
        votes: `[B, 3, h, w]`, the pixel each one points to (y, x) and 1 where it votes, else 0.
        scale: `[]`, the spread s in pixels; needed with votes.

    Returns:
        Float32 (float64 of a float64 embedding), D = d or d + 4.
    """
    embedding = _at_least_float(embedding)
    flat = embedding.flatten(2).transpose(1, 2) * embedding.shape[1] ** -0.25
    if votes is None:
        return Factors(flat, bias)
    assert scale is not None, "votes need a scale"
    position, voter = votes.to(flat.dtype).flatten(2).transpose(1, 2).split([2, 1], 2)
    # about the middle of the voters, or float32 would lose the difference of large squares
    middle = (position * voter).sum(1, keepdim=True) / voter.sum(1, keepdim=True).clamp(min=1)
    near = (position - middle) / scale * voter
    square = -0.5 * near.square().sum(2, keepdim=True)
    return Factors(torch.cat([flat, near, square, voter], 2), bias, votes=True)


def exchanged(left: Tensor) -> Tensor:
    """`[..., D]` with the last two channels in each other's place."""
    return torch.cat([left[..., :-2], left[..., -1:], left[..., -2:-1]], -1)


def symmetric(pairs: Pairs) -> Pairs:
    """The same sum from weights that do not mind the order of a pair, for A does not either."""
    return replace(pairs, weight=(pairs.weight + pairs.weight.transpose(-1, -2)) / 2)


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
