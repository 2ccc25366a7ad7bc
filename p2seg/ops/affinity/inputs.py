"""What the affinity operators are asked: factors of the affinity logit, pairs, a spread."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


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
    """

    probabilities: Tensor
    beta: float
    valid: Tensor | None = None


def factors(embedding: Tensor) -> Tensor:
    """The factors F of the affinity logit `A = F F^T`, with `A[i, j] = f_i . f_j / sqrt(d)`.

    Args:
        embedding: `[B, d, h, w]`.

    Returns:
        `[B, N, d]` float32 (float64 of a float64 embedding).
    """
    embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
    scale: float = embedding.shape[1] ** -0.25
    return embedding.flatten(2).transpose(1, 2) * scale


def symmetric(pairs: Pairs) -> Pairs:
    """The same sum from weights that do not mind the order of a pair, for A does not either."""
    return replace(pairs, weight=(pairs.weight + pairs.weight.transpose(-1, -2)) / 2)
